import type { KeysConfig } from "./config.ts";
import { GatewayError } from "./errors.ts";
import type { AccountLedger } from "./ledger/account-ledger.ts";
import { pepperMark } from "./ledger/keys.ts";

type Marked = Pick<AccountLedger, "pepperMark" | "setPepperMark">;

/**
 * For a gateway that starts: leaves the mark of its pepper in the ledger, for the next start and for whoever makes keys.
 * Rejects with Error if it is another one than before and keys are active, which it would refuse one and all, unless
 * `acceptVoidKeys`.
 */
export async function takePepper(
  ledger: Marked & Pick<AccountLedger, "keys">,
  { pepper, acceptVoidKeys }: Pick<KeysConfig, "pepper" | "acceptVoidKeys">,
): Promise<void> {
  const mark = pepperMark(pepper);
  const before = await ledger.pepperMark();
  if (before === mark) return;
  if (before !== undefined && !acceptVoidKeys) {
    const active = (await ledger.keys(undefined)).filter(({ status }) => status === "active").length;
    if (active > 0) throw new Error(refusal(active, before));
  }
  await ledger.setPepperMark(mark);
}

/** For whoever makes a secret. Throws `key_pepper_differs` if the gateways would not know it. */
export async function checkPepper(ledger: Marked, pepper: string | undefined): Promise<void> {
  const mark = pepperMark(pepper);
  const served = await ledger.pepperMark();
  if (served === undefined) await ledger.setPepperMark(mark);
  else if (served !== mark) throw new GatewayError("key_pepper_differs");
}

function refusal(active: number, before: string): string {
  const was =
    before === pepperMark(undefined)
      ? "None was set when they were made"
      : "Another was set when they were made";
  return (
    `FAREBOX_KEY_PEPPER fits none of the ledger's active keys (${active}): each of them would be refused. ${was}. Set it back; ` +
    "or start once with --accept-void-keys (FAREBOX_ACCEPT_VOID_KEYS=true), and make new keys."
  );
}
