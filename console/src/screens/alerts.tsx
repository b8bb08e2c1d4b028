import { useState } from "preact/hooks";
import {
  type Alerts as AlertSettings,
  alertsSchema,
  alertTestSchema,
  recentAlertsSchema,
} from "../answers.ts";
import { ApiError } from "../api.ts";
import { dollars, parseDollars, plainDollars } from "../money.ts";
import { CopyButton, Dialog, Empty, ErrorNote, Field, Loading, TableBox, Time } from "../parts/parts.tsx";
import { useAction, useAnswer } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";

const KINDS: Readonly<Record<string, string>> = {
  low_balance: "The balance is low",
  key_limit_80: "A key has spent 80 % of its limit",
  key_limit_100: "A key has reached its limit",
  test: "A test",
};

/** Of what the account's owner wants to be told, and where. */
export function Alerts() {
  const { api } = useSession();
  const { asked, again } = useAnswer(() => api.call("/account/alerts", alertsSchema));
  if (asked.kind === "failed" && asked.error instanceof ApiError && asked.error.code === "not_found") {
    return <Empty>This service sends no alerts.</Empty>;
  }
  return (
    <>
      {asked.kind === "loading" && <Loading what="your alerts" />}
      {asked.kind === "failed" && <ErrorNote error={asked.error} retry={again} />}
      {asked.kind === "here" && (
        <Settings key={JSON.stringify(asked.answer)} settings={asked.answer} onSaved={again} />
      )}
      <Recent />
    </>
  );
}

interface Draft {
  readonly balance: string;
  readonly at80: boolean;
  readonly at100: boolean;
  readonly url: string;
}

function Settings({ settings, onSaved }: { readonly settings: AlertSettings; readonly onSaved: () => void }) {
  const { api } = useSession();
  const { doing, run } = useAction();
  const [draft, setDraft] = useState(() => draftOf(settings));
  const [secret, setSecret] = useState<string | undefined>(undefined);
  const [told, setTold] = useState("");
  const change = (part: Partial<Draft>) => setDraft((before) => ({ ...before, ...part }));
  const { webhook } = settings;
  const isBalanceWrong = draft.balance.trim() !== "" && (parseDollars(draft.balance) ?? 0n) === 0n;

  /** A secret is shown before the screen is asked for anew. */
  function keep(saved: AlertSettings): void {
    if (saved.webhook?.secret === undefined) onSaved();
    else setSecret(saved.webhook.secret);
  }

  async function save(): Promise<void> {
    setTold("");
    const saved = await api.call("/account/alerts", alertsSchema, { method: "PUT", body: orderOf(draft) });
    setTold("Saved.");
    keep(saved);
  }

  async function rotate(): Promise<void> {
    setTold("");
    keep(await api.call("/account/alerts/webhook/rotate", alertsSchema, { method: "POST" }));
  }

  async function test(): Promise<void> {
    setTold("");
    const { delivered, result } = await api.call("/account/alerts/test", alertTestSchema, { method: "POST" });
    setTold(delivered ? "The test event arrived." : `The test event did not arrive: ${words(result)}.`);
  }

  return (
    <form
      class="card"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBalanceWrong) run(save);
      }}
    >
      <Field
        label="Tell me when a call brings the balance below (USD)"
        hint="Empty: never."
        problem={isBalanceWrong ? "Write dollars, such as 5.00." : undefined}
      >
        {(ids) => (
          <input
            {...ids}
            type="text"
            inputMode="decimal"
            value={draft.balance}
            onInput={({ currentTarget }) => change({ balance: currentTarget.value })}
          />
        )}
      </Field>
      <fieldset>
        <legend>Tell me when a key has spent</legend>
        <label class="check">
          <input
            type="checkbox"
            checked={draft.at80}
            onChange={({ currentTarget }) => change({ at80: currentTarget.checked })}
          />{" "}
          80 % of its limit
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={draft.at100}
            onChange={({ currentTarget }) => change({ at100: currentTarget.checked })}
          />{" "}
          all of its limit
        </label>
      </fieldset>
      <Field
        label="Webhook"
        hint="An https address that gets each alert, signed. Empty: alerts are shown here only."
      >
        {(ids) => (
          <input
            {...ids}
            type="url"
            placeholder="https://example.com/alerts"
            value={draft.url}
            onInput={({ currentTarget }) => change({ url: currentTarget.value })}
          />
        )}
      </Field>
      {webhook !== null && webhook.status !== "active" && <p class="problem">{STATUSES[webhook.status]}</p>}
      {doing.kind === "failed" && <ErrorNote error={doing.error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={doing.kind === "busy"}>
          Save
        </button>
        {webhook !== null && (
          <>
            <button type="button" disabled={doing.kind === "busy"} onClick={() => run(test)}>
              Send a test event
            </button>
            <button type="button" disabled={doing.kind === "busy"} onClick={() => run(rotate)}>
              New secret
            </button>
          </>
        )}
        <span role="status" class="said">
          {told}
        </span>
      </div>
      {secret !== undefined && (
        <WebhookSecret
          secret={secret}
          onClose={() => {
            setSecret(undefined);
            onSaved();
          }}
        />
      )}
    </form>
  );
}

const STATUSES = {
  suspended:
    "Nothing is sent there now: three alerts in a row did not arrive. Send a test: if it arrives, alerts are sent again.",
  unusable: "Its secret cannot be read any more. Make a new secret.",
} as const;

function draftOf({ low_balance_micro_usd: low, key_limit_80, key_limit_100, webhook }: AlertSettings): Draft {
  return {
    balance: low === null ? "" : plainDollars(BigInt(low)),
    at80: key_limit_80,
    at100: key_limit_100,
    url: webhook?.url ?? "",
  };
}

function orderOf({ balance, at80, at100, url }: Draft): Readonly<Record<string, unknown>> {
  const amount = parseDollars(balance);
  return {
    low_balance: amount === undefined ? null : plainDollars(amount),
    key_limit_80: at80,
    key_limit_100: at100,
    webhook: url.trim() === "" ? null : { url: url.trim() },
  };
}

/** A stable word of the service, for people. */
function words(code: string): string {
  return code.replaceAll("_", " ");
}

function WebhookSecret({ secret, onClose }: { readonly secret: string; readonly onClose: () => void }) {
  return (
    <Dialog title="Your webhook's secret" keepOpen onClose={onClose}>
      <p>
        <strong>Copy it now: it is shown this once.</strong> Check the signature of each event with it.
      </p>
      <section class="secret" aria-label="Secret">
        <pre>{secret}</pre>
        <CopyButton text={secret} label="Copy secret" />
      </section>
      <footer class="dialog-foot">
        <button type="button" class="primary" onClick={onClose}>
          I have copied it
        </button>
      </footer>
    </Dialog>
  );
}

function Recent() {
  const { api } = useSession();
  const { asked, again } = useAnswer(() => api.call("/account/alerts/recent", recentAlertsSchema));
  return (
    <section aria-labelledby="recent">
      <h2 id="recent">Latest alerts</h2>
      {asked.kind === "loading" && <Loading what="alerts" />}
      {asked.kind === "failed" && <ErrorNote error={asked.error} retry={again} />}
      {asked.kind === "here" && asked.answer.alerts.length === 0 && <Empty>There was nothing to tell.</Empty>}
      {asked.kind === "here" && asked.answer.alerts.length > 0 && (
        <TableBox label="Latest alerts">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">What</th>
                <th scope="col">Key</th>
                <th scope="col" class="number">
                  Amount
                </th>
              </tr>
            </thead>
            <tbody>
              {asked.answer.alerts.map((alert) => (
                <tr key={alert.id}>
                  <td data-head="Time">
                    <Time iso={alert.at} />
                  </td>
                  <td data-head="What">{KINDS[alert.kind] ?? words(alert.kind)}</td>
                  <td data-head="Key">{alert.key?.label ?? "–"}</td>
                  <td
                    data-head="Amount"
                    class="number"
                  >{`${dollars(alert.amount_micro_usd)} (at ${dollars(alert.threshold_micro_usd)})`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableBox>
      )}
    </section>
  );
}
