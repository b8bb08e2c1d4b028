/** A JSON object whose shape is somebody else's: a JSON Schema, an example, a finished document. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Who sells, as every document names it. */
export interface Service {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly contactEmail?: string | undefined;
  /** For agents: how to use this service. Cut at 4,000 characters. */
  readonly guidance?: string | undefined;
  /** Base of every published URL, http or https, with or without a trailing slash. */
  readonly publicUrl: string;
  /** When the offer last changed. Gateways behind one URL must agree on it, or their ETags differ. */
  readonly updatedAt: Date;
  /** A page for people. */
  readonly docsUrl?: string | undefined;
}

/** A way to pay for a route. */
type PublishedTier = "x402" | "key" | "jwt";

/** The price of a route in another token than its `asset`. */
export interface OtherOffer {
  readonly asset: string;
  readonly symbol: string;
  readonly decimals: number;
  /** Atomic units, a decimal string. */
  readonly amount: string;
}

/** What a model costs at a route, in dollars, without `$`: for a call, or for a million tokens. */
export type ModelPrice = { readonly model: string } & (
  | { readonly unit: "call"; readonly price: string }
  | { readonly unit: "token-million"; readonly input: string; readonly output: string }
);

/** One priced route with its terms, ready to be published. */
export interface PublishedRoute {
  /** Upper-case HTTP method. */
  readonly method: string;
  /** Express 5 path pattern, e.g. `/report/:id`. */
  readonly path: string;
  readonly description: string;
  /** Media type of the answer. */
  readonly mimeType: string;
  readonly tags: readonly string[];
  /** Atomic units of `asset`, a decimal string: `^[1-9]\d*$`. */
  readonly amount: string;
  /** The same in dollars, without `$`: "0.02". */
  readonly priceUsd: string;
  /** CAIP-2. */
  readonly network: string;
  readonly asset: string;
  readonly payTo: string;
  readonly maxTimeoutSeconds: number;
  /** What else it can be paid in now. */
  readonly otherOffers?: readonly OtherOffer[] | undefined;
  /** Undefined while no facilitator has told it: then `accepts` is absent, never half filled. */
  readonly feePayer: string | undefined;
  readonly tiers: readonly PublishedTier[];
  /** JSON Schema of the body (POST, PUT, PATCH) or of the query (other methods). */
  readonly input: JsonObject;
  readonly outputExample?: unknown;
  /** The price depends on the request: `amount` is that of an empty one, the live 402 quotes each. */
  readonly quoted?: boolean | undefined;
  /** Where the request itself says what it costs: from this, to that; in dollars, without `$`. */
  readonly leastUsd?: string | undefined;
  readonly mostUsd?: string | undefined;
  /** Where the model decides what a request costs. The same objects until that changes. */
  readonly modelPrices?: readonly ModelPrice[] | undefined;
  /** Model names this route accepts in its `model` field. */
  readonly models?: readonly string[] | undefined;
}

/** A route that costs nothing. */
export interface FreeRoute {
  readonly method: string;
  readonly path: string;
  readonly description: string;
  readonly mimeType: string;
}
