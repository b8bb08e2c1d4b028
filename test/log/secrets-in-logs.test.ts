import { execFile } from "node:child_process";
import { expect, test } from "vitest";
import { createLogger, requestLine } from "../../server/log.ts";
import { built } from "../support/built.ts";

const SECRET = "planted-secret-value";

function capture(level = "info") {
  const lines: string[] = [];
  const logger = createLogger({ level, destination: { write: (line) => void lines.push(line) } });
  return { logger, lines };
}

test.each([
  "authorization",
  "Authorization",
  "proxy-authorization",
  "payment-signature",
  "PAYMENT-SIGNATURE",
  "paymentSignature",
  "x-payment",
  "X-PAYMENT",
  "payment-required",
  "cookie",
  "set-cookie",
  "apiKey",
  "api_key",
  "x-api-key",
  "secret",
  "cdpKeySecret",
  "memoSecrets",
  "token",
  "accessToken",
  "password",
  "adminToken",
  "pepper",
  "masterKeys",
  "sessionKeys",
  "sign-in-with-x",
  "SIGN-IN-WITH-X",
  "csrf_token",
  "x-csrf-token",
])("the value of %s is in no line, wherever it stands", (key) => {
  const { logger, lines } = capture();
  logger.info({ [key]: SECRET });
  logger.warn({ request: { headers: { [key]: SECRET } } }, "nested");
  logger.error({ list: [{ deep: { deeper: { [key]: [SECRET] } } }] });
  logger.info({ rawHeaders: ["host", "x", key, SECRET], pairs: [[key, SECRET]] });
  logger.error({ err: Object.assign(new Error("broken"), { config: { headers: { [key]: SECRET } } }) });
  expect(lines).toHaveLength(5);
  expect(lines.join("")).not.toContain(SECRET);
  expect(lines[0]).toContain("[redacted]");
});

test.each([
  [`refused: Authorization: Bearer ${SECRET}`],
  [`refused: Basic ${SECRET}==`],
  [`no answer of https://user:${SECRET}@rpc.example.com/`],
  [`no answer of https://rpc.example.com/?api-key=${SECRET}&x=1`],
])("credentials inside a text are taken out: %s", (text) => {
  const { logger, lines } = capture();
  logger.info(text);
  logger.info({ text }, text);
  logger.error(new Error("outer", { cause: new Error(text) }));
  logger.error({ url: URL.canParse(text) ? new URL(text) : text });
  expect(lines).toHaveLength(4);
  expect(lines.join("")).not.toContain(SECRET);
});

const TAIL = "7Qm2ZxV9cKpL4tRw8NbY1sHdJ6fGaE3uXyToiB";
const HEADER = Buffer.from('{"alg":"EdDSA","typ":"farebox+jwt"}').toString("base64url");
const JWT = `${HEADER}.${Buffer.from('{"iss":"me"}').toString("base64url")}.c2lnbmF0dXJl-X_`;

test.each([
  `sk_farebox_${TAIL}`,
  `sr_${TAIL}`,
  `sk_solrouter_${TAIL}`,
  `sk-srt-${TAIL}`,
  `sk-sr-${TAIL}`,
  `whsec_${TAIL.slice(0, 21)}-${TAIL.slice(0, 21)}`,
  JWT,
])("a credential by its look alone is in no line: %s", (credential) => {
  const { logger, lines } = capture();
  logger.info(`refused ${credential}`);
  logger.warn(
    { text: `{"key":"${credential}"}`, list: [`x=${credential};`] },
    `${"x".repeat(60)}_${credential}`,
  );
  logger.error({ err: new Error("outer", { cause: new Error(credential) }) });
  expect(lines).toHaveLength(3);
  for (const part of credential.split(".").concat(TAIL)) expect(lines.join("")).not.toContain(part);
});

test("ids, addresses, signatures and host names are no credentials", () => {
  const { logger, lines } = capture();
  const plain = [
    "key_0123456789abcdef0123",
    "acct_0123456789abcdef0123",
    "wallet:9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
    "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpFv8P8NJdTREpY1vzqKqZKvdp5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
    "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "https://eyewear.example.com/v1/chat/completions",
  ];
  logger.info({ plain });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ plain });
});

test("what is no secret stays: errors with code and cause, amounts, token counts", () => {
  const { logger, lines } = capture();
  const cause = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
  logger.error(
    { err: new Error("no facilitator", { cause }), amount: 20_000n, promptTokens: 3 },
    "verify failed",
  );
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    level: "error",
    msg: "verify failed",
    amount: "20000",
    promptTokens: 3,
    err: { type: "Error", message: "no facilitator", cause: { message: "connect", code: "ECONNREFUSED" } },
  });
});

test("objects of libraries, cycles and depth end a line, not the process", () => {
  const { logger, lines } = capture();
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  logger.info({ cycle, headers: new Headers({ authorization: SECRET }), map: new Map([["token", SECRET]]) });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ headers: "[Headers]", map: "[Map]" });
  expect(lines[0]).not.toContain(SECRET);
});

test("a request is one flat line", () => {
  const { logger, lines } = capture();
  requestLine(logger, {
    method: "POST",
    route: "POST /agent",
    tier: "x402",
    price: "0.02",
    status: 200,
    ms: 12.5,
    payer: "payer",
    transaction: "signature",
    code: undefined,
  });
  expect(lines).toHaveLength(1);
  const { time, ...line } = JSON.parse(lines[0] ?? "");
  expect(time).toBeTypeOf("number");
  expect(line).toEqual({
    level: "info",
    method: "POST",
    route: "POST /agent",
    tier: "x402",
    price: "0.02",
    status: 200,
    ms: 12.5,
    payer: "payer",
    transaction: "signature",
  });
});

test("a level keeps what is below it silent", () => {
  const { logger, lines } = capture("warn");
  logger.info("no");
  requestLine(logger, { method: "GET", route: "GET /", tier: "none", price: "0", status: 402, ms: 1 });
  logger.warn("yes");
  expect(lines).toHaveLength(1);
});

test.each(["flush", "exit"])("buffered lines are written, none lost and none twice: %s", async (mode) => {
  const module = JSON.stringify(built("server/log.js"));
  const program = `
    import { createLogger } from ${module};
    const logger = createLogger({ level: "info" });
    for (let i = 0; i < 500; i += 1) logger.info({ i }, "line");
    if (process.argv[1] === "exit") process.exit(0);
    await logger.flush();
    process.kill(process.pid, "SIGKILL");`;
  const args = ["--input-type=module", "-e", program, mode];
  const stdout = await new Promise<string>((resolve) => {
    execFile(process.execPath, args, (_killed, out) => resolve(out));
  });
  const lines = stdout.trim().split("\n");
  const numbers = lines.map((line): number => JSON.parse(line).i);
  // An exit does not wait for the write under way, which another thread may end after the exit's own.
  if (mode === "exit") numbers.sort((one, other) => one - other);
  expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => i));
});
