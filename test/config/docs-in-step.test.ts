import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { z } from "zod";
import { configSchema } from "../../server/config-schema.ts";
import { createMetrics } from "../../server/metrics.ts";
import { limitServer, nodeLimits } from "../../server/server-limits.ts";
import { loaded, ONE_MODEL, SOLANA_ENV } from "./settings.ts";

function text(path: string): string {
  return readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");
}

/** Every setting with its place: `payment.gate`, `upstreams.NAME.url`. Routes are shown as an example. */
function settings(schema: unknown, path: readonly string[] = []): readonly string[] {
  const wrapped = [z.ZodOptional, z.ZodNullable, z.ZodDefault, z.ZodPrefault].find(
    (wrapper) => schema instanceof wrapper,
  );
  if (wrapped !== undefined && schema instanceof wrapped) return settings(schema.unwrap(), path);
  if (schema instanceof z.ZodRecord && path[0] !== "routes")
    return settings(schema.valueType, [...path, "NAME"]);
  if (!(schema instanceof z.ZodObject)) return [path.join(".")];
  return Object.entries(schema.shape).flatMap(([key, inner]) => settings(inner, [...path, key]));
}

test("configuration.md has every setting and every variable", () => {
  const page = text("docs/configuration.md");
  const names = [...settings(configSchema.shape.file), ...Object.keys(configSchema.shape.env.shape)];
  expect(names.length).toBeGreaterThan(50);
  expect(names.filter((name) => name !== "routes" && !page.includes(`\`${name}\``))).toEqual([]);
});

test("operations.md has every metric of ours, and no other", async () => {
  const exposed = [...(await createMetrics().text()).matchAll(/^# TYPE (farebox_\w+)/gm)].map(
    ([, name]) => name,
  );
  const documented = [...text("docs/operations.md").matchAll(/^\| `(farebox_\w+)`/gm)].map(
    ([, name]) => name,
  );
  expect(documented.sort()).toEqual(exposed.sort());
});

test("dependencies.md has a line for each package of package.json, and no other", () => {
  const manifest = z
    .object({
      dependencies: z.record(z.string(), z.string()),
      optionalDependencies: z.record(z.string(), z.string()),
      devDependencies: z.record(z.string(), z.string()),
    })
    .parse(JSON.parse(text("package.json")));
  const wanted = Object.values(manifest).flatMap((group) => Object.keys(group));
  const documented = [...text("docs/dependencies.md").matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(wanted.sort());
});

test("operations.md has the limits of Node's server as they are set", () => {
  const { server: limits } = loaded(ONE_MODEL, SOLANA_ENV);
  const server = createServer(nodeLimits(limits));
  limitServer(server, limits);
  const { maxConnections, maxRequestsPerSocket, timeout } = server;
  const set = { ...nodeLimits(limits), maxConnections, maxRequestsPerSocket, timeout };
  const written = Object.entries(set).map(([name, value]) => [name, inWords(name, Number(value))]);
  const documented = [
    ...text("docs/operations.md").matchAll(
      /^\| `((?:max|timeout|\w+Timeout|\w+Interval)\w*)` \| ([^|]+) \|/gm,
    ),
  ];
  expect(documented.map(([, name, value]) => [name, value])).toEqual(written);
});

function inWords(name: string, value: number): string {
  if (value === 0) return "off";
  if (name === "maxHeaderSize") return `${value / 1_024} KiB`;
  return /Timeout$|Interval$/.test(name) ? `${value / 1_000} s` : value.toLocaleString("en-US");
}
