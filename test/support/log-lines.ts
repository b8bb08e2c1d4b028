import { isDeepStrictEqual } from "node:util";

export interface LogLines {
  readonly lines: Record<string, unknown>[];
  /** The first line, past or to come, that has these fields. */
  readonly line: (fields: Readonly<Record<string, unknown>>) => Promise<Record<string, unknown>>;
}

/** Collects a log's JSON lines and hands out the one that is waited for. */
export function keepLines(): LogLines & { readonly destination: { write(line: string): void } } {
  const lines: Record<string, unknown>[] = [];
  const waiting = new Set<(line: Record<string, unknown>) => void>();
  return {
    lines,
    line: (fields) =>
      new Promise((resolve) => {
        const seek = (line: Record<string, unknown>): void => {
          if (!Object.entries(fields).every(([name, value]) => isDeepStrictEqual(line[name], value))) return;
          waiting.delete(seek);
          resolve(line);
        };
        waiting.add(seek);
        for (const line of lines) if (waiting.has(seek)) seek(line);
      }),
    destination: {
      write: (text) => {
        const line = JSON.parse(text);
        lines.push(line);
        for (const seek of [...waiting]) seek(line);
      },
    },
  };
}
