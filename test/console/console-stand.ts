import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { type IncomingHttpHeaders, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const INDEX = "<!doctype html><title>Console</title>";
/** Beside the console's directory, for whoever gets out of it. */
export const SECRET = "nobody may read this";

/** What a build leaves, in a directory of its own. */
export interface BuiltConsole {
  readonly directory: string;
  remove(): Promise<void>;
}

export async function buildConsole(): Promise<BuiltConsole> {
  const root = await mkdtemp(join(tmpdir(), "farebox-console-"));
  const directory = join(root, "console");
  await mkdir(join(directory, "assets"), { recursive: true });
  await mkdir(join(directory, ".vite"));
  await writeFile(join(root, "secret.txt"), SECRET);
  await writeFile(join(directory, "index.html"), INDEX);
  await writeFile(join(directory, "icon.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>");
  await writeFile(join(directory, ".env"), SECRET);
  await writeFile(join(directory, ".vite/manifest.json"), SECRET);
  await writeFile(join(directory, "assets/index-4f2a.js"), "export {};");
  return { directory, remove: () => rm(root, { recursive: true, force: true }) };
}

export interface RawReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Asks for a path as it is written: `fetch` would tidy it up. */
export function ask(
  url: string,
  path: string,
  { method = "GET", headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<RawReply> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path, method, headers, agent: false }, (res) => {
      let text = "";
      res.setEncoding("utf8");
      res.on("data", (piece) => {
        text += piece;
      });
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text }));
      res.on("error", reject);
    })
      .on("error", reject)
      .end();
  });
}

/** What a browser says that goes to a page. */
export const NAVIGATION = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };
