/** These belong to one connection; a proxy passes them on to nobody (RFC 9110 §7.6.1). */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The other headers, as a flat list: nothing handles them faster. With `host` in the place of the one they name. */
export function endToEnd(rawHeaders, host) {
  const kept = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = String(rawHeaders[index]);
    const known = name.toLowerCase();
    if (HOP_BY_HOP.has(known)) continue;
    kept.push(name, host !== undefined && known === "host" ? host : String(rawHeaders[index + 1]));
  }
  return kept;
}
