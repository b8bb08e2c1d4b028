import { randomBytes, timingSafeEqual } from "node:crypto";
import type { SessionKey } from "./session-keys.ts";

/** Time of issue (ms), 128 random bits, the first 128 bits of the MAC over both and the wallet; hex, since CAIP-122 wants letters and digits. */
const NONCE = /^([0-9a-f]{12}[0-9a-f]{32})([0-9a-f]{32})$/;
const TIME_DIGITS = 12;
const MAC_BYTES = 16;

/**
 * A nonce that carries its time and a MAC: issuing one stores nothing, and any gateway can check what another issued. It is for one
 * wallet: issuing is limited, and with a nonce that is good for every wallet any number of new ones could sign in.
 */
export function newNonce(keys: readonly SessionKey[], issuedAt: number, wallet: string): string {
  const [key] = keys;
  if (key === undefined) throw new Error("There is no session key.");
  const time = issuedAt.toString(16).padStart(TIME_DIGITS, "0");
  const body = `${time}${randomBytes(16).toString("hex")}`;
  return `${body}${macOf(key, body, wallet).toString("hex")}`;
}

/** When we issued it to this wallet, ms since 1970; undefined: we did not. Whether it was used before is the ledger's to say. */
export function issueTimeOf(keys: readonly SessionKey[], nonce: string, wallet: string): number | undefined {
  const [, body, mac] = NONCE.exec(nonce) ?? [];
  if (body === undefined || mac === undefined) return undefined;
  const given = Buffer.from(mac, "hex");
  const isOurs = keys.some((key) => timingSafeEqual(macOf(key, body, wallet), given));
  return isOurs ? Number.parseInt(body.slice(0, TIME_DIGITS), 16) : undefined;
}

function macOf(key: SessionKey, body: string, wallet: string): Buffer {
  return key.mac("nonce", `${body}\n${wallet}`).subarray(0, MAC_BYTES);
}
