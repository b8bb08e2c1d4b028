import { useEffect, useRef, useState } from "preact/hooks";
import { type ConsoleConfig, configSchema } from "./answers.ts";
import { createApi } from "./api.ts";
import { Address, ErrorNote, Loading } from "./parts/parts.tsx";
import { useAction, useAnswer } from "./parts/use-answer.ts";
import { type Screen, useScreen } from "./route.ts";
import { Alerts } from "./screens/alerts.tsx";
import { Connect } from "./screens/connect.tsx";
import { Keys } from "./screens/keys.tsx";
import { Overview } from "./screens/overview.tsx";
import { ProviderKeys } from "./screens/provider-keys.tsx";
import { TopUpScreen } from "./screens/topup.tsx";
import { UsageScreen } from "./screens/usage.tsx";
import { SessionProvider, useSession } from "./session.tsx";
import { applyTheme, readTheme, type Theme } from "./theme.ts";
import { registerLocalWallet } from "./wallet/local-wallet.ts";

const TITLES: Readonly<Record<Screen, string>> = {
  overview: "Overview",
  keys: "Keys",
  usage: "Usage",
  topup: "Top up",
  "provider-keys": "Provider keys",
  alerts: "Alerts",
};

/** The whole page: what the service is, who is signed in, and one screen. */
export function App() {
  const { asked, again } = useAnswer(loadConfig);
  if (asked.kind === "loading") {
    return (
      <main class="lone">
        <Loading what="the console" />
      </main>
    );
  }
  if (asked.kind === "failed") {
    return (
      <main class="lone">
        <h1>Console</h1>
        <ErrorNote error={asked.error} retry={again} />
      </main>
    );
  }
  return (
    <SessionProvider config={asked.answer}>
      <Page />
    </SessionProvider>
  );
}

let isLocalWalletHere = false;

async function loadConfig(): Promise<ConsoleConfig> {
  const config = await createApi(() => {}).call("/console/config.json", configSchema);
  document.title = `${config.name} console`;
  if (config.local && !isLocalWalletHere) {
    isLocalWalletHere = true;
    registerLocalWallet();
  }
  return config;
}

function Page() {
  const { signedIn, retry, config } = useSession();
  useEffect(() => {
    if (signedIn.kind === "out") document.title = `${config.name} console`;
  }, [signedIn.kind]);
  return (
    <>
      {config.local && (
        <p class="ribbon">
          Local mode: play money on a chain of this machine. Nothing here is worth anything.
        </p>
      )}
      {signedIn.kind === "loading" && (
        <main class="lone">
          <Loading what="your session" />
        </main>
      )}
      {signedIn.kind === "failed" && (
        <main class="lone">
          <h1>{config.name}</h1>
          <ErrorNote error={signedIn.error} retry={retry} />
        </main>
      )}
      {signedIn.kind === "out" && <Connect notice={signedIn.notice} />}
      {signedIn.kind === "in" && <Inside wallet={signedIn.wallet} />}
    </>
  );
}

function Inside({ wallet }: { readonly wallet: string }) {
  const screen = useScreen();
  const { config, otherAccount } = useSession();
  const heading = useRef<HTMLHeadingElement>(null);
  const [first, setFirst] = useState(true);
  // A screen reader is told of the new screen; at the first one it reads the page anyway.
  useEffect(() => {
    document.title = `${TITLES[screen]} · ${config.name}`;
    if (first) setFirst(false);
    else heading.current?.focus();
  }, [screen]);
  return (
    <div class="frame">
      <header class="top">
        <p class="brand">{config.name}</p>
        <nav aria-label="Screens">
          {Object.entries(TITLES).map(([name, title]) => (
            <a key={name} href={`#/${name}`} aria-current={name === screen ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <Account wallet={wallet} />
      </header>
      <main>
        {otherAccount !== undefined && (
          <div class="note" role="status">
            <p>
              Your wallet now shows <Address value={otherAccount} />. You are still signed in as{" "}
              <Address value={wallet} />: sign out to change.
            </p>
          </div>
        )}
        <h1 ref={heading} tabIndex={-1}>
          {TITLES[screen]}
        </h1>
        {screen === "overview" && <Overview />}
        {screen === "keys" && <Keys />}
        {screen === "usage" && <UsageScreen />}
        {screen === "topup" && <TopUpScreen wallet={wallet} />}
        {screen === "provider-keys" && <ProviderKeys />}
        {screen === "alerts" && <Alerts />}
      </main>
    </div>
  );
}

function Account({ wallet }: { readonly wallet: string }) {
  const { signOut } = useSession();
  const { doing, run } = useAction();
  const [theme, setTheme] = useState<Theme>(readTheme());
  return (
    <details class="account">
      <summary>
        <span class="unseen">Account </span>
        <Address value={wallet} />
      </summary>
      <div class="menu">
        <label>
          Colours{" "}
          <select
            value={theme}
            onChange={({ currentTarget: { value } }) => {
              const next: Theme = value === "light" || value === "dark" ? value : "system";
              applyTheme(next);
              setTheme(next);
            }}
          >
            <option value="system">As the system</option>
            <option value="light">Light</option>
            <option value="dark">Dark</option>
          </select>
        </label>
        <button type="button" disabled={doing.kind === "busy"} onClick={() => run(() => signOut(false))}>
          Sign out
        </button>
        <button type="button" disabled={doing.kind === "busy"} onClick={() => run(() => signOut(true))}>
          Sign out everywhere
        </button>
        {doing.kind === "failed" && <ErrorNote error={doing.error} />}
      </div>
    </details>
  );
}
