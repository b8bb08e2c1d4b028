import { useEffect, useState } from "preact/hooks";

/** Something that is asked for. */
export type Asked<Answer> =
  | { readonly kind: "loading" }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "here"; readonly answer: Answer };

/**
 * Asks when the component appears and when one of `on` changes; the last question counts. While it is asked again the earlier
 * answer stays.
 */
export function useAnswer<Answer>(
  ask: () => Promise<Answer>,
  on: readonly unknown[] = [],
): { readonly asked: Asked<Answer>; readonly again: () => void } {
  const [asked, setAsked] = useState<Asked<Answer>>({ kind: "loading" });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let isLast = true;
    if (asked.kind === "failed") setAsked({ kind: "loading" });
    ask().then(
      (answer) => isLast && setAsked({ kind: "here", answer }),
      (error: unknown) => isLast && setAsked({ kind: "failed", error }),
    );
    return () => {
      isLast = false;
    };
  }, [round, ...on]);
  return { asked, again: () => setRound((before) => before + 1) };
}

/** One thing that is being done, such as saving. */
export type Doing =
  | { readonly kind: "idle" }
  | { readonly kind: "busy" }
  | { readonly kind: "failed"; readonly error: unknown };

/** Runs one action at a time and keeps how it went. */
export function useAction(): { readonly doing: Doing; readonly run: (act: () => Promise<void>) => void } {
  const [doing, setDoing] = useState<Doing>({ kind: "idle" });
  function run(act: () => Promise<void>): void {
    if (doing.kind === "busy") return;
    setDoing({ kind: "busy" });
    act().then(
      () => setDoing({ kind: "idle" }),
      (error: unknown) => setDoing({ kind: "failed", error }),
    );
  }
  return { doing, run };
}
