import { useEffect, useState } from "preact/hooks";
import { type Key, keysSchema, nameOf, type UsageRecord, usageSchema } from "../answers.ts";
import { wordsOfNotCharged } from "../not-charged.ts";
import { Empty, ErrorNote, Field, Loading, Money, TableBox, Time, Transaction } from "../parts/parts.tsx";
import { useAction, useAnswer } from "../parts/use-answer.ts";
import { saveFile } from "../save-file.ts";
import { useSession } from "../session.tsx";

const PAGE = 50;
const SPANS = [
  ["", "Ever"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
] as const;
const TIERS: Readonly<Record<string, string>> = { x402: "wallet", key: "balance", internal: "first party" };

/** What is bought without a model. */
const SOLD: Readonly<Record<string, string>> = { "POST /topup": "Top-up", "POST /keys": "Key with credit" };

interface Filter {
  readonly key: string;
  readonly model: string;
  readonly since: string;
}

/** Call by call: what was held, what was charged, and why not. */
export function UsageScreen() {
  const { api, config } = useSession();
  const [filter, setFilter] = useState<Filter>({ key: "", model: "", since: "" });
  const { asked: keys } = useAnswer(() => api.call("/account/keys", keysSchema));
  const [round, setRound] = useState(0);
  const { doing: saving, run } = useAction();
  const change = (part: Partial<Filter>) => setFilter((before) => ({ ...before, ...part }));
  // A plain link would save the refusal of a session that has to be refreshed first.
  const saveCsv = () =>
    run(async () =>
      saveFile("usage.csv", await api.file(`/account/usage?${queryOf(filter, { format: "csv" })}`)),
    );
  return (
    <>
      <search class="filters">
        <Field label="Key">
          {(ids) => (
            <select
              {...ids}
              value={filter.key}
              onChange={({ currentTarget }) => change({ key: currentTarget.value })}
            >
              <option value="">Any key, or wallet</option>
              {keys.kind === "here" && keys.answer.keys.map((key) => <KeyOption key={key.id} of={key} />)}
            </select>
          )}
        </Field>
        <Field label="Model">
          {(ids) => (
            <select
              {...ids}
              value={filter.model}
              onChange={({ currentTarget }) => change({ model: currentTarget.value })}
            >
              <option value="">All models</option>
              {config.models.map(({ id }) => (
                <option key={id} value={id}>
                  {id}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Time">
          {(ids) => (
            <select
              {...ids}
              value={filter.since}
              onChange={({ currentTarget }) => change({ since: currentTarget.value })}
            >
              {SPANS.map(([value, words]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
            </select>
          )}
        </Field>
        <div class="actions">
          <button type="button" onClick={() => setRound((before) => before + 1)}>
            Refresh
          </button>
          <button type="button" disabled={saving.kind === "busy"} onClick={saveCsv}>
            Download CSV
          </button>
        </div>
      </search>
      {saving.kind === "failed" && <ErrorNote error={saving.error} retry={saveCsv} />}
      <Pages key={JSON.stringify([filter, round])} filter={filter} />
    </>
  );
}

function KeyOption({ of: key }: { readonly of: Key }) {
  return <option value={key.id}>{`${nameOf(key)} (…${key.last4})`}</option>;
}

/** The records page by page; a new filter starts anew. */
function Pages({ filter }: { readonly filter: Filter }) {
  const { api } = useSession();
  const [records, setRecords] = useState<readonly UsageRecord[]>([]);
  const [next, setNext] = useState<number | null | undefined>(undefined);
  const { doing, run } = useAction();

  function load(before: number | undefined): void {
    run(async () => {
      const query = queryOf(filter, {
        limit: String(PAGE),
        ...(before === undefined ? {} : { before: String(before) }),
      });
      const page = await api.call(`/account/usage?${query}`, usageSchema);
      setRecords((earlier) => (before === undefined ? page.usage : [...earlier, ...page.usage]));
      setNext(page.next_before);
    });
  }
  useEffect(() => load(undefined), []);

  const isFirst = next === undefined;
  return (
    <>
      {records.length > 0 && <UsageTable records={records} />}
      {!isFirst && records.length === 0 && <Empty>No calls that fit.</Empty>}
      {doing.kind === "busy" && <Loading what="calls" />}
      {doing.kind === "failed" && (
        <ErrorNote error={doing.error} retry={() => load(isFirst ? undefined : (next ?? undefined))} />
      )}
      {typeof next === "number" && doing.kind !== "busy" && (
        <button type="button" onClick={() => load(next)}>
          Earlier calls
        </button>
      )}
    </>
  );
}

function UsageTable({ records }: { readonly records: readonly UsageRecord[] }) {
  return (
    <TableBox label="Calls">
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Key</th>
            <th scope="col">Model</th>
            <th scope="col" class="number">
              Tokens in / out
            </th>
            <th scope="col" class="number">
              Held
            </th>
            <th scope="col" class="number">
              Charged
            </th>
            <th scope="col">Paid from</th>
            <th scope="col">Transaction</th>
          </tr>
        </thead>
        <tbody>
          {records.map((record) => (
            <UsageRow key={record.id} of={record} />
          ))}
        </tbody>
      </table>
    </TableBox>
  );
}

function UsageRow({ of: record }: { readonly of: UsageRecord }) {
  const { config } = useSession();
  return (
    <tr>
      <td data-head="Time">
        <Time iso={record.at} />
      </td>
      <td data-head="Key">{record.key_label ?? record.key_id ?? <span class="muted">–</span>}</td>
      <td data-head="Model">{record.model ?? SOLD[record.route] ?? record.route}</td>
      <td data-head="Tokens in / out" class="number">
        {record.prompt_tokens ?? "–"} / {record.completion_tokens ?? "–"}
        {record.estimated && (
          <span title="The upstream did not tell; this is our estimate."> (estimated)</span>
        )}
      </td>
      <td data-head="Held" class="number">
        <Money micro={record.held_micro_usd} />
      </td>
      <td data-head="Charged" class="number">
        <Money micro={record.charged_micro_usd} />
        {record.not_charged !== null && (
          <div class="hint reason">{`Not charged: ${wordsOfNotCharged(record.not_charged)}`}</div>
        )}
      </td>
      <td data-head="Paid from">{TIERS[record.tier] ?? record.tier}</td>
      <td data-head="Transaction">
        <Transaction id={record.transaction} explorer={config.explorer} />
      </td>
    </tr>
  );
}

function queryOf(filter: Filter, more: Readonly<Record<string, string>>): string {
  const set = Object.entries({ ...filter, ...more }).filter(([, value]) => value !== "");
  return new URLSearchParams(set).toString();
}
