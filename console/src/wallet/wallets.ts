import {
  SolanaSignMessage,
  type SolanaSignMessageFeature,
  SolanaSignTransaction,
  type SolanaSignTransactionFeature,
} from "@solana/wallet-standard-features";
import { getWallets } from "@wallet-standard/app";
import type { Wallet, WalletAccount } from "@wallet-standard/base";
import {
  StandardConnect,
  type StandardConnectFeature,
  StandardEvents,
  type StandardEventsFeature,
} from "@wallet-standard/features";

/** A wallet that can do what the console needs: connect, sign a text, sign a transaction. */
export type SolanaWallet = Wallet & {
  readonly features: StandardConnectFeature & SolanaSignMessageFeature & SolanaSignTransactionFeature;
};

/** One account that a wallet has let us see. */
export interface Connected {
  readonly wallet: SolanaWallet;
  readonly account: WalletAccount;
}

/** Why a wallet did nothing; the message is for people. */
export class WalletError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "WalletError";
  }
}

/** The wallets that are here now (Wallet Standard); others may register later. */
export function listWallets(): readonly SolanaWallet[] {
  return getWallets().get().filter(isSolanaWallet);
}

/** Tells of wallets that come and go; returns how to stop. */
export function watchWallets(tell: () => void): () => void {
  const wallets = getWallets();
  const stops = [wallets.on("register", tell), wallets.on("unregister", tell)];
  return () => {
    for (const stop of stops) stop();
  };
}

/** Asks the wallet for its account; `silent`: without a question, and undefined where one would be needed. */
export async function connect(wallet: SolanaWallet, silent = false): Promise<Connected | undefined> {
  try {
    const { accounts } = await wallet.features[StandardConnect].connect(silent ? { silent } : undefined);
    const account = accounts.find(({ chains }) => chains.some((chain) => chain.startsWith("solana:")));
    if (account !== undefined) return { wallet, account };
  } catch (cause) {
    if (!silent) throw refusal("You did not connect the wallet.", cause);
  }
  if (silent) return undefined;
  throw new WalletError(`${wallet.name} has no Solana account to show.`);
}

/** Signs a text; moves no money. */
export async function signText({ wallet, account }: Connected, text: string): Promise<Uint8Array> {
  const input = { account, message: new TextEncoder().encode(text) };
  try {
    const [output] = await wallet.features[SolanaSignMessage].signMessage(input);
    if (output !== undefined) return output.signature;
  } catch (cause) {
    throw refusal("You did not sign the message.", cause);
  }
  throw new WalletError(`${wallet.name} gave no signature.`);
}

/** Signs a serialized transaction and gives it back, perhaps with instructions of the wallet's own. */
export async function signTransaction(
  { wallet, account }: Connected,
  transaction: Uint8Array,
): Promise<Uint8Array> {
  const chain = account.chains.find((one) => one.startsWith("solana:")) ?? "solana:mainnet";
  try {
    const [output] = await wallet.features[SolanaSignTransaction].signTransaction({
      account,
      transaction,
      chain,
    });
    if (output !== undefined) return output.signedTransaction;
  } catch (cause) {
    throw refusal("You did not sign the payment. Nothing was spent.", cause);
  }
  throw new WalletError(`${wallet.name} gave no signature. Nothing was spent.`);
}

/** Tells when the wallet shows another account, or none; returns how to stop. */
export function watchAccount(wallet: Wallet, tell: (account: WalletAccount | undefined) => void): () => void {
  const events = wallet.features[StandardEvents];
  if (!isEvents(events)) return () => {};
  return events.on("change", ({ accounts }) => {
    if (accounts !== undefined) tell(accounts[0]);
  });
}

function isSolanaWallet(wallet: Wallet): wallet is SolanaWallet {
  const needed = [StandardConnect, SolanaSignMessage, SolanaSignTransaction];
  return (
    wallet.chains.some((chain) => chain.startsWith("solana:")) &&
    needed.every((feature) => Object.hasOwn(wallet.features, feature))
  );
}

function isEvents(feature: unknown): feature is StandardEventsFeature[typeof StandardEvents] {
  return (
    typeof feature === "object" && feature !== null && "on" in feature && typeof feature.on === "function"
  );
}

/** Wallets say no in words of their own (code 4001, or "User rejected"); everything else is a fault that they describe. */
function refusal(declined: string, cause: unknown): WalletError {
  const isFault = cause instanceof Error && !isDeclined(cause) && cause.message !== "";
  return new WalletError(isFault ? `The wallet failed: ${cause.message}` : declined, { cause });
}

function isDeclined(error: Error): boolean {
  return ("code" in error && error.code === 4001) || /reject|declin|cancel|denied/i.test(error.message);
}
