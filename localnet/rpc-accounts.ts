import { type Address, type EncodedAccount, getBase58Decoder } from "@solana/kit";
import { z } from "zod";
import type { Chain } from "./chain.ts";
import { INVALID_PARAMS, RpcError, type RpcMethod, rpcMethod } from "./rpc.ts";
import { addressParam, contextConfig, contextFields, inContext } from "./rpc-params.ts";
import { readMint, readTokenAccount, TOKEN_2022_PROGRAM, TOKEN_PROGRAM, tokenAmount } from "./token.ts";

const encoding = z.enum(["base58", "base64", "jsonParsed"]).optional();
const dataSlice = z.object({ offset: z.int().nonnegative(), length: z.int().nonnegative() }).nullish();
const accountConfig = z.object({ ...contextFields, encoding, dataSlice }).nullish();
const tokenFilter = z.union([z.object({ mint: addressParam }), z.object({ programId: addressParam })]);

type AccountConfig = z.infer<typeof accountConfig>;

const INVALID_REQUEST = -32600;
const MAX_BASE58_BYTES = 128;
const MAX_ACCOUNTS = 100;
const base58 = getBase58Decoder();

/** The methods that read accounts. They show the newest state at every commitment. */
export function accountMethods(chain: Chain): readonly (readonly [string, RpcMethod])[] {
  const lastConfig = contextConfig.optional();
  const show = (of: Address, config: AccountConfig) => {
    const account = chain.account(of);
    return account === undefined ? null : accountInfo(chain, account, config);
  };

  return [
    [
      "getAccountInfo",
      rpcMethod(z.tuple([addressParam, accountConfig.optional()], z.unknown()), ([of, config]) =>
        inContext(chain, config, show(of, config)),
      ),
    ],
    [
      "getMultipleAccounts",
      rpcMethod(
        z.tuple([z.array(addressParam).max(MAX_ACCOUNTS), accountConfig.optional()], z.unknown()),
        ([list, config]) =>
          inContext(
            chain,
            config,
            list.map((of) => show(of, config)),
          ),
      ),
    ],
    [
      "getBalance",
      rpcMethod(z.tuple([addressParam, lastConfig], z.unknown()), ([of, config]) =>
        inContext(chain, config, chain.lamports(of)),
      ),
    ],
    [
      "getTokenAccountBalance",
      rpcMethod(z.tuple([addressParam, lastConfig], z.unknown()), ([of, config]) =>
        inContext(chain, config, tokenBalance(chain, of)),
      ),
    ],
    [
      "getTokenAccountsByOwner",
      rpcMethod(
        z.tuple([addressParam, tokenFilter, accountConfig.optional()], z.unknown()),
        ([owner, filter, config]) => {
          const found = tokenAccountsOf(chain, owner, filter);
          const value = found.map((each) => ({
            pubkey: each.address,
            account: accountInfo(chain, each, config),
          }));
          return inContext(chain, config, value);
        },
      ),
    ],
    [
      "getMinimumBalanceForRentExemption",
      rpcMethod(z.tuple([z.int().nonnegative()], z.unknown()), ([bytes]) =>
        chain.rentExemption(BigInt(bytes)),
      ),
    ],
  ];
}

function tokenBalance(chain: Chain, of: Address) {
  const account = chain.account(of);
  const token = account && readTokenAccount(account);
  if (token === undefined) throw new RpcError(INVALID_PARAMS, "Invalid param: could not find account");
  return tokenAmount(token.amount, decimalsOf(chain, token.mint));
}

function tokenAccountsOf(
  chain: Chain,
  owner: Address,
  filter: z.infer<typeof tokenFilter>,
): readonly EncodedAccount[] {
  const programs = "programId" in filter ? [filter.programId] : [TOKEN_PROGRAM, TOKEN_2022_PROGRAM];
  return programs
    .flatMap((program) => chain.accountsOf(program))
    .filter((account) => {
      const token = readTokenAccount(account);
      return token?.owner === owner && (!("mint" in filter) || token.mint === filter.mint);
    });
}

function decimalsOf(chain: Chain, mint: Address): number {
  const account = chain.account(mint);
  return (account && readMint(account)?.decimals) ?? 0;
}

function accountInfo(chain: Chain, account: EncodedAccount, config: AccountConfig) {
  return {
    data: accountData(chain, account, config),
    executable: account.executable,
    lamports: account.lamports,
    owner: account.programAddress,
    rentEpoch: 0,
    space: account.data.length,
  };
}

function accountData(chain: Chain, account: EncodedAccount, config: AccountConfig): unknown {
  const parsed = config?.encoding === "jsonParsed" ? parsedData(chain, account) : undefined;
  if (parsed !== undefined) return parsed;
  const slice = config?.dataSlice;
  const bytes = slice ? account.data.slice(slice.offset, slice.offset + slice.length) : account.data;
  if (config?.encoding === "base64" || config?.encoding === "jsonParsed") {
    return [Buffer.from(bytes).toString("base64"), "base64"];
  }
  if (bytes.length > MAX_BASE58_BYTES) {
    throw new RpcError(INVALID_REQUEST, "Encoded binary (base 58) data should be less than 128 bytes");
  }
  // Without an encoding a node answers in its oldest form, a bare string.
  const text = base58.decode(bytes);
  return config?.encoding === "base58" ? [text, "base58"] : text;
}

/** Undefined for what no parser knows: a node then falls back to base64. */
function parsedData(chain: Chain, account: EncodedAccount): unknown {
  const program = account.programAddress === TOKEN_PROGRAM ? "spl-token" : "spl-token-2022";
  const space = account.data.length;
  const token = readTokenAccount(account);
  if (token !== undefined) {
    const { isNative, mint, owner, state } = token;
    const amount = tokenAmount(token.amount, decimalsOf(chain, mint));
    const info = { isNative, mint, owner, state, tokenAmount: amount };
    return { program, parsed: { type: "account", info }, space };
  }
  const mint = readMint(account);
  if (mint === undefined) return undefined;
  return { program, parsed: { type: "mint", info: { ...mint, supply: mint.supply.toString() } }, space };
}
