import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { mintKey } from "../../server/ledger/keys.ts";
import { CALL_PATH } from "../keyed/lane.ts";
import { CALL_BODY } from "../keyed/load.ts";
import { type Attack, holdMany, type Spoils, sendMany } from "./attacks.ts";
import { type Fared, fared, type GoodCallers, watchGoodCallers } from "./callers.ts";
import { type AttackedGround, prepareAttackedGround, SOLD_PATH } from "./ground.ts";

/** One attack, and how the good callers fared meanwhile. */
export interface Siege extends Fared, Spoils {
  readonly name: string;
  /** The server's resident memory at its highest, above what it was before the first attack, MiB. */
  readonly growthMib: number;
  /** Questions that reached the facilitator. */
  readonly asked: number;
}

export interface AbuseResults {
  /** The good callers alone. */
  readonly peace: Fared;
  readonly sieges: readonly Siege[];
}

/** Callers are watched for so many windows during each attack, and before each while nobody attacks. */
const WINDOWS = 5;
const WINDOWS_OF_PEACE = 3;
/** Connections that say nothing. */
const IDLE = 10_000;
/** Half of them with headers that never end, half with such bodies. */
const SLOW = 2_000;
/** Payments that die in the local checks, and keys that do not exist. */
const BOGUS = 100_000;
/** Payments that only the facilitator can refuse; each is sent several times. */
const SIGNED = 500;
const SIGNED_SENT = 5_000;

/** After each attack, while its connections are closed. */
const PAUSE_MS = 2_000;
const SAMPLE_EVERY_MS = 50;
const MIB = 1024 * 1024;

/** One attack after the other, while good callers go on calling. Needs wrk. */
export async function measureAbuse(): Promise<AbuseResults> {
  const ground = await prepareAttackedGround();
  try {
    // What grows in this time has not to do with attacks.
    await watchGoodCallers(ground, WINDOWS);
    const before = ground.server.rssBytes();
    // Accepting connections, too, has to be compiled first.
    await besiege(ground, "warm-up", idle, before, 1);
    await wait(PAUSE_MS);
    const peaceful: GoodCallers[] = [];
    const sieges: Siege[] = [];
    for (const [name, prepare] of ATTACKS) {
      peaceful.push(...(await watchGoodCallers(ground, WINDOWS_OF_PEACE)));
      tell("nobody attacks", fared(peaceful));
      const siege = await besiege(ground, name, await prepare(ground), before, WINDOWS);
      tell(name, siege);
      sieges.push(siege);
      await wait(PAUSE_MS);
    }
    return { peace: fared(peaceful), sieges };
  } finally {
    await ground.close();
  }
}

const idle = holdMany(IDLE, () => "", false);

function slowly(index: number): string {
  return index % 2 === 0
    ? `POST ${CALL_PATH} HTTP/1.1\r\nHost: bench\r\nX-Slow: `
    : `POST ${CALL_PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${mintKey("sk_farebox_").secret}\r\nContent-Length: 100000\r\n\r\n`;
}

/** Payments are signed right before they are sent: terms are good for some minutes. */
const ATTACKS: readonly (readonly [string, (ground: AttackedGround) => Promise<Attack>])[] = [
  ["idle connections", async () => idle],
  ["slow headers and bodies", async () => holdMany(SLOW, slowly, true)],
  ["bogus payments", async (on) => sendMany((await sign(on)).flatMap(forge).map(paidRequest), BOGUS)],
  ["bogus keys", async () => sendMany(Array.from({ length: 1_000 }, keyedRequest), BOGUS)],
  ["payments that are refused", async (on) => sendMany((await sign(on)).map(paidRequest), SIGNED_SENT)],
];

function sign(ground: AttackedGround): Promise<readonly string[]> {
  return ground.sign(ground.server.url + SOLD_PATH, SIGNED);
}

async function besiege(
  ground: AttackedGround,
  name: string,
  attack: Attack,
  before: number,
  windows: number,
): Promise<Siege> {
  const { server } = ground;
  const askedBefore = await ground.asked();
  const over = new AbortController();
  let ended = false;
  const spoils = attack(Number(new URL(server.url).port), over.signal).finally(() => {
    ended = true;
  });
  const callers = watchGoodCallers(ground, windows).finally(() => over.abort());
  let peak = 0;
  while (!ended) {
    peak = Math.max(peak, server.rssBytes());
    await wait(SAMPLE_EVERY_MS);
  }
  const asked = (await ground.asked()) - askedBefore;
  return { name, ...(await spoils), ...fared(await callers), growthMib: (peak - before) / MIB, asked };
}

/** Three that look like one that was signed: another token, another signature, half of it. The first costs us most. */
function forge(payment: string): readonly string[] {
  const payload = JSON.parse(Buffer.from(payment, "base64").toString("utf8"));
  const token = randomBytes(48).toString("base64url");
  const accepted = { ...payload.accepted, extra: { ...payload.accepted.extra, token } };
  const bytes = Buffer.from(payload.payload.transaction, "base64");
  // The signatures come first: one of the fee payer, still empty, and one of the wallet.
  randomBytes(64).copy(bytes, 1 + 64);
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64");
  return [
    encode({ ...payload, accepted }),
    encode({ ...payload, payload: { transaction: bytes.toString("base64") } }),
    payment.slice(0, payment.length / 2),
  ];
}

function paidRequest(payment: string): Buffer {
  return Buffer.from(`GET ${SOLD_PATH} HTTP/1.1\r\nHost: bench\r\nPAYMENT-SIGNATURE: ${payment}\r\n\r\n`);
}

/** Of the right form, checksum and all: only the ledger knows that there is no such key. */
function keyedRequest(): Buffer {
  const head = [
    `POST ${CALL_PATH} HTTP/1.1`,
    "Host: bench",
    "Content-Type: application/json",
    `Authorization: Bearer ${mintKey("sk_farebox_").secret}`,
    `Content-Length: ${CALL_BODY.length}`,
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${CALL_BODY}`);
}

function tell(what: string, value: object): void {
  process.stderr.write(`  ${what}: ${JSON.stringify(value)}\n`);
}
