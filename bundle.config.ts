import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const ROOT = fileURLToPath(new URL(".", import.meta.url));
/** What is started: the commands, and the threads that they start. */
const STARTED = ["server/main", "server/cli", "server/ledger/sqlite-worker", "server/proxy/token-thread"];
/** Stays outside: native code, what is optional, and what asks where its own files are. */
const APART = ["better-sqlite3", "@coinbase/x402", "ioredis"];

/**
 * What is started goes into few files, packages included: a process that resolves and compiles 400 modules one by one takes twice as long to its first
 * answer. The compiler's output is the library; of it, these files replace those that are started.
 */
export default defineConfig({
  plugins: [keepPlaces()],
  publicDir: false,
  ssr: { noExternal: true, external: APART },
  build: {
    ssr: true,
    target: "node20",
    minify: false,
    emptyOutDir: false,
    license: { fileName: "chunks/LICENSES.md" },
    chunkSizeWarningLimit: 10_000,
    rolldownOptions: {
      input: Object.fromEntries(STARTED.map((name) => [name, `${ROOT}${name}.ts`])),
      output: { entryFileNames: "[name].js", chunkFileNames: "chunks/[name].js" },
      // A package of JavaScript that says "use strict" in modules, which are strict.
      checks: { moduleLevelDirective: false },
    },
  },
});

/** A module's `import.meta.url` stays what the compiler's output would have, whichever chunk it comes into; the embedded chain stays outside. */
function keepPlaces(): Plugin {
  const DIST = "__DIST__";
  return {
    name: "keep-places",
    enforce: "pre",
    resolveId: (source) =>
      source.endsWith("/localnet/index.ts") ? { id: `${DIST}/localnet/index.js`, external: true } : undefined,
    transform(code, id) {
      if (!id.startsWith(ROOT) || id.includes("node_modules") || !id.endsWith(".ts")) return undefined;
      const place = `${DIST}/${relative(ROOT, id).replace(/ts$/, "js")}`;
      return code.replaceAll("import.meta.url", `new URL("${place}", import.meta.url).href`);
    },
    renderChunk: (code, { fileName }) => code.replaceAll(DIST, relative(dirname(fileName), "") || "."),
  };
}
