import { once } from "node:events";
import { createServer, type IncomingMessage, request } from "node:http";
import { Socket } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createClientAddress } from "../../server/auth/client-address.ts";

/** Whoever can choose the address it is counted under escapes every limit, or brings another one under it. */
function from(
  remoteAddress: string | undefined,
  forwarded?: string,
): Pick<IncomingMessage, "headers" | "socket"> {
  const socket = new Socket();
  Object.defineProperty(socket, "remoteAddress", { value: remoteAddress });
  return { socket, headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded } };
}

const PROXIES = ["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48", "::ffff:172.16.0.0/108"];

test.each<[string, string | undefined, string | undefined, string]>([
  ["no proxy", "203.0.113.5", undefined, "203.0.113.5"],
  ["a stranger's header is not believed", "203.0.113.5", "1.1.1.1", "203.0.113.5"],
  ["a neighbour of a trusted address is a stranger", "192.0.2.8", "1.1.1.1", "192.0.2.8"],
  ["one proxy", "10.1.2.3", "203.0.113.5", "203.0.113.5"],
  ["a proxy by IPv6", "2001:db8:1::9", "203.0.113.5", "203.0.113.5"],
  ["a proxy as mapped IPv6", "::ffff:10.1.2.3", "203.0.113.5", "203.0.113.5"],
  ["a proxy of a range written as mapped IPv6", "172.16.9.9", "203.0.113.5", "203.0.113.5"],
  ["beside such a range", "172.32.0.1", "203.0.113.5", "172.32.0.1"],
  ["what the client wrote in front is not believed", "10.1.2.3", "1.1.1.1, 203.0.113.5", "203.0.113.5"],
  ["two proxies", "10.1.2.3", "203.0.113.5, 192.0.2.7", "203.0.113.5"],
  ["a client that names a proxy", "10.1.2.3", "10.9.9.9, 203.0.113.5", "203.0.113.5"],
  ["only proxies: the first of them", "10.1.2.3", "10.4.4.4, 10.5.5.5", "10.4.4.4"],
  ["no header from a proxy", "10.1.2.3", undefined, "10.1.2.3"],
  ["an empty one", "10.1.2.3", "", "10.1.2.3"],
  ["empty entries", "10.1.2.3", " , 203.0.113.5 ,, ", "203.0.113.5"],
  ["a word hides what stands before it", "10.1.2.3", "1.1.1.1, unknown", "10.1.2.3"],
  ["a word after a proxy", "10.1.2.3", "1.1.1.1, unknown, 10.5.5.5", "10.5.5.5"],
  ["octal is no address", "10.1.2.3", "1.1.1.1, 0177.0.0.1", "10.1.2.3"],
  ["a number is no address", "10.1.2.3", "1.1.1.1, 2130706433", "10.1.2.3"],
  ["a port", "10.1.2.3", "203.0.113.5:4711", "203.0.113.5"],
  ["IPv6", "10.1.2.3", "2001:DB8:0:0::5", "2001:db8::5"],
  ["IPv6 in brackets with a port", "10.1.2.3", "[2001:db8::5]:4711", "2001:db8::5"],
  ["mapped IPv6 is IPv4", "10.1.2.3", "::ffff:203.0.113.5", "203.0.113.5"],
  ["mapped IPv6 in hex is IPv4", "::ffff:cb00:7105", undefined, "203.0.113.5"],
  ["a zone is dropped", "fe80::1%eth0", undefined, "fe80::1"],
  ["a closed connection", undefined, "1.1.1.1", "unknown"],
])("%s", (_, remote, forwarded, expected) => {
  expect(createClientAddress(PROXIES)(from(remote, forwarded))).toBe(expected);
});

test("without trusted proxies the header means nothing", () => {
  expect(createClientAddress([])(from("10.1.2.3", "203.0.113.5"))).toBe("10.1.2.3");
});

test("whatever a client sends, the entry its proxy appended decides", () => {
  const clientAddress = createClientAddress(PROXIES);
  const entry = fc.oneof(
    fc.string(),
    fc.ipV4(),
    fc.ipV6(),
    fc.constantFrom("10.0.0.1", "unknown", "[", "%", ":"),
  );
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
      const sent = entries.map((text) => `${text}, `).join("");
      expect(clientAddress(from("10.1.2.3", `${sent}203.0.113.5`))).toBe("203.0.113.5");
      expect(clientAddress(from("203.0.113.9", sent))).toBe("203.0.113.9");
      expect(clientAddress(from("10.1.2.3", sent))).toMatch(/^[\d.]+$|^[\da-f:]+$/);
    }),
    { numRuns: 2_000 },
  );
});

test("over a real connection, several headers are one list", async () => {
  const clientAddress = createClientAddress(["127.0.0.1"]);
  const server = createServer((req, res) => res.end(clientAddress(req))).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const outgoing = request({ port: address.port, host: "127.0.0.1" });
  outgoing.setHeader("x-forwarded-for", ["1.1.1.1", "203.0.113.5"]);
  outgoing.end();
  const [response] = (await once(outgoing, "response")) as [IncomingMessage];
  const chunks = await response.toArray();
  expect(Buffer.concat(chunks).toString()).toBe("203.0.113.5");
  server.close();
});
