import { type LookupAddress, Resolver } from "node:dns";
import type { Resolve } from "./public-address.ts";

export interface NameServerOptions {
  /** For one try, of two. */
  readonly timeoutMs: number;
  /** Addresses with port; default: the system's. */
  readonly servers?: readonly string[];
}

/**
 * Finds the addresses of hosts that anybody may name. `dns.lookup` takes one of the process's few threads until the name server answers, and
 * cannot be told to stop: whoever names hosts whose name server is silent would keep everybody else from connecting anywhere. This waits
 * without a thread, and not for long. The system's list of hosts is not read.
 */
export function createNameServerResolve({ timeoutMs, servers }: NameServerOptions): Resolve {
  return (hostname, _options, callback) => {
    const resolver = new Resolver({ timeout: timeoutMs, tries: 2 });
    if (servers !== undefined) resolver.setServers(servers);
    const found: LookupAddress[] = [];
    let failure: NodeJS.ErrnoException | null = null;
    let asked = 2;
    const heard = (family: 4 | 6) => (error: NodeJS.ErrnoException | null, addresses?: string[]) => {
      for (const address of addresses ?? []) found.push({ address, family });
      failure ??= error;
      asked -= 1;
      if (asked === 0) callback(found.length > 0 ? null : failure, found);
    };
    resolver.resolve4(hostname, heard(4));
    resolver.resolve6(hostname, heard(6));
  };
}
