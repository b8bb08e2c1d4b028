import {
  getAddressEncoder,
  getTransactionDecoder,
  getTransactionEncoder,
  type KeyPairSigner,
  type Transaction,
} from "@solana/kit";
import type { Page } from "playwright-core";

/** What the wallet was asked to sign, oldest first. */
export interface Asked {
  readonly what: "message" | "transaction";
  readonly bytes: Buffer;
}

/** A wallet as a browser extension brings it (Wallet Standard), whose keys stay in the test. */
export interface TestWallet {
  readonly asked: readonly Asked[];
  /** The person says no from now on, as extensions report it. */
  decline(): void;
  accept(): void;
  /** The person does not decide about the next one before `release`. */
  hold(): { readonly arrived: Promise<void>; release(): void };
  /** The person switches to another account in the extension. */
  switchTo(signer: KeyPairSigner): Promise<void>;
}

/** Works only between the page and this process; base64 both ways. */
const BINDING = "askTestWallet";

/** Gives each page that is opened in it a wallet of this name. Call before the page is opened. */
export async function injectWallet(
  page: Page,
  name: string,
  first: KeyPairSigner,
  chains: readonly string[] = ["solana:mainnet"],
): Promise<TestWallet> {
  const asked: Asked[] = [];
  let signer = first;
  let declined = false;
  let held: { readonly arrive: () => void; readonly decided: Promise<void> } | undefined;

  await page.exposeFunction(BINDING, async (what: Asked["what"] | "account", base64: string) => {
    if (what === "account") return describe(signer);
    const bytes = Buffer.from(base64, "base64");
    asked.push({ what, bytes });
    const { arrive, decided } = held ?? {};
    held = undefined;
    arrive?.();
    await decided;
    if (declined) return null;
    const signed = what === "message" ? await signWith(signer, bytes) : await signTransaction(signer, bytes);
    return signed.toString("base64");
  });
  await page.addInitScript(registerWallet, { name, binding: BINDING, chains });
  return {
    asked,
    decline: () => {
      declined = true;
    },
    accept: () => {
      declined = false;
    },
    hold() {
      let release = () => {};
      const decided = new Promise<void>((resolve) => {
        release = resolve;
      });
      const arrived = new Promise<void>((arrive) => {
        held = { arrive, decided };
      });
      return { arrived, release: () => release() };
    },
    async switchTo(next) {
      signer = next;
      await page.evaluate('dispatchEvent(new Event("test-wallet:switched"))');
    },
  };
}

function describe({ address }: KeyPairSigner): string {
  return `${address} ${Buffer.from(getAddressEncoder().encode(address)).toString("base64")}`;
}

async function signWith({ keyPair }: KeyPairSigner, bytes: Uint8Array): Promise<Buffer> {
  return Buffer.from(await crypto.subtle.sign("Ed25519", keyPair.privateKey, new Uint8Array(bytes)));
}

async function signTransaction(signer: KeyPairSigner, bytes: Uint8Array): Promise<Buffer> {
  const transaction = getTransactionDecoder().decode(bytes);
  const signature = await signWith(signer, Uint8Array.from(transaction.messageBytes));
  const signed = { ...transaction, signatures: { ...transaction.signatures, [signer.address]: signature } };
  return Buffer.from(getTransactionEncoder().encode(signed as Transaction));
}

/** Runs in the page, before its own scripts: so it can use nothing from here but its arguments. */
function registerWallet({
  name,
  binding,
  chains,
}: {
  readonly name: string;
  readonly binding: string;
  readonly chains: readonly string[];
}): void {
  type Ask = (what: string, base64: string) => Promise<string | null>;
  interface Account {
    readonly address: string;
    readonly publicKey: Uint8Array;
    readonly chains: readonly string[];
    readonly features: readonly string[];
  }
  type Listener = (changed: { readonly accounts: readonly Account[] }) => void;

  const tab = globalThis as unknown as EventTarget;
  const ask = (what: string, base64 = ""): Promise<string | null> => {
    const exposed = (globalThis as unknown as Readonly<Record<string, Ask>>)[binding];
    if (exposed === undefined) throw new Error("The test does not listen.");
    return exposed(what, base64);
  };
  const fromBase64 = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const toBase64 = (bytes: Uint8Array) =>
    btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  const listeners = new Set<Listener>();
  let accounts: readonly Account[] = [];

  async function readAccount(): Promise<Account> {
    const [address = "", key = ""] = ((await ask("account")) ?? "").split(" ");
    return {
      address,
      publicKey: fromBase64(key),
      chains,
      features: ["solana:signMessage", "solana:signTransaction"],
    };
  }

  async function signed(what: string, bytes: Uint8Array): Promise<Uint8Array> {
    const answer = await ask(what, toBase64(bytes));
    // What extensions reject with; some give a code 4001, all a message.
    if (answer === null) throw Object.assign(new Error("User rejected the request."), { code: 4001 });
    return fromBase64(answer);
  }

  async function change(next: readonly Account[]): Promise<void> {
    accounts = next;
    for (const listener of listeners) listener({ accounts });
  }

  const wallet = {
    version: "1.0.0",
    name,
    icon: "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=",
    chains,
    get accounts() {
      return accounts;
    },
    features: {
      "standard:connect": {
        version: "1.0.0",
        connect: async () => {
          await change([await readAccount()]);
          return { accounts };
        },
      },
      "standard:disconnect": { version: "1.0.0", disconnect: () => change([]) },
      "standard:events": {
        version: "1.0.0",
        on: (_event: string, listener: Listener) => {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
      },
      "solana:signMessage": {
        version: "1.0.0",
        signMessage: async (...inputs: { readonly message: Uint8Array }[]) =>
          Promise.all(
            inputs.map(async ({ message }) => ({
              signedMessage: message,
              signature: await signed("message", message),
            })),
          ),
      },
      "solana:signTransaction": {
        version: "1.0.0",
        supportedTransactionVersions: ["legacy", 0],
        signTransaction: async (...inputs: { readonly transaction: Uint8Array }[]) =>
          Promise.all(
            inputs.map(async ({ transaction }) => ({
              signedTransaction: await signed("transaction", transaction),
            })),
          ),
      },
    },
  };

  tab.addEventListener("test-wallet:switched", async () => {
    if (accounts.length > 0) await change([await readAccount()]);
  });
  const register = ({ register: add }: { readonly register: (wallet: object) => unknown }) => add(wallet);
  tab.addEventListener("wallet-standard:app-ready", (event: Event) => {
    register(
      (event as unknown as { readonly detail: { readonly register: (wallet: object) => unknown } }).detail,
    );
  });
  tab.dispatchEvent(Object.assign(new Event("wallet-standard:register-wallet"), { detail: register }));
}
