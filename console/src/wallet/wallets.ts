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

/**
 * Asks the wallet for its account, `preferred` if it is among several; `silent`: without a question, and undefined where one would
 * be needed.
 */
export async function connect(
  wallet: SolanaWallet,
  { silent = false, preferred }: { readonly silent?: boolean; readonly preferred?: string } = {},
): Promise<Connected | undefined> {
  try {
    const { accounts } = await wallet.features[StandardConnect].connect(silent ? { silent } : undefined);
    const account = choose(accounts, preferred);
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

/** The names of Wallet Standard for what CAIP-2 names by its genesis. The local chain says that it is mainnet. */
const CHAINS: Readonly<Record<string, `solana:${string}`>> = {
  "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp": "solana:mainnet",
  "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1": "solana:devnet",
};

/**
 * Signs a serialized transaction for a network (CAIP-2) and gives it back, perhaps with instructions of the wallet's own. A wallet
 * that is set to another network is told nothing: it would sign, or show, what means nothing there.
 */
export async function signTransaction(
  { wallet, account }: Connected,
  network: string,
  transaction: Uint8Array,
): Promise<Uint8Array> {
  const chain = CHAINS[network];
  if (chain === undefined || !account.chains.includes(chain)) {
    throw new WalletError(
      `${wallet.name} is not on ${chain ?? network}. Switch its network and connect it again. Nothing was signed.`,
    );
  }
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

/** Tells what the wallet shows now, and when it shows other accounts: `preferred` if it is among them, else the first, or none. Returns how to stop. */
export function watchAccount(
  wallet: Wallet,
  preferred: string,
  tell: (account: WalletAccount | undefined) => void,
): () => void {
  const events = wallet.features[StandardEvents];
  if (!isEvents(events)) return () => {};
  // It may have changed between its connection and now.
  tell(choose(wallet.accounts, preferred));
  return events.on("change", ({ accounts }) => {
    if (accounts !== undefined) tell(choose(accounts, preferred));
  });
}

function choose(
  accounts: readonly WalletAccount[],
  preferred: string | undefined,
): WalletAccount | undefined {
  const ours = accounts.filter(({ chains }) => chains.some((chain) => chain.startsWith("solana:")));
  return ours.find(({ address }) => address === preferred) ?? ours[0];
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
