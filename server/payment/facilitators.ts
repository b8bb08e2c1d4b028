import type { Facilitator, SettleResult } from "../../facilitator-client/types.ts";
import type { OfferedTerms, Terms } from "./terms.ts";

/** What a payment needs of its facilitator. */
export type Settler = Pick<Facilitator, "verify" | "settle">;

/** One of the configured facilitators. */
export interface FacilitatorMember {
  readonly facilitator: Facilitator;
  readonly offer: OfferedTerms;
  /** Whether it works now, as far as is known. */
  isHealthy(): boolean;
  /** Whether it has answered `/supported` since the start. */
  hasAnswered(): boolean;
  /** Asks `/supported` soon. */
  refresh(): void;
}

/** `unheard`: no facilitator named it, but one has not answered yet whose it may be. */
export type FeePayerStanding = "known" | "unknown" | "unheard";

/** What the 402 and the documents offer, and whether a payment's feePayer is one of ours. */
export interface TermsSource {
  /**
   * The first healthy facilitator's that settles on this network; if none is healthy, the first one's that ever did.
   * Undefined until one has answered. The same object until they change.
   */
  current(): Terms | undefined;
  standingOf(feePayer: string): FeePayerStanding;
}

/** The facilitators, in their order of preference. */
export interface Facilitators extends TermsSource {
  /**
   * Who verifies and settles this payment: the facilitator whose feePayer it names; of several the first healthy one.
   *
   * Invariant: a payment whose `/settle` may have reached one of them is not sent to another, for longer than a signed
   * transaction lives. Another gateway does not know it, but there the record says the rest: what is unknown is decided
   * by the chain, and only what was refused or not sent may be settled again.
   */
  choose(payment: { readonly id: string; readonly feePayer: string }): Settler;
  /** Asks all of them: somebody named a feePayer that we do not know, or one that its facilitator does not. */
  refresh(): void;
}

export interface FacilitatorsOptions {
  readonly members: readonly FacilitatorMember[];
  readonly now: () => number;
  /** How long a 402 may be paid, ms: what was offered before the start is expired after it. */
  readonly memoryMs: number;
}

/** A signed transaction lives 150 blocks, about a minute. */
const SENT_FOR_MS = 180_000;
/** Payments remembered by where they were sent, more than settle in that time; beyond it the oldest are forgotten. */
const MAX_SENT = 50_000;

/** Puts the members together. With one, every payment goes to it. */
export function createFacilitators({ members, now, memoryMs }: FacilitatorsOptions): Facilitators {
  const startedAt = now();
  const sent = new Map<string, { readonly member: FacilitatorMember; readonly at: number }>();

  function standingOf(feePayer: string): FeePayerStanding {
    if (members.some(({ offer }) => offer.knowsFeePayer(feePayer))) return "known";
    refresh();
    const early = now() - startedAt <= memoryMs;
    return early && members.some((member) => !member.hasAnswered()) ? "unheard" : "unknown";
  }

  function refresh(): void {
    for (const member of members) member.refresh();
  }

  function pick(id: string, feePayer: string): FacilitatorMember | undefined {
    if (members.length === 1) return members[0];
    const before = sent.get(id);
    if (before !== undefined && now() - before.at <= SENT_FOR_MS) return before.member;
    const able = members.filter(({ offer }) => offer.knowsFeePayer(feePayer));
    return able.find((member) => member.isHealthy()) ?? able[0];
  }

  function remember(id: string, member: FacilitatorMember): void {
    for (const [known, { at }] of sent) {
      if (sent.size < MAX_SENT && now() - at <= SENT_FOR_MS) break;
      sent.delete(known);
    }
    sent.delete(id);
    sent.set(id, { member, at: now() });
  }

  return {
    current() {
      let last: Terms | undefined;
      for (const member of members) {
        const terms = member.offer.current();
        if (terms !== undefined && member.isHealthy()) return terms;
        last ??= terms;
      }
      return last;
    },
    standingOf,
    refresh,
    choose({ id, feePayer }) {
      const member = pick(id, feePayer);
      if (member === undefined) return NOBODY;
      const { facilitator } = member;
      if (members.length === 1) return facilitator;
      return {
        verify: (request, signal) => facilitator.verify(request, signal),
        async settle(request) {
          const before = sent.get(id);
          // Before the answer: whoever comes while this one waits must find it.
          remember(id, member);
          const result = await facilitator.settle(request);
          if (before === undefined && neverSent(result)) sent.delete(id);
          return result;
        },
      };
    },
  };
}

/** The facilitator that a payment names has forgotten its feePayer between two looks. */
const NOBODY: Settler = {
  verify: () => Promise.resolve({ outcome: "not_sent", reason: "no_facilitator" }),
  settle: () => Promise.resolve({ outcome: "not_sent", reason: "no_facilitator" }),
};

/** Proven: a 401 or 403 may come from a proxy that passed the request on all the same. */
function neverSent(result: SettleResult): boolean {
  return result.outcome === "not_sent" && !result.reason.startsWith("http_");
}
