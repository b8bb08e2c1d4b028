import type { LookupAddress, LookupOptions } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

/** What `dns.lookup` does when asked for all addresses. */
export type Resolve = (
  hostname: string,
  options: LookupOptions & { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** A host that has no address we may connect to. */
class AddressNotAllowed extends Error {
  readonly code = "ADDRESS_NOT_ALLOWED";

  constructor() {
    super("the host has no address that is allowed");
    this.name = "AddressNotAllowed";
  }
}

/** All that IPv6 has handed out to the public; the rest is special, or will be. */
const GLOBAL_IPV6 = ipaddr.IPv6.parse("2000::");
const GLOBAL_IPV6_BITS = 3;

/**
 * Whether an address belongs to the public internet. Not so: private, loopback, link-local, CGNAT, unique local, multicast and
 * reserved ones, and IPv6 that stands for an IPv4 address (mapped, NAT64, 6to4, Teredo), which could be any of them.
 */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 0 || !ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== "unicast") return false;
  return parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_IPV6, GLOBAL_IPV6_BITS);
}

/**
 * A `lookup` for connections that yields only allowed addresses. It decides at every connect, on the address that is connected
 * to, so a name that resolves to something else later gains nothing. A host that is an address itself is never looked up.
 */
export function createGuardedLookup(
  resolve: Resolve,
  isAllowed: (address: string) => boolean,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const allowed = addresses.filter(({ address }) => isAllowed(address));
      const [first] = allowed;
      if (first === undefined) return callback(new AddressNotAllowed(), []);
      if (options.all === true) return callback(null, allowed);
      callback(null, first.address, first.family);
    });
  };
}
