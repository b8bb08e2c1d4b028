import { describe, expect, test } from "vitest";
import type { Repeatable } from "../../server/ledger/account-ledger.ts";
import { LedgerFault } from "../../server/ledger/ledger.ts";
import {
  account,
  anotherKey,
  asks,
  captures,
  customer,
  held,
  keyOf,
  newId,
  purse,
  SETTINGS,
  secret,
  spend,
} from "./customers.ts";
import { randomId, type World } from "./world.ts";

const HOUR_MS = 3_600_000;

export function keyContract(world: World): void {
  const outcome = async (hash: string) => (await world.ledger.hold(asks({ hash }, 1n))).outcome;
  /** By the way of `GET /key`, which must say what the hold enforces. */
  const shown = async (hash: string) => {
    const found = await world.ledger.keyBySecret(hash);
    return found === "unknown" ? found : found.key.status;
  };

  describe("keys", () => {
    test("a new key is what was asked for, and is found by its secret's hash alone", async () => {
      const owner = await account(world.ledger, 10n);
      const [id, made] = [newId("key"), secret()];
      const settings = {
        label: "Zürich ⚡ 'quoted'",
        permissions: ["chat:read", "agent:run"],
        models: ["a/b", "c"],
        providers: ["openai"],
        limit: 5n,
        limitReset: "weekly",
        rpm: 60,
        concurrency: 3,
        expiresAt: world.now() + HOUR_MS,
      } as const;
      const key = keyOf(await world.ledger.createKey(id, owner, made, settings, undefined));
      expect(key).toMatchObject({
        ...settings,
        id,
        account: owner,
        prefix: made.prefix,
        last4: made.last4,
        status: "active",
        createdAt: world.now(),
        lastUsedAt: undefined,
        usage: 0n,
        spent: 0n,
        held: 0n,
        limitRemaining: 5n,
      });
      expect(await world.ledger.key(id)).toEqual(key);
      expect(await world.ledger.keyBySecret(made.hash)).toEqual({
        key,
        account: await world.ledger.account(owner),
      });
      expect(await world.ledger.keyBySecret(randomId())).toBe("unknown");
      expect(await world.ledger.key("key_none")).toBeUndefined();
      expect(
        JSON.stringify(key, (_, value) => (typeof value === "bigint" ? String(value) : value)),
      ).not.toContain(made.hash);
    });

    test("are listed newest first, of one account or all", async () => {
      world.pass(1);
      const owner = await account(world.ledger, 0n);
      const ids = [];
      for (let n = 0; n < 3; n += 1) ids.unshift((await anotherKey(world.ledger, owner)).keyId);
      world.pass(1);
      const stranger = await customer(world.ledger, 0n);
      expect((await world.ledger.keys(owner)).map(({ id }) => id)).toEqual(ids);
      const all = (await world.ledger.keys(undefined)).map(({ id }) => id);
      expect(all.slice(0, 4)).toEqual([stranger.keyId, ...ids]);
    });

    test("of an account that does not exist are not made", async () => {
      const made = secret();
      expect(await world.ledger.createKey(newId("key"), "acct_none", made, SETTINGS, undefined)).toEqual({
        outcome: "not_found",
      });
      expect(await shown(made.hash)).toBe("unknown");
    });

    test("are not made in the place of one with the same id", async () => {
      const buyer = await customer(world.ledger, 10n, { limit: 7n });
      const before = await world.ledger.key(buyer.keyId);
      const made = secret();
      const creation = world.ledger.createKey(buyer.keyId, buyer.account, made, SETTINGS, undefined);
      await expect(creation).rejects.toBeInstanceOf(LedgerFault);
      expect(await shown(made.hash)).toBe("unknown");
      expect(await world.ledger.key(buyer.keyId)).toEqual(before);
    });

    test("a wallet's account can have keys", async () => {
      const id = `wallet:${randomId()}`;
      expect(await world.ledger.createAccount(id, "")).toBe("created");
      await world.ledger.creditAccount(id, 10n, "r");
      const buyer = await anotherKey(world.ledger, id);
      expect(await held(world.ledger, buyer, 10n)).toMatchObject({ account: id });
    });

    test("a change replaces what is given, and keeps the rest", async () => {
      const buyer = await customer(world.ledger, 10n, { limit: 7n, rpm: 3, models: ["m"] });
      const before = await world.ledger.key(buyer.keyId);
      expect(await world.ledger.changeKey(buyer.keyId, { rpm: undefined, label: "new" })).toEqual({
        ...before,
        rpm: undefined,
        label: "new",
      });
      expect(
        await world.ledger.changeKey(buyer.keyId, { limit: undefined, models: undefined }),
      ).toMatchObject({
        limit: undefined,
        limitRemaining: undefined,
        models: undefined,
      });
      expect(await world.ledger.changeKey("key_none", { label: "x" })).toBeUndefined();
    });

    test("without a limit have none that could start again", async () => {
      const { keyId } = await customer(world.ledger, 10n, { limitReset: "daily" });
      expect(await world.ledger.key(keyId)).toMatchObject({
        limitReset: "daily",
        limitRemaining: undefined,
        limitResetsAt: undefined,
      });
    });

    test("expire at their moment", async () => {
      const buyer = await customer(world.ledger, 10n, { expiresAt: world.now() + 10 });
      world.pass(9);
      expect([await outcome(buyer.hash), await shown(buyer.hash)]).toEqual(["held", "active"]);
      world.pass(1);
      expect([await outcome(buyer.hash), await shown(buyer.hash)]).toEqual(["expired", "expired"]);
    });
  });

  describe("revocation", () => {
    test("holds from the next request on, for this key alone, for ever", async () => {
      const buyer = await customer(world.ledger, 1_000n);
      const other = await anotherKey(world.ledger, buyer.account);
      const running = await held(world.ledger, buyer, 100n);
      const revoked = await world.ledger.revokeKey(buyer.keyId);
      expect(revoked).toMatchObject({ status: "revoked" });
      expect([await outcome(buyer.hash), await shown(buyer.hash)]).toEqual(["revoked", "revoked"]);
      expect(await outcome(other.hash)).toBe("held");
      expect(await world.ledger.revokeKey(buyer.keyId)).toEqual(revoked);
      expect(await world.ledger.changeKey(buyer.keyId, { expiresAt: undefined })).toMatchObject({
        status: "revoked",
      });
      expect(await world.ledger.rotateKey(buyer.keyId, secret(), HOUR_MS, undefined)).toEqual({
        outcome: "not_active",
      });
      expect(await outcome(buyer.hash)).toBe("revoked");
      // What runs is billed.
      expect(await world.ledger.capture(captures(running, 100n))).toMatchObject({ charged: 100n });
      expect(await world.ledger.revokeKey("key_none")).toBeUndefined();
    });

    test("revokes every secret of the key", async () => {
      const buyer = await customer(world.ledger, 10n);
      const next = secret();
      await world.ledger.rotateKey(buyer.keyId, next, HOUR_MS, undefined);
      await world.ledger.revokeKey(buyer.keyId);
      expect([await outcome(buyer.hash), await outcome(next.hash)]).toEqual(["revoked", "revoked"]);
    });
  });

  describe("rotation", () => {
    test("both secrets are one key during the grace: one limit, one rate, one history", async () => {
      const buyer = await customer(world.ledger, 1_000n, { limit: 100n, rpm: 3 });
      await spend(world.ledger, buyer, 30n);
      const next = secret();
      const rotated = keyOf(await world.ledger.rotateKey(buyer.keyId, next, HOUR_MS, undefined));
      expect(rotated).toMatchObject({ id: buyer.keyId, last4: next.last4, spent: 30n });
      await spend(world.ledger, { hash: next.hash }, 40n);
      expect((await world.ledger.hold(asks(buyer, 31n))).outcome).toBe("key_limit_reached");
      await spend(world.ledger, buyer, 30n);
      expect(await world.ledger.key(buyer.keyId)).toMatchObject({ usage: 100n, limitRemaining: 0n });
      expect(await outcome(next.hash)).toBe("rate_limited");
      expect(await world.ledger.usage({ keyId: buyer.keyId, limit: 10 })).toHaveLength(3);
    });

    test("the old secret ends with the grace, the new one does not", async () => {
      const buyer = await customer(world.ledger, 10n);
      const next = secret();
      await world.ledger.rotateKey(buyer.keyId, next, HOUR_MS, undefined);
      world.pass(HOUR_MS - 1);
      expect([await outcome(buyer.hash), await shown(buyer.hash)]).toEqual(["held", "active"]);
      world.pass(1);
      expect([await outcome(buyer.hash), await shown(buyer.hash)]).toEqual(["unknown", "unknown"]);
      expect(await outcome(next.hash)).toBe("held");
    });

    test("without grace the old secret ends at once", async () => {
      const buyer = await customer(world.ledger, 10n);
      const next = secret();
      await world.ledger.rotateKey(buyer.keyId, next, 0, undefined);
      expect([await outcome(buyer.hash), await outcome(next.hash)]).toEqual(["unknown", "held"]);
    });

    test("grace never reaches past the key's expiry", async () => {
      const buyer = await customer(world.ledger, 10n, { expiresAt: world.now() + 1_000 });
      const next = secret();
      await world.ledger.rotateKey(buyer.keyId, next, HOUR_MS, undefined);
      world.pass(1_000);
      expect([await outcome(buyer.hash), await outcome(next.hash)]).toEqual(["expired", "expired"]);
      // And if the key is prolonged after all, the grace is what it was.
      await world.ledger.changeKey(buyer.keyId, { expiresAt: undefined });
      world.pass(HOUR_MS);
      expect([await outcome(buyer.hash), await outcome(next.hash)]).toEqual(["unknown", "held"]);
    });

    test("a second rotation prolongs no earlier secret", async () => {
      const buyer = await customer(world.ledger, 10n);
      const [second, third] = [secret(), secret()];
      await world.ledger.rotateKey(buyer.keyId, second, 1_000, undefined);
      await world.ledger.rotateKey(buyer.keyId, third, HOUR_MS, undefined);
      world.pass(1_000);
      expect([await outcome(buyer.hash), await outcome(second.hash)]).toEqual(["unknown", "held"]);
      await world.ledger.rotateKey(buyer.keyId, secret(), 0, undefined);
      expect([await outcome(second.hash), await outcome(third.hash)]).toEqual(["unknown", "unknown"]);
    });

    test("an expired or missing key is not rotated", async () => {
      const buyer = await customer(world.ledger, 10n, { expiresAt: world.now() + 1 });
      world.pass(1);
      const rotate = (id: string) => world.ledger.rotateKey(id, secret(), 0, undefined);
      expect(await rotate(buyer.keyId)).toEqual({ outcome: "not_active" });
      expect(await rotate("key_none")).toEqual({ outcome: "not_found" });
    });
  });

  describe("a repeated creation or rotation", () => {
    const repeatable = (): Repeatable => ({ hash: randomId(), fingerprint: "wish" });

    test("makes no second key, also of 10 at once, and its secret is worth nothing", async () => {
      const owner = await account(world.ledger, 10n);
      const once = repeatable();
      const made = Array.from({ length: 10 }, secret);
      const creations = await Promise.all(
        made.map((each) => world.ledger.createKey(newId("key"), owner, each, SETTINGS, once)),
      );
      const said = creations.map((each) => each.outcome);
      expect(said.toSorted()).toEqual(["created", ...Array(9).fill("repeated")]);
      expect(new Set(creations.map((each) => keyOf(each).id)).size).toBe(1);
      expect(await world.ledger.keys(owner)).toHaveLength(1);
      const outcomes = await Promise.all(made.map(({ hash }) => outcome(hash)));
      expect(outcomes).toEqual(said.map((each) => (each === "created" ? "held" : "unknown")));
    });

    test("with another wish is a conflict; of another account it is its own", async () => {
      const owner = await account(world.ledger, 0n);
      const once = repeatable();
      const create = (of: string, wish: Repeatable) =>
        world.ledger.createKey(newId("key"), of, secret(), SETTINGS, wish);
      await create(owner, once);
      expect(await create(owner, { ...once, fingerprint: "another" })).toEqual({ outcome: "conflict" });
      expect((await create(await account(world.ledger, 0n), once)).outcome).toBe("created");
      expect(await world.ledger.keys(owner)).toHaveLength(1);
    });

    test("shows what became of the key meanwhile", async () => {
      const owner = await account(world.ledger, 0n);
      const once = repeatable();
      const create = () => world.ledger.createKey(newId("key"), owner, secret(), SETTINGS, once);
      const { id } = keyOf(await create());
      await world.ledger.revokeKey(id);
      expect(await create()).toMatchObject({ outcome: "repeated", key: { id, status: "revoked" } });
    });

    test("rotates once: the first new secret stays the good one", async () => {
      const buyer = await customer(world.ledger, 10n);
      const once = repeatable();
      const [second, third] = [secret(), secret()];
      await world.ledger.rotateKey(buyer.keyId, second, 0, once);
      expect(await world.ledger.rotateKey(buyer.keyId, third, 0, once)).toMatchObject({
        outcome: "repeated",
        key: { id: buyer.keyId, last4: second.last4 },
      });
      expect(await world.ledger.rotateKey(buyer.keyId, third, 0, { ...once, fingerprint: "x" })).toEqual({
        outcome: "conflict",
      });
      expect([await outcome(second.hash), await outcome(third.hash)]).toEqual(["held", "unknown"]);
      expect(await purse(world.ledger, buyer.account)).toMatchObject({ held: 1n });
    });

    test("of one key is not the rotation of another, nor a creation", async () => {
      const one = await customer(world.ledger, 10n);
      const two = await anotherKey(world.ledger, one.account);
      const once = repeatable();
      const [next, other, made] = [secret(), secret(), secret()];
      await world.ledger.rotateKey(one.keyId, next, 0, once);
      expect(keyOf(await world.ledger.rotateKey(two.keyId, other, 0, once)).id).toBe(two.keyId);
      const creation = await world.ledger.createKey(newId("key"), one.account, made, SETTINGS, once);
      expect(creation.outcome).toBe("created");
      for (const { hash } of [next, other, made]) expect(await outcome(hash)).toBe("held");
      for (const { hash } of [one, two]) expect(await outcome(hash)).toBe("unknown");
    });
  });
}
