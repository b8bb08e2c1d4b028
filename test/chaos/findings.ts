import type { Attempt, Evidence } from "./evidence.ts";

/** A broken promise, or something that the documentation allows and that is counted. */
export type Finding = { readonly violation: string } | { readonly allowed: string };

/** What a check came to. */
export interface Findings {
  /** By kind: where it was found. */
  readonly violations: ReadonlyMap<string, readonly string[]>;
  /** By kind: how often. */
  readonly allowed: ReadonlyMap<string, number>;
  add(finding: Finding, where: string, count?: number): void;
  violation(kind: string, where: string): void;
}

export function createFindings(): Findings {
  const violations = new Map<string, string[]>();
  const allowed = new Map<string, number>();
  const violation = (kind: string, where: string): void => {
    violations.set(kind, [...(violations.get(kind) ?? []), where]);
  };
  return {
    violations,
    allowed,
    violation,
    add: (finding, where, count = 1) => {
      if ("violation" in finding) violation(finding.violation, where);
      else allowed.set(finding.allowed, (allowed.get(finding.allowed) ?? 0) + count);
    },
  };
}

/** The gateway of this attempt was killed while it ran, or within `ms` after its end. */
export function diedAround(evidence: Pick<Evidence, "deaths">, attempt: Attempt, ms: number): boolean {
  return evidence.deaths.some(
    ({ gateway, at }) => gateway === attempt.gateway && at >= attempt.sentAt && at <= attempt.endedAt + ms,
  );
}

/** Its client hung up after the whole request was out: what is half sent is never served. */
export function hasLeft({ end, phase }: Attempt): boolean {
  return end === "left" && phase !== "sending";
}

/** The answer was lost in a way that the client knows: in its last request, or an earlier one whose answer is not kept. */
export function isWithoutAnswer(
  attempts: readonly Attempt[],
  wasLost: (attempt: Attempt) => boolean,
  notKept: string,
): boolean {
  const last = attempts.at(-1);
  if (last === undefined || !attempts.some(wasLost)) return false;
  return wasLost(last) || attempts.some(({ code }) => code === notKept);
}
