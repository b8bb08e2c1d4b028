import { hash, verify } from "node:crypto";

/** Bytes of an address, a mint, a blockhash. */
export const KEY_BYTES = 32;

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const ADDRESS_PATTERN = /^[1-9A-HJ-NP-Za-km-z]{32,44}$/;
/** 58^9 is the largest power of 58 that a double holds exactly: nine digits cost one BigInt division. */
const CHUNK_DIGITS = 9;
const CHUNK = 58n ** 9n;

/** Base58 of 32 bytes, as Solana writes addresses and blockhashes. */
export function encodeAddress(bytes: Buffer): string {
  let rest = BigInt(`0x${bytes.toString("hex")}`);
  let text = "";
  while (rest > 0n) {
    let chunk = Number(rest % CHUNK);
    rest /= CHUNK;
    let digits = "";
    for (let count = 0; count < CHUNK_DIGITS; count += 1) {
      digits = ALPHABET.charAt(chunk % 58) + digits;
      chunk = Math.floor(chunk / 58);
    }
    text = digits + text;
  }
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros === -1 ? bytes.length : zeros) + text.replace(/^1+/, "");
}

/** The 32 bytes of an address; undefined for anything that {@link encodeAddress} does not write. */
export function decodeAddress(address: string): Buffer | undefined {
  if (!ADDRESS_PATTERN.test(address)) return undefined;
  let value = 0n;
  for (let at = 0; at < address.length; at += CHUNK_DIGITS) {
    const digits = address.slice(at, at + CHUNK_DIGITS);
    let chunk = 0;
    for (const digit of digits) chunk = chunk * 58 + ALPHABET.indexOf(digit);
    value = value * 58n ** BigInt(digits.length) + BigInt(chunk);
  }
  const bytes = Buffer.from(value.toString(16).padStart(2 * KEY_BYTES, "0"), "hex");
  return bytes.length === KEY_BYTES && encodeAddress(bytes) === address ? bytes : undefined;
}

/** A program's address as bytes; throws for a text that is no address. */
export function programId(address: string): Buffer {
  const bytes = decodeAddress(address);
  if (bytes === undefined) throw new TypeError(`Not a Solana address: ${address}`);
  return bytes;
}

const ASSOCIATED_TOKEN_PROGRAM = programId("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
const PDA_MARKER = Buffer.from("ProgramDerivedAddress");
const MAX_KNOWN_ACCOUNTS = 4096;
const knownAccounts = new Map<string, Buffer>();

/**
 * The associated token account of an owner: the program-derived address with the highest bump that is off the curve.
 * Deriving takes about 30 µs, so the latest few thousand are remembered. Undefined: there is none (never seen: 2^-256).
 */
export function associatedTokenAccount(
  owner: Buffer,
  mint: Buffer,
  tokenProgram: Buffer,
): Buffer | undefined {
  const seeds = Buffer.concat([owner, tokenProgram, mint]);
  const name = seeds.toString("latin1");
  const known = knownAccounts.get(name);
  if (known !== undefined) return known;
  const derived = deriveAccount(seeds);
  const [oldest] = knownAccounts.keys();
  if (knownAccounts.size >= MAX_KNOWN_ACCOUNTS && oldest !== undefined) knownAccounts.delete(oldest);
  if (derived !== undefined) knownAccounts.set(name, derived);
  return derived;
}

function deriveAccount(seeds: Buffer): Buffer | undefined {
  const input = Buffer.concat([seeds, Buffer.alloc(1), ASSOCIATED_TOKEN_PROGRAM, PDA_MARKER]);
  for (let bump = 255; bump >= 0; bump -= 1) {
    input[seeds.length] = bump;
    // Not from Node's buffer pool: one remembered address would keep 8 KiB of it alive.
    const address = Buffer.alloc(KEY_BYTES, hash("sha256", input, "hex"), "hex");
    if (!isOnCurve(address)) return address;
  }
  return undefined;
}

const FIELD = 2n ** 255n - 19n;
const EDWARDS_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/**
 * Whether 32 bytes are a point of ed25519, as curve25519-dalek decompresses it. x² = (y² - 1) / (dy² + 1) has a root
 * exactly if numerator × denominator is a square (0 is one), which the Jacobi symbol tells without a modular power. Not
 * constant-time.
 */
function isOnCurve(bytes: Buffer): boolean {
  const y = BigInt.asUintN(255, BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`));
  const square = (y * y) % FIELD;
  return jacobi(((square - 1n) * (EDWARDS_D * square + 1n)) % FIELD) !== -1;
}

/** Jacobi symbol (value / FIELD): 1 for squares, -1 for the others, 0 for 0. */
function jacobi(value: bigint): number {
  let top = value < 0n ? value + FIELD : value;
  let bottom = FIELD;
  let sign = 1;
  while (top !== 0n) {
    while ((top & 0xffffffffn) === 0n) top >>= 32n;
    const low = Number(BigInt.asUintN(32, top));
    const twos = 31 - Math.clz32(low & -low);
    top >>= BigInt(twos);
    const eighth = Number(bottom & 7n);
    if (twos % 2 === 1 && (eighth === 3 || eighth === 5)) sign = -sign;
    if (eighth % 4 === 3 && (top & 3n) === 3n) sign = -sign;
    [top, bottom] = [bottom % top, top];
  }
  return bottom === 1n ? sign : 0;
}

/** y-coordinates (little-endian hex, without the sign bit) of the eight points of small order, and their non-canonical forms. */
const SMALL_ORDER_Y = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
const SMALL_ORDER: ReadonlySet<string> = new Set(SMALL_ORDER_Y.flatMap((y) => [y, withSignBit(y)]));

function withSignBit(y: string): string {
  const bytes = Buffer.from(y, "hex");
  bytes.writeUInt8(bytes.readUInt8(KEY_BYTES - 1) | 0x80, KEY_BYTES - 1);
  return bytes.toString("hex");
}

/**
 * Whether `signature` (64 bytes) is `key`'s ed25519 signature of `message`, by the chain's strict rules: canonical S, and
 * neither the key nor R of small order (Node 20 alone accepts those, and the chain would refuse the transaction later). Rejects if it
 * could not be checked, which says nothing of the payment.
 * On the thread pool: on the main thread it would be a quarter of a paid call's work.
 */
export async function isSignedBy(key: Buffer, message: Buffer, signature: Buffer): Promise<boolean> {
  if (SMALL_ORDER.has(key.toString("hex"))) return false;
  if (SMALL_ORDER.has(signature.toString("hex", 0, KEY_BYTES))) return false;
  // As a JWK: reading the same key as DER takes as long again as the verification itself.
  const jwk = { kty: "OKP", crv: "Ed25519", x: key.toString("base64url") };
  return new Promise((resolve, reject) => {
    verify(null, message, { key: jwk, format: "jwk" }, signature, (error, isValid) => {
      if (error === null) resolve(isValid);
      else reject(error);
    });
  });
}

/**
 * Reads a transaction's wire form by position. What does not fit moves it beyond the end: from there it yields zeros and
 * short buffers, and is never `complete`. Never throws.
 */
export class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Everything was read, and nothing beyond. */
  get complete(): boolean {
    return this.#at === this.#bytes.length;
  }

  byte(): number {
    const value = this.#bytes[this.#at] ?? 0;
    this.#at += 1;
    return value;
  }

  take(count: number): Buffer {
    const start = this.#at;
    this.#at += count;
    return this.#bytes.subarray(start, this.#at);
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  /** A compact-u16 in its shortest form. Its third byte is not read: a length that needs one is beyond any packet. */
  length(): number {
    const low = this.byte();
    const high = low < 0x80 ? 0 : this.byte();
    if (low >= 0x80 && high === 0) this.#at = Number.POSITIVE_INFINITY;
    return (low & 0x7f) | (high << 7);
  }

  /** A counted list; it stops where the bytes end, whatever the count says. */
  list<Item>(read: () => Item): Item[] {
    const count = this.length();
    const items: Item[] = [];
    while (items.length < count && this.#at <= this.#bytes.length) items.push(read());
    return items;
  }
}
