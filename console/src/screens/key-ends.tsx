import { useMemo, useState } from "preact/hooks";
import { asTyped, type Key, keySchema, type NewKey, nameOf, newKeySchema } from "../answers.ts";
import { DialogForm } from "../parts/dialog-form.tsx";
import { Field } from "../parts/parts.tsx";
import { useAction } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";

const GRACES = [
  ["now", "Stops at once"],
  ["1m", "Works for 1 more minute"],
  ["15m", "Works for 15 more minutes"],
  ["1h", "Works for 1 more hour"],
  ["6h", "Works for 6 more hours"],
  ["24h", "Works for 24 more hours"],
] as const;

/** A new secret for the same key. */
export function RotateDialog(props: {
  readonly of: Key;
  readonly onClose: () => void;
  readonly onDone: (key: NewKey) => void;
}) {
  const { of: key, onClose, onDone } = props;
  const { api } = useSession();
  const { doing, run } = useAction();
  const [grace, setGrace] = useState("1h");
  const idempotencyKey = useMemo(() => crypto.randomUUID(), []);
  const path = `/account/keys/${encodeURIComponent(key.id)}/rotate`;
  return (
    <DialogForm
      title={`Rotate ${nameOf(key)}`}
      action="Rotate key"
      doing={doing}
      onClose={onClose}
      onSubmit={() => {
        run(async () =>
          onDone(await api.call(path, newKeySchema, { method: "POST", body: { grace }, idempotencyKey })),
        );
      }}
    >
      <p>The key gets a new secret. Its balance, limit and history stay.</p>
      <Field label="The old secret" hint="Never longer than the key itself.">
        {(ids) => (
          <select {...ids} value={grace} onChange={({ currentTarget }) => setGrace(currentTarget.value)}>
            {GRACES.map(([value, words]) => (
              <option key={value} value={value}>
                {words}
              </option>
            ))}
          </select>
        )}
      </Field>
    </DialogForm>
  );
}

/** Ends a key for ever; the label is typed, since nothing brings it back. */
export function RevokeDialog(props: {
  readonly of: Key;
  readonly onClose: () => void;
  readonly onDone: () => void;
}) {
  const { of: key, onClose, onDone } = props;
  const { api } = useSession();
  const { doing, run } = useAction();
  const [typed, setTyped] = useState("");
  const name = nameOf(key);
  return (
    <DialogForm
      title={`Revoke ${name}`}
      action="Revoke for ever"
      isDanger
      isReady={asTyped(typed) === asTyped(name)}
      doing={doing}
      onClose={onClose}
      onSubmit={() => {
        run(async () => {
          await api.call(`/account/keys/${encodeURIComponent(key.id)}`, keySchema, { method: "DELETE" });
          onDone();
        });
      }}
    >
      <p>
        From the next request on, whoever uses this key is refused. <strong>This cannot be undone.</strong>
      </p>
      <Field label={`Type “${name}” to confirm`}>
        {(ids) => (
          <input
            {...ids}
            type="text"
            autoComplete="off"
            value={typed}
            onInput={({ currentTarget }) => setTyped(currentTarget.value)}
          />
        )}
      </Field>
    </DialogForm>
  );
}
