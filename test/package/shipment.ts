import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** What leaves this repository, made of its files as they are now. */
export interface Shipment {
  /** `/app` of the image, without what the Dockerfile does not copy into its last stage. */
  readonly image: string;
  /** `CMD` and `HEALTHCHECK` of the image, each with this Node. */
  readonly command: readonly string[];
  readonly healthCheck: readonly string[];
  /** `ENV` of the image. */
  readonly env: Readonly<Record<string, string>>;
  /** The paths in the tarball that `npm pack` would make. */
  readonly packed: readonly string[];
  /** What it would be made of. */
  readonly checkout: string;
  remove(): Promise<void>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** No part of the project, or too much to copy. */
const LEFT = new Set([".git", "node_modules", "dist", ".farebox", "coverage"]);
const run = promisify(execFile);

/** Goes through the Dockerfile's steps without Docker, and without a network: npm's packages are those of this checkout. */
export async function prepareShipment(): Promise<Shipment> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "farebox-shipment-")));
  const context = join(directory, "context");
  const image = join(directory, "image");
  const dockerfile = await readFile(join(ROOT, "Dockerfile"), "utf8");
  await copyContext(context);
  await symlink(join(ROOT, "node_modules"), join(context, "node_modules"));
  await run("npm", ["run", "build"], { cwd: context });
  await makeImage(dockerfile, context, image);
  return {
    image,
    command: execForm(dockerfile, /^CMD (\[.*\])$/m),
    healthCheck: execForm(dockerfile, /^HEALTHCHECK .*\\\n +CMD (\[.*\])$/m),
    env: {
      NODE_ENV: found(dockerfile, /NODE_ENV=(\S+)/),
      // Packages are linked into the image: each must find its own there, not those beside the link's target.
      NODE_OPTIONS: "--preserve-symlinks",
    },
    packed: await pack(context),
    checkout: context,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** `COPY . .` */
async function copyContext(context: string): Promise<void> {
  const patterns = (await readFile(join(ROOT, ".dockerignore"), "utf8")).split("\n").filter(Boolean);
  const ignored = patterns.map(
    (pattern) => new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", "[^/]*")}$`),
  );
  await mkdir(context);
  for (const name of await readdir(ROOT)) {
    if (LEFT.has(name) || ignored.some((pattern) => pattern.test(name))) continue;
    await cp(join(ROOT, name), join(context, name), { recursive: true });
  }
}

/** The last stage: what it copies from the build, without what the build has removed. */
async function makeImage(dockerfile: string, context: string, image: string): Promise<void> {
  await mkdir(image);
  for (const [, from = ""] of dockerfile.matchAll(/^COPY --from=build \/app\/(\S+) \.\//gm)) {
    if (from === "node_modules") await linkPackages(image);
    else await cp(join(context, from), join(image, from), { recursive: true });
  }
  for (const [, path = ""] of dockerfile.matchAll(/rm -rf ((?!\/)\S+)/g))
    await rm(join(image, path), { recursive: true });
}

/** Packs the built context with all that a checkout has besides, secrets among it. */
async function pack(context: string): Promise<readonly string[]> {
  for (const name of await readdir(ROOT)) {
    if (!LEFT.has(name)) await cp(join(ROOT, name), join(context, name), { recursive: true });
  }
  for (const secret of [".env", ".env.production", "farebox.yaml"])
    await writeFile(join(context, secret), "");
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: context });
  const [tarball]: { readonly files: readonly { readonly path: string }[] }[] = JSON.parse(stdout);
  return (tarball?.files ?? []).map(({ path }) => path);
}

/** `npm prune --omit=dev`; what a package has below itself comes with it. */
async function linkPackages(image: string): Promise<void> {
  const list = run("npm", ["ls", "--omit=dev", "--all", "--parseable"], { cwd: ROOT });
  // npm complains of a manifest that is ahead of its lock file; the list is right all the same.
  const { stdout } = await list.catch((error: { readonly stdout: string }) => error);
  for (const path of stdout.split("\n").filter(Boolean)) {
    const place = relative(ROOT, path);
    if (place.split(sep).filter((part) => part === "node_modules").length !== 1) continue;
    await mkdir(dirname(join(image, place)), { recursive: true });
    await symlink(path, join(image, place));
  }
}

function execForm(dockerfile: string, pattern: RegExp): readonly string[] {
  const [node, ...rest]: string[] = JSON.parse(found(dockerfile, pattern));
  if (node !== "node") throw new Error(`the Dockerfile runs ${node}`);
  return [process.execPath, ...rest];
}

function found(text: string, pattern: RegExp): string {
  const [, part] = pattern.exec(text) ?? [];
  if (part === undefined) throw new Error(`the Dockerfile has nothing like ${pattern}`);
  return part;
}
