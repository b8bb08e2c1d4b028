import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Ledger, LedgerFault } from "../../server/ledger/ledger.ts";
import { accountAlertContract } from "./contract-account-alerts.ts";
import { accountContract } from "./contract-accounts.ts";
import { admissionContract } from "./contract-admission.ts";
import { alertContract } from "./contract-alerts.ts";
import { beneficiaryContract } from "./contract-beneficiaries.ts";
import { callsModelContract } from "./contract-calls-model.ts";
import { captureContract } from "./contract-captures.ts";
import { claimContract } from "./contract-claims.ts";
import { exportContract } from "./contract-export.ts";
import { holdContract } from "./contract-holds.ts";
import { idempotencyContract } from "./contract-idempotency.ts";
import { identifierContract } from "./contract-identifiers.ts";
import { keyContract } from "./contract-keys.ts";
import { modelContract } from "./contract-model.ts";
import { moneyModelContract } from "./contract-money-model.ts";
import { reconcileContract } from "./contract-reconcile.ts";
import { refundContract } from "./contract-refunds.ts";
import { sessionContract } from "./contract-sessions.ts";
import { stepContract } from "./contract-steps.ts";
import { transferContract } from "./contract-transfers.ts";
import { createClock, type OpenLedger, type World } from "./world.ts";

/**
 * What every store promises ({@link Ledger}). One ledger serves all of it: each test has payments and payers of its own,
 * and time only goes forward.
 */
export function ledgerContract(name: string, open: OpenLedger, share = 1): void {
  describe(name, () => {
    const clock = createClock();
    let opened: Ledger | undefined;
    const world: World = {
      ...clock,
      share,
      get ledger() {
        if (opened === undefined) throw new Error("The ledger is not open.");
        return opened;
      },
    };
    beforeAll(async () => {
      opened = await open(clock.now);
    });
    afterAll(() => opened?.close());

    claimContract(world);
    admissionContract(world);
    identifierContract(world);
    stepContract(world);
    reconcileContract(world);
    transferContract(world);
    beneficiaryContract(world);
    modelContract(world);
    accountContract(world);
    keyContract(world);
    holdContract(world);
    idempotencyContract(world);
    captureContract(world);
    refundContract(world);
    alertContract(world);
    accountAlertContract(world);
    exportContract(world);
    sessionContract(world);
    moneyModelContract(world);
    callsModelContract(world);

    test("ping resolves while the ledger works; after close every call rejects", async () => {
      const ledger = await open(clock.now);
      await expect(ledger.ping()).resolves.toBeUndefined();
      await ledger.close();
      await expect(ledger.ping()).rejects.toBeInstanceOf(LedgerFault);
      await expect(ledger.payment("x")).rejects.toBeInstanceOf(LedgerFault);
      await ledger.close();
    });
  });
}
