import type { IncomingMessage } from "node:http";
import { isIPv4 } from "node:net";
import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Request = Pick<IncomingMessage, "headers" | "socket">;

/** Requests whose connection is closed already count together. */
const UNKNOWN = "unknown";

/**
 * Whom a request comes from, as a canonical address. That of the connection; if that is a trusted proxy, the right-most address
 * of `X-Forwarded-For` that is not one. Never throws, and never an address that a client could have written itself.
 *
 * @param trusted addresses and CIDR ranges of proxies that append to `X-Forwarded-For`
 */
export function createClientAddress(trusted: readonly string[]): (req: Request) => string {
  const ranges = trusted.map(parseRange);
  const isTrusted = (address: Address): boolean => ranges.some((contains) => contains(address));
  return (req) => {
    const remote = req.socket.remoteAddress;
    if (remote === undefined) return UNKNOWN;
    if (ranges.length === 0 && isIPv4(remote)) return remote;
    const connected = parseAddress(remote);
    if (connected === undefined) return UNKNOWN;
    const forwarded = req.headers["x-forwarded-for"];
    if (ranges.length === 0 || forwarded === undefined || !isTrusted(connected)) return connected.toString();
    return beyondProxies(String(forwarded), connected, isTrusted).toString();
  };
}

/** Stops at what is no address: whatever stands left of it, no proxy of ours vouches for. */
function beyondProxies(
  header: string,
  connected: Address,
  isTrusted: (address: Address) => boolean,
): Address {
  let nearest = connected;
  for (const entry of header.split(",").reverse()) {
    const text = entry.trim();
    if (text === "") continue;
    const address = parseAddress(withoutPort(text));
    if (address === undefined) return nearest;
    nearest = address;
    if (!isTrusted(address)) return nearest;
  }
  return nearest;
}

/** Some proxies append the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(entry: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
}

/** IPv4-mapped IPv6 becomes IPv4, so that one client has one address; a zone is dropped. */
function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  const [bare = ""] = text.split("%");
  if (!ipaddr.IPv6.isValid(bare)) return undefined;
  const address = ipaddr.IPv6.parse(bare);
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

/** The configuration has checked it; a range that is none trusts nobody. */
function parseRange(text: string): (address: Address) => boolean {
  const [bare = "", given] = text.split("/");
  const base = parseAddress(bare);
  if (base === undefined) return () => false;
  const isIpv4 = base.kind() === "ipv4";
  const most = isIpv4 ? 32 : 128;
  const written = given === undefined ? undefined : Number(given) - (isIpv4 && bare.includes(":") ? 96 : 0);
  const bits = written ?? most;
  if (!Number.isInteger(bits) || bits < 1 || bits > most) return () => false;
  return (address) => address.kind() === base.kind() && address.match(base, bits);
}

/** What is counted together: an IPv4 address, or the /64 of an IPv6 one, which is what one customer of a network has. */
export function networkOf(address: string): string {
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return address;
  return ipaddr.IPv6.parse(address)
    .parts.slice(0, 4)
    .map((part) => part.toString(16))
    .join(":");
}
