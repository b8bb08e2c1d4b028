import { generateKeyPairSigner, type KeyPairSigner } from "@solana/kit";
import { Farebox, type PaymentEvent, type WalletOptions } from "../../client/farebox.ts";
import type { Shop } from "../support/shop.ts";

/** A client with a wallet of its own, and what it has done. */
export interface Customer {
  readonly farebox: Farebox;
  readonly signer: KeyPairSigner;
  readonly events: PaymentEvent[];
  /** Transactions that the wallet was asked to sign. */
  readonly signed: () => number;
  /** The first event, to come, that has these fields. */
  event(type: PaymentEvent["type"], reason?: string): Promise<PaymentEvent>;
}

/** Opens a wallet with 5 USDC and a client on it. */
export async function openCustomer(
  shop: Pick<Shop, "localnet" | "url">,
  options: Partial<WalletOptions> = {},
): Promise<Customer> {
  const signer = await generateKeyPairSigner();
  await shop.localnet.fund(signer.address, 5_000_000n);
  let signed = 0;
  const counted: KeyPairSigner = {
    ...signer,
    signTransactions: (transactions, config) => {
      signed += transactions.length;
      return signer.signTransactions(transactions, config);
    },
  };
  const events: PaymentEvent[] = [];
  const waiting: { type: string; reason: string | undefined; resolve: (event: PaymentEvent) => void }[] = [];
  const onEvent = (event: PaymentEvent) => {
    events.push(event);
    for (const { type, reason, resolve } of waiting) {
      if (event.type !== type) continue;
      if (reason === undefined || (event.type === "resend" && event.reason === reason)) resolve(event);
    }
  };
  const farebox = new Farebox({
    baseUrl: shop.url,
    rpcUrl: shop.localnet.rpcUrl,
    wallet: counted,
    onEvent,
    ...options,
  });
  const event = (type: PaymentEvent["type"], reason?: string) =>
    new Promise<PaymentEvent>((resolve) => void waiting.push({ type, reason, resolve }));
  return { farebox, signer, events, signed: () => signed, event };
}

/** How often this wallet's money moved to the shop. */
export function transfersOf({ signer }: Customer, shop: Pick<Shop, "localnet">): number {
  const { localnet } = shop;
  return localnet
    .transfersTo(localnet.merchant)
    .filter(({ payer, amount }) => payer === signer.address && amount > 0n).length;
}
