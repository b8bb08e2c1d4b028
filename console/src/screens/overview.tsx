import { useMemo } from "preact/hooks";
import { type Account, accountSchema, type Spend, spendSchema } from "../answers.ts";
import { BarChart, type Bars } from "../parts/chart.tsx";
import { Empty, ErrorNote, Loading, Money } from "../parts/parts.tsx";
import { useAnswer } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";
import { showUtcDay } from "../times.ts";

const DAYS = 30;
/** More bars than this are no picture. */
const MOST_BARS = 12;

/** What there is, and where it went. */
export function Overview() {
  const { api } = useSession();
  const { asked, again } = useAnswer(() =>
    Promise.all([api.call("/account", accountSchema), api.call(`/account/spend?days=${DAYS}`, spendSchema)]),
  );
  if (asked.kind === "loading") return <Loading what="your account" />;
  if (asked.kind === "failed") return <ErrorNote error={asked.error} retry={again} />;
  const [account, spend] = asked.answer;
  return (
    <>
      <Numbers account={account} spend={spend} />
      {spend.days.every(({ calls }) => calls === 0) ? (
        <FirstSteps account={account} />
      ) : (
        <Charts spend={spend} />
      )}
    </>
  );
}

function Numbers({ account, spend }: { readonly account: Account; readonly spend: Spend }) {
  const { today } = spend;
  return (
    <dl class="numbers">
      <div class="card main-number">
        <dt>Available</dt>
        <dd>
          <Money micro={account.available_micro_usd} />
        </dd>
      </div>
      <div class="card">
        <dt>Balance</dt>
        <dd>
          <Money micro={account.balance_micro_usd} />
        </dd>
      </div>
      <div class="card">
        <dt>Held for running calls</dt>
        <dd>
          <Money micro={account.held_micro_usd} />
        </dd>
      </div>
      <div class="card">
        <dt>Spent today (UTC)</dt>
        <dd>
          <Money micro={spentOf(today)} />
        </dd>
        <dd class="hint">{today.calls === 1 ? "1 call" : `${today.calls} calls`}</dd>
      </div>
    </dl>
  );
}

function FirstSteps({ account }: { readonly account: Account }) {
  return (
    <Empty>
      <p>No calls in the last {DAYS} days.</p>
      <p>
        {BigInt(account.available_micro_usd) > 0n ? (
          <a href="#/keys">Create a key</a>
        ) : (
          <>
            <a href="#/topup">Top up</a>, then <a href="#/keys">create a key</a>
          </>
        )}{" "}
        and call the service with it.
      </p>
    </Empty>
  );
}

function Charts({ spend }: { readonly spend: Spend }) {
  const days = useMemo(
    () => spend.days.map((day) => ({ id: day.date, name: showUtcDay(day.date), micro: spentOf(day) })),
    [spend],
  );
  const models = useMemo(
    () =>
      largest(
        spend.models.map((one) => ({
          id: one.model ?? "",
          name: one.model ?? "no model",
          micro: spentOf(one),
        })),
      ),
    [spend],
  );
  const keys = useMemo(
    () =>
      largest(
        spend.keys.map((one) => ({
          id: one.key_id ?? "",
          name: one.key_id === null ? "paid by wallet" : one.key_label || one.key_id,
          micro: spentOf(one),
        })),
      ),
    [spend],
  );
  return (
    <>
      {!spend.complete && (
        <p class="hint">There are more calls than were counted here: the charts show the latest ones only.</p>
      )}
      <div class="charts">
        <BarChart title={`Spent by day, last ${DAYS} days (UTC)`} of="Day" bars={days} />
        <BarChart title="Spent by model" of="Model" bars={models} lying />
        <BarChart title="Spent by key" of="Key" bars={keys} lying />
      </div>
    </>
  );
}

/** From the balance, and by wallet call by call. */
function spentOf(part: { readonly charged_micro_usd: string; readonly paid_micro_usd: string }): bigint {
  return BigInt(part.charged_micro_usd) + BigInt(part.paid_micro_usd);
}

type Bar = Bars["bars"][number];

function largest(bars: readonly Bar[]): readonly Bar[] {
  return bars
    .filter(({ micro }) => micro > 0n)
    .sort((one, other) => (one.micro < other.micro ? 1 : -1))
    .slice(0, MOST_BARS);
}
