import { useEffect, useState } from "preact/hooks";
import { ErrorNote } from "../parts/parts.tsx";
import { useAction } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";
import { LOCAL_WALLET_NAME } from "../wallet/local-wallet.ts";
import { listWallets, type SolanaWallet, watchWallets } from "../wallet/wallets.ts";

/** Before anything: which wallet. */
export function Connect({ notice }: { readonly notice: string | undefined }) {
  const { config, signIn } = useSession();
  const [wallets, setWallets] = useState(listWallets());
  const [chosen, setChosen] = useState("");
  const { doing, run } = useAction();
  useEffect(() => {
    const look = () => setWallets(listWallets());
    look();
    return watchWallets(look);
  }, []);

  function choose(wallet: SolanaWallet): void {
    setChosen(wallet.name);
    run(() => signIn(wallet));
  }

  return (
    <main class="lone">
      <h1>{config.name}</h1>
      <p class="lead">
        Your wallet is your account. You sign a short text, which moves no money: no registration, no email,
        no password.
      </p>
      {notice !== undefined && (
        <div class="note" role="status">
          <p>{notice}</p>
        </div>
      )}
      <ul class="wallets" aria-label="Wallets">
        {wallets.map((wallet) => (
          <li key={wallet.name}>
            <button
              type="button"
              class="wallet"
              disabled={doing.kind === "busy"}
              onClick={() => choose(wallet)}
            >
              <img src={wallet.icon} alt="" width="28" height="28" />
              <span>{wallet.name}</span>
              {wallet.name === LOCAL_WALLET_NAME && <span class="tag">play money</span>}
            </button>
          </li>
        ))}
      </ul>
      {wallets.length === 0 && (
        <p class="empty">
          No Solana wallet was found in this browser. Install one, such as Phantom, Solflare or Backpack, and
          this page will show it.
        </p>
      )}
      <p role="status" class="said">
        {doing.kind === "busy" && `Waiting for ${chosen}…`}
      </p>
      {doing.kind === "failed" && <ErrorNote error={doing.error} />}
    </main>
  );
}
