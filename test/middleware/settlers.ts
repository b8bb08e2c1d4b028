import { startStandInRpc } from "../client/stand-in-rpc.ts";
import { startStubFacilitator } from "../support/stub-facilitator.ts";

const FEE_PAYER = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";
export const MERCHANT = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";

/** What settles the payments of a stand: by default nobody, and everything is valid. */
export interface Settlers {
  readonly facilitatorUrl: string;
  readonly rpcUrl: string;
  readonly merchant: string;
  fund(owner: string, amount: bigint): Promise<void>;
  close(): Promise<void>;
}

/** Settles everything at once, without a chain. */
export async function startStubSettlers(): Promise<Settlers> {
  const stub = await startStubFacilitator({ feePayer: FEE_PAYER });
  const rpc = await startStandInRpc();
  return {
    facilitatorUrl: stub.url,
    rpcUrl: rpc.url,
    merchant: MERCHANT,
    fund: async () => undefined,
    close: async () => {
      await stub.close();
      await rpc.close();
    },
  };
}
