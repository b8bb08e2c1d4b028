/** Where a client hangs up: half its request sent, while it waits, at the answer's head, at its first piece. */
export const PHASES = ["sending", "waiting", "head", "body"] as const;
export type Phase = (typeof PHASES)[number];

/** What a whole answer says of itself: the upstream writes both into every text. */
export interface Answer {
  /** The call it was asked for. */
  readonly call: string;
  /** Which run of the upstream made it. */
  readonly run: number;
  /** SHA-256 of its bytes. */
  readonly digest: string;
}

/** One request as its client saw it. Times are milliseconds since the run began. */
export interface Attempt {
  readonly gateway: number;
  /** The payment it carried; undefined by key, and where a client asks for terms. */
  readonly payment: string | undefined;
  readonly sentAt: number;
  readonly endedAt: number;
  /** `unsent`: refused before anything was written. `dropped`: broken off by the other side. `left`: by the client. */
  readonly end: "answered" | "dropped" | "left" | "unsent";
  readonly phase: Phase | undefined;
  /** Of the head, if one came. */
  readonly status: number | undefined;
  /** The error's code, in a whole answer of 400 and more. */
  readonly code: string | undefined;
  /** Of a whole answer of 200. */
  readonly answer: Answer | undefined;
  /** The transaction that PAYMENT-RESPONSE names. */
  readonly transaction: string | undefined;
  /** An answer that ended cleanly and is not what it has to be: its beginning. */
  readonly oddity: string | undefined;
}

/** One thing that a client wanted, and everything it did for it. */
export interface ClientCall {
  /** Unique; part of the request, and of its answer. */
  readonly id: string;
  readonly streams: boolean;
  readonly attempts: readonly Attempt[];
  /** Its client came to an answer that it took as the last, or gave up on purpose. */
  readonly finished: boolean;
}

/** A call paid by wallet. */
export interface WalletCall extends ClientCall {
  readonly payer: string;
  /** Everything it signed: the payments' ids. */
  readonly payments: readonly string[];
}

/** A call paid by key. */
export interface KeyedCall extends ClientCall {
  readonly account: string;
  /** What it costs when it is whole: no other call of the account costs the same. MicroUsd. */
  readonly cost: bigint;
  readonly idempotent: boolean;
}

/** Money that the operator put on an account. */
export interface Credit {
  readonly account: string;
  readonly reference: string;
  readonly amount: bigint;
  /** The gateway said so; otherwise it may have happened. */
  readonly confirmed: boolean;
}

/** One request as the upstream saw it. */
export interface Run {
  readonly run: number;
  readonly call: string;
  /** `cut`: the gateway broke it off. `fault`: the upstream was told to fail. */
  readonly end: "whole" | "cut" | "fault" | "open";
}

/** A transfer to the merchant as the chain has it. */
export interface Transfer {
  /** SHA-256 of the message: the payment's id. */
  readonly id: string;
  readonly signature: string;
  readonly payer: string;
  readonly amount: bigint;
}

/** A gateway was killed. */
export interface Death {
  readonly gateway: number;
  readonly at: number;
}

/** What others than our ledger know. */
export interface Evidence {
  readonly transfers: readonly Transfer[];
  readonly runs: readonly Run[];
  readonly walletCalls: readonly WalletCall[];
  readonly keyedCalls: readonly KeyedCall[];
  readonly credits: readonly Credit[];
  readonly deaths: readonly Death[];
  /** Payments that the facilitator was made to refuse and then landed. */
  readonly misled: readonly string[];
}

/** A payment as our ledger has it. */
export interface BookedPayment {
  readonly id: string;
  readonly state: string;
  readonly amount: bigint;
  readonly transaction: string | undefined;
  readonly servings: number;
  readonly watched: boolean;
}

export interface BookedEntry {
  readonly reference: string;
  readonly kind: string;
  readonly amount: bigint;
}

export interface BookedAccount {
  readonly id: string;
  readonly balance: bigint;
  readonly held: bigint;
  readonly journal: readonly BookedEntry[];
}

/** What our ledger says, read when everything had come to its end. */
export interface Books {
  readonly payments: readonly BookedPayment[];
  readonly accounts: readonly BookedAccount[];
  /** Payments that nobody has decided. */
  readonly undecided: number;
  /** What the ledger's own check finds, in words. */
  readonly discrepancies: readonly string[];
}
