import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type AdminWorld, openAdminWorld } from "./admin-world.ts";

const SECRET = "sk-customer-planted-0123456789abcdef";
let world: AdminWorld;
let path: string;
async function open(withMasterKey: boolean): Promise<void> {
  world = await openAdminWorld(withMasterKey);
  const { json } = await world.call("POST", "/admin/accounts", {});
  path = `/admin/accounts/${String(json["id"])}/provider-keys`;
}
beforeEach(() => open(true));
afterEach(() => world.close());

test("a provider key is stored sealed, shown by its last four only, replaced and deleted", async () => {
  const put = await world.call("PUT", `${path}/default`, { secret: SECRET });
  expect(put).toMatchObject({ status: 200, json: { provider: "default", last4: "cdef" } });
  const replaced = await world.call("PUT", `${path}/default`, { secret: `${SECRET}9999` });
  expect(replaced.json).toMatchObject({ last4: "9999" });
  const listed = await world.call("GET", path);
  expect(listed.json["provider_keys"]).toHaveLength(1);
  for (const { text } of [put, replaced, listed]) expect(text).not.toContain("planted");
  for (const file of await readdir(world.dataDir)) {
    expect((await readFile(join(world.dataDir, file))).includes("planted")).toBe(false);
  }
  expect(await world.call("DELETE", `${path}/default`)).toMatchObject({
    status: 200,
    json: { deleted: true },
  });
  expect(await world.call("DELETE", `${path}/default`)).toMatchObject({ status: 404 });
  expect((await world.call("GET", path)).json).toEqual({ provider_keys: [] });
});

test.each([
  ["with a line break", "sk-planted\r\nx-evil: 1"],
  ["with a blank", "sk-planted key"],
  ["empty", ""],
  ["too long", `sk-planted${"x".repeat(1_100)}`],
  ["no text", 5],
  ["missing", undefined],
])("a secret %s is refused and not repeated", async (_, secret) => {
  const reply = await world.call("PUT", `${path}/default`, { secret });
  expect(reply).toMatchObject({ status: 400, json: { error: { code: "invalid_request" } } });
  expect(reply.text).not.toContain("planted");
});

test("a provider that takes no own keys is refused: its key would never be used", async () => {
  const reply = await world.call("PUT", `${path}/openai`, { secret: SECRET });
  expect(reply.json).toMatchObject({
    error: { code: "invalid_request", message: "provider: is not one that takes own keys: default" },
  });
});

test("without a master key none can be stored", async () => {
  await world.close();
  await open(false);
  const reply = await world.call("PUT", `${path}/default`, { secret: SECRET });
  expect(reply).toMatchObject({ status: 400 });
  expect(reply.text).toContain("FAREBOX_MASTER_KEY");
  expect(reply.text).not.toContain("planted");
});
