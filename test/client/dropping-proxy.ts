import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { type Listening, listen } from "./listen.ts";

/** Where the connection of a paid request breaks; the last one is told to the client as the end of the answer. */
export type Phase =
  | "before it is forwarded"
  | "while it is worked on"
  | "before the head"
  | "in the body"
  | "in the body, unseen";

export interface DroppingProxy extends Listening {
  /** The next paid or keyed requests break, one at each of these. */
  drop(...phases: readonly Phase[]): void;
  /** Credentials of the paid requests, in order. */
  readonly credentials: string[];
}

/** A proxy before a gateway that breaks connections to its client; the gateway never learns of it. */
export async function startDroppingProxy(targetUrl: string): Promise<DroppingProxy> {
  const phases: Phase[] = [];
  const credentials: string[] = [];
  const server = createServer(async (req, res) => {
    const body = await buffer(req);
    const credential = req.headers["payment-signature"] ?? req.headers["idempotency-key"];
    if (credential !== undefined) credentials.push(String(credential));
    const phase = credential === undefined ? undefined : phases.shift();
    if (phase === "before it is forwarded") return void req.socket.destroy();
    const answer = forward(targetUrl, req, body);
    if (phase === "while it is worked on") req.socket.destroy();
    await pass(await answer, phase, res);
  });
  return { ...(await listen(server)), drop: (...more) => void phases.push(...more), credentials };
}

async function forward(targetUrl: string, req: IncomingMessage, body: Buffer): Promise<Response> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(req.headers)) {
    if (!["host", "connection", "content-length"].includes(name)) headers.set(name, String(value));
  }
  const { method = "GET", url = "/" } = req;
  return fetch(targetUrl + url, { method, headers, body: method === "GET" ? null : new Uint8Array(body) });
}

async function pass(answer: Response, phase: Phase | undefined, res: ServerResponse): Promise<void> {
  const headers = Object.fromEntries(answer.headers);
  delete headers["content-encoding"];
  delete headers["content-length"];
  delete headers["transfer-encoding"];
  if (phase === undefined) {
    res.writeHead(answer.status, headers);
    for await (const chunk of answer.body ?? []) res.write(chunk);
    res.end();
    return;
  }
  const body = Buffer.from(await answer.arrayBuffer());
  if (phase === "in the body" || phase === "in the body, unseen") {
    res.writeHead(answer.status, headers);
    await new Promise((resolve) => res.write(body.subarray(0, body.length / 2), resolve));
  }
  if (phase === "in the body, unseen") return void res.end();
  res.socket?.destroy();
}
