import { createFacilitatorHandler } from "../../localnet/facilitator.ts";
import { listenHttp } from "../../localnet/http-server.ts";
import { openWallet } from "../../localnet/keys.ts";
import { type FaultyFacilitator, startFaultyFacilitator } from "./faulty-facilitator.ts";

/** A second official facilitator on the same chain, with faults in front. */
export interface RivalFacilitator extends FaultyFacilitator {
  readonly feePayer: string;
}

const LAMPORTS = 10_000_000_000;

export async function startRivalFacilitator(rpcUrl: string): Promise<RivalFacilitator> {
  const wallet = openWallet(undefined);
  const airdrop = { jsonrpc: "2.0", id: 1, method: "requestAirdrop", params: [wallet.address, LAMPORTS] };
  const answer = await fetch(rpcUrl, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(airdrop),
  });
  const { result } = (await answer.json()) as { result?: string };
  if (result === undefined) throw new Error("the airdrop failed");
  const server = await listenHttp({ host: "127.0.0.1", port: 0, portVariable: "none" });
  const faucet = () => ({ status: 404, body: {} });
  server.serve(await createFacilitatorHandler({ feePayer: wallet, rpcUrl, faucet }));
  const front = await startFaultyFacilitator(server.url);
  return {
    ...front,
    feePayer: wallet.address,
    close: async () => {
      await front.close();
      await server.close();
    },
  };
}
