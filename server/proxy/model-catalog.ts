import type { ModelConfig, ModelPricing } from "../config.ts";
import { GatewayError } from "../errors.ts";
import { formatUsd, type MicroUsd } from "../money.ts";
import type { ModelBackend } from "./upstream.ts";

/** What one call costs at each endpoint; an endpoint that is not sold is left out. */
export interface CallPrices {
  readonly agent?: MicroUsd | undefined;
  readonly chat?: MicroUsd | undefined;
  readonly embeddings?: MicroUsd | undefined;
}

/** A public model name, and what runs it. */
export interface OfferedModel {
  readonly config: ModelConfig;
  readonly backend: ModelBackend;
}

/** What is charged, in decimal USD: for a call, by endpoint, or for a million tokens. */
export type PublishedPricing = { readonly currency: "USD" } & (
  | ({ readonly unit: "call" } & Readonly<Record<string, string>>)
  | { readonly unit: "token-million"; readonly input: string; readonly output: string }
);

/** OpenAI's list of models, with prices. */
export interface ModelList {
  readonly object: "list";
  readonly data: readonly {
    readonly id: string;
    readonly object: "model";
    /** Seconds since 1970. */
    readonly created: number;
    /** The upstream that runs it. */
    readonly owned_by: string;
    readonly max_output_tokens: number;
    readonly pricing: PublishedPricing;
  }[];
}

export interface ModelCatalog {
  /** `model_not_found` for a name that is not offered; undefined stands for the default model. */
  find(name: string | undefined): OfferedModel | GatewayError;
  list(prices: CallPrices): ModelList;
}

/** A name that is not offered. */
export function modelNotFound(): GatewayError {
  return new GatewayError("model_not_found", {
    message: "The model does not exist or is not offered here. GET /v1/models lists those that are.",
    details: { field: "model" },
  });
}

/** The models on offer. Throws if one names an upstream that is not there. */
export function createModelCatalog(
  models: readonly ModelConfig[],
  defaultModel: string,
  backends: ReadonlyMap<string, ModelBackend>,
  createdSeconds: number,
): ModelCatalog {
  const offered = new Map<string, OfferedModel>();
  for (const config of models) {
    const backend = backends.get(config.upstream);
    if (backend === undefined)
      throw new Error(`Model ${config.name} names no upstream of ours: ${config.upstream}`);
    offered.set(config.name, { config, backend });
  }
  return {
    find(name) {
      return offered.get(name ?? defaultModel) ?? modelNotFound();
    },
    list(prices) {
      return {
        object: "list",
        data: [...offered.values()].map(({ config, backend }) => ({
          id: config.name,
          object: "model",
          created: createdSeconds,
          owned_by: backend.provider,
          max_output_tokens: config.maxOutput,
          pricing: published(config.pricing, prices),
        })),
      };
    },
  };
}

function published(pricing: ModelPricing | undefined, prices: CallPrices): PublishedPricing {
  if (pricing?.kind === "tokens") {
    const { input, output } = pricing;
    return { currency: "USD", unit: "token-million", input: formatUsd(input), output: formatUsd(output) };
  }
  const perCall = Object.entries(prices).flatMap(([endpoint, price]: [string, MicroUsd | undefined]) =>
    price === undefined ? [] : [[endpoint, formatUsd(pricing?.price ?? price)]],
  );
  return { currency: "USD", unit: "call", ...Object.fromEntries(perCall) };
}
