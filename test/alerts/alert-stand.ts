import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AccountLedger, Alert } from "../../server/ledger/account-ledger.ts";

export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly path: string;
  readonly body: string;
}

export interface Receiver {
  readonly port: number;
  readonly events: readonly Received[];
  /** Default: 204. */
  onEvent(answer: (res: ServerResponse, nth: number) => void): void;
  close(): Promise<void>;
}

/** A webhook's receiver on a loopback address. */
export async function openReceiver(host = "127.0.0.1", port = 0): Promise<Receiver> {
  const events: Received[] = [];
  let answer: (res: ServerResponse, nth: number) => void = (res) => res.writeHead(204).end();
  const server = createServer(async (req, res) => {
    const chunks = await req.toArray();
    const body = Buffer.concat(chunks).toString("utf8");
    events.push({ headers: req.headers, path: `${req.method} ${req.url}`, body });
    answer(res, events.length);
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    events,
    onEvent: (given) => {
      answer = given;
    },
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Alerts as the ledger keeps them, in memory, with a clock of the test's. */
export interface AlertQueue extends Pick<AccountLedger, "takeAlerts" | "endAlert" | "postponeAlert"> {
  add(alert: Partial<Alert>): void;
  /** Milliseconds until each waiting alert is due, by id. */
  waiting(): ReadonlyMap<number, number>;
  readonly ended: readonly number[];
  advance(ms: number): void;
  now(): number;
}

const ALERT: Alert = {
  id: 1,
  kind: "key_limit_80",
  account: "acct_1",
  keyId: "key_1",
  keyLabel: "production",
  amount: 8_000_001n,
  threshold: 10_000_000n,
  at: Date.UTC(2026, 0, 2, 3, 4, 5),
  attempt: 0,
};

export function createAlertQueue(): AlertQueue {
  let time = Date.UTC(2026, 0, 2, 3, 4, 6);
  const waiting = new Map<number, { alert: Alert; dueAt: number }>();
  const ended: number[] = [];
  return {
    add: (alert) => {
      const whole = { ...ALERT, ...alert };
      waiting.set(whole.id, { alert: whole, dueAt: time });
    },
    waiting: () => new Map([...waiting].map(([id, { dueAt }]) => [id, dueAt - time])),
    ended,
    advance: (ms) => {
      time += ms;
    },
    now: () => time,
    async takeAlerts(limit, leaseMs) {
      const due = [...waiting.values()].filter(({ dueAt }) => dueAt <= time).slice(0, limit);
      return due.map(({ alert }) => {
        const taken = { ...alert, attempt: alert.attempt + 1 };
        waiting.set(alert.id, { alert: taken, dueAt: time + leaseMs });
        return taken;
      });
    },
    async endAlert(id) {
      waiting.delete(id);
      ended.push(id);
    },
    async postponeAlert(id, delayMs) {
      const entry = waiting.get(id);
      if (entry !== undefined) waiting.set(id, { ...entry, dueAt: time + delayMs });
    },
  };
}
