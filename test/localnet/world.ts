import {
  AccountRole,
  type Address,
  address,
  appendTransactionMessageInstructions,
  type Blockhash,
  createSolanaRpc,
  createTransactionMessage,
  generateKeyPairSigner,
  getAddressEncoder,
  getBase64EncodedWireTransaction,
  getProgramDerivedAddress,
  type KeyPairSigner,
  mainnet,
  pipe,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from "@solana/kit";
import type { PaymentPayload, PaymentRequired, PaymentRequirements } from "@x402/core/types";
import { x402Client } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";
import { type Localnet, type LocalnetOptions, startLocalnet } from "../../localnet/index.ts";

export const TOKEN_PROGRAM = address("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
const ASSOCIATED_TOKEN_PROGRAM = address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
const MEMO_PROGRAM = address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
export const PRICE = 20_000n;

export type SolanaRpc = ReturnType<typeof connect>;

function connect(url: string) {
  return createSolanaRpc(mainnet(url));
}

/** A local chain whose slots stand still, and what a test does with it. */
export interface World {
  readonly net: Localnet;
  readonly rpc: SolanaRpc;
  /** A wallet with 5 USDC and a little SOL. */
  payer(): Promise<KeyPairSigner>;
  close(): Promise<void>;
}

export async function openWorld(options: Partial<LocalnetOptions> = {}): Promise<World> {
  const net = await startLocalnet({ rpcPort: 0, facilitatorPort: 0, slotMs: 0, ...options });
  return {
    net,
    rpc: connect(net.rpcUrl),
    payer: async () => {
      const signer = await generateKeyPairSigner();
      await net.fund(signer.address, 5_000_000n);
      return signer;
    },
    close: net.close,
  };
}

export function requirements(net: Localnet, extra: Record<string, unknown> = {}): PaymentRequirements {
  return {
    scheme: "exact",
    network: net.network as PaymentRequirements["network"],
    asset: net.asset,
    amount: PRICE.toString(),
    payTo: net.merchant,
    maxTimeoutSeconds: 60,
    extra: { feePayer: net.feePayer, memo: "order-1", ...extra },
  };
}

/** The official client pays by protocol v2. */
export function payV2(
  net: Localnet,
  signer: KeyPairSigner,
  accepted: PaymentRequirements,
): Promise<PaymentPayload> {
  const client = new x402Client().register("solana:*", new ExactSvmScheme(signer, { rpcUrl: net.rpcUrl }));
  return client.createPaymentPayload({
    x402Version: 2,
    resource: { url: "http://127.0.0.1/agent" },
    accepts: [accepted],
  });
}

export function requirementsV1(net: Localnet) {
  return {
    scheme: "exact",
    network: "solana",
    asset: net.asset,
    maxAmountRequired: PRICE.toString(),
    payTo: net.merchant,
    maxTimeoutSeconds: 60,
    resource: "http://127.0.0.1/agent",
    description: "Asks a model",
    mimeType: "application/json",
    extra: { feePayer: net.feePayer },
  };
}

/** The official client pays by protocol v1. */
export function payV1(net: Localnet, signer: KeyPairSigner): Promise<PaymentPayload> {
  const client = new x402Client().registerV1("solana", new ExactSvmSchemeV1(signer, { rpcUrl: net.rpcUrl }));
  const required = { x402Version: 1, accepts: [requirementsV1(net)] };
  return client.createPaymentPayload(required as unknown as PaymentRequired);
}

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

export async function post(url: string, body: unknown): Promise<Answer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

export function facilitate(
  net: Localnet,
  step: "verify" | "settle",
  paymentPayload: PaymentPayload,
  paymentRequirements: unknown,
): Promise<Answer> {
  const { x402Version } = paymentPayload;
  return post(`${net.facilitatorUrl}/${step}`, { x402Version, paymentPayload, paymentRequirements });
}

export async function rpcCall(
  net: Localnet,
  method: string,
  params: readonly unknown[] = [],
): Promise<Answer["body"]> {
  return (await post(net.rpcUrl, { jsonrpc: "2.0", id: 1, method, params })).body;
}

export async function tokenAccountOf(owner: Address, mint: Address): Promise<Address> {
  const encoder = getAddressEncoder();
  const [account] = await getProgramDerivedAddress({
    programAddress: ASSOCIATED_TOKEN_PROGRAM,
    seeds: [owner, TOKEN_PROGRAM, mint].map((seed) => encoder.encode(seed)),
  });
  return account;
}

export interface TransferOptions {
  readonly amount?: bigint;
  readonly memo?: string;
  readonly blockhash?: Blockhash;
}

/** A plain transfer to the merchant that the payer signs alone, in wire form (base64). */
export async function signTransfer(
  world: World,
  payer: KeyPairSigner,
  options: TransferOptions = {},
): Promise<string> {
  const { net, rpc } = world;
  const mint = address(net.asset);
  const { value: latest } = await rpc.getLatestBlockhash().send();
  const data = Buffer.alloc(10);
  data.writeUInt8(12, 0);
  data.writeBigUInt64LE(options.amount ?? PRICE, 1);
  data.writeUInt8(6, 9);
  const transfer = {
    programAddress: TOKEN_PROGRAM,
    accounts: [
      { address: await tokenAccountOf(payer.address, mint), role: AccountRole.WRITABLE },
      { address: mint, role: AccountRole.READONLY },
      { address: await tokenAccountOf(address(net.merchant), mint), role: AccountRole.WRITABLE },
      { address: payer.address, role: AccountRole.READONLY_SIGNER },
    ],
    data: Uint8Array.from(data),
  };
  const memo = { programAddress: MEMO_PROGRAM, data: new TextEncoder().encode(options.memo ?? "by hand") };
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (draft) => setTransactionMessageFeePayerSigner(payer, draft),
    (draft) =>
      setTransactionMessageLifetimeUsingBlockhash(
        { ...latest, blockhash: options.blockhash ?? latest.blockhash },
        draft,
      ),
    (draft) => appendTransactionMessageInstructions([transfer, memo], draft),
  );
  return getBase64EncodedWireTransaction(await signTransactionMessageWithSigners(message));
}
