/** A mint of one of the two token programs, as far as it decides whether its transfers are as good as cash. */
export interface MintAccount {
  /** Token or Token-2022, base58. */
  readonly program: string;
  readonly decimals: number;
  /** Numbers of its Token-2022 extensions (spl-token-2022, `ExtensionType`). */
  readonly extensions: readonly number[];
}

export const TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const TOKEN_2022_PROGRAM = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb";
/** A mint is of one of these, and its accounts with it. */
export const TOKEN_PROGRAMS = [TOKEN_PROGRAM, TOKEN_2022_PROGRAM];

const MINT_BYTES = 82;
/** Token-2022 pads a mint with extensions to the size of a token account; then comes a byte that tells the two apart. */
const ACCOUNT_TYPE_AT = 165;
const ACCOUNT_TYPE_MINT = 1;
const DECIMALS_AT = 44;
const INITIALIZED_AT = 45;
const ENTRY_HEAD_BYTES = 4;
const NO_MORE = 0;

/** Reads a mint's account; undefined for anything that is none, or that cannot be read to its end. */
export function readMintAccount(program: string, data: Buffer): MintAccount | undefined {
  if (program !== TOKEN_PROGRAM && program !== TOKEN_2022_PROGRAM) return undefined;
  if (data.length < MINT_BYTES || data[INITIALIZED_AT] !== 1) return undefined;
  const decimals = data.readUInt8(DECIMALS_AT);
  if (data.length === MINT_BYTES) return { program, decimals, extensions: [] };
  if (program === TOKEN_PROGRAM || data[ACCOUNT_TYPE_AT] !== ACCOUNT_TYPE_MINT) return undefined;
  const extensions = readExtensions(data.subarray(ACCOUNT_TYPE_AT + 1));
  return extensions && { program, decimals, extensions };
}

/** Type, length, value, one after the other; a type of 0 ends them before the end of the bytes. */
function readExtensions(bytes: Buffer): readonly number[] | undefined {
  const found: number[] = [];
  let at = 0;
  while (at + ENTRY_HEAD_BYTES <= bytes.length) {
    const type = bytes.readUInt16LE(at);
    if (type === NO_MORE) return found;
    found.push(type);
    at += ENTRY_HEAD_BYTES + bytes.readUInt16LE(at + 2);
    if (at > bytes.length) return undefined;
  }
  return found;
}

/**
 * Extensions that only describe a token: metadata and group, and the pointers to them. Every other one is refused, those that
 * nobody knows yet too. What each could do to a transfer that was credited:
 *
 * - TransferFeeConfig, ConfidentialTransferFeeConfig: less arrives than was sent, at a rate its authority may raise.
 * - TransferHook: a program of somebody's choice runs in each transfer and may refuse it.
 * - PermanentDelegate: may take the tokens back. NonTransferable: they cannot be passed on.
 * - DefaultAccountState, PausableConfig: accounts or transfers can be frozen as a whole.
 * - InterestBearingConfig, ScaledUiAmountConfig: the token that people see and price is another amount than the one that moves.
 * - MintCloseAuthority: the mint may be closed and come back at the same address as something else.
 * - ConfidentialTransferMint, ConfidentialMintBurn: amounts and supply that nobody can see.
 */
const HARMLESS: ReadonlySet<number> = new Set([18, 19, 20, 21, 22, 23]);

const NAMES: ReadonlyMap<number, string> = new Map([
  [1, "TransferFeeConfig"],
  [3, "MintCloseAuthority"],
  [4, "ConfidentialTransferMint"],
  [6, "DefaultAccountState"],
  [9, "NonTransferable"],
  [10, "InterestBearingConfig"],
  [12, "PermanentDelegate"],
  [14, "TransferHook"],
  [16, "ConfidentialTransferFeeConfig"],
  [24, "ConfidentialMintBurn"],
  [25, "ScaledUiAmountConfig"],
  [26, "PausableConfig"],
]);

/** Why a mint is not taken for the token of the settings; undefined: it is. */
export function refuseMint(mint: MintAccount | undefined, decimals: number): string | undefined {
  if (mint === undefined) return "is no mint of the Token or Token-2022 program on this network";
  const refused = mint.extensions.filter((type) => !HARMLESS.has(type));
  if (refused.length > 0) {
    const names = refused.map((type) => NAMES.get(type) ?? `number ${type}`).join(", ");
    return `has an extension with which a transfer may not arrive whole, or not for good: ${names}`;
  }
  if (mint.decimals !== decimals) return `has ${mint.decimals} decimals, not ${decimals}`;
  return undefined;
}
