import { useEffect, useState } from "preact/hooks";

export const SCREENS = ["overview", "keys", "usage", "topup", "provider-keys", "alerts"] as const;
export type Screen = (typeof SCREENS)[number];

function current(): Screen {
  const name = location.hash.replace(/^#\/?/, "");
  return SCREENS.find((screen) => screen === name) ?? "overview";
}

/** The screen that the address names; the browser's back and forward go between them. */
export function useScreen(): Screen {
  const [screen, setScreen] = useState(current());
  useEffect(() => {
    const changed = () => setScreen(current());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return screen;
}
