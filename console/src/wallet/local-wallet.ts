import {
  createKeyPairSignerFromPrivateKeyBytes,
  getAddressEncoder,
  getTransactionDecoder,
  getTransactionEncoder,
  type KeyPairSigner,
  signBytes,
} from "@solana/kit";
import {
  SolanaSignMessage,
  type SolanaSignMessageInput,
  SolanaSignTransaction,
  type SolanaSignTransactionInput,
} from "@solana/wallet-standard-features";
import { getWallets } from "@wallet-standard/app";
import type { WalletAccount } from "@wallet-standard/base";
import { StandardConnect } from "@wallet-standard/features";
import { fromBase64, toBase64 } from "../../../client/base64.ts";

/** Play money only: the key lies readable in this browser. */
const STORED_UNDER = "farebox-local-wallet";
const CHAINS = ["solana:mainnet"] as const;
const FEATURES = [SolanaSignMessage, SolanaSignTransaction] as const;
const ICON =
  "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCAzMiAzMiI+PHJlY3Qgd2lkdGg9IjMyIiBoZWlnaHQ9IjMyIiByeD0iOCIgZmlsbD0iIzJmOWU0NCIvPjxwYXRoIGQ9Ik04IDExaDE2djEySDh6bTEwIDRoNnY0aC02eiIgZmlsbD0iI2ZmZiIvPjwvc3ZnPg==";

export const LOCAL_WALLET_NAME = "Local wallet";

/** Registers a wallet that needs no extension, for local mode. It signs without asking. */
export function registerLocalWallet(): void {
  let accounts: readonly WalletAccount[] = [];
  let opened: Promise<KeyPairSigner> | undefined;

  function open(): Promise<KeyPairSigner> {
    opened ??= createKeyPairSignerFromPrivateKeyBytes(readOrMakeSeed());
    return opened;
  }

  async function connect(): Promise<{ readonly accounts: readonly WalletAccount[] }> {
    const { address } = await open();
    const publicKey = Uint8Array.from(getAddressEncoder().encode(address));
    accounts = [{ address, publicKey, chains: CHAINS, features: FEATURES }];
    return { accounts };
  }

  async function signMessage(...inputs: readonly SolanaSignMessageInput[]) {
    const { keyPair } = await open();
    return Promise.all(
      inputs.map(async ({ message }) => ({
        signedMessage: message,
        signature: await signBytes(keyPair.privateKey, message),
      })),
    );
  }

  async function signTransaction(...inputs: readonly SolanaSignTransactionInput[]) {
    const { keyPair, address } = await open();
    return Promise.all(
      inputs.map(async (input) => {
        const transaction = getTransactionDecoder().decode(input.transaction);
        const signature = await signBytes(keyPair.privateKey, transaction.messageBytes);
        const signatures = { ...transaction.signatures, [address]: signature };
        return {
          signedTransaction: Uint8Array.from(getTransactionEncoder().encode({ ...transaction, signatures })),
        };
      }),
    );
  }

  getWallets().register({
    version: "1.0.0",
    name: LOCAL_WALLET_NAME,
    icon: ICON,
    chains: CHAINS,
    get accounts() {
      return accounts;
    },
    features: {
      [StandardConnect]: { version: "1.0.0", connect },
      [SolanaSignMessage]: { version: "1.0.0", signMessage },
      [SolanaSignTransaction]: {
        version: "1.0.0",
        supportedTransactionVersions: ["legacy", 0],
        signTransaction,
      },
    },
  });
}

function readOrMakeSeed(): Uint8Array {
  const stored = localStorage.getItem(STORED_UNDER);
  if (stored !== null) return fromBase64(stored);
  const seed = crypto.getRandomValues(new Uint8Array(32));
  localStorage.setItem(STORED_UNDER, toBase64(seed));
  return seed;
}
