import { useState } from "preact/hooks";
import { z } from "zod";
import { type ProviderKey, providerKeySchema, providerKeysSchema } from "../answers.ts";
import { DialogForm } from "../parts/dialog-form.tsx";
import { Empty, ErrorNote, Field, Loading, TableBox, Time } from "../parts/parts.tsx";
import { useAction, useAnswer } from "../parts/use-answer.ts";
import { useSession } from "../session.tsx";

const deletedSchema = z.object({ deleted: z.boolean() });

/** Keys of the account's own at upstreams: calls then go out on them, for a fee. */
export function ProviderKeys() {
  const { api, config } = useSession();
  const { asked, again } = useAnswer(() => api.call("/account/provider-keys", providerKeysSchema));
  const [setting, setSetting] = useState(false);
  const [deleting, setDeleting] = useState<ProviderKey | undefined>(undefined);
  const path = (provider: string) => `/account/provider-keys/${encodeURIComponent(provider)}`;

  if (!config.provider_keys) {
    return <Empty>This service stores no provider keys.</Empty>;
  }
  return (
    <>
      <p class="lead">
        Have an account at a provider? Calls of your keys then go out on it, and cost a small fee instead of
        the model's price.
      </p>
      <div class="actions">
        <button type="button" class="primary" onClick={() => setSetting(true)}>
          Add a provider key
        </button>
      </div>
      {asked.kind === "loading" && <Loading what="your provider keys" />}
      {asked.kind === "failed" && <ErrorNote error={asked.error} retry={again} />}
      {asked.kind === "here" && asked.answer.provider_keys.length === 0 && (
        <Empty>You have stored none.</Empty>
      )}
      {asked.kind === "here" && asked.answer.provider_keys.length > 0 && (
        <TableBox label="Provider keys">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Provider</th>
                <th scope="col">Key</th>
                <th scope="col">Stored</th>
                <th scope="col">
                  <span class="unseen">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {asked.answer.provider_keys.map((key) => (
                <tr key={key.provider}>
                  <th scope="row" data-head="Provider">
                    {key.provider}
                  </th>
                  <td data-head="Key">
                    <code>…{key.last4}</code>
                  </td>
                  <td data-head="Stored">
                    <Time iso={key.created_at} />
                  </td>
                  <td class="row-actions">
                    <button
                      type="button"
                      class="small danger"
                      aria-label={`Delete the key at ${key.provider}`}
                      onClick={() => setDeleting(key)}
                    >
                      Delete
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableBox>
      )}
      {deleting !== undefined && (
        <DeleteDialog
          of={deleting}
          path={path(deleting.provider)}
          onClose={() => setDeleting(undefined)}
          onDone={() => {
            setDeleting(undefined);
            again();
          }}
        />
      )}
      {setting && (
        <SetDialog
          path={path}
          onClose={() => setSetting(false)}
          onDone={() => {
            setSetting(false);
            again();
          }}
        />
      )}
    </>
  );
}

function DeleteDialog(props: {
  readonly of: ProviderKey;
  readonly path: string;
  readonly onClose: () => void;
  readonly onDone: () => void;
}) {
  const { of: key, path, onClose, onDone } = props;
  const { api } = useSession();
  const { doing, run } = useAction();
  return (
    <DialogForm
      title={`Delete the key at ${key.provider}`}
      action="Delete this key"
      isDanger
      doing={doing}
      onClose={onClose}
      onSubmit={() => {
        run(async () => {
          await api.call(path, deletedSchema, { method: "DELETE" });
          onDone();
        });
      }}
    >
      <p>Calls then go out on this service's own key again, at the model's full price.</p>
    </DialogForm>
  );
}

function SetDialog(props: {
  readonly path: (provider: string) => string;
  readonly onClose: () => void;
  readonly onDone: () => void;
}) {
  const { path, onClose, onDone } = props;
  const { api, config } = useSession();
  const { doing, run } = useAction();
  const [provider, setProvider] = useState(config.providers[0] ?? "");
  const [secret, setSecret] = useState("");
  return (
    <DialogForm
      title="Add a provider key"
      action="Store key"
      isReady={secret.trim() !== ""}
      doing={doing}
      onClose={onClose}
      onSubmit={() => {
        run(async () => {
          await api.call(path(provider), providerKeySchema, {
            method: "PUT",
            body: { secret: secret.trim() },
          });
          onDone();
        });
      }}
    >
      <Field label="Provider">
        {(ids) => (
          <select
            {...ids}
            value={provider}
            onChange={({ currentTarget }) => setProvider(currentTarget.value)}
          >
            {config.providers.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Its key" hint="It is stored encrypted and never shown again. An earlier one is replaced.">
        {(ids) => (
          <input
            {...ids}
            type="password"
            autoComplete="off"
            value={secret}
            onInput={({ currentTarget }) => setSecret(currentTarget.value)}
          />
        )}
      </Field>
    </DialogForm>
  );
}
