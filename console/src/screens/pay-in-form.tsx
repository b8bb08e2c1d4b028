import { useState } from "preact/hooks";
import { formatTokens } from "../../../client/asset.ts";
import { accountSchema, type Token } from "../answers.ts";
import { dollars, parseDollars } from "../money.ts";
import { ErrorNote, Field, Transaction } from "../parts/parts.tsx";
import { useAction } from "../parts/use-answer.ts";
import {
  type Credited,
  isDecided,
  letGo,
  type Means,
  type Progress,
  quote,
  resumeTopUp,
  topUp,
  unfinishedTopUp,
} from "../pay-in.ts";
import { useSession } from "../session.tsx";
import { WalletError } from "../wallet/wallets.ts";

interface PayInProps {
  readonly wallet: string;
  readonly least: string;
  readonly most: string;
  readonly usual: string;
  readonly onCredited: () => void;
}

/** One top-up from its amount to its credit; one that was signed and has no answer is finished first. */
export function PayIn({ wallet, least, most, usual, onCredited }: PayInProps) {
  const { api, config, payingWallet } = useSession();
  const { doing, run } = useAction();
  const [text, setText] = useState(usual);
  const [mint, setMint] = useState("");
  const [quoted, setQuoted] = useState<bigint | undefined>(undefined);
  const [progress, setProgress] = useState<Progress | undefined>(undefined);
  const [credited, setCredited] = useState<Credited | undefined>(undefined);
  const [, setLetGone] = useState(0);
  const unfinished = doing.kind === "busy" ? undefined : unfinishedTopUp(wallet);
  const problem = problemOf(text, least, most);
  const amount = parseDollars(text) ?? 0n;
  const token = config.tokens.find((one) => one.mint === mint);

  function start(pay: () => Promise<Credited>): void {
    setCredited(undefined);
    run(async () => {
      try {
        setCredited(await pay());
        onCredited();
      } finally {
        setProgress(undefined);
        setQuoted(undefined);
      }
    });
  }

  async function payNow(means: Means): Promise<Credited> {
    // The chain is asked by Solana's own client, which refreshes no session.
    await api.call("/account", accountSchema);
    const connected = await payingWallet();
    if (connected === undefined) {
      throw new WalletError(
        "The wallet that you signed in with is not here, or shows another account. Switch it back, or sign in again.",
      );
    }
    return topUp({ connected, network: config.network }, amount, means, setProgress);
  }

  function submit(): void {
    if (problem !== undefined) return;
    setCredited(undefined);
    if (token === undefined) start(() => payNow({ token }));
    else if (quoted === undefined) run(async () => setQuoted(await quote(amount, token)));
    else start(() => payNow({ token, amount: quoted }));
  }

  return (
    <section class="card" aria-labelledby="pay-in">
      <h2 id="pay-in">Pay in</h2>
      {unfinished !== undefined && (
        <div class="note" role="status">
          <p>
            A top-up of {dollars(unfinished.amount)} was signed and has no answer yet. Ask for it again: it is
            the same payment, so it is not paid twice.
          </p>
          <button
            type="button"
            class="primary"
            onClick={() => start(() => resumeTopUp(unfinished, setProgress))}
          >
            Finish that top-up
          </button>
          {isDecided(unfinished) && (
            <>
              <p>
                It is more than an hour old: if it was settled, it is in the list below, or soon will be. If
                it still has no answer you may let it go.
              </p>
              <button
                type="button"
                onClick={() => {
                  letGo(unfinished);
                  setLetGone((before) => before + 1);
                }}
              >
                Let it go
              </button>
            </>
          )}
        </div>
      )}
      {unfinished === undefined && (
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            submit();
          }}
        >
          <Field
            label="Amount (USD)"
            hint={`From $${least} to $${most}. The network's fee is not yours.`}
            problem={problem}
          >
            {(ids) => (
              <input
                {...ids}
                type="text"
                inputMode="decimal"
                value={text}
                onInput={({ currentTarget }) => {
                  setText(currentTarget.value);
                  setQuoted(undefined);
                }}
              />
            )}
          </Field>
          {config.tokens.length > 0 && (
            <PayWith
              mint={mint}
              onChange={(chosen) => {
                setMint(chosen);
                setQuoted(undefined);
              }}
            />
          )}
          <button type="submit" class="primary" disabled={doing.kind === "busy" || problem !== undefined}>
            {wordsOfButton(token, quoted)}
          </button>
        </form>
      )}
      <p role="status" class="said">
        {progress !== undefined && wordsOf(progress)}
        {credited !== undefined && (
          <>
            Credited ${credited.amount}. Available now: ${credited.balance}.{" "}
            <Transaction id={credited.transaction} explorer={config.explorer} />
          </>
        )}
      </p>
      {doing.kind === "failed" && <ErrorNote error={doing.error} />}
    </section>
  );
}

function wordsOfButton(token: Token | undefined, quoted: bigint | undefined): string {
  if (token === undefined) return "Pay with your wallet";
  if (quoted === undefined) return `See the price in ${token.symbol}`;
  return `Pay ${formatTokens(quoted, token.decimals)} ${token.symbol}`;
}

const NOT_OFFERED: Readonly<Record<string, string>> = {
  price_missing: "no price",
  price_in_future: "no price",
  price_stale: "its price is too old",
};

/** USDC, or a token that the operator takes at a price of his. */
function PayWith({ mint, onChange }: { readonly mint: string; readonly onChange: (mint: string) => void }) {
  const { config } = useSession();
  const token = config.tokens.find((one) => one.mint === mint);
  const hint =
    token === undefined || token.usd_price === null
      ? undefined
      : `Taken at $${token.usd_price} less ${token.haircut_percent} %, since its price moves. Mint: ${token.mint}`;
  return (
    <Field label="Pay with" hint={hint}>
      {(ids) => (
        <select {...ids} value={mint} onChange={({ currentTarget }) => onChange(currentTarget.value)}>
          <option value="">USDC</option>
          {config.tokens.map((one) => (
            <option key={one.mint} value={one.mint} disabled={!one.offered}>
              {one.offered
                ? one.symbol
                : `${one.symbol} (not now: ${NOT_OFFERED[one.reason ?? ""] ?? "not available"})`}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

function wordsOf(progress: Progress): string {
  switch (progress.step) {
    case "price":
      return "Asking for the terms…";
    case "wallet":
      return "Sign the payment in your wallet…";
    case "settling":
      return progress.attempt === 1
        ? "Settling on Solana…"
        : `Still settling: asking again with the same payment (attempt ${progress.attempt})…`;
  }
}

function problemOf(text: string, least: string, most: string): string | undefined {
  const amount = parseDollars(text);
  if (amount === undefined) return "Write dollars, such as 5.00.";
  const within = amount >= (parseDollars(least) ?? 0n) && amount <= (parseDollars(most) ?? 0n);
  return within ? undefined : `Write an amount from ${least} to ${most}.`;
}
