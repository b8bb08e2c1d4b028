import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { type AdminWorld, adminEnv, openAdminWorld, statusOf, usageFacts } from "./admin-world.ts";
import { jsonOf, type Ran, runFarebox } from "./run-farebox.ts";

/** The world's ledger stays open in this process, as a running gateway's would. */
let world: AdminWorld;
beforeAll(async () => {
  world = await openAdminWorld();
});
afterAll(() => world.close());

function farebox(...args: string[]): Promise<Ran> {
  return runFarebox(args, { cwd: world.dataDir, env: adminEnv(world.dataDir) });
}

test("an account and a key made on the command line are there for the process that has the store open", async () => {
  const account = String(jsonOf(await farebox("accounts", "create", "Acme", "--json"))["id"]);
  const credit = ["credit", account, "$12.84", "--reference", "invoice-1", "--json"];
  expect(jsonOf(await farebox(...credit))).toMatchObject({ balance_usd: "12.84", repeated: false });
  expect(jsonOf(await farebox(...credit))).toMatchObject({ balance_usd: "12.84", repeated: true });
  expect((await world.ledger.account(account))?.balance).toBe(12_840_000n);

  const settings = ["--label", "worker", "--limit", "5", "--reset", "daily", "--permissions", "chat:read"];
  const restrictions = [
    "--models",
    "gpt,other",
    "--providers",
    "default",
    "--rpm",
    "60",
    "--concurrency",
    "2",
  ];
  const create = ["keys", "create", "--account", account, ...settings, ...restrictions, "--expires", "30d"];
  const made = jsonOf(await farebox(...create, "--idempotency-key", "once", "--json"));
  expect(made).toMatchObject({
    label: "worker",
    limit_usd: "5.00",
    limit_reset: "daily",
    permissions: ["chat:read"],
    models: ["gpt", "other"],
    providers: ["default"],
    rpm: 60,
    concurrency: 2,
  });
  expect(Date.parse(String(made["expires_at"]))).toBeGreaterThan(Date.now() + 29 * 86_400_000);
  expect(Object.keys(made).slice(0, 2)).toEqual(["id", "key"]);
  expect(await statusOf(world.ledger, made["key"])).toBe("active");

  const again = await farebox(...create, "--idempotency-key", "once", "--json");
  expect(jsonOf(again)).toMatchObject({ id: made["id"], key: null, repeated: true });
  const list = await farebox("keys", "list", "--account", account, "--json");
  expect(jsonOf(list)["keys"]).toEqual([expect.objectContaining({ id: made["id"] })]);
  const show = await farebox("keys", "show", String(made["id"]));
  for (const { stdout, stderr } of [again, list, show]) expect(stdout + stderr).not.toContain(made["key"]);
});

test("a key is limited, rotated with grace and revoked while the store is open elsewhere", async () => {
  await world.ledger.createAccount("turning", "Turning");
  const made = jsonOf(await farebox("keys", "create", "--account", "turning", "--limit", "1", "--json"));
  const id = String(made["id"]);
  const limited = await farebox(
    "keys",
    "limit",
    id,
    "--limit",
    "none",
    "--rpm",
    "7",
    "--expires",
    "never",
    "--json",
  );
  expect(jsonOf(limited)).toMatchObject({ limit_usd: null, rpm: 7, expires_at: null });
  const rotated = jsonOf(await farebox("keys", "rotate", id, "--grace", "15m", "--json"));
  expect(rotated).toMatchObject({ id, rpm: 7 });
  expect(await statusOf(world.ledger, made["key"])).toBe("active");
  expect(await statusOf(world.ledger, rotated["key"])).toBe("active");
  expect(jsonOf(await farebox("keys", "revoke", id, "--json"))).toMatchObject({ status: "revoked" });
  expect(await statusOf(world.ledger, rotated["key"])).toBe("revoked");
  const refused = await farebox("keys", "rotate", id);
  expect(refused).toEqual({
    code: 1,
    stdout: "",
    stderr: "farebox keys rotate: The key is revoked or expired.\n",
  });
});

test("a key for a model or a provider that is not there is made, with a word about it", async () => {
  await world.ledger.createAccount("slips", "Slips");
  const settings = ["--models", "openai/gpt-4o-mini,gpt-40", "--providers", "defualt"];
  const made = await farebox("keys", "create", "--account", "slips", ...settings);
  expect(made.code).toBe(0);
  expect(made.stderr).toMatch(
    /^note: --models names what is not configured: gpt-40\. There are: .*openai\/gpt-4o-mini.*\nnote: --providers names what is not configured: defualt\. There are: .*default.*\n$/,
  );
  const [key] = await world.ledger.keys("slips");
  const set = ["keys", "limit", key?.id ?? "", "--models"];
  expect((await farebox(...set, "gpt-40")).stderr).toContain(
    "--models names what is not configured: gpt-40.",
  );
  expect(await farebox(...set, "all")).toMatchObject({ code: 0, stderr: "" });
});

test("processes that do the same at once do it once", async () => {
  await world.ledger.createAccount("race", "Race");
  const credit = ["credit", "race", "5", "--reference", "once", "--json"];
  const create = ["keys", "create", "--account", "race", "--idempotency-key", "race", "--json"];
  const ran = await Promise.all([credit, credit, credit, create, create].map((args) => farebox(...args)));
  const answers = ran.map(jsonOf);
  expect(answers.filter(({ repeated }) => repeated === false)).toHaveLength(2);
  expect((await world.ledger.account("race"))?.balance).toBe(5_000_000n);
  expect(await world.ledger.keys("race")).toHaveLength(1);
  expect(answers.filter(({ key }) => typeof key === "string")).toHaveLength(1);
});

test("people see tables, and the secret with a word of warning", async () => {
  await world.ledger.createAccount("people", "People");
  const made = await farebox(
    "keys",
    "create",
    "--account",
    "people",
    "--label",
    "desk",
    "--prefix",
    "sk_farebox_",
  );
  expect(made.stdout).toMatch(/^id +key_\w+\nkey +sk_farebox_\w+\n/);
  expect(made.stdout).toContain("not shown again");
  const accounts = await farebox("accounts", "list");
  expect(accounts.stdout).toMatch(/^id +name +balance_usd +held_usd +created_at\n/);
  expect(accounts.stdout).toMatch(/^people +People +0\.00 +0\.00 /m);
  const keys = await farebox("keys", "list");
  expect(keys.stdout).toMatch(/ people +desk +sk_farebox_ +\w{4} +active +0\.00 +-/);
});

test("usage is shown as a table, as JSON and as CSV", async () => {
  await world.ledger.recordUsage(usageFacts({ account: "metered", keyId: "key_m", keyLabel: "=evil" }), 7n);
  const since = ["--since", "1h"];
  const json = jsonOf(await farebox("usage", "--account", "metered", ...since, "--json"));
  expect(json["usage"]).toEqual([expect.objectContaining({ key_id: "key_m", charged_micro_usd: "7" })]);
  const csv = await farebox("usage", "--key", "key_m", "--csv", "--limit", "5");
  expect(csv.stdout.split("\r\n")).toHaveLength(3);
  expect(csv.stdout).toContain(",'=evil,");
  const people = await farebox("usage", "--key", "key_m");
  expect(people.stdout).toContain("0.000007");
});

test("a provider key comes from stdin or the environment and is shown by its last four", async () => {
  await world.ledger.createAccount("own", "Own");
  const secret = "sk-own-planted-0123456789abcdef";
  const options = { cwd: world.dataDir, env: adminEnv(world.dataDir) };
  const set = ["provider-keys", "set", "own", "default", "--json"];
  const piped = await runFarebox(set, { ...options, stdin: `${secret}\n` });
  expect(jsonOf(piped)).toMatchObject({ provider: "default", last4: "cdef" });
  const env = { ...options.env, FAREBOX_PROVIDER_KEY: `${secret}4321` };
  expect(jsonOf(await runFarebox(set, { ...options, env }))).toMatchObject({ last4: "4321" });
  const asArgument = await farebox("provider-keys", "set", "own", "default", secret);
  expect(asArgument.code).toBe(2);
  for (const { stdout, stderr } of [piped, asArgument]) expect(stdout + stderr).not.toContain("planted");
  expect((await farebox("provider-keys", "list", "own")).stdout).toMatch(/default +4321 +active/);
  expect(jsonOf(await farebox("provider-keys", "delete", "own", "default", "--json"))).toMatchObject({
    deleted: true,
  });
  expect((await farebox("provider-keys", "delete", "own", "default")).code).toBe(1);
});

test("a rotation of the master key sees which provider keys are still under the old one, of every account", async () => {
  const environment = adminEnv(world.dataDir);
  const older = environment["FAREBOX_MASTER_KEY"] ?? "";
  const newer = Buffer.alloc(32, 8).toString("hex");
  const run = (masterKey: string, args: readonly string[], stdin = "") =>
    runFarebox([...args, "--json"], {
      cwd: world.dataDir,
      env: { ...environment, FAREBOX_MASTER_KEY: masterKey },
      stdin,
    });
  for (const account of ["left", "moved"]) {
    await world.ledger.createAccount(account, account);
    jsonOf(await run(older, ["provider-keys", "set", account, "default"], "sk-planted-0123456789"));
  }
  jsonOf(
    await run(`${newer},${older}`, ["provider-keys", "set", "moved", "default"], "sk-planted-9876543210"),
  );
  const standing = async (masterKey: string) => {
    const { provider_keys: keys } = jsonOf(await run(masterKey, ["provider-keys", "list"]));
    return (keys as { account: string; status: string }[])
      .filter(({ account }) => account === "left" || account === "moved")
      .map(({ account, status }) => `${account} ${status}`)
      .sort();
  };
  expect(await standing(older)).toEqual(["left active", "moved unusable"]);
  expect(await standing(`${newer},${older}`)).toEqual(["left outdated", "moved active"]);
  expect(await standing(newer)).toEqual(["left unusable", "moved active"]);
  expect((await farebox("provider-keys", "list")).stdout).toMatch(/left +default +6789 +active/);
  const { json } = await world.call("GET", "/admin/provider-keys");
  expect(json["provider_keys"]).toContainEqual(
    expect.objectContaining({ account: "left", status: "active" }),
  );
});

test.each([
  [["keys", "create"], 2, "farebox keys create: --account is missing\n"],
  [["keys", "create", "--account", "nobody"], 1, "farebox keys create: There is no such account."],
  [["keys", "show", "key_none"], 1, "farebox keys show: There is no such key."],
  [["keys", "show"], 2, "farebox keys show: an argument is missing"],
  [["keys", "show", "a", "b"], 2, "farebox keys show: too many arguments"],
  [["keys"], 2, "farebox keys: say what to do"],
  [
    ["keys", "create", "--account", "a", "--models", "none"],
    2,
    "farebox keys create: --models: all takes the restriction away",
  ],
  [
    ["keys", "limit", "key_m", "--providers", "never"],
    2,
    "farebox keys limit: --providers: all takes the restriction away",
  ],
  [["keys", "burn"], 2, "farebox keys: say what to do"],
  [["credit", "acct", "1.0000001", "--reference", "r"], 2, "farebox credit: amount: write dollars"],
  [["credit", "acct", "5"], 2, "farebox credit: --reference is missing\n"],
  [["credit", "acct", "-5", "--reference", "r"], 2, "farebox credit: the amount must be positive\n"],
  [["credit", "acct", "-$5", "--reference", "r"], 2, "farebox credit: the amount must be positive\n"],
  [
    ["keys", "rotate", "k", "--grace", "2h"],
    2,
    "farebox keys rotate: grace: write now, 1m, 15m, 1h, 6h or 24h",
  ],
  [["keys", "list", "--colour", "red"], 2, "farebox keys list: Unknown option '--colour'"],
  [["usage", "--since", "yesterday"], 2, "farebox usage: since: write a date or time"],
  [
    ["usage", "--csv", "--json"],
    2,
    '{"error":{"code":"invalid_request","message":"write --csv or --json, not both"}}',
  ],
  [["usage", "--key", "key_typo"], 1, "farebox usage: There is no such key."],
  [["usage", "--key", "key_typo", "--csv"], 1, "farebox usage: There is no such key."],
  [["credit", "a", "1", "--reference", ""], 2, "farebox credit: reference: must not be empty"],
])("%j exits %i and says why", async (args, code, message) => {
  const result = await farebox(...args);
  expect(result).toMatchObject({ code, stdout: "" });
  expect(result.stderr.startsWith(message)).toBe(true);
});

test("with --json a refusal is JSON too", async () => {
  const { code, stderr } = await farebox("keys", "show", "key_none", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(stderr)).toEqual({ error: { code: "key_not_found", message: "There is no such key." } });
});

test.each([
  [["nope"], 'there is no command "nope"'],
  [["keys"], "say what to do"],
  [["credit"], "an argument is missing"],
  [["usage", "--colour"], "Unknown option '--colour'"],
  [["check", "--credit"], "--credit and --since go with --chain"],
])("with --json a wrong command line is JSON too: %j", async (args, message) => {
  const { code, stdout, stderr } = await farebox(...args, "--json");
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(JSON.parse(stderr)).toEqual({ error: { code: "invalid_request", message } });
});

test("a table of calls that is not all of them says how to see the rest", async () => {
  for (const charged of [1n, 2n]) await world.ledger.recordUsage(usageFacts({ keyId: "key_more" }), charged);
  const first = await farebox("usage", "--key", "key_more", "--limit", "1");
  const [, before = ""] =
    /^farebox usage: what is older, if anything: --before (\d+)\n$/.exec(first.stderr) ?? [];
  const last = await farebox("usage", "--key", "key_more", "--limit", "2", "--before", before);
  expect(first.stdout).toContain("0.000002");
  expect(last).toMatchObject({ code: 0, stderr: "" });
  expect(last.stdout).toContain("0.000001");
});

test("with --json a fault is JSON too", async () => {
  const away = { ...adminEnv(world.dataDir), LEDGER_URL: "redis://127.0.0.1:1" };
  const { code, stderr } = await runFarebox(["keys", "list", "--json"], { cwd: world.dataDir, env: away });
  expect(code).toBe(1);
  expect(JSON.parse(stderr)).toMatchObject({
    error: { code: "internal_error", message: expect.stringContaining("cannot be reached") },
  });
});

test("a disk without room for the ledger's files is named", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "farebox-full-"));
  onTestFinished(() => rm(dataDir, { recursive: true }));
  const full = { cwd: dataDir, env: adminEnv(dataDir) };
  await runFarebox(["accounts", "create", "--id", "a"], full);
  // No file may grow; what is written to pipes is not counted.
  const { code, stderr } = await runFarebox(["accounts", "list"], { ...full, fileBlocks: 0 });
  expect(code).toBe(1);
  expect(stderr).toContain(
    `farebox: The ledger at ${join(dataDir, "ledger.sqlite")} cannot be written (SQLITE_`,
  );
  expect(stderr).toContain("Is its disk full?");
});

test.each([
  [["keys", "create", "--help"], "Usage: farebox keys create --account A"],
  [["keys", "--help"], "Usage: farebox keys COMMAND"],
  [["usage", "-h"], "Usage: farebox usage"],
  [["token", "--help"], "Usage: farebox token --account A"],
])("%j is help", async (args, text) => {
  const result = await farebox(...args);
  expect(result).toMatchObject({ code: 0, stderr: "" });
  expect(result.stdout.startsWith(text)).toBe(true);
});
