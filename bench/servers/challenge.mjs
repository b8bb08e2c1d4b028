import { readFileSync } from "node:fs";

/** The 402 that was fetched from a priced route beforehand; the bare servers send these bytes. */
export function challenge() {
  const { status, headers, body } = JSON.parse(readFileSync(process.env.CHALLENGE_FILE, "utf8"));
  return { status, headers, body: Buffer.from(body, "base64") };
}
