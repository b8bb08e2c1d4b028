import { pino } from "pino";
import { redactFields, redactText } from "./redact.ts";

type Level = "fatal" | "error" | "warn" | "info" | "debug" | "trace";

/** One line: a message, or fields and a message. An error goes under `err`. */
interface Write {
  (message: string): void;
  (fields: object, message?: string): void;
}

/** JSON lines on pino. Every method redacts; there are no child loggers, whose bindings would bypass it. */
export interface Logger extends Readonly<Record<Level, Write>> {
  /** For {@link requestLine} alone: nothing is searched for secrets, so the type admits no room for one. */
  readonly plain: (line: RequestLine) => void;
  /** Resolves when what is buffered was handed to the operating system. Never rejects: a pipe cannot be synced. */
  readonly flush: () => Promise<void>;
}

export interface LoggerOptions {
  /** pino's levels, or `silent`. */
  readonly level: string;
  /** Where lines go; default: stdout, buffered, written in the background and flushed at exit. */
  readonly destination?: pino.DestinationStream;
}

/** The facts of one request, all flat; none of them may be a secret. */
export interface RequestLine {
  readonly method: string;
  /** The route's pattern, not the path that was asked for. */
  readonly route: string;
  readonly tier: string;
  /** Dollars, as `formatUsd` writes them. */
  readonly price: string;
  readonly status: number;
  /** Milliseconds from the request's arrival to the end of the answer. */
  readonly ms: number;
  readonly payer?: string | undefined;
  /** Whose balance pays. */
  readonly account?: string | undefined;
  readonly transaction?: string | undefined;
  /** The code of the error that was answered. */
  readonly code?: string | undefined;
  /** The payment was checked after everybody else's. */
  readonly heldBack?: true | undefined;
}

/** Each write wakes a thread of the pool, and the main thread pays for that. */
const BUFFER_BYTES = 8_192;
const FLUSH_MS = 250;
/** Lines beyond this are dropped: a reader of stdout that hangs must not fill the memory. */
const BACKLOG_BYTES = 16 * 1_048_576;

interface Stdout extends pino.DestinationStream {
  flush(done?: (error?: Error) => void): void;
  flushSync(): void;
}

/** Stdout. As bytes, because a destination of texts measures its whole buffer anew at every line. */
function bufferedStdout(): Stdout {
  const stdout = pino.destination({
    contentMode: "buffer",
    sync: false,
    minLength: BUFFER_BYTES,
    maxWrite: BUFFER_BYTES + 1,
    periodicFlush: FLUSH_MS,
    maxLength: BACKLOG_BYTES,
  });
  return {
    // Through Reflect: in this mode it takes bytes alone, which its types do not say.
    write: (line) => void Reflect.apply(stdout.write, stdout, [Buffer.from(line)]),
    // Twice: a write under way ends the first one, and leaves what was too little for a write of its own.
    flush: (done) => stdout.flush(() => stdout.flush(done)),
    flushSync: () => stdout.flushSync(),
  };
}

export function createLogger({ level, destination }: LoggerOptions): Logger {
  const base = pino(
    {
      level,
      base: null,
      formatters: { level: (label) => ({ level: label }) },
      // Errors are plain by then (redact.ts); pino's own serializer would take them for something else.
      serializers: { err: (error: unknown) => error },
    },
    destination ?? bufferedStdout(),
  );
  const writer = (name: Level): Write => {
    return (first: object | string, message?: string) => {
      if (!base.isLevelEnabled(name)) return;
      if (typeof first === "string") return base[name](redactText(first));
      const fields = redactFields(first instanceof Error ? { err: first } : first);
      base[name](fields, message === undefined ? undefined : redactText(message));
    };
  };
  return {
    fatal: writer("fatal"),
    error: writer("error"),
    warn: writer("warn"),
    info: writer("info"),
    debug: writer("debug"),
    trace: writer("trace"),
    plain: (line) => base.info(line),
    flush: () => new Promise((resolve) => base.flush(() => resolve())),
  };
}

/** One line for each request, at level info. It stands on the hot path: one call, no copies. */
export function requestLine(logger: Logger, line: RequestLine): void {
  logger.plain(line);
}
