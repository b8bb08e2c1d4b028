export type Theme = "system" | "light" | "dark";

const STORED_UNDER = "farebox-theme";

export function readTheme(): Theme {
  const stored = localStorage.getItem(STORED_UNDER);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** Light and dark are two sets of custom properties (style.css). */
export function applyTheme(theme: Theme): void {
  if (theme === "system") {
    document.documentElement.removeAttribute("data-theme");
    localStorage.removeItem(STORED_UNDER);
  } else {
    document.documentElement.setAttribute("data-theme", theme);
    localStorage.setItem(STORED_UNDER, theme);
  }
}
