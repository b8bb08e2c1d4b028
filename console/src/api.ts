import type { z } from "zod";
import { errorSchema, type Session, sessionSchema } from "./answers.ts";

/** What went wrong, in the server's words. `code` is stable (docs/errors.md); `unreachable` and `unreadable` are ours. */
export class ApiError extends Error {
  readonly code: string;
  readonly status: number;
  readonly reason: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: string, message: string, status = 0, reason?: string, retryAfterSeconds?: number) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.reason = reason;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface CallOptions {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly body?: unknown;
  /** For creations: the same key never makes a second one. */
  readonly idempotencyKey?: string;
}

/** Talks to the account API on the page's own origin. All methods reject only with {@link ApiError}. */
export interface Api {
  call<Answer>(path: string, schema: z.ZodType<Answer>, options?: CallOptions): Promise<Answer>;
  /** An answer that is no JSON, as it is. */
  file(path: string): Promise<Blob>;
  /** After a sign-in. */
  begin(session: Session): void;
  /** Whether the browser's cookies still carry a session. */
  resume(): Promise<Session | undefined>;
  /** The session is over; nothing is asked. */
  forget(): void;
}

/** `onEnded` is told when the server says that nobody is signed in any more. */
export function createApi(onEnded: (why: string) => void): Api {
  let csrfToken: string | undefined;
  let refreshing: Promise<boolean> | undefined;

  /** True: the request may be repeated. Shared by all requests that need it at once, since a refresh token is good for one use. */
  function refresh(): Promise<boolean> {
    refreshing ??= send("/auth/refresh", sessionSchema, { method: "POST" })
      .then((session) => {
        csrfToken = session.csrf_token;
        return true;
      })
      .catch(async (error: unknown) => {
        if (!(error instanceof ApiError)) throw error;
        // Another tab was faster: the cookies are new already.
        if (error.code !== "session_just_refreshed") {
          // Only the service's word ends a session: a connection that drops does not.
          if (error.status === 401) return false;
          throw error;
        }
        csrfToken = (await send("/auth/session", sessionSchema, {})).csrf_token;
        return true;
      })
      .finally(() => {
        refreshing = undefined;
      });
    return refreshing;
  }

  async function send<Answer>(
    path: string,
    schema: z.ZodType<Answer>,
    { method = "GET", body, idempotencyKey }: CallOptions,
  ): Promise<Answer> {
    const headers = new Headers({ accept: "application/json" });
    if (body !== undefined) headers.set("content-type", "application/json");
    if (csrfToken !== undefined && method !== "GET") headers.set("x-csrf-token", csrfToken);
    if (idempotencyKey !== undefined) headers.set("idempotency-key", idempotencyKey);
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const response = await reach(path, init);
    const json: unknown = await response.json().catch(() => undefined);
    if (!response.ok) throw readError(response, json);
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    throw new ApiError("unreadable", "The service gave an answer that this page does not understand.");
  }

  async function inSession<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError) || !isOver(error)) throw error;
      if (await refresh()) return ask();
      csrfToken = undefined;
      onEnded("Your session has ended. Sign in again.");
      throw error;
    }
  }

  return {
    call: (path, schema, options = {}) => inSession(() => send(path, schema, options)),
    file: (path) =>
      inSession(async () => {
        const response = await reach(path, {});
        if (!response.ok) throw readError(response, await response.json().catch(() => undefined));
        return response.blob();
      }),
    begin(session) {
      csrfToken = session.csrf_token;
    },
    async resume() {
      const ask = () => send("/auth/session", sessionSchema, {});
      try {
        const session = await ask();
        csrfToken = session.csrf_token;
        return session;
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        return (await refresh()) ? ask() : undefined;
      }
    },
    forget() {
      csrfToken = undefined;
    },
  };
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch {
    throw new ApiError("unreachable", "The service cannot be reached. Check your connection and try again.");
  }
}

function isOver({ status, code }: ApiError): boolean {
  return status === 401 && (code === "sign_in_required" || code === "session_ended");
}

function readError(response: Response, json: unknown): ApiError {
  const { status } = response;
  const parsed = errorSchema.safeParse(json);
  if (!parsed.success) return new ApiError(`http_${status}`, `The service answered ${status}.`, status);
  const { code, message, details } = parsed.data.error;
  const reason = typeof details?.["reason"] === "string" ? details["reason"] : undefined;
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  return new ApiError(code, message, status, reason, Number.isNaN(retryAfter) ? undefined : retryAfter);
}
