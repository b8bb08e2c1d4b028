import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "../child.ts";
import { fareboxAttacked } from "../keyed/farebox.ts";
import type { KeyedServer } from "../keyed/lane.ts";
import { ASSET, BLOCKHASH, FEE_PAYER, NETWORK_ID, pathOf } from "../lane.ts";
import { createPayments, type SignPayments } from "../payments.ts";

/** Sold to wallets, beside the endpoints that keys call. */
export const SOLD_PATH = "/report";

/** The gateway under attack, as it comes, and what surrounds it. */
export interface AttackedGround {
  readonly server: KeyedServer;
  readonly directory: string;
  readonly sign: SignPayments;
  /** How often the facilitator, which refuses everything, was asked to verify or settle. */
  asked(): Promise<number>;
  close(): Promise<void>;
}

/** Starts all of it, each in its own process. */
export async function prepareAttackedGround(): Promise<AttackedGround> {
  const directory = mkdtempSync(join(tmpdir(), "farebox-bench-abuse-"));
  const started: Child[] = [];
  const close = async () => {
    for (const child of started.toReversed()) await child.stop();
    rmSync(directory, { recursive: true });
  };
  const stub = async (name: string, file: string, env: Record<string, string>, path: string) => {
    const command = { name, args: [pathOf(`stubs/${file}`)], env, directory };
    const child = await startChild(command, { path, status: 200 });
    started.push(child);
    return child.url;
  };
  try {
    const refusing = { NETWORK_ID, FEE_PAYER, REFUSE: "insufficient_funds" };
    const around = {
      facilitatorUrl: await stub("facilitator", "facilitator.mjs", refusing, "/supported"),
      rpcUrl: await stub("rpc", "rpc.mjs", { ASSET, BLOCKHASH }, "/"),
      upstreamUrl: await stub("upstream", "chat-upstream.mjs", {}, "/"),
    };
    const own = join(directory, "gateway");
    mkdirSync(own);
    const { command, headers } = await fareboxAttacked.prepare(own, around);
    const child = await startChild(command, { path: SOLD_PATH, status: 402 });
    started.push(child);
    return {
      server: { ...child, headers },
      directory,
      sign: await createPayments(around.rpcUrl),
      asked: async () => Number(await (await fetch(`${around.facilitatorUrl}/asked`)).text()),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
