/**
 * Importing undici makes its agent the one behind Node's own `fetch`, unless Node's is there already. A library must not do
 * that to the app it is used in: on Node 20 the official Solana client then fails with "invalid content-length header".
 * Touching `Response` makes Node load its own first.
 */
void globalThis.Response;

export {};
