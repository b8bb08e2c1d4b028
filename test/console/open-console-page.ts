import { dirname, join } from "node:path";
import { generateKeyPairSigner, type KeyPairSigner } from "@solana/kit";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { inject } from "vitest";
import { type KeyedShop, openKeyedShop } from "../keyed/keyed-shop.ts";
import type { ShopOptions } from "../support/shop.ts";
import { injectWallet, type TestWallet } from "../support/test-wallet.ts";

/** A shop whose console is the one that is shipped. */
export function openConsoleShop(options: ShopOptions = {}): Promise<KeyedShop> {
  return openKeyedShop({
    ...options,
    consoleDirectory: join(dirname(inject("main")), "../console"),
    env: { FAREBOX_SESSION_KEY: Buffer.alloc(32, 5).toString("hex"), ...options.env },
  });
}

/** Somebody with a wallet in front of the console. */
export interface Visitor {
  readonly page: Page;
  readonly wallet: TestWallet;
  readonly signer: KeyPairSigner;
  readonly address: string;
  /** What the page asked of any other origin; must stay empty. */
  readonly strangers: readonly string[];
  /** What went wrong in the page: uncaught errors, and what its Content-Security-Policy refused. */
  readonly faults: readonly string[];
  /** Connects the wallet and signs in. */
  signIn(): Promise<void>;
  /** Goes to a screen by its link. */
  go(screen: string): Promise<void>;
  close(): Promise<void>;
}

export const WALLET_NAME = "Test Wallet";

interface VisitOptions {
  /** What the wallet holds, in micro-USD. */
  readonly usdc?: bigint;
  readonly context?: BrowserContextOptions;
  /** What the wallet is set to, as Wallet Standard names it. */
  readonly chains?: readonly string[];
}

export async function visit(
  browser: Browser,
  shop: KeyedShop,
  { usdc = 0n, context, chains }: VisitOptions = {},
): Promise<Visitor> {
  const signer = await generateKeyPairSigner();
  if (usdc > 0n) await shop.localnet.fund(signer.address, usdc);
  const tabs = await browser.newContext(context);
  const page = await tabs.newPage();
  const strangers: string[] = [];
  const faults: string[] = [];
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== shop.url) strangers.push(request.url());
  });
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) faults.push(message.text());
  });
  const wallet = await injectWallet(page, WALLET_NAME, signer, chains);
  await page.goto(`${shop.url}/console`);
  return {
    page,
    wallet,
    signer,
    address: signer.address,
    strangers,
    faults,
    async signIn() {
      await page.getByRole("button", { name: WALLET_NAME }).click();
      await page.getByRole("heading", { name: "Overview" }).waitFor();
    },
    async go(screen) {
      await page.getByRole("navigation").getByRole("link", { name: screen, exact: true }).click();
      await page.getByRole("heading", { name: screen, level: 1 }).waitFor();
    },
    close: () => tabs.close(),
  };
}

/** As it is after 15 minutes: the session's own cookie is gone, the refresh token is there. */
export async function letSessionLapse({ page }: Pick<Visitor, "page">): Promise<void> {
  const cookies = await page.context().cookies();
  const session = cookies.find(({ name }) => name.endsWith("farebox_session"));
  if (session === undefined) throw new Error("There is no session to lapse.");
  await page.context().clearCookies({ name: session.name });
}
