import { useState } from "preact/hooks";
import { z } from "zod";
import { accountSchema } from "../answers.ts";
import { plainDollars } from "../money.ts";
import { Empty, ErrorNote, Money } from "../parts/parts.tsx";
import { useAction, useAnswer } from "../parts/use-answer.ts";
import { readFunds } from "../pay-in.ts";
import { useSession } from "../session.tsx";
import { PayIn } from "./pay-in-form.tsx";
import { TopUps } from "./topup-list.tsx";

/** Pays into the account from the wallet; the fee of the transaction is the facilitator's. */
export function TopUpScreen({ wallet }: { readonly wallet: string }) {
  const { api, config } = useSession();
  // One after the other: the first refreshes the session where that is due.
  const { asked, again } = useAnswer(async () => {
    const account = await api.call("/account", accountSchema);
    return { account, usdc: await readFunds(wallet, config.asset) };
  });
  const [rounds, setRounds] = useState(0);
  if (config.topup === null) return <Empty>This service takes no top-ups.</Empty>;
  return (
    <>
      {asked.kind === "failed" && <ErrorNote error={asked.error} retry={again} />}
      <p class="lead" aria-live="polite">
        Available here:{" "}
        {asked.kind === "here" ? <Money micro={asked.answer.account.available_micro_usd} /> : "…"}
        {asked.kind === "here" && asked.answer.usdc !== undefined && (
          <>
            {" "}
            · USDC in your wallet: <Money micro={asked.answer.usdc} />
          </>
        )}
      </p>
      {config.local && <Faucet wallet={wallet} onFunded={again} />}
      <PayIn
        wallet={wallet}
        least={config.topup.least_usd}
        most={config.topup.most_usd}
        usual={config.topup.usual_usd}
        onCredited={() => {
          again();
          setRounds((before) => before + 1);
        }}
      />
      <TopUps key={rounds} />
    </>
  );
}

const minted = z.object({}).loose();

/** Local mode only: play money from nowhere. */
function Faucet({ wallet, onFunded }: { readonly wallet: string; readonly onFunded: () => void }) {
  const { api } = useSession();
  const { doing, run } = useAction();
  const [told, setTold] = useState("");
  const amount = plainDollars(25_000_000n);
  return (
    <div class="note">
      <p>Play money: your wallet pays with USDC of this machine’s own chain.</p>
      <button
        type="button"
        disabled={doing.kind === "busy"}
        onClick={() =>
          run(async () => {
            setTold("");
            await api.call("/console/local/faucet", minted, {
              method: "POST",
              body: { address: wallet, usdc: amount },
            });
            setTold(`Your wallet has ${amount} play USDC more.`);
            onFunded();
          })
        }
      >
        Get play USDC
      </button>
      <p role="status" class="said">
        {told}
      </p>
      {doing.kind === "failed" && <ErrorNote error={doing.error} />}
    </div>
  );
}
