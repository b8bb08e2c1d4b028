import { expect, test } from "vitest";
import type { SettleResult, SupportedKind, VerifyResult } from "../../facilitator-client/types.ts";
import { createFacilitators, type FacilitatorMember } from "../../server/payment/facilitators.ts";
import { createOfferedTerms } from "../../server/payment/terms.ts";
import { paymentRequest } from "../facilitator/payment-request.ts";

const MEMORY_MS = 300_000;
const MERCHANT = { network: "n:1", networkV1: "n", asset: "m", payTo: "p", maxTimeoutSeconds: 60 };
const PAYMENT = { id: "p1", feePayer: "shared" };

interface Member extends FacilitatorMember {
  healthy: boolean;
  feePayer: string | undefined;
  settles: SettleResult;
  readonly asked: ("verify" | "settle" | "refresh")[];
}

let now = 0;

/** One that answers as it is told; the client itself has tests of its own. */
function member(name: string, feePayer: string | undefined, network = "n:1"): Member {
  const ok: VerifyResult = { outcome: "ok", payer: undefined };
  const self: Member = {
    healthy: true,
    feePayer,
    asked: [],
    settles: { outcome: "ok", transaction: "t", payer: undefined, network },
    facilitator: {
      name,
      verify: async () => {
        self.asked.push("verify");
        return ok;
      },
      settle: async () => {
        self.asked.push("settle");
        return self.settles;
      },
      supported: async () => ({ outcome: "failed", reason: "unused" }),
      close: async () => undefined,
    },
    offer: createOfferedTerms({
      merchant: MERCHANT,
      kinds: () => kindsOf(self.feePayer, network),
      now: () => now,
      memoryMs: MEMORY_MS,
    }),
    isHealthy: () => self.healthy,
    hasAnswered: () => self.feePayer !== undefined,
    refresh: () => self.asked.push("refresh"),
  };
  return self;
}

const cached = new Map<string, SupportedKind[]>();
function kindsOf(feePayer: string | undefined, network: string) {
  if (feePayer === undefined) return undefined;
  const key = `${feePayer} ${network}`;
  const kinds = cached.get(key) ?? [{ x402Version: 2, scheme: "exact", network, feePayer, signers: [] }];
  cached.set(key, kinds);
  return kinds;
}

function together(...members: FacilitatorMember[]) {
  now = 0;
  return createFacilitators({ members, now: () => now, memoryMs: MEMORY_MS });
}

test("terms are the first healthy one's that settles on the network; with none healthy, the first one's known", () => {
  const [elsewhere, unheard, first, second] = [
    member("elsewhere", "z", "n:2"),
    member("unheard", undefined),
    member("first", "a"),
    member("second", "b"),
  ];
  const facilitators = together(elsewhere, unheard, first, second);
  expect(facilitators.current()?.feePayer).toBe("a");
  expect(facilitators.current()).toBe(facilitators.current());
  first.healthy = false;
  expect(facilitators.current()?.feePayer).toBe("b");
  second.healthy = false;
  expect(facilitators.current()?.feePayer).toBe("a");
  expect(together(elsewhere, unheard).current()).toBeUndefined();
});

test("a payment goes to the one whose feePayer it names, healthy or not", async () => {
  const [first, second] = [member("first", "a"), member("second", "b")];
  const facilitators = together(first, second);
  second.healthy = false;
  const chosen = facilitators.choose({ id: "x", feePayer: "b" });
  await chosen.verify(paymentRequest());
  await chosen.settle(paymentRequest());
  expect([first.asked, second.asked]).toEqual([[], ["verify", "settle"]]);
});

test("nobody has its feePayer: nothing is sent to anybody", async () => {
  const [first, second] = [member("first", "a"), member("second", "b")];
  const chosen = together(first, second).choose({ id: "x", feePayer: "c" });
  expect(await chosen.verify(paymentRequest())).toMatchObject({ outcome: "not_sent" });
  expect(await chosen.settle(paymentRequest())).toMatchObject({ outcome: "not_sent" });
  expect([first.asked, second.asked]).toEqual([[], []]);
});

test("of two with one feePayer it is the first healthy one, and settle goes where verify went", async () => {
  const [first, second] = [member("first", "shared"), member("second", "shared")];
  const facilitators = together(first, second);
  const chosen = facilitators.choose(PAYMENT);
  await chosen.verify(paymentRequest());
  first.healthy = false;
  await chosen.settle(paymentRequest());
  expect([first.asked, second.asked]).toEqual([["verify", "settle"], []]);
  await facilitators.choose({ ...PAYMENT, id: "p2" }).verify(paymentRequest());
  expect(second.asked).toEqual(["verify"]);
});

test.each<[string, SettleResult, "first" | "second"]>([
  ["it refused", { outcome: "refused", reason: "insufficient_funds" }, "first"],
  ["nobody knows", { outcome: "unknown", reason: "timeout", transaction: undefined }, "first"],
  ["a proxy said 403", { outcome: "not_sent", reason: "http_403" }, "first"],
  ["it was never sent", { outcome: "not_sent", reason: "connect_failed:ECONNREFUSED" }, "second"],
])(
  "settled at one, where %s; then that one dies: the same payment is %s's",
  async (_name, settles, whose) => {
    const [first, second] = [member("first", "shared"), member("second", "shared")];
    const facilitators = together(first, second);
    first.settles = settles;
    await facilitators.choose(PAYMENT).settle(paymentRequest());
    first.healthy = false;
    await facilitators.choose(PAYMENT).verify(paymentRequest());
    expect([first.asked, second.asked]).toEqual(
      whose === "first" ? [["settle", "verify"], []] : [["settle"], ["verify"]],
    );
  },
);

test("a settle that was not sent does not undo an earlier one that was", async () => {
  const [first, second] = [member("first", "shared"), member("second", "shared")];
  const facilitators = together(first, second);
  first.settles = { outcome: "refused", reason: "insufficient_funds" };
  await facilitators.choose(PAYMENT).settle(paymentRequest());
  first.settles = { outcome: "not_sent", reason: "breaker_open" };
  await facilitators.choose(PAYMENT).settle(paymentRequest());
  first.healthy = false;
  await facilitators.choose(PAYMENT).verify(paymentRequest());
  expect(second.asked).toEqual([]);
});

test("while a settle waits for its answer, the same payment is not the other's", async () => {
  const [first, second] = [member("first", "shared"), member("second", "shared")];
  const facilitators = together(first, second);
  const settling = facilitators.choose(PAYMENT).settle(paymentRequest());
  first.healthy = false;
  await facilitators.choose(PAYMENT).verify(paymentRequest());
  await settling;
  expect(second.asked).toEqual([]);
});

test("nor is it for as long as a signed transaction may live, whatever is settled meanwhile", async () => {
  const [first, second] = [member("first", "shared"), member("second", "shared")];
  const facilitators = together(first, second);
  await facilitators.choose(PAYMENT).settle(paymentRequest());
  first.healthy = false;
  await facilitators.choose({ ...PAYMENT, id: "p2" }).settle(paymentRequest());
  now = 180_000;
  await facilitators.choose(PAYMENT).verify(paymentRequest());
  expect([first.asked, second.asked]).toEqual([["settle", "verify"], ["settle"]]);
  now = 180_001;
  await facilitators.choose(PAYMENT).verify(paymentRequest());
  expect(second.asked).toEqual(["settle", "verify"]);
});

test("where there is only one, a payment is its own, whatever feePayer it names", async () => {
  const only = member("only", undefined);
  const chosen = together(only).choose(PAYMENT);
  await chosen.verify(paymentRequest());
  await chosen.settle(paymentRequest());
  expect(only.asked).toEqual(["verify", "settle"]);
});

test("a feePayer that nobody named may be the one's that has not answered, as long as its 402 may be paid", () => {
  const [first, late] = [member("first", "a"), member("late", undefined)];
  const facilitators = together(first, late);
  expect(facilitators.standingOf("a")).toBe("known");
  expect([...first.asked, ...late.asked]).toEqual([]);
  expect(facilitators.standingOf("b")).toBe("unheard");
  expect(late.asked).toEqual(["refresh"]);
  now = MEMORY_MS + 1;
  expect(facilitators.standingOf("b")).toBe("unknown");
  now = 0;
  late.feePayer = "c";
  expect(facilitators.standingOf("b")).toBe("unknown");
  expect(facilitators.standingOf("c")).toBe("known");
});
