import { describe, expect, test } from "vitest";
import type { ClaimRequest, Ledger } from "../../server/ledger/ledger.ts";
import { bring, claimed, LEASE_MS, randomId, request, taken, type World } from "./world.ts";

/** How a payment gives up its identifier without having been settled. */
const LOSSES: readonly {
  readonly name: string;
  lose(world: World, asked: ClaimRequest): Promise<unknown>;
}[] = [
  {
    name: "stood still beyond its lease",
    async lose({ ledger, pass }, asked) {
      await claimed(ledger, asked);
      pass(LEASE_MS);
    },
  },
  { name: "was released", lose: ({ ledger }, asked) => bring(ledger, asked, "released") },
  { name: "was refused, and may land late", lose: ({ ledger }, asked) => bring(ledger, asked, "watched") },
  {
    name: "never landed",
    async lose({ ledger }, asked) {
      const fence = await bring(ledger, asked, "taken_unknown");
      await ledger.decide(asked.id, fence, { verdict: "absent", reason: "expired" }, 0);
    },
  },
  {
    name: "was refused, claimed anew and left, and is looked for on the chain",
    async lose({ ledger, pass }, asked) {
      await bring(ledger, asked, "watched");
      await claimed(ledger, asked);
      pass(LEASE_MS);
      await taken(ledger, asked.id);
    },
  },
];

/** What may come of that payment afterwards. */
const RETURNS: readonly {
  readonly name: string;
  come(ledger: Ledger, asked: ClaimRequest): Promise<string>;
}[] = [
  {
    name: "is claimed anew without an identifier",
    come: async (ledger, asked) => (await ledger.claim({ ...asked, identifierHash: undefined })).outcome,
  },
  {
    name: "is claimed anew with another identifier",
    come: async (ledger, asked) => (await ledger.claim({ ...asked, identifierHash: randomId() })).outcome,
  },
  {
    name: "is found on the chain and credited",
    come: (ledger, asked) =>
      ledger.creditTransfer({ ...asked, transaction: "landed", reason: "never_served" }),
  },
];

/** An identifier is bound to one payment, and only that one's end frees it. */
export function identifierContract(world: World): void {
  describe.each(LOSSES)("an identifier whose payment $name, and which another one has by now", ({ lose }) => {
    test.each(RETURNS)("stays with it when the first $name", async ({ come }) => {
      // Of another request and payer's mind: only the identifier ties the two.
      const first = request({ identifierHash: randomId() });
      await lose(world, first);
      const second = { ...first, id: randomId(), fingerprint: randomId() };
      await bring(world.ledger, second, "delivered");
      world.pass(LEASE_MS);
      expect(["claimed", "credited"]).toContain(await come(world.ledger, first));
      expect(await world.ledger.claim({ ...second, id: randomId() })).toMatchObject({
        outcome: "identifier_replay",
        record: { id: second.id },
      });
    });
  });

  test.each([undefined, randomId()])(
    "a payment that is claimed anew under another identifier (%s) leaves the first one free",
    async (identifierHash) => {
      const first = request({ identifierHash: randomId() });
      await claimed(world.ledger, first);
      world.pass(LEASE_MS);
      await claimed(world.ledger, { ...first, identifierHash });
      const other = { ...first, id: randomId(), fingerprint: randomId() };
      expect((await world.ledger.claim(other)).outcome).toBe("claimed");
    },
  );
}
