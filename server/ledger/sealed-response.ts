/** A stored response, encrypted (payment/response-store.ts): the store alone reveals nothing. */
export interface SealedResponse {
  readonly sealed: Uint8Array;
}

/** A response to keep with a record, for `ttlMs`. */
export interface KeepResponse extends SealedResponse {
  readonly ttlMs: number;
}
