export type Operation = "verify" | "settle" | "supported";

/** What goes wrong with one call. Made by {@link faults}. */
export type Fault =
  | { readonly kind: "reset" }
  | { readonly kind: "answer"; readonly status: number; readonly body: string; readonly type: string }
  | { readonly kind: "truncated" }
  | { readonly kind: "hang" }
  | { readonly kind: "slow"; readonly ms: number }
  | { readonly kind: "slow_answer"; readonly ms: number }
  | { readonly kind: "twice" }
  | { readonly kind: "reason"; readonly reason: string; readonly transaction: string }
  | { readonly kind: "drop_after" }
  | { readonly kind: "then_down" };

/** The faults, by name. Those marked (handled) reach the real facilitator. */
export const faults = {
  /** The request is read and the connection reset, before anything is handled. */
  reset: { kind: "reset" },
  /** An HTML page with status 502, as a proxy in front of a dead facilitator sends it. */
  html: { kind: "answer", status: 502, body: "<html><h1>Bad Gateway</h1></html>", type: "text/html" },
  /** Status 200 and a body that is no JSON. */
  garbage200: { kind: "answer", status: 200, body: "OK, done!", type: "text/plain" },
  /** Status 200, JSON, and none of the fields. */
  wrongShape: { kind: "answer", status: 200, body: '{"ok":true}', type: "application/json" },
  /** Announces more bytes than it sends, then closes. */
  truncated: { kind: "truncated" },
  /** Never answers. */
  hang: { kind: "hang" },
  /** Handled, and the connection is dropped instead of the answer. */
  dropAfter: { kind: "drop_after" },
  /** Handled and answered, but the listener is closed before the answer is sent: the next connection is refused. */
  thenDown: { kind: "then_down" },
  /** An answer of our own, not handled. */
  status: (status: number, body: unknown = { error: "injected" }): Fault => ({
    kind: "answer",
    status,
    body: typeof body === "string" ? body : JSON.stringify(body),
    type: "application/json",
  }),
  /** Handled after `ms`. */
  slow: (ms: number): Fault => ({ kind: "slow", ms }),
  /** Handled at once, answered after `ms`. */
  slowAnswer: (ms: number): Fault => ({ kind: "slow_answer", ms }),
  /** Handled twice, and answered with the second answer. */
  twice: { kind: "twice" },
  /** `success: false` or `isValid: false` with this reason, not handled. */
  reason: (reason: string, transaction = ""): Fault => ({ kind: "reason", reason, transaction }),
} as const satisfies Record<string, Fault | ((...args: never[]) => Fault)>;
