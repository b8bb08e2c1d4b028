import { getBase58Decoder } from "@solana/kit";
import { type ComponentChildren, createContext } from "preact";
import { useContext, useEffect, useMemo, useState } from "preact/hooks";
import { z } from "zod";
import { type ConsoleConfig, challengeSchema, type Session, sessionSchema } from "./answers.ts";
import { type Api, ApiError, createApi } from "./api.ts";
import {
  type Connected,
  connect,
  listWallets,
  type SolanaWallet,
  signText,
  watchAccount,
  watchWallets,
} from "./wallet/wallets.ts";

/** Who is signed in. */
export type SignedIn =
  | { readonly kind: "loading" }
  /** `notice`: why, if it is not for the person's own doing. */
  | { readonly kind: "out"; readonly notice: string | undefined }
  | { readonly kind: "in"; readonly wallet: string }
  | { readonly kind: "failed"; readonly error: unknown };

export interface SessionValue {
  readonly config: ConsoleConfig;
  readonly api: Api;
  readonly signedIn: SignedIn;
  /** The wallet shows this account now, and it is not the one that is signed in. */
  readonly otherAccount: string | undefined;
  /** Signs in with an account of this wallet. Rejects with WalletError or ApiError. */
  signIn(wallet: SolanaWallet): Promise<void>;
  signOut(everywhere: boolean): Promise<void>;
  retry(): void;
  /** The wallet that signed in, for a payment; undefined: it is not here, or shows another account. */
  payingWallet(): Promise<Connected | undefined>;
}

const LAST_WALLET = "farebox-wallet";
/** Another text at each sign-in, for the other tabs: also one of the same wallet has new cookies, and a token of its own. */
const SIGNED_IN = "farebox-signed-in";
const signedOutSchema = z.object({ signed_out: z.boolean() });
const SessionContext = createContext<SessionValue | undefined>(undefined);

export function useSession(): SessionValue {
  const value = useContext(SessionContext);
  if (value === undefined) throw new Error("There is no session around this.");
  return value;
}

function lastWallet(): SolanaWallet | undefined {
  const name = localStorage.getItem(LAST_WALLET);
  return listWallets().find((one) => one.name === name);
}

/** Holds the session for everything in it. */
export function SessionProvider(props: {
  readonly config: ConsoleConfig;
  readonly children: ComponentChildren;
}) {
  const { config } = props;
  const [signedIn, setSignedIn] = useState<SignedIn>({ kind: "loading" });
  const [connected, setConnected] = useState<Connected | undefined>(undefined);
  const [shown, setShown] = useState<string | undefined>(undefined);
  const api = useMemo(() => createApi((notice) => setSignedIn({ kind: "out", notice })), []);

  function resume(): void {
    // Who never signed in here has no cookies to ask about.
    if (localStorage.getItem(LAST_WALLET) === null) {
      setSignedIn({ kind: "out", notice: undefined });
      return;
    }
    setSignedIn({ kind: "loading" });
    api.resume().then(
      (session) =>
        setSignedIn(
          session === undefined ? { kind: "out", notice: undefined } : { kind: "in", wallet: session.wallet },
        ),
      (error: unknown) => setSignedIn({ kind: "failed", error }),
    );
  }
  useEffect(resume, []);

  // Another tab has signed in or out: its cookies are this tab's too, and nothing may be shown under a name that is not theirs.
  useEffect(() => {
    const changed = ({ key, newValue }: StorageEvent) => {
      if (key !== SIGNED_IN) return;
      if (newValue !== null) resume();
      else {
        api.forget();
        setSignedIn({ kind: "out", notice: "You signed out in another tab." });
      }
    };
    addEventListener("storage", changed);
    return () => removeEventListener("storage", changed);
  }, []);

  const ours = signedIn.kind === "in" ? signedIn.wallet : undefined;
  function hold(one: Connected | undefined): void {
    setConnected(one);
    setShown(one?.account.address);
  }
  // After a reload the wallet may come later than the page; it is not asked anything.
  useEffect(() => {
    if (ours === undefined || connected !== undefined) return undefined;
    let isLooking = true;
    const look = () => {
      const wallet = lastWallet();
      if (wallet === undefined || !isLooking) return;
      isLooking = false;
      void connect(wallet, { silent: true, preferred: ours }).then((one) => one !== undefined && hold(one));
    };
    look();
    return watchWallets(look);
  }, [ours, connected]);

  useEffect(() => {
    if (connected === undefined || ours === undefined) return undefined;
    return watchAccount(connected.wallet, ours, (account) => setShown(account?.address));
  }, [connected, ours]);

  async function signIn(wallet: SolanaWallet): Promise<void> {
    const one = await connect(wallet);
    if (one === undefined) return;
    const { address } = one.account;
    const { info, message } = await api.call("/auth/challenge", challengeSchema, {
      method: "POST",
      body: { address },
    });
    const signature = getBase58Decoder().decode(await signText(one, message));
    const session: Session = await api.call("/auth/verify", sessionSchema, {
      method: "POST",
      body: { ...info, address, signature },
    });
    api.begin(session);
    localStorage.setItem(LAST_WALLET, wallet.name);
    localStorage.setItem(SIGNED_IN, crypto.randomUUID());
    hold(one);
    setSignedIn({ kind: "in", wallet: session.wallet });
  }

  async function signOut(everywhere: boolean): Promise<void> {
    const path = everywhere ? "/auth/logout-everywhere" : "/auth/logout";
    try {
      await api.call(path, signedOutSchema, { method: "POST" });
    } catch (error) {
      // Over already is signed out; anything else has to be said.
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
    }
    api.forget();
    localStorage.removeItem(LAST_WALLET);
    localStorage.removeItem(SIGNED_IN);
    hold(undefined);
    setSignedIn({ kind: "out", notice: undefined });
  }

  async function payingWallet(): Promise<Connected | undefined> {
    if (ours === undefined) return undefined;
    if (connected?.account.address === ours && shown === ours) return connected;
    const wallet = lastWallet();
    if (wallet === undefined) return undefined;
    const again =
      (await connect(wallet, { silent: true, preferred: ours })) ??
      (await connect(wallet, { preferred: ours }));
    hold(again);
    return again?.account.address === ours ? again : undefined;
  }

  const otherAccount = ours !== undefined && shown !== ours ? shown : undefined;
  const value = { config, api, signedIn, otherAccount, signIn, signOut, retry: resume, payingWallet };
  return <SessionContext.Provider value={value}>{props.children}</SessionContext.Provider>;
}
