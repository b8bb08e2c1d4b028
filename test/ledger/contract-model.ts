import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ClaimRequest, Ledger, PaymentRecord, PaymentState } from "../../server/ledger/ledger.ts";
import { keep, LEASE_MS, MODEL_TIMEOUT_MS, randomId, request, type World } from "./world.ts";

/** The machine of the design, plus the steps that change only fence and lease. */
const EDGES: Record<PaymentState | "none", readonly PaymentState[]> = {
  none: ["open"],
  open: ["open", "settling", "released"],
  settling: ["settled", "unknown", "released"],
  unknown: ["unknown", "settled", "released"],
  settled: ["settled", "delivered", "credited"],
  released: ["released", "open", "credited"],
  delivered: [],
  credited: [],
};

const METHODS = [
  "claim",
  "claimOther",
  "resume",
  "renew",
  "beginSettle",
  "settled",
  "unknown",
  "release",
  "releaseWatched",
  "deliver",
  "park",
  "credit",
  "takeUndecided",
  "decideSettled",
  "decideAbsent",
  "decideUndecided",
  "takeAbandoned",
] as const;

type Method = (typeof METHODS)[number];

/** The steps that lead onwards from each state: half of all calls are one of these, so that runs get everywhere. */
const ONWARDS: Record<PaymentState | "none", readonly Method[]> = {
  none: ["claim"],
  open: ["beginSettle", "beginSettle", "release"],
  settling: ["settled", "settled", "unknown", "releaseWatched"],
  unknown: ["takeUndecided", "decideSettled", "decideAbsent"],
  settled: ["deliver", "credit", "park", "resume"],
  released: ["takeUndecided", "decideSettled", "claim"],
  delivered: ["claim"],
  credited: ["claim"],
};

/** One call: on which payment, and how many grants back its fence was handed out. */
interface Action {
  readonly method: Method | "onwards";
  readonly which: number;
  readonly stale: number;
  /** Which of the steps onwards. */
  readonly pick: number;
}

interface Actor {
  readonly asked: ClaimRequest;
  /** Fences handed out for this payment, in order. */
  readonly grants: number[];
  /** Successful deliveries and credits. */
  ends: number;
  last: PaymentRecord | undefined;
}

const which = fc.nat({ max: 2 });
const pick = fc.nat({ max: 11 });
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ method: fc.constant("onwards" as const), which, stale: fc.constant(0), pick }),
  fc.record({ method: fc.constantFrom(...METHODS), which, stale: fc.nat({ max: 2 }), pick }),
);
const group = fc.record({
  pass: fc.constantFrom(0, 0, 0, 1, 5_000, LEASE_MS, 4 * LEASE_MS),
  actions: fc.array(action, { minLength: 1, maxLength: 4 }),
});

export function modelContract(world: World): void {
  describe("model", () => {
    test(
      "random interleavings keep fences, states and money sound",
      async () => {
        const reached = new Set<PaymentState>();
        const script = fc.array(group, { minLength: 10, maxLength: 40 });
        await fc.assert(
          fc.asyncProperty(script, async (groups) => {
            const actors = createActors();
            for (const { pass, actions } of groups) {
              world.pass(pass);
              await Promise.all(actions.map((each) => act(world.ledger, actors, each)));
              for (const actor of actors) {
                checkState(actor, await world.ledger.payment(actor.asked.id), actions.length);
                if (actor.last === undefined) continue;
                reached.add(actor.last.state);
              }
              await checkMoney(world.ledger, actors);
            }
          }),
          { numRuns: Math.ceil(150 * world.share) },
        );
        // All runs together must have been everywhere, or they prove nothing.
        if (world.share === 1) expect([...reached, "none"].sort()).toEqual(Object.keys(EDGES).sort());
      },
      MODEL_TIMEOUT_MS,
    );
  });
}

/** Two payments of one payer for one request under one identifier, and one of another payer. */
function createActors(): readonly Actor[] {
  const first = request({ identifierHash: randomId(), maxInFlight: 2, claimHeight: undefined });
  const second = { ...first, id: randomId() };
  return [first, second, request()].map((asked) => ({ asked, grants: [], ends: 0, last: undefined }));
}

function grant(actor: Actor | undefined, fence: number): void {
  // Answers of calls that ran at once may come in any order.
  expect(actor?.grants ?? []).not.toContain(fence);
  actor?.grants.push(fence);
  actor?.grants.sort((a, b) => a - b);
}

/** Makes one call and checks what it may answer, given the record before the group. */
async function act(ledger: Ledger, actors: readonly Actor[], action: Action): Promise<void> {
  const { which, stale, pick } = action;
  const actor = actors[which] as Actor;
  const { asked, grants, last } = actor;
  const onwards = ONWARDS[last?.state ?? "none"];
  const method = action.method === "onwards" ? (onwards[pick % onwards.length] as Method) : action.method;
  const fence = grants.at(-1 - stale) ?? 0;
  switch (method) {
    case "claim":
    case "claimOther": {
      const fingerprint = method === "claim" ? asked.fingerprint : "another";
      const outcome = await ledger.claim({ ...asked, fingerprint });
      if ("fence" in outcome) grant(actor, outcome.fence);
      return;
    }
    case "resume": {
      const outcome = await ledger.resume(asked.id, asked.fingerprint, LEASE_MS, randomId());
      if (outcome !== "lost") grant(actor, outcome.fence);
      return;
    }
    case "takeUndecided": {
      const outcome = await ledger.takeUndecided(asked.id, 1n, LEASE_MS);
      if (outcome !== "lost") grant(actor, outcome.fence);
      return;
    }
    case "takeAbandoned":
      for (const record of await ledger.takeAbandoned(LEASE_MS, LEASE_MS, 100)) {
        const owner = actors.find((each) => each.asked.id === record.id);
        grant(owner, record.fence);
      }
      return;
    default: {
      const outcome = await step(ledger, method, asked.id, fence);
      if (fence < (last?.fence ?? 1)) expect(outcome).toBe("lost");
      if (outcome === "ok" && (method === "deliver" || method === "credit")) actor.ends += 1;
    }
  }
}

type StepMethod = Exclude<Method, "claim" | "claimOther" | "resume" | "takeUndecided" | "takeAbandoned">;

async function step(ledger: Ledger, method: StepMethod, id: string, fence: number): Promise<string> {
  switch (method) {
    case "renew":
      return (await ledger.renew([{ id, fence }], LEASE_MS)).length === 0 ? "ok" : "lost";
    case "beginSettle":
      return ledger.beginSettle(id, fence, LEASE_MS);
    case "settled":
      return ledger.settled(id, fence, "tx", keep("x"));
    case "unknown":
      return ledger.unknown(id, fence, "timeout", undefined);
    case "release":
      return ledger.release(id, fence, { reason: "x", watched: false, strikeMs: 1 });
    case "releaseWatched":
      return ledger.release(id, fence, { reason: "x", watched: true, strikeMs: 0 });
    case "deliver":
      return ledger.deliver(id, fence, keep("x"));
    case "park":
      return ledger.park(id, fence, undefined);
    case "credit":
      return ledger.credit(id, fence, "x");
    case "decideSettled":
      return ledger.decide(id, fence, { verdict: "settled", transaction: "tx" }, 0);
    case "decideAbsent":
      return ledger.decide(id, fence, { verdict: "absent", reason: "x" }, 0);
    case "decideUndecided":
      return ledger.decide(id, fence, { verdict: "undecided", reason: "x" }, 0);
  }
}

function checkState(actor: Actor, record: PaymentRecord | undefined, steps: number): void {
  const from = actor.last?.state ?? "none";
  const to = record?.state ?? "none";
  let reachable = new Set<PaymentState | "none">([from]);
  for (let count = 0; count < steps; count += 1) {
    reachable = new Set([...reachable, ...[...reachable].flatMap((state) => EDGES[state])]);
  }
  expect(reachable).toContain(to);
  // One live fence: the record's is the one granted last, and every earlier one is dead.
  expect(record?.fence).toBe(actor.grants.at(-1));
  if (record?.leased) expect(["open", "settling", "settled", "unknown", "released"]).toContain(record.state);
  expect(actor.ends).toBeLessThanOrEqual(1);
  actor.last = record;
}

async function checkMoney(ledger: Ledger, actors: readonly Actor[]): Promise<void> {
  for (const payer of new Set(actors.map(({ asked }) => asked.payer))) {
    const account = `wallet:${payer}`;
    const mine = actors.filter(({ asked }) => asked.payer === payer);
    const credited = mine.filter(({ last }) => last?.state === "credited");
    const entries = await ledger.journal(account);
    expect(entries.map(({ reference }) => reference).sort()).toEqual(
      credited.map(({ asked }) => `payment:${asked.id}`).sort(),
    );
    let sum = 0n;
    for (const entry of entries) {
      sum += entry.amount;
      expect(entry.balance).toBe(sum);
    }
    expect(sum).toBeGreaterThanOrEqual(0n);
    expect(await ledger.balance(account)).toBe(sum);
  }
}
