import { withOfferedModels } from "./catalog.ts";
import type { Config, ModelConfig, ModelPricing, UpstreamConfig } from "./config.ts";
import type { Problems } from "./config-problems.ts";
import type { ConfigInput } from "./config-schema.ts";

/** The built-in model of local mode; it answers only where its upstream has no URL. */
export const ECHO_MODEL = "farebox/echo";

/** What models without an `upstream` go to; in local mode whatever runs. */
export const DEFAULT_UPSTREAM = "default";
/** Names that local mode offers when no models are configured, for whatever model runs. */
const LOCAL_NAMES = ["gpt-oss:20b", "openai/gpt-4o-mini", "vllm-primary"];

/** Upstreams of file and variables together. Only local mode's default may lack a URL: the built-in model answers. */
export function resolveUpstreams(
  { env, file }: ConfigInput,
  local: boolean,
  problems: Problems,
): readonly UpstreamConfig[] {
  const names = new Set(Object.keys(file.upstreams));
  if (local || env.UPSTREAM_URL !== undefined) names.add(DEFAULT_UPSTREAM);
  return [...names].map((name) => {
    const isDefault = name === DEFAULT_UPSTREAM;
    const input = file.upstreams[name];
    const url = (isDefault ? env.UPSTREAM_URL : undefined) ?? input?.url;
    const path = ["upstreams", name, "url"];
    if (url === undefined && !(local && isDefault) && !problems.touches(path)) {
      problems.add(path, isDefault ? "is missing (or set UPSTREAM_URL)" : "is missing");
    }
    const apiKey = (isDefault ? env.UPSTREAM_API_KEY : undefined) ?? input?.apiKey;
    return {
      name,
      url,
      apiKey,
      // Where no key is needed any key will do. In local mode it is play money.
      takesOwnKeys: input?.ownKeys ?? (apiKey !== undefined || local),
      headersTimeoutMs: input?.headersTimeout ?? 60_000,
      bodyTimeoutMs: input?.bodyTimeout ?? 120_000,
    };
  });
}

type ResolvedModels = Pick<Config, "models" | "defaultModel" | "modelsAssumed">;

/** The models on offer. `needed`: an endpoint that uses models is on, so outside local mode there must be one. */
export function resolveModels(
  { file }: ConfigInput,
  upstreams: readonly UpstreamConfig[],
  local: boolean,
  needed: boolean,
  problems: Problems,
): ResolvedModels {
  const assumed = local && file.models === undefined && !problems.touches(["models"]);
  const models = assumed ? assumedModels(upstreams) : configuredModels(file, upstreams, problems);
  if (needed && models.length === 0 && !problems.touches(["models"])) {
    problems.add(["models"], "is missing: name at least one model, or switch agent, chat and embeddings off");
  }
  const defaultModel = file.defaultModel ?? models[0]?.name ?? "";
  const known = models.some((model) => model.name === defaultModel);
  if (file.defaultModel !== undefined && !known && !problems.touches(["models"])) {
    problems.add(["defaultModel"], "is not one of the models");
  }
  return { models, defaultModel, ...(assumed ? { modelsAssumed: true } : {}) };
}

function assumedModels(upstreams: readonly UpstreamConfig[]): readonly ModelConfig[] {
  const url = upstreams.find(({ name }) => name === DEFAULT_UPSTREAM)?.url;
  if (url === undefined) return [ECHO_MODEL, ...LOCAL_NAMES].map((name) => onDefault(name, ECHO_MODEL));
  return LOCAL_NAMES.map((name) => onDefault(name, name));
}

function onDefault(name: string, model: string): ModelConfig {
  return {
    name,
    upstream: DEFAULT_UPSTREAM,
    model,
    maxOutput: 4_096,
    pricing: undefined,
    imageTokens: 50_000,
  };
}

function configuredModels(
  file: ConfigInput["file"],
  upstreams: readonly UpstreamConfig[],
  problems: Problems,
): readonly ModelConfig[] {
  return Object.entries(file.models ?? {}).map(([name, input]) => {
    reportUnknownUpstream(input.upstream, ["models", name, "upstream"], upstreams, problems);
    const { upstream, model = name, maxOutput, imageTokens } = input;
    const pricing = modelPricing(input, ["models", name], problems);
    return { name, upstream, model, maxOutput, pricing, imageTokens };
  });
}

type ModelInput = NonNullable<ConfigInput["file"]["models"]>[string];

/** By the token or by the call. A price of nothing would serve for nothing, so it is refused. */
function modelPricing(
  { input, output, price }: ModelInput,
  path: readonly string[],
  problems: Problems,
): ModelPricing | undefined {
  if (problems.touches(path)) return undefined;
  const nothing = "a price is at least $0.000001";
  if (price !== undefined) {
    if (input !== undefined || output !== undefined) {
      problems.add([...path, "price"], "stands beside input or output: write one or the other");
    } else if (price < 1n) problems.add([...path, "price"], nothing);
    return { kind: "call", price };
  }
  if (input === undefined) {
    if (output !== undefined) problems.add([...path, "input"], "is missing: output has a price");
    return undefined;
  }
  if (input + (output ?? 0n) < 1n) problems.add([...path, "input"], nothing);
  return { kind: "tokens", input, output: output ?? 0n };
}

/** References of routes to upstreams that are not there, or that have nothing to forward to. */
export function reportRouteUpstreams(
  file: ConfigInput["file"],
  upstreams: readonly UpstreamConfig[],
  problems: Problems,
): void {
  for (const [key, { upstream }] of Object.entries(file.routes)) {
    const path = ["routes", key, "upstream"];
    reportUnknownUpstream(upstream, path, upstreams, problems);
    const found = upstreams.find(({ name }) => name === upstream);
    if (found === undefined || found.url !== undefined || problems.touches(["upstreams", upstream])) continue;
    problems.add(path, "has no url, so there is nothing to forward to");
  }
}

function reportUnknownUpstream(
  upstream: string,
  path: readonly string[],
  upstreams: readonly UpstreamConfig[],
  problems: Problems,
): void {
  const known = upstreams.some(({ name }) => name === upstream);
  if (known || problems.touches(["upstreams", upstream])) return;
  const names = upstreams.map(({ name }) => name).join(", ");
  problems.add(
    path,
    names === "" ? "names an upstream, but there are none" : `is not one of the upstreams: ${names}`,
  );
}

/**
 * The same configuration with the default upstream at `url` and local mode's names standing for its model `modelName`,
 * which is offered under its own name too. The built-in model is no longer offered.
 * Names from the operator's own `models:` are left as they are. A key that was meant for another URL is not sent.
 */
export function withUpstream(config: Config, url: string, modelName: string): Config {
  const upstreams = config.upstreams.map((upstream) => {
    if (upstream.name !== DEFAULT_UPSTREAM) return upstream;
    return Object.freeze({ ...upstream, url, apiKey: upstream.url === url ? upstream.apiKey : undefined });
  });
  if (config.modelsAssumed !== true) return Object.freeze({ ...config, upstreams: Object.freeze(upstreams) });
  const names = [modelName, ...LOCAL_NAMES.filter((name) => name !== modelName)];
  const models = Object.freeze(names.map((name) => Object.freeze(onDefault(name, modelName))));
  return Object.freeze({
    ...config,
    upstreams: Object.freeze(upstreams),
    models,
    defaultModel: modelName,
    routes: Object.freeze(withOfferedModels(config.routes, { models, defaultModel: modelName })),
  });
}
