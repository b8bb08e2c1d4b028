import { type Browser, chromium } from "playwright-core";
import { findProgram } from "./debian-program.ts";

/** Without these Chromium asks its maker's hosts for updates and lists. */
const SILENT = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A real Chromium without a window, with a profile of its own. */
export function openBrowser(): Promise<Browser> {
  const executablePath = findProgram({
    names: ["chromium", "chromium-browser", "google-chrome"],
    package: "chromium",
    neededBy: "The tests of the console",
  });
  // Its sandbox needs a user who is not root; the pages are our own.
  const isRoot = process.getuid?.() === 0;
  return chromium.launch({ executablePath, args: isRoot ? [...SILENT, "--no-sandbox"] : SILENT });
}
