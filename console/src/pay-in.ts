import { address } from "@solana/kit";
import { z } from "zod";
import { FareboxError } from "../../client/farebox-error.ts";
import { type Payment, paymentSchema } from "../../client/payment.ts";
import { createPaymentFetch, type PaymentEvent, type PaymentFetch } from "../../client/payment-fetch.ts";
import { formatPrice, readTerms, type Terms } from "../../client/terms.ts";
import { readTokenBalance } from "../../client/token-balance.ts";
import { creditSchema, errorSchema, type Token } from "./answers.ts";
import { ApiError } from "./api.ts";
import { plainDollars } from "./money.ts";
import { createWalletSigner } from "./wallet/signer.ts";
import { type Connected, WalletError } from "./wallet/wallets.ts";

/** How far a top-up is. */
export type Progress =
  | { readonly step: "price" }
  | { readonly step: "wallet" }
  | { readonly step: "settling"; readonly attempt: number };

export interface Credited {
  readonly amount: string;
  readonly balance: string;
  readonly transaction: string | null;
}

/**
 * The unfinished payment of each wallet, kept across reloads: it is sent again and no second one is signed. It holds no key. One
 * entry for each wallet, so that another person's top-up in this browser does not take its place.
 */
const storedUnder = (wallet: string): string => `farebox-unfinished-topup:${wallet}`;
/** Long after its blockhash and its stored answer: whatever became of it is in the ledger by then. */
const DECIDED_AFTER_MS = 3_600_000;
const RPC_PATH = "/account/rpc";
const ONE_AT_A_TIME =
  "A top-up of this wallet has no answer yet: finish it first. Load this page again to see it. This one was not sent.";

const unfinishedSchema = z.object({
  wallet: z.string(),
  /** Micro-dollars, exact. */
  amount: z.string().regex(/^\d+$/),
  payment: paymentSchema,
});
type Unfinished = Readonly<z.infer<typeof unfinishedSchema>>;

/** A top-up that was signed and has no end yet. */
export function unfinishedTopUp(wallet: string): Unfinished | undefined {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(storedUnder(wallet)) ?? "null");
    const { data } = unfinishedSchema.safeParse(stored);
    return data?.wallet === wallet ? data : undefined;
  } catch {
    return undefined;
  }
}

/** Whether its answer can teach nothing more: it may be let go, so that it does not stand in the way for ever. */
export function isDecided({ payment }: Unfinished): boolean {
  return Date.now() - payment.signedAt > DECIDED_AFTER_MS;
}

/** Only this one: another tab may have signed since. */
export function letGo({ wallet, payment }: Unfinished): void {
  const stored = unfinishedTopUp(wallet);
  if (stored === undefined || proofOf(stored.payment) !== proofOf(payment)) return;
  localStorage.removeItem(storedUnder(wallet));
}

function proofOf({ headers }: Payment): string | undefined {
  return headers["PAYMENT-SIGNATURE"];
}

/** What a person pays with: USDC, or so much of a token as {@link quote} said. */
export type Means =
  | { readonly token: undefined }
  | {
      readonly token: Token;
      /** Atomic units. */
      readonly amount: bigint;
    };

/** What a top-up costs in a token, in its atomic units. Nothing is signed. */
export async function quote(amount: bigint, { mint }: Token): Promise<bigint> {
  const response = await fetch(...orderOf(amount));
  await response.body?.cancel();
  return readTerms(response, undefined, mint).price;
}

/** Who pays, and on which network (CAIP-2). */
export interface Payer {
  readonly connected: Connected;
  readonly network: string;
}

/**
 * Pays `amount` in, once: asks for the terms, has the wallet sign them, and sends the same payment until the service says what
 * became of it. Rejects with WalletError, ApiError or FareboxError; a payment without an end stays kept for {@link resumeTopUp}.
 */
export async function topUp(
  { connected, network }: Payer,
  amount: bigint,
  means: Means,
  tell: (progress: Progress) => void,
): Promise<Credited> {
  const wallet = connected.account.address;
  let signed: Unfinished | undefined;
  let leave = () => {};
  tell({ step: "price" });
  const pay = createPaymentFetch({
    wallet: createWalletSigner(connected, network, async () => {
      leave = await takeTurn(wallet);
    }),
    rpcUrl: new URL(RPC_PATH, location.origin).href,
    networks: [network],
    maxPrice: amount,
    ...(means.token === undefined ? {} : { asset: assetOf(means.token, means.amount) }),
    wholeAnswers: true,
    beforeSigning: async (terms) => {
      // Another tab may have signed one since this page was drawn.
      checkAlone(wallet);
      await checkFunds(wallet, terms);
      tell({ step: "wallet" });
    },
    onEvent: (event) => {
      if (event.type === "signed") {
        // Or signed and was closed while the wallet asked.
        checkAlone(wallet);
        signed = { wallet, amount: amount.toString(), payment: event.payment };
        localStorage.setItem(storedUnder(wallet), JSON.stringify(signed));
      }
      follow(event, tell);
    },
  });
  return finish(
    pay,
    () => pay.ask(...orderOf(amount)),
    () => signed,
  ).finally(() => leave());
}

function checkAlone(wallet: string): void {
  if (unfinishedTopUp(wallet) !== undefined) throw new WalletError(ONE_AT_A_TIME);
}

/**
 * From a signature to its end this tab alone pays with the wallet; the result ends that. The storage alone does not tell: tabs are
 * processes of their own, which see each other's entries a moment late. Rejects with WalletError while another tab pays.
 */
function takeTurn(wallet: string): Promise<() => void> {
  // Only pages from https or this machine have locks.
  if (!("locks" in navigator)) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    const turn = navigator.locks.request(storedUnder(wallet), { ifAvailable: true }, (lock) => {
      if (lock === null) throw new WalletError(ONE_AT_A_TIME);
      return new Promise<void>((leave) => resolve(leave));
    });
    turn.catch(reject);
  });
}

/** Sends a kept payment again. */
export async function resumeTopUp(
  unfinished: Unfinished,
  tell: (progress: Progress) => void,
): Promise<Credited> {
  tell({ step: "settling", attempt: 1 });
  const pay = createPaymentFetch({
    wallet: () => Promise.reject(new WalletError("Nothing is signed anew.")),
    maxPrice: 0n,
    wholeAnswers: true,
    onEvent: (event) => follow(event, tell),
  });
  return finish(
    pay,
    () => pay.resume(unfinished.payment),
    () => unfinished,
  );
}

async function finish(
  pay: PaymentFetch,
  ask: () => Promise<{ readonly response: Response }>,
  signed: () => Unfinished | undefined,
): Promise<Credited> {
  try {
    const { response } = await ask();
    const json: unknown = await response.json().catch(() => undefined);
    const credited = creditSchema.safeParse(json);
    if (response.ok && credited.success) return credited.data;
    const parsed = errorSchema.safeParse(json);
    const { code, message } = parsed.success
      ? parsed.data.error
      : { code: readCode(json), message: `The payment came to nothing: ${readCode(json)}.` };
    throw new ApiError(code, message, response.status);
  } catch (error) {
    // The cause is the wallet's own word; the client's says only that signing failed.
    throw error instanceof FareboxError && error.cause instanceof WalletError ? error.cause : error;
  } finally {
    const sent = signed();
    if (sent !== undefined && pay.unfinished().length === 0) letGo(sent);
  }
}

/** A 402 has its code under `error`, as x402 says. */
function readCode(json: unknown): string {
  const error = typeof json === "object" && json !== null && "error" in json ? json.error : undefined;
  return typeof error === "string" ? error : "unreadable";
}

function follow(event: PaymentEvent, tell: (progress: Progress) => void): void {
  if (event.type === "signed") tell({ step: "settling", attempt: 1 });
  if (event.type === "resend") tell({ step: "settling", attempt: event.attempt });
}

/** What the wallet holds of a mint of the classic token program, in its atomic units; undefined: the chain cannot be read now. */
export function readFunds(wallet: string, mint: string): Promise<bigint | undefined> {
  const rpc = new URL(RPC_PATH, location.origin).href;
  return readTokenBalance(rpc, address(wallet), mint).catch(() => undefined);
}

async function checkFunds(wallet: string, terms: Terms): Promise<void> {
  const rpc = new URL(RPC_PATH, location.origin).href;
  const has = await readTokenBalance(rpc, address(wallet), terms.asset, terms.token?.program);
  if (has >= terms.price) return;
  throw new WalletError(
    `This wallet holds ${formatPrice(terms, has)}, and the top-up costs ${formatPrice(terms, terms.price)}. Nothing was signed.`,
  );
}

function orderOf(amount: bigint): [URL, RequestInit] {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ amount: plainDollars(amount) });
  return [new URL("/topup", location.origin), { method: "POST", headers, body }];
}

/** The limit is what the person was shown. */
function assetOf({ mint, symbol }: Token, amount: bigint) {
  return { mint, name: symbol, maxAmount: amount };
}
