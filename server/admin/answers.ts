import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { NextFunction, Request, RequestHandler, Response } from "express";
import { GatewayError } from "../errors.ts";
import { LedgerFault } from "../ledger/ledger.ts";
import type { Answer } from "./action-parts.ts";
import type { Actions } from "./actions.ts";

/** How actions become answers of HTTP, for the operator's API and for an account's own. */

/** 200. */
export function told(answer: (req: Request) => Promise<object>): RequestHandler {
  return async (req, res) => void res.json(await answer(req));
}

/** 201, or 200 if it was there already. */
export function made(answer: (req: Request) => Promise<Answer>): RequestHandler {
  return async (req, res) => {
    const body = await answer(req);
    res.status(body["repeated"] === true ? 200 : 201).json(body);
  };
}

/** Usage as JSON, or as CSV where `format=csv` or the `Accept` header asks for it. */
export function usageAnswer(
  actions: Pick<Actions, "usage" | "usageCsv">,
  asked: (query: Request["query"], req: Request) => Promise<object> = async (query) => query,
): RequestHandler {
  return async (req, res) => {
    const { format, ...query } = req.query;
    if (format !== undefined && format !== "json" && format !== "csv") {
      throw new GatewayError("invalid_request", { message: "format: write json or csv" });
    }
    const csv =
      format === "csv" || (format === undefined && req.accepts(["json", "text/csv"]) === "text/csv");
    const filter = await asked(query, req);
    if (!csv) return void res.json(await actions.usage(filter));
    await sendCsv(req, res, actions.usageCsv(filter));
  };
}

/** Takes the first page before the head is sent, so that a ledger that cannot answer is an error and no empty file. */
async function sendCsv(req: Request, res: Response, pages: AsyncGenerator<string>): Promise<void> {
  const first = await pages.next();
  res.type("text/csv").set("Content-Disposition", 'attachment; filename="usage.csv"');
  res.write(first.value ?? "");
  try {
    await pipeline(Readable.from(pages), res);
  } catch (error) {
    // Whoever hangs up has seen enough.
    if (!req.socket.destroyed) throw error;
  }
}

/** A body that is not parsed would be taken for none. */
export function refuseOtherBodies(req: Request, _res: Response, next: NextFunction): void {
  const sent =
    req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) > 0;
  if (sent && req.body === undefined) {
    throw new GatewayError("invalid_request", { message: "body: send JSON, as application/json" });
  }
  next();
}

/** A parameter of the path. */
export function param(req: Request, name: string): string {
  const value = req.params[name];
  return typeof value === "string" ? value : "";
}

/** The client's idempotency key. */
export function repeatKey(req: Request): string | undefined {
  return req.get("idempotency-key");
}

/** Express's and its body parser's complaints are the caller's fault; a ledger that is away is ours. */
export function fromFault(cause: unknown): GatewayError {
  if (cause instanceof LedgerFault) {
    return new GatewayError("ledger_unavailable", {
      cause,
      retryAfterSeconds: 2,
      message:
        "The ledger cannot answer now. Ask again; with an idempotency key or reference nothing is done twice.",
    });
  }
  const status = typeof cause === "object" && cause !== null && "status" in cause ? cause.status : undefined;
  if (status === 413) return new GatewayError("body_too_large");
  if (cause instanceof SyntaxError && status === 400) return new GatewayError("invalid_json");
  const theirs = typeof status === "number" && status >= 400 && status < 500;
  return theirs ? new GatewayError("invalid_request") : new GatewayError("internal_error", { cause });
}
