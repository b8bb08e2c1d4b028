import type { ServerResponse } from "node:http";

type Header = readonly [name: string, value: number | string | string[]];

/** Status, message and declared length of a handler's answer, as its head had them: whoever sets them later changes nothing, as in Node. */
export class AnswerHead {
  readonly #res: ServerResponse;
  /** Set before the handler ran (CORS, an operator's own): kept when the handler's answer is discarded. */
  readonly #earlierHeaders: readonly Header[];
  #done = false;
  #status = 0;
  #message = "";
  /** Content-Length; undefined: none that counts. */
  #declared: number | undefined;

  /** Before the handler runs. */
  constructor(res: ServerResponse) {
    this.#res = res;
    this.#earlierHeaders = headersOf(res);
  }

  /** The handler has given its head. */
  get done(): boolean {
    return this.#done;
  }

  get isError(): boolean {
    return this.#status >= 400;
  }

  /** The handler gives its head now. */
  take(): void {
    this.#done = true;
    this.#status = this.#res.statusCode;
    this.#message = this.#res.statusMessage;
    const hasBody = this.#status !== 204 && this.#status !== 304;
    const declared = hasBody ? this.#res.getHeader("content-length") : undefined;
    this.#declared = declared === undefined ? undefined : Number(declared);
  }

  /** The response with status and message as they were taken. */
  asItWas(): ServerResponse {
    this.#res.statusCode = this.#status;
    this.#res.statusMessage = this.#message;
    return this.#res;
  }

  /** Whether a body of so many bytes is what was declared. With another length its client waits for the rest, or loses it. */
  fits(bytes: number): boolean {
    return this.#declared === undefined || this.#declared === bytes;
  }

  /** Whether a body that ends after so many bytes lacks some. */
  isShort(bytes: number): boolean {
    return this.#declared !== undefined && bytes < this.#declared;
  }

  /** As if the handler had never run: for an answer of ours in the place of its own. */
  reset(): void {
    const res = this.#res;
    for (const name of res.getHeaderNames()) res.removeHeader(name);
    for (const [name, value] of this.#earlierHeaders) res.setHeader(name, value);
    res.statusMessage = "";
  }
}

function headersOf(res: ServerResponse): readonly Header[] {
  return res.getHeaderNames().flatMap((name): Header[] => {
    const value = res.getHeader(name);
    if (value === undefined) return [];
    // Node appends to such a list in place.
    return [[name, Array.isArray(value) ? [...value] : value]];
  });
}
