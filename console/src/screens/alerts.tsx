import { useState } from "preact/hooks";
import {
  type Alerts as AlertSettings,
  alertsSchema,
  alertTestSchema,
  changedAlertsSchema,
  recentAlertsSchema,
} from "../answers.ts";
import { ApiError } from "../api.ts";
import { parseDollars, plainDollars } from "../money.ts";
import { CopyButton, Dialog, Empty, ErrorNote, Field, Loading, TableBox, Time } from "../parts/parts.tsx";
import { useAction, useAnswer } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";

const KINDS: Readonly<Record<string, string>> = {
  low_balance: "The balance is low",
  limit_80: "A key has spent 80 % of its limit",
  limit_100: "A key has reached its limit",
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

function Settings({ settings, onSaved }: { readonly settings: AlertSettings; readonly onSaved: () => void }) {
  const { api } = useSession();
  const { doing, run } = useAction();
  const low = settings.low_balance_micro_usd;
  const [balance, setBalance] = useState(low === null ? "" : plainDollars(BigInt(low)));
  const [keyLimits, setKeyLimits] = useState(settings.key_limits);
  const [url, setUrl] = useState(settings.webhook_url ?? "");
  const [secret, setSecret] = useState<string | undefined>(undefined);
  const [told, setTold] = useState("");
  const isBalanceWrong = balance.trim() !== "" && parseDollars(balance) === undefined;

  async function save(): Promise<void> {
    setTold("");
    const amount = parseDollars(balance);
    const saved = await api.call("/account/alerts", changedAlertsSchema, {
      method: "PUT",
      body: {
        low_balance: amount === undefined ? null : plainDollars(amount),
        key_limits: keyLimits,
        webhook_url: url.trim() === "" ? null : url.trim(),
      },
    });
    setTold("Saved.");
    if (saved.webhook_secret === undefined) onSaved();
    else setSecret(saved.webhook_secret);
  }

  async function test(): Promise<void> {
    setTold("");
    const result = await api.call("/account/alerts/test", alertTestSchema, { method: "POST" });
    setTold(
      result.delivered
        ? "The test event arrived."
        : `The test event did not arrive: ${result.reason ?? result.status}.`,
    );
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
        label="Tell me when the balance is below (USD)"
        hint="Empty: never."
        problem={isBalanceWrong ? "Write dollars, such as 5.00." : undefined}
      >
        {(ids) => (
          <input
            {...ids}
            type="text"
            inputMode="decimal"
            value={balance}
            onInput={({ currentTarget }) => setBalance(currentTarget.value)}
          />
        )}
      </Field>
      <label class="check">
        <input
          type="checkbox"
          checked={keyLimits}
          onChange={({ currentTarget }) => setKeyLimits(currentTarget.checked)}
        />{" "}
        Tell me when a key has spent 80 % and 100 % of its limit
      </label>
      <Field
        label="Webhook"
        hint="An https address that gets each alert, signed. Empty: alerts are shown here only."
      >
        {(ids) => (
          <input
            {...ids}
            type="url"
            placeholder="https://example.com/alerts"
            value={url}
            onInput={({ currentTarget }) => setUrl(currentTarget.value)}
          />
        )}
      </Field>
      {settings.webhook_secret_last4 !== null && (
        <p class="hint">
          Events are signed with the secret that ends in <code>{settings.webhook_secret_last4}</code>.
        </p>
      )}
      {doing.kind === "failed" && <ErrorNote error={doing.error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={doing.kind === "busy"}>
          Save
        </button>
        <button
          type="button"
          disabled={doing.kind === "busy" || settings.webhook_url === null}
          onClick={() => run(test)}
        >
          Send a test event
        </button>
        <span role="status" class="said">
          {told}
        </span>
      </div>
      {secret !== undefined && (
        <Dialog
          title="Your webhook's secret"
          keepOpen
          onClose={() => {
            setSecret(undefined);
            onSaved();
          }}
        >
          <p>
            <strong>Copy it now: it is shown this once.</strong> Check the signature of each event with it.
          </p>
          <section class="secret" aria-label="Secret">
            <pre>{secret}</pre>
            <CopyButton text={secret} label="Copy secret" />
          </section>
          <footer class="dialog-foot">
            <button
              type="button"
              class="primary"
              onClick={() => {
                setSecret(undefined);
                onSaved();
              }}
            >
              I have copied it
            </button>
          </footer>
        </Dialog>
      )}
    </form>
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
                <tr key={`${alert.at}${alert.kind}${alert.key?.id ?? ""}`}>
                  <td data-head="Time">
                    <Time iso={alert.at} />
                  </td>
                  <td data-head="What">{KINDS[alert.kind] ?? alert.kind.replaceAll("_", " ")}</td>
                  <td data-head="Key">{alert.key?.label ?? "–"}</td>
                  <td
                    data-head="Amount"
                    class="number"
                  >{`$${alert.amount_usd} (at $${alert.threshold_usd})`}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableBox>
      )}
    </section>
  );
}
