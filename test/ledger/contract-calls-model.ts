import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { KeySettings, Permission } from "../../server/ledger/account-ledger.ts";
import type { RateState } from "../../server/ledger/call-ledger.ts";
import { asks, captures, customer, keyOf, SETTINGS, secret, usageOf } from "./customers.ts";
import { LEASE_MS, MODEL_TIMEOUT_MS, type World } from "./world.ts";

const MINUTE_MS = 60_000;
const BALANCE = 1_000_000n;

type Change = Partial<Pick<KeySettings, "permissions" | "models" | "providers" | "rpm" | "concurrency">>;
type Action =
  | {
      readonly do: "hold";
      readonly secret: number;
      readonly permission: Permission;
      readonly model: string | undefined;
      readonly provider: string | undefined;
    }
  | { readonly do: "capture" | "release"; readonly which: number }
  | { readonly do: "rotate"; readonly graceMs: number }
  | { readonly do: "change"; readonly change: Change }
  | { readonly do: "expire"; readonly inMs: number | undefined }
  | { readonly do: "revoke" };

const OUTCOMES = [
  "expired",
  "held",
  "model_not_allowed",
  "not_permitted",
  "provider_not_allowed",
  "rate_limited",
  "revoked",
  "too_many_concurrent",
  "unknown",
];

function few<T>(values: readonly [T, ...T[]]): fc.Arbitrary<T> {
  return fc.constantFrom(...values);
}

const hold: fc.Arbitrary<Action> = fc.record({
  do: fc.constant("hold" as const),
  secret: few([0, 0, 0, 1, 2]),
  permission: few<Permission>(["chat:read", "chat:read", "chat:read", "agent:run"]),
  model: few(["m1", "m1", "m1", "m2", undefined]),
  provider: few(["p1", "p1", "p1", "p2", undefined]),
});
const change = fc.oneof(
  fc.record({ rpm: few([1, 2, 3, undefined]) }),
  fc.record({ concurrency: few([0, 1, 2, undefined]) }),
  fc.record({ permissions: few<readonly Permission[]>([["chat:read"], ["chat:read"], ["agent:run"]]) }),
  fc.record({ models: few([["m1"], ["m1", "m2"], [], undefined]) }),
  fc.record({ providers: few([["p1"], ["p1", "p2"], undefined]) }),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 60, arbitrary: hold },
  {
    weight: 15,
    arbitrary: fc.record({ do: few<"capture" | "release">(["capture", "release"]), which: fc.nat(4) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("rotate" as const), graceMs: few([0, 20_000, MINUTE_MS]) }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("change" as const), change }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("expire" as const),
      inMs: few([0, 40_000, undefined, undefined]),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "revoke" as const }) },
);
const script = fc.array(
  fc.record({
    pass: few([0, 1, LEASE_MS, 20_000, 20_000, 40_000, MINUTE_MS]),
    actions: fc.array(action, { minLength: 1, maxLength: 6 }),
  }),
  { minLength: 8, maxLength: 24 },
);

interface ModelSecret {
  readonly hash: string;
  until: number;
}

interface ModelCall {
  readonly id: string;
  readonly leaseUntil: number;
}

/** Who may call, in the plainest form: what {@link World.ledger} must answer, and what it must show. */
class Gate {
  readonly account: string;
  readonly keyId: string;
  /** Newest first. */
  readonly secrets: ModelSecret[];
  readonly calls: ModelCall[] = [];
  settings: KeySettings = SETTINGS;
  revoked = false;
  lastUsedAt: number | undefined;
  charged = 0n;
  #window = { start: Number.NEGATIVE_INFINITY, count: 0 };
  readonly #now: () => number;

  constructor(account: string, keyId: string, hash: string, now: () => number) {
    this.account = account;
    this.keyId = keyId;
    this.secrets = [{ hash, until: Number.POSITIVE_INFINITY }];
    this.#now = now;
  }

  get status(): "revoked" | "expired" | "active" {
    if (this.revoked) return "revoked";
    return (this.settings.expiresAt ?? Number.POSITIVE_INFINITY) <= this.#now() ? "expired" : "active";
  }

  hold(id: string, hash: string, asked: Extract<Action, { do: "hold" }>): object {
    const { permission, model, provider } = asked;
    const { permissions, models, providers, rpm, concurrency } = this.settings;
    const now = this.#now();
    if (!this.secrets.some((each) => each.hash === hash && each.until > now)) return { outcome: "unknown" };
    this.calls.splice(0, this.calls.length, ...this.calls.filter(({ leaseUntil }) => leaseUntil > now));
    if (this.status !== "active") return { outcome: this.status };
    if (!permissions.includes(permission)) return { outcome: "not_permitted" };
    if (model !== undefined && models?.includes(model) === false) return { outcome: "model_not_allowed" };
    if (provider !== undefined && providers?.includes(provider) === false) {
      return { outcome: "provider_not_allowed" };
    }
    const over = now >= this.#window.start + MINUTE_MS;
    const { start, count } = over ? { start: now, count: 0 } : this.#window;
    const rate: RateState | undefined =
      rpm === undefined
        ? undefined
        : { limit: rpm, remaining: Math.max(0, rpm - count - 1), resetsInMs: start + MINUTE_MS - now };
    if (rpm !== undefined && count >= rpm) return { outcome: "rate_limited", rate };
    if (concurrency !== undefined && this.calls.length >= concurrency) {
      return { outcome: "too_many_concurrent", limit: concurrency };
    }
    this.#window = { start, count: count + 1 };
    this.lastUsedAt = now;
    this.calls.push({ id, leaseUntil: now + LEASE_MS });
    return { outcome: "held", hold: { id, keyId: this.keyId, amount: 1n, rate } };
  }

  rotate(hash: string, graceMs: number): "created" | "not_active" {
    if (this.status !== "active") return "not_active";
    for (const each of this.secrets) each.until = Math.min(each.until, this.#now() + graceMs);
    this.secrets.unshift({ hash, until: Number.POSITIVE_INFINITY });
    return "created";
  }

  end(which: number): string | undefined {
    return this.calls.splice(which % Math.max(1, this.calls.length), 1)[0]?.id;
  }
}

/** Makes one step, and the same one on the model before anything else happens; then compares the answers. */
async function act({ ledger, now }: World, gate: Gate, asked: Action, met: Set<string>): Promise<void> {
  const { account, keyId } = gate;
  switch (asked.do) {
    case "hold": {
      const hash = gate.secrets[asked.secret]?.hash ?? "nobody's";
      const request = asks({ hash }, 1n, asked);
      const answer = ledger.hold(request);
      const expected = gate.hold(request.id, hash, asked);
      expect(await answer).toMatchObject(expected);
      met.add((await answer).outcome);
      return;
    }
    case "rotate": {
      const next = secret();
      const answer = ledger.rotateKey(keyId, next, asked.graceMs, undefined);
      const expected = gate.rotate(next.hash, asked.graceMs);
      expect((await answer).outcome).toBe(expected);
      if (expected === "created") expect(keyOf(await answer).last4).toBe(next.last4);
      return;
    }
    case "change":
    case "expire": {
      const wish =
        asked.do === "change"
          ? asked.change
          : { expiresAt: asked.inMs === undefined ? undefined : now() + asked.inMs };
      gate.settings = { ...gate.settings, ...wish };
      const { settings } = gate;
      expect(await ledger.changeKey(keyId, wish)).toMatchObject(settings);
      return;
    }
    case "revoke": {
      gate.revoked = true;
      expect(await ledger.revokeKey(keyId)).toMatchObject({ status: "revoked" });
      return;
    }
  }
  const id = gate.end(asked.which);
  if (id === undefined) return;
  const facts = {
    id,
    account,
    keyId,
    keyLabel: undefined,
    amount: 1n,
    rate: undefined,
    providerKey: undefined,
  };
  if (asked.do === "capture") {
    gate.charged += 1n;
    expect(await ledger.capture(captures(facts, 1n))).toMatchObject({ outcome: "captured", charged: 1n });
  } else {
    expect(["released", "gone"]).toContain(await ledger.releaseHold(id, usageOf(facts)));
  }
}

/** `GET /key` and the operator must be shown what the hold enforces. */
async function compare({ ledger, now }: World, gate: Gate): Promise<void> {
  const { settings, status, lastUsedAt, charged, account } = gate;
  const key = await ledger.key(gate.keyId);
  expect(key).toMatchObject({ ...settings, status, lastUsedAt, usage: charged });
  for (const { hash, until } of gate.secrets) {
    const found = await ledger.keyBySecret(hash);
    if (until <= now()) expect(found).toBe("unknown");
    else expect(found).toMatchObject({ key: { ...key }, account: { balance: BALANCE - charged } });
  }
  expect(await ledger.balance(account)).toBe(BALANCE - charged);
}

export function callsModelContract(world: World): void {
  describe("calls model", () => {
    test(
      "random changes, rotations and calls: each is admitted or refused as the model says",
      async () => {
        const met = new Set<string>();
        await fc.assert(
          fc.asyncProperty(script, async (steps) => {
            const { account, keyId, hash } = await customer(world.ledger, BALANCE);
            const gate = new Gate(account, keyId, hash, world.now);
            for (const { pass, actions } of steps) {
              world.pass(pass);
              const under: Promise<void>[] = [];
              for (const each of actions) {
                const done = act(world, gate, each, met);
                under.push(done);
                // A rotation may be several steps: what is asked after it is done after it only if it waits.
                if (each.do === "rotate") await done;
              }
              await Promise.all(under);
              await compare(world, gate);
            }
          }),
          { numRuns: Math.ceil(100 * world.share) },
        );
        if (world.share === 1) expect([...met].sort()).toEqual(OUTCOMES);
        expect(await world.ledger.checkAccounts()).toEqual([]);
      },
      MODEL_TIMEOUT_MS,
    );
  });
}
