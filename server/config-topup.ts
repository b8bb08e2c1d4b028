import { KEYS_ROUTE, TOPUP_ROUTE } from "./catalog.ts";
import type { TopUpConfig } from "./config.ts";
import type { Problems } from "./config-problems.ts";
import type { ConfigInput } from "./config-schema.ts";
import { formatUsd, type MicroUsd } from "./money.ts";
import type { Route } from "./routes.ts";

const DOLLAR: MicroUsd = 1_000_000n;
/** In local mode a faucet's few dollars should go a long way. */
const LEAST_LOCALLY: MicroUsd = 10_000n;
/** CDP's facilitator settles nothing below $0.001. */
const CDP_MINIMUM: MicroUsd = 1_000n;

/** Credit is sold where some route takes keys, unless `topup: null` says otherwise. */
export function resolveTopUp(
  { topup }: ConfigInput["file"],
  routes: readonly Route[],
  { local, coinbase }: { readonly local: boolean; readonly coinbase: boolean },
  problems: Problems,
): TopUpConfig | undefined {
  const takesKeys = routes.some(({ tiers }) => tiers.includes("key"));
  if (topup === null || (topup === undefined && !takesKeys)) return undefined;
  if (!takesKeys) problems.add("topup", "sells credit for keys, but no route takes keys");
  const most = topup?.max ?? 1_000n * DOLLAR;
  const least = topup?.min ?? (local ? LEAST_LOCALLY : DOLLAR);
  const usual = topup?.default ?? (DOLLAR < least ? least : DOLLAR > most ? most : DOLLAR);
  const minimum = coinbase ? CDP_MINIMUM : 1n;
  if (least < minimum) problems.add("topup.min", `must be at least $${formatUsd(minimum)}`);
  if (most < least) problems.add("topup.max", `is below topup.min, which is $${formatUsd(least)}`);
  else if (usual < least || usual > most)
    problems.add("topup.default", "is not between topup.min and topup.max");
  return { least, most, usual };
}

/** `POST /keys` and `POST /topup`, at the usual amount. */
export function topUpRoutes(topUp: TopUpConfig | undefined): readonly Route[] {
  if (topUp === undefined) return [];
  const common = {
    method: "POST",
    price: topUp.usual,
    tiers: ["x402"],
    settle: "upfront",
    dialect: "openai",
  } as const;
  const amount = {
    type: "string",
    default: formatUsd(topUp.usual),
    description: `Dollars, from ${formatUsd(topUp.least)} to ${formatUsd(topUp.most)}, with at most 6 decimals. This is what the call costs.`,
    examples: [formatUsd(topUp.usual)],
  };
  return [KEYS_ROUTE, TOPUP_ROUTE].map(({ path, key, properties, ...card }) => ({
    ...card,
    ...common,
    path,
    target: { kind: "credit", key, least: topUp.least, most: topUp.most },
    input: {
      type: "object",
      properties: { amount, ...properties },
      additionalProperties: false,
    },
  }));
}
