import { describe, expect, test } from "vitest";
import { check } from "./check.ts";
import type { Attempt, BookedPayment, Books, Evidence, KeyedCall, WalletCall } from "./evidence.ts";

const ANSWERED: Attempt = {
  gateway: 0,
  payment: undefined,
  sentAt: 1_000,
  endedAt: 1_100,
  end: "answered",
  phase: undefined,
  status: 200,
  code: undefined,
  answer: undefined,
  transaction: undefined,
  oddity: undefined,
};
const SERVED: Attempt = {
  ...ANSWERED,
  payment: "p1",
  transaction: "tx1",
  answer: { call: "w1", run: 0, digest: "d0" },
};
const LEFT: Attempt = { ...ANSWERED, payment: "p1", end: "left", phase: "body" };
const DROPPED: Attempt = { ...ANSWERED, payment: "p1", end: "dropped" };
const REFUSED: Attempt = { ...ANSWERED, status: 503, code: "ledger_unavailable" };
const REFUSAL: Attempt = { ...ANSWERED, payment: "p1", status: 402, code: "payment_refused" };
const KEYED_ANSWER: Attempt = { ...ANSWERED, answer: { call: "k1", run: 1, digest: "d1" } };
const DELIVERED: BookedPayment = {
  id: "p1",
  state: "delivered",
  amount: 10n,
  transaction: "tx1",
  servings: 0,
  watched: false,
};
const COST = 200_009n;
const OPENING = { reference: "credit:opening", kind: "credit", amount: 1_000_000n };
const CAPTURE = { reference: "hold:h1", kind: "capture", amount: -COST };
const OWED = { reference: "payment:p1", kind: "owed_credit", amount: 10n };

/** One call by wallet and one by key, both delivered; each part may be put in the place of another. */
interface Story {
  readonly evidence: Partial<Evidence>;
  readonly wallet: Partial<WalletCall>;
  readonly keyed: Partial<KeyedCall>;
  readonly books: Partial<Books>;
  /** Entries of the keyed account, and of the payer's. */
  readonly journal: Books["accounts"][number]["journal"];
  readonly owed: Books["accounts"][number]["journal"];
}

function tell(story: Partial<Story>): readonly [Evidence, Books] {
  const { journal = [OPENING, CAPTURE], owed = [] } = story;
  const account = (id: string, entries: typeof journal) => ({
    id,
    balance: entries.reduce((sum, { amount }) => sum + amount, 0n),
    held: 0n,
    journal: entries,
  });
  const wallet: WalletCall = {
    id: "w1",
    payer: "payer",
    payments: ["p1"],
    streams: false,
    finished: true,
    attempts: [SERVED],
    ...story.wallet,
  };
  const keyed: KeyedCall = {
    id: "k1",
    account: "acct",
    cost: COST,
    idempotent: false,
    streams: false,
    finished: true,
    attempts: [KEYED_ANSWER],
    ...story.keyed,
  };
  const evidence: Evidence = {
    transfers: [{ id: "p1", signature: "tx1", payer: "payer", amount: 10n }],
    runs: [
      { run: 0, call: "w1", end: "whole" },
      { run: 1, call: "k1", end: "whole" },
    ],
    walletCalls: [wallet],
    keyedCalls: [keyed],
    credits: [{ account: "acct", reference: "opening", amount: 1_000_000n, confirmed: true }],
    deaths: [],
    misled: [],
    ...story.evidence,
  };
  const books: Books = {
    payments: [DELIVERED],
    accounts: [account("acct", journal), account("wallet:payer", owed)],
    undecided: 0,
    discrepancies: [],
    ...story.books,
  };
  return [evidence, books];
}

function violationsOf(story: Partial<Story>): readonly string[] {
  return [...check(...tell(story)).violations.keys()].sort();
}

function allowedOf(story: Partial<Story>): readonly string[] {
  expect(violationsOf(story)).toEqual([]);
  return [...check(...tell(story)).allowed.keys()].sort();
}

const credited: BookedPayment = { ...DELIVERED, state: "credited" };
const released: BookedPayment = { ...DELIVERED, state: "released", transaction: undefined };
const death = (at: number) => ({ deaths: [{ gateway: 0, at }] });
const runs = (...calls: readonly string[]) => ({
  runs: calls.map((call, run) => ({ run, call, end: "whole" as const })),
});

test("a story in which all is well has no violation, and nothing to be allowed", () => {
  expect(violationsOf({})).toEqual([]);
  expect(allowedOf({})).toEqual([]);
});

describe("of wallets it finds", () => {
  const stories: Readonly<Record<string, Partial<Story>>> = {
    transfer_that_nobody_signed: {
      evidence: {
        transfers: [
          { id: "p1", signature: "tx1", payer: "payer", amount: 10n },
          { id: "p9", signature: "tx9", payer: "payer", amount: 10n },
        ],
      },
    },
    delivered_without_transfer: { wallet: { attempts: [{ ...SERVED, transaction: "tx8" }, LEFT] } },
    transfer_neither_delivered_nor_credited: {
      wallet: { attempts: [{ ...REFUSAL, status: 502, code: "upstream_failed" }] },
    },
    delivered_and_credited: { books: { payments: [credited] }, owed: [OWED] },
    told_of_a_credit_that_is_not_there: {
      wallet: {
        attempts: [{ ...ANSWERED, payment: "p1", status: 409, code: "payment_credited" }, LEFT],
      },
    },
    told_to_pay_again: { wallet: { attempts: [REFUSAL] }, books: { payments: [credited] }, owed: [OWED] },
    credit_without_transfer: { owed: [{ ...OWED, reference: "payment:p7" }] },
    credited_twice: {
      books: {
        payments: [credited],
        accounts: [
          { id: "acct", balance: 799_991n, held: 0n, journal: [OPENING, CAPTURE] },
          { id: "wallet:payer", balance: 10n, held: 0n, journal: [OWED] },
          { id: "wallet:other", balance: 10n, held: 0n, journal: [OWED] },
        ],
      },
      wallet: { attempts: [DROPPED] },
    },
    settled_without_transfer: {
      evidence: { transfers: [] },
      wallet: { attempts: [DROPPED] },
    },
    transfer_not_recorded: { books: { payments: [released] } },
    record_differs_from_chain: { books: { payments: [{ ...DELIVERED, amount: 11n }] } },
    still_watched: { books: { payments: [{ ...DELIVERED, watched: true }] } },
    served_too_often: { books: { payments: [{ ...DELIVERED, servings: 7 }] } },
    more_runs_than_requests: { evidence: runs("w1", "k1", "w1") },
    landed_twice: {
      evidence: {
        transfers: ["tx1", "tx1"].map((signature) => ({ id: "p1", signature, payer: "payer", amount: 10n })),
      },
    },
    served_twice: {
      evidence: runs("w1", "k1", "w1"),
      wallet: { attempts: [SERVED, { ...SERVED, answer: { call: "w1", run: 2, digest: "d2" } }] },
    },
  };
  test.each(Object.entries(stories))("%s", (kind, story) => {
    expect(violationsOf(story)).toEqual([kind]);
  });
});

describe("of keyed calls it finds", () => {
  const stories: Readonly<Record<string, Partial<Story>>> = {
    delivered_without_debit: { journal: [OPENING] },
    debited_twice: { journal: [OPENING, CAPTURE, { ...CAPTURE, reference: "hold:h2" }] },
    debited_without_delivery: { keyed: { attempts: [REFUSED] } },
    debit_of_no_call: {
      journal: [OPENING, CAPTURE, { ...CAPTURE, reference: "hold:h2", amount: -COST - 2n }],
    },
    partial_debit_of_nobody_who_left: {
      journal: [OPENING, CAPTURE, { ...CAPTURE, reference: "hold:h2", amount: -50n }],
    },
    answered_twice: {
      evidence: runs("w1", "k1", "k1"),
      keyed: { attempts: [KEYED_ANSWER, { ...KEYED_ANSWER, answer: { call: "k1", run: 2, digest: "d2" } }] },
    },
    account_is_gone: { books: { accounts: [] }, evidence: { credits: [] } },
    credit_lost: {
      evidence: {
        credits: ["opening", "second"].map((reference) => {
          return { account: "acct", reference, amount: 1_000_000n, confirmed: true };
        }),
      },
    },
    credit_that_nobody_gave: { journal: [OPENING, CAPTURE, { ...OPENING, reference: "credit:gift" }] },
  };
  test.each(Object.entries(stories))("%s", (kind, story) => {
    expect(violationsOf(story)).toEqual([kind]);
  });
});

describe("of answers and sums it finds", () => {
  const stories: Readonly<Record<string, Partial<Story>>> = {
    run_that_nobody_asked_for: { evidence: runs("w1", "k1", "w9") },
    call_without_an_end: { keyed: { finished: false } },
    answer_of_another_call: {
      wallet: { attempts: [{ ...SERVED, answer: { call: "k1", run: 0, digest: "d0" } }] },
    },
    replay_differs: {
      wallet: { attempts: [SERVED, { ...SERVED, answer: { call: "w1", run: 0, digest: "dx" } }] },
    },
    "5xx_without_code": {
      keyed: { attempts: [{ ...REFUSED, status: 500, code: undefined }, KEYED_ANSWER] },
    },
    "4xx_without_code": { keyed: { attempts: [{ ...REFUSED, status: 400, code: "odd" }, KEYED_ANSWER] } },
    short_answer_passed_as_whole: {
      keyed: { attempts: [{ ...ANSWERED, oddity: "data: {" }, KEYED_ANSWER] },
    },
    undecided: { books: { undecided: 1 } },
    ledger_check: { books: { discrepancies: ["acct: held_is_not_its_holds"] } },
    hold_left: {
      books: { accounts: [{ id: "acct", balance: 799_991n, held: 5n, journal: [OPENING, CAPTURE] }] },
    },
    balance_is_not_its_journal: {
      books: { accounts: [{ id: "acct", balance: 799_992n, held: 0n, journal: [OPENING, CAPTURE] }] },
    },
    balance_below_zero: { journal: [CAPTURE], evidence: { credits: [] } },
    journal_entry_twice: {
      journal: [OPENING, CAPTURE, { ...CAPTURE, amount: -50n }],
      keyed: { attempts: [KEYED_ANSWER, LEFT] },
    },
  };
  test.each(Object.entries(stories))("%s", (kind, story) => {
    expect(violationsOf(story)).toEqual([kind]);
  });
});

describe("it allows, and counts", () => {
  const stories: Readonly<Record<string, Partial<Story>>> = {
    "paid, and left by the client": { wallet: { attempts: [LEFT] } },
    "delivered to a connection that died with its gateway": {
      wallet: { attempts: [DROPPED] },
      evidence: death(1_050),
    },
    "delivered, and credited since its gateway was killed": {
      books: { payments: [credited] },
      owed: [OWED],
      evidence: death(1_200),
    },
    "refused by the facilitator, landed all the same": {
      wallet: { attempts: [REFUSAL] },
      books: { payments: [credited] },
      owed: [OWED],
      evidence: { misled: ["p1"] },
    },
    "upstream runs beyond the first of a call": {
      evidence: runs("w1", "k1", "w1"),
      wallet: { attempts: [DROPPED, SERVED] },
    },
    "stream whose debit died with its gateway": {
      keyed: { streams: true },
      journal: [OPENING],
      evidence: death(1_200),
    },
    "charged in full, and left by the client": { keyed: { attempts: [LEFT] } },
    "charged, and its answer died with its gateway": {
      keyed: { attempts: [DROPPED] },
      evidence: death(1_050),
    },
    "charged, and giving it back died with its gateway": {
      keyed: { attempts: [REFUSED] },
      evidence: death(1_200),
    },
    "charged for what came before the client left": {
      keyed: { attempts: [LEFT] },
      journal: [OPENING, { ...CAPTURE, amount: -50n }],
    },
  };
  test.each(Object.entries(stories))("%s", (kind, story) => {
    expect(allowedOf(story)).toEqual([kind]);
  });

  test("a credit, where the client has nothing", () => {
    const story = { books: { payments: [credited] }, owed: [OWED], wallet: { attempts: [DROPPED] } };
    expect(allowedOf(story)).toEqual([]);
  });

  test("a debit that was given back, where the client has nothing", () => {
    const refund = { reference: "credit:refund:h1", kind: "credit", amount: COST };
    expect(allowedOf({ journal: [OPENING, CAPTURE, refund], keyed: { attempts: [REFUSED] } })).toEqual([]);
  });

  test.each([
    ["long before", 500],
    ["long after", 60_000],
  ])("none of it for a gateway that died %s", (_, at) => {
    const evidence = death(at);
    expect(violationsOf({ evidence, keyed: { attempts: [DROPPED] } })).toEqual(["debited_without_delivery"]);
    expect(violationsOf({ evidence, keyed: { streams: true }, journal: [OPENING] })).toEqual([
      "delivered_without_debit",
    ]);
    expect(violationsOf({ evidence, wallet: { attempts: [DROPPED] } })).toEqual([
      "transfer_neither_delivered_nor_credited",
    ]);
  });

  const noAnswer: Attempt = { ...ANSWERED, payment: "p1", status: 502, code: "upstream_failed" };
  test.each([
    ["half its request was sent", [{ ...LEFT, phase: "sending" as const }]],
    ["it came back and was refused", [LEFT, noAnswer]],
  ])("none of it for a client that left, if %s", (_, attempts) => {
    expect(violationsOf({ wallet: { attempts } })).toEqual(["transfer_neither_delivered_nor_credited"]);
    expect(violationsOf({ keyed: { attempts } })).toEqual(["debited_without_delivery"]);
  });

  test("a client that left and was told that its answer is not kept", () => {
    const told = (code: string): Attempt => ({ ...ANSWERED, payment: "p1", status: 409, code });
    expect(allowedOf({ wallet: { attempts: [LEFT, told("response_not_stored")] } })).toEqual([
      "paid, and left by the client",
    ]);
    expect(allowedOf({ keyed: { attempts: [LEFT, told("idempotent_answer_not_stored")] } })).toEqual([
      "charged in full, and left by the client",
    ]);
  });

  test("none of it for a call that is no stream", () => {
    expect(violationsOf({ journal: [OPENING], evidence: death(1_200) })).toEqual(["delivered_without_debit"]);
  });
});
