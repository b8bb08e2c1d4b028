import fc from "fast-check";
import { expect } from "vitest";
import type { Hold } from "../../server/ledger/call-ledger.ts";
import type { Ledger } from "../../server/ledger/ledger.ts";
import { account, anotherKey, captures, usageOf } from "./customers.ts";
import { type Action, DAY_MS, MoneyModel } from "./money-model.ts";
import { LEASE_MS, type World } from "./world.ts";

/** What the runs met; a test demands all of it, or they prove nothing. */
export const OUTCOMES = [
  "captured",
  "conflict",
  "credited",
  "freed",
  "gone",
  "held",
  "idempotency_conflict",
  "in_progress",
  "insufficient_credits",
  "key_limit_reached",
  "refunded",
  "released",
  "repeated",
  "replay",
  "shortfall",
  "too_many_concurrent",
] as const;

const action: fc.Arbitrary<Action> = fc.record({
  method: fc.constantFrom<Action["method"][]>(
    "hold",
    "hold",
    "hold",
    "again",
    "capture",
    "capture",
    "late",
    "late",
    "release",
    "refund",
    "renew",
    "credit",
    "limit",
  ),
  which: fc.nat({ max: 20 }),
  amount: fc.bigInt({ min: 0n, max: 120n }),
  share: fc.constantFrom(1n, 4n, 1_000n),
  idempotency: fc.option(fc.nat({ max: 1 }), { nil: undefined, freq: 3 }),
});
const group = fc.record({
  pass: fc.constantFrom(0, 0, 1, LEASE_MS / 2, LEASE_MS, LEASE_MS, DAY_MS),
  actions: fc.array(action, { minLength: 1, maxLength: 5 }),
  afterwards: fc.constantFrom("nothing", "nothing", "nothing", "sweep", "crash"),
});

/**
 * Random calls, some of them at once, on one account with two keys: every answer and every sum must be the model's.
 * `crash` is told of a step that is under way when it happens.
 */
export async function runMoneyModel(
  world: World,
  numRuns: number,
  crash: (step: (ledger: Ledger) => Promise<unknown>) => Promise<void>,
): Promise<readonly string[]> {
  const met = new Set<string>();
  const script = fc.array(group, { minLength: 12, maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(script, async (groups) => {
      const model = await createModel(world);
      for (const { pass, actions, afterwards } of groups) {
        world.pass(pass);
        const checks = actions.map((each) => act(world.ledger, model, each, met));
        await Promise.all(checks);
        if (afterwards === "sweep") {
          while ((await world.ledger.sweepHolds()) > 0);
          model.sweep();
        }
        if (afterwards === "crash") await crash((ledger) => interrupted(ledger, model));
        await compare(world.ledger, model);
      }
      expect(await world.ledger.checkAccounts()).toEqual([]);
    }),
    { numRuns },
  );
  return [...met].sort();
}

async function createModel(world: World): Promise<MoneyModel> {
  const id = await account(world.ledger, 0n);
  const first = { limit: undefined, concurrency: 1 };
  const second = { limit: 150n, limitReset: "daily" } as const;
  const start = { usage: 0n, spent: 0n, period: Math.floor(world.now() / DAY_MS) };
  const keys = [
    { ...(await anotherKey(world.ledger, id, first)), ...first, ...start, daily: false, period: 0 },
    {
      ...(await anotherKey(world.ledger, id, second)),
      ...start,
      limit: 150n,
      concurrency: undefined,
      daily: true,
    },
  ];
  return new MoneyModel(id, keys, world.now);
}

/** Makes one call, and the same one on the model before anything else happens; then compares the answers. */
async function act(ledger: Ledger, model: MoneyModel, action: Action, met: Set<string>): Promise<void> {
  const { which, amount } = action;
  const swept = model.holds.findLast(({ state }) => state === "swept");
  const chosen = action.method === "late" ? swept : model.holds.at(-1 - (which % 6));
  const key = model.keys[which % 2];
  const meet = (outcome: object): object => {
    if ("outcome" in outcome) met.add(String(outcome.outcome));
    if ("shortfall" in outcome && outcome.shortfall !== 0n) met.add("shortfall");
    return outcome;
  };
  switch (action.method) {
    case "hold": {
      const request = model.request(action);
      const answer = ledger.hold(request);
      const expected = meet(model.hold(request, action));
      expect(await answer).toMatchObject(expected);
      return;
    }
    case "limit": {
      if (key === undefined) return;
      key.limit = amount === 0n ? undefined : amount * 2n;
      await ledger.changeKey(key.keyId, { limit: key.limit });
      return;
    }
    case "credit": {
      const reference = `r${which}`;
      const sum = amount + 1n;
      const answer = ledger.creditAccount(model.account, sum, reference);
      const expected = meet(model.credit(reference, sum));
      expect(await answer).toEqual(expected);
      return;
    }
  }
  if (chosen === undefined) return;
  const { id } = chosen.request;
  const hold = holdOf(model, chosen);
  switch (action.method) {
    case "again": {
      if (chosen.state !== "live") return;
      const answer = ledger.hold(chosen.request);
      const expected = model.hold(chosen.request, action);
      expect(await answer).toMatchObject(expected);
      return;
    }
    case "late":
    case "capture": {
      const request = captures(hold, action.method === "late" ? hold.amount : amount);
      const answer = ledger.capture(request);
      const expected = meet(model.capture(request));
      expect(await answer).toEqual(expected);
      return;
    }
    case "release": {
      const answer = ledger.releaseHold(id, usageOf(hold));
      const expected = model.release(id);
      met.add(expected);
      expect(await answer).toBe(expected);
      return;
    }
    case "refund": {
      const { account, keyId } = hold;
      const answer = ledger.refund({ id, account, keyId, usage: usageOf(hold) });
      const expected = model.refund(id);
      met.add(expected);
      expect(await answer).toBe(expected);
      return;
    }
    case "renew": {
      const answer = ledger.renewHolds([id], LEASE_MS);
      const expected = model.renew(id);
      expect(await answer).toEqual(expected);
    }
  }
}

function holdOf(model: MoneyModel, { request, key, amount }: MoneyModel["holds"][number]): Hold {
  return {
    id: request.id,
    account: model.account,
    keyId: key?.keyId,
    keyLabel: undefined,
    amount,
    rate: undefined,
    providerKey: undefined,
  };
}

/** The steps of a call that ends, none of which is committed. */
async function interrupted(ledger: Ledger, model: MoneyModel): Promise<void> {
  const live = model.holds.findLast(({ state }) => state === "live");
  if (live !== undefined) await ledger.capture(captures(holdOf(model, live), live.amount));
  await ledger.creditAccount(model.account, 1_000n, "lost");
}

async function compare(ledger: Ledger, model: MoneyModel): Promise<void> {
  const found = await ledger.account(model.account);
  expect(found).toMatchObject({ balance: model.balance, held: model.held });
  expect(model.held >= 0n && model.held <= model.balance).toBe(true);
  for (const key of model.keys) {
    expect(await ledger.key(key.keyId)).toMatchObject({
      limit: key.limit,
      usage: key.usage,
      spent: model.spentOf(key),
      held: model.heldOf(key),
    });
  }
  const entries = await ledger.journal(model.account);
  expect(entries.reduce((total, { amount }) => total + amount, 0n)).toBe(model.balance);
  const debits = entries.filter(({ kind }) => kind === "capture");
  expect(debits.map(({ amount }) => -amount)).toEqual(model.charges);
  expect(new Set(debits.map(({ reference }) => reference)).size).toBe(debits.length);
}
