import type { Config, ModelConfig } from "../config.ts";
import { PERMISSIONS } from "../ledger/account-ledger.ts";
import { formatUsd, type MicroUsd } from "../money.ts";
import { ownKeyProviders } from "../provider-keys.ts";
import type { Route } from "../routes.ts";

export type ConsoleSettings = Pick<
  Config,
  | "network"
  | "caip2"
  | "asset"
  | "publicUrl"
  | "service"
  | "topUp"
  | "models"
  | "upstreams"
  | "keys"
  | "ownKeys"
  | "routes"
>;

const EXPLORER = "https://explorer.solana.com/tx/{signature}";
const EXPLORERS: Readonly<Record<Config["network"], string | null>> = {
  solana: EXPLORER,
  "solana-devnet": `${EXPLORER}?cluster=devnet`,
  // Nobody else knows the embedded chain.
  local: null,
};

/** `GET /console/config.json`: what the page must know before anybody signs in. Only what this service tells everybody anyway. */
export function consoleConfig(settings: ConsoleSettings): Readonly<Record<string, unknown>> {
  const { network, topUp, upstreams, keys, ownKeys } = settings;
  const flat = flatPrice(settings.routes);
  return {
    name: settings.service.name,
    network: settings.caip2,
    local: network === "local",
    public_url: settings.publicUrl,
    topup: topUp === undefined ? null : topUpView(topUp),
    asset: settings.asset,
    models: settings.models.map((model) => modelView(model, flat)),
    providers: ownKeyProviders(upstreams),
    key_prefixes: keys.prefixes,
    permissions: PERMISSIONS,
    provider_keys: ownKeys.masterKeys.length > 0 && ownKeyProviders(upstreams).length > 0,
    explorer: EXPLORERS[network],
  };
}

function topUpView({ least, most, usual }: NonNullable<Config["topUp"]>) {
  return { least_usd: formatUsd(least), most_usd: formatUsd(most), usual_usd: formatUsd(usual) };
}

function modelView({ name, upstream, pricing }: ModelConfig, flat: MicroUsd | undefined) {
  const tokens = pricing?.kind === "tokens" ? pricing : undefined;
  const call = pricing === undefined ? flat : pricing.kind === "call" ? pricing.price : undefined;
  return {
    id: name,
    provider: upstream,
    input_usd_per_million: usdOrNull(tokens?.input),
    output_usd_per_million: usdOrNull(tokens?.output),
    price_usd: usdOrNull(call),
  };
}

/** What a call costs of a model without a price of its own: at the chat endpoint, else at the first that is sold. */
function flatPrice(routes: readonly Route[]): MicroUsd | undefined {
  const serving = routes.filter(({ target }) => target.kind === "openai" || target.kind === "agent");
  const chat = serving.find(({ target }) => target.kind === "openai" && target.endpoint === "chat");
  return (chat ?? serving[0])?.price;
}

function usdOrNull(amount: MicroUsd | undefined): string | null {
  return amount === undefined ? null : formatUsd(amount);
}
