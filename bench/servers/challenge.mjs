import { readFileSync } from "node:fs";

/** The answer (a 402, a 401) that was fetched from the gateway beforehand; the bare servers send these bytes. */
export function challenge() {
  const { status, headers, body } = JSON.parse(readFileSync(process.env.CHALLENGE_FILE, "utf8"));
  return { status, headers, body: Buffer.from(body, "base64") };
}
