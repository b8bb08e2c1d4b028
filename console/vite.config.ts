import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The console as static files. Nothing is inlined: the page's Content-Security-Policy allows files of its own origin only. */
export default defineConfig({
  root: here("."),
  base: "/console/",
  build: {
    outDir: here("../dist/console"),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1_000,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
