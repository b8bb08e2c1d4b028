import { useMemo, useState } from "preact/hooks";
import { type Key, keySchema, type NewKey, newKeySchema } from "../answers.ts";
import { parseDollars, plainDollars } from "../money.ts";
import { DialogForm } from "../parts/dialog-form.tsx";
import { Field } from "../parts/parts.tsx";
import { useAction } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";

/** What a person has typed. */
interface Draft {
  readonly label: string;
  readonly limit: string;
  readonly limitReset: string;
  readonly permissions: readonly string[];
  readonly models: readonly string[];
  /** `keep`: as it is; an empty text: none. */
  readonly expires: string;
  readonly rpm: string;
}

const PERMISSIONS: Readonly<Record<string, string>> = {
  "chat:read": "Chat completions",
  "embeddings:read": "Embeddings",
  "models:list": "List models",
  "agent:run": "Run the agent",
};
/** What the service takes. */
const MOST_A_MINUTE = 1_000_000;
const RESETS = [
  ["never", "Never"],
  ["daily", "Daily"],
  ["weekly", "Weekly"],
  ["monthly", "Monthly"],
] as const;
const EXPIRIES = [
  ["", "Never"],
  ["1d", "In a day"],
  ["7d", "In a week"],
  ["30d", "In 30 days"],
  ["90d", "In 90 days"],
  ["365d", "In a year"],
] as const;

/** A new key, or the settings of one. */
export function KeyForm(props: {
  readonly existing: Key | undefined;
  readonly onClose: () => void;
  readonly onDone: (key?: NewKey) => void;
}) {
  const { existing, onClose, onDone } = props;
  const { api, config } = useSession();
  const { doing, run } = useAction();
  const [draft, setDraft] = useState<Draft>(() => draftOf(existing, config.permissions));
  const [isTried, setTried] = useState(false);
  // A second press, or a retry after a lost answer, must not make a second key.
  const idempotencyKey = useMemo(() => crypto.randomUUID(), []);
  const problems = problemsOf(draft);
  const shown = isTried ? problems : {};
  const change = (part: Partial<Draft>) => setDraft((before) => ({ ...before, ...part }));

  async function save(): Promise<void> {
    if (existing !== undefined) {
      await api.call(`/account/keys/${encodeURIComponent(existing.id)}`, keySchema, {
        method: "PATCH",
        body: { ...orderOf(draft, config.permissions), ...(draft.expires === "keep" ? {} : expiryOf(draft)) },
      });
      onDone();
      return;
    }
    const order = leaveOutNull({ ...orderOf(draft, config.permissions), ...expiryOf(draft) });
    onDone(await api.call("/account/keys", newKeySchema, { method: "POST", body: order, idempotencyKey }));
  }

  return (
    <DialogForm
      title={existing === undefined ? "Create a key" : "Edit key"}
      action={existing === undefined ? "Create key" : "Save"}
      doing={doing}
      onClose={onClose}
      onSubmit={() => {
        setTried(true);
        if (Object.keys(problems).length === 0) run(save);
      }}
    >
      <Field label="Label" hint="What it is for: you will find it in your usage." problem={shown["label"]}>
        {(ids) => (
          <input
            {...ids}
            type="text"
            maxLength={100}
            value={draft.label}
            onInput={({ currentTarget }) => change({ label: currentTarget.value })}
          />
        )}
      </Field>
      <div class="pair">
        <Field label="Spend limit (USD)" hint="Empty: no limit but your balance." problem={shown["limit"]}>
          {(ids) => (
            <input
              {...ids}
              type="text"
              inputMode="decimal"
              placeholder="5.00"
              value={draft.limit}
              onInput={({ currentTarget }) => change({ limit: currentTarget.value })}
            />
          )}
        </Field>
        <Field label="Limit starts again">
          {(ids) => (
            <select
              {...ids}
              value={draft.limitReset}
              disabled={draft.limit.trim() === ""}
              onChange={({ currentTarget }) => change({ limitReset: currentTarget.value })}
            >
              {RESETS.map(([value, words]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <Choices
        title="Permissions"
        problem={shown["permissions"]}
        all={config.permissions}
        words={PERMISSIONS}
        chosen={draft.permissions}
        onChange={(permissions) => change({ permissions })}
      />
      <Models chosen={draft.models} onChange={(models) => change({ models })} />
      <div class="pair">
        <Field label="Expires">
          {(ids) => (
            <select
              {...ids}
              value={draft.expires}
              onChange={({ currentTarget }) => change({ expires: currentTarget.value })}
            >
              {existing !== undefined && <option value="keep">As it is</option>}
              {EXPIRIES.map(([value, words]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Requests a minute" hint="Empty: no limit." problem={shown["rpm"]}>
          {(ids) => (
            <input
              {...ids}
              type="text"
              inputMode="numeric"
              value={draft.rpm}
              onInput={({ currentTarget }) => change({ rpm: currentTarget.value })}
            />
          )}
        </Field>
      </div>
    </DialogForm>
  );
}

function Choices(props: {
  readonly title: string;
  readonly problem: string | undefined;
  readonly all: readonly string[];
  readonly words: Readonly<Record<string, string>>;
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
}) {
  const { title, problem, all, words, chosen, onChange } = props;
  return (
    <fieldset>
      <legend>{title}</legend>
      {all.map((one) => (
        <label class="check" key={one}>
          <input
            type="checkbox"
            checked={chosen.includes(one)}
            onChange={({ currentTarget: { checked } }) =>
              onChange(all.filter((other) => (other === one ? checked : chosen.includes(other))))
            }
          />{" "}
          {words[one] ?? one}
        </label>
      ))}
      {problem !== undefined && <p class="problem">{problem}</p>}
    </fieldset>
  );
}

/** None chosen means every model. */
function Models(props: {
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
}) {
  const { config } = useSession();
  const { chosen, onChange } = props;
  // A key may name a model that is not sold any more.
  const all = [...new Set([...config.models.map(({ id }) => id), ...chosen])];
  if (all.length === 0) return null;
  return (
    <details class="more">
      <summary>Models: {chosen.length === 0 ? "all" : `${chosen.length} chosen`}</summary>
      <Choices
        title="Only these models"
        problem={undefined}
        all={all}
        words={{}}
        chosen={chosen}
        onChange={onChange}
      />
      <p class="hint">None chosen: every model, also those to come.</p>
    </details>
  );
}

function draftOf(key: Key | undefined, permissions: readonly string[]): Draft {
  if (key === undefined) {
    return { label: "", limit: "", limitReset: "never", permissions, models: [], expires: "", rpm: "" };
  }
  return {
    label: key.label,
    limit: key.limit_micro_usd === null ? "" : plainDollars(BigInt(key.limit_micro_usd)),
    limitReset: key.limit_reset,
    permissions: key.permissions,
    models: key.models ?? [],
    expires: "keep",
    rpm: key.rpm === null ? "" : String(key.rpm),
  };
}

function problemsOf({ label, limit, permissions, rpm }: Draft): Readonly<Record<string, string>> {
  const problems: Record<string, string> = {};
  if (label.trim() === "") problems["label"] = "Give it a name.";
  if (limit.trim() !== "" && parseDollars(limit) === undefined)
    problems["limit"] = "Write dollars, such as 5.00.";
  if (permissions.length === 0) problems["permissions"] = "A key needs one at least.";
  if (rpm.trim() !== "" && !(/^[1-9]\d*$/.test(rpm.trim()) && Number(rpm) <= MOST_A_MINUTE))
    problems["rpm"] = `Write a whole number from 1 to ${MOST_A_MINUTE}.`;
  return problems;
}

/** Null lifts a restriction; that is for changes only. */
function orderOf(draft: Draft, allPermissions: readonly string[]): Readonly<Record<string, unknown>> {
  const limit = parseDollars(draft.limit);
  const all = draft.permissions.length === allPermissions.length;
  return {
    label: draft.label.trim(),
    limit: limit === undefined ? null : plainDollars(limit),
    limit_reset: limit === undefined ? "never" : draft.limitReset,
    permissions: all ? allPermissions : draft.permissions,
    models: draft.models.length === 0 ? null : draft.models,
    rpm: draft.rpm.trim() === "" ? null : Number(draft.rpm.trim()),
  };
}

function expiryOf({ expires }: Draft): Readonly<Record<string, unknown>> {
  return { expires_at: expires === "" ? null : expires };
}

function leaveOutNull(order: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(order).filter(([, value]) => value !== null));
}
