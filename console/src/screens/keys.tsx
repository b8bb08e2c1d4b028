import { useState } from "preact/hooks";
import { type Key, keysSchema, type NewKey, nameOf } from "../answers.ts";
import { dollars, percentOf } from "../money.ts";
import { Bar, Day, Empty, ErrorNote, Loading, Money, TableBox, Time } from "../parts/parts.tsx";
import { useAnswer } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";
import { RevokeDialog, RotateDialog } from "./key-ends.tsx";
import { KeyForm } from "./key-form.tsx";
import { SecretDialog } from "./key-secret.tsx";

type Open =
  | { readonly what: "form"; readonly key: Key | undefined }
  | { readonly what: "rotate" | "revoke"; readonly key: Key }
  | { readonly what: "secret"; readonly key: NewKey };

const RESETS: Readonly<Record<string, string>> = {
  never: "in all",
  daily: "a day",
  weekly: "a week",
  monthly: "a month",
};

/** The keys of the account, and everything that can be done to one. */
export function Keys() {
  const { api } = useSession();
  const { asked, again } = useAnswer(() => api.call("/account/keys", keysSchema));
  const [open, setOpen] = useState<Open | undefined>(undefined);
  const [showsEnded, setShowsEnded] = useState(false);

  function done(key?: NewKey): void {
    setOpen(key === undefined ? undefined : { what: "secret", key });
    again();
  }
  const close = () => setOpen(undefined);
  return (
    <>
      <div class="actions">
        <button type="button" class="primary" onClick={() => setOpen({ what: "form", key: undefined })}>
          Create a key
        </button>
        <label class="check">
          <input
            type="checkbox"
            checked={showsEnded}
            onChange={({ currentTarget }) => setShowsEnded(currentTarget.checked)}
          />{" "}
          Show revoked and expired keys
        </label>
      </div>
      {asked.kind === "loading" && <Loading what="your keys" />}
      {asked.kind === "failed" && <ErrorNote error={asked.error} retry={again} />}
      {asked.kind === "here" && (
        <KeyTable
          keys={asked.answer.keys.filter(({ status }) => showsEnded || status === "active")}
          hidden={showsEnded ? 0 : asked.answer.keys.filter(({ status }) => status !== "active").length}
          onOpen={setOpen}
        />
      )}
      {open?.what === "form" && <KeyForm existing={open.key} onClose={close} onDone={done} />}
      {open?.what === "rotate" && <RotateDialog of={open.key} onClose={close} onDone={done} />}
      {open?.what === "revoke" && <RevokeDialog of={open.key} onClose={close} onDone={() => done()} />}
      {open?.what === "secret" && <SecretDialog of={open.key} onClose={close} />}
    </>
  );
}

function KeyTable(props: {
  readonly keys: readonly Key[];
  readonly hidden: number;
  readonly onOpen: (open: Open) => void;
}) {
  const { keys, hidden, onOpen } = props;
  if (keys.length === 0) {
    return (
      <Empty>
        <p>{hidden > 0 ? "No key works any more." : "You have no keys yet."}</p>
        <p>
          A key lets a program call the service and pays from your balance. You can limit what it may spend.
        </p>
      </Empty>
    );
  }
  return (
    <TableBox label="Keys">
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">Label</th>
            <th scope="col">Key</th>
            <th scope="col">Status</th>
            <th scope="col">Spent</th>
            <th scope="col">Created</th>
            <th scope="col">Last used</th>
            <th scope="col">Expires</th>
            <th scope="col">
              <span class="unseen">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <KeyRow key={key.id} of={key} onOpen={onOpen} />
          ))}
        </tbody>
      </table>
    </TableBox>
  );
}

function KeyRow({ of: key, onOpen }: { readonly of: Key; readonly onOpen: (open: Open) => void }) {
  const name = nameOf(key);
  return (
    <tr>
      <th scope="row" data-head="Label">
        {name}
      </th>
      <td data-head="Key">
        <code>{`${key.prefix}…${key.last4}`}</code>
      </td>
      <td data-head="Status">
        <span class={`tag ${key.status}`}>{key.status}</span>
      </td>
      <td data-head="Spent">
        <Spent of={key} />
      </td>
      <td data-head="Created">
        <Day iso={key.created_at} />
      </td>
      <td data-head="Last used">
        <Time iso={key.last_used_at} />
      </td>
      <td data-head="Expires">
        <Day iso={key.expires_at} />
      </td>
      <td class="row-actions">
        {key.status === "active" && (
          <>
            <button
              type="button"
              class="small"
              aria-label={`Edit ${name}`}
              onClick={() => onOpen({ what: "form", key })}
            >
              Edit
            </button>
            <button
              type="button"
              class="small"
              aria-label={`Rotate ${name}`}
              onClick={() => onOpen({ what: "rotate", key })}
            >
              Rotate
            </button>
            <button
              type="button"
              class="small danger"
              aria-label={`Revoke ${name}`}
              onClick={() => onOpen({ what: "revoke", key })}
            >
              Revoke
            </button>
          </>
        )}
      </td>
    </tr>
  );
}

function Spent({ of: key }: { readonly of: Key }) {
  const limit = key.limit_micro_usd;
  if (limit === null) return <Money micro={key.usage_micro_usd} />;
  const words = `${dollars(key.spent_micro_usd)} of ${dollars(limit)} ${RESETS[key.limit_reset] ?? ""}`;
  return (
    <div class="spent">
      <span>{words}</span>
      <Bar percent={percentOf(key.spent_micro_usd, limit)} label={`${nameOf(key)} has spent ${words}`} />
    </div>
  );
}
