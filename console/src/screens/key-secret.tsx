import type { ConsoleConfig, NewKey } from "../answers.ts";
import { CopyButton, Dialog } from "../parts/parts.tsx";
import { useSession } from "../session.tsx";

/** The one time that a secret is shown. It is kept nowhere: neither here nor on the server. */
export function SecretDialog({ of: key, onClose }: { readonly of: NewKey; readonly onClose: () => void }) {
  const { config } = useSession();
  if (key.key === null) {
    return (
      <Dialog title="Key exists already" onClose={onClose}>
        <p>
          This key was made before, and its secret was shown then. If it is lost, rotate the key: that gives
          it a new one.
        </p>
        <footer class="dialog-foot">
          <button type="button" class="primary" onClick={onClose}>
            Close
          </button>
        </footer>
      </Dialog>
    );
  }
  const line = `FAREBOX_API_KEY=${key.key}`;
  const model = key.permissions.includes("chat:read") ? modelFor(key, config) : undefined;
  const curl = curlOf(config.public_url, key.key, model);
  return (
    <Dialog title="Your new key" onClose={onClose} keepOpen>
      <p>
        <strong>Copy it now: it is shown this once.</strong> We keep only its fingerprint. Whoever has it can
        spend from your balance.
      </p>
      <Line name="Secret" text={key.key} />
      <Line name="Line for .env" text={line} />
      <Line name="Command to try it" text={curl} />
      <footer class="dialog-foot">
        <button type="button" class="primary" onClick={onClose}>
          I have copied it
        </button>
      </footer>
    </Dialog>
  );
}

function Line({ name, text }: { readonly name: string; readonly text: string }) {
  return (
    <section class="secret" aria-label={name}>
      <h3>{name}</h3>
      <pre>{text}</pre>
      <CopyButton text={text} label={`Copy ${name.charAt(0).toLowerCase()}${name.slice(1)}`} />
    </section>
  );
}

/** One that this key may use. */
function modelFor({ models, providers }: NewKey, config: ConsoleConfig): string | undefined {
  if (models !== null) return models[0];
  return config.models.find(
    ({ provider }) => providers === null || (provider !== null && providers.includes(provider)),
  )?.id;
}

/** Works as it is printed. */
function curlOf(url: string, secret: string, model: string | undefined): string {
  if (model === undefined) return `curl ${url}/v1/key -H 'Authorization: Bearer ${secret}'`;
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] }).replaceAll(
    "'",
    "'\\''",
  );
  return [
    `curl ${url}/v1/chat/completions \\`,
    `  -H 'Authorization: Bearer ${secret}' \\`,
    "  -H 'Content-Type: application/json' \\",
    `  -d '${body}'`,
  ].join("\n");
}
