import type { ModelPrice } from "../well-known/types.ts";
import type { ModelConfig } from "./config.ts";
import { formatUsd } from "./money.ts";
import { type Route, takesModel } from "./routes.ts";

/** Says which routes cost what their request asks for: those that sell credit, and with model prices those that run a model. */
export function quotedRoutes(
  models: readonly Partial<Pick<ModelConfig, "pricing">>[],
): (route: Pick<Route, "target">) => boolean {
  const priced = models.some(({ pricing }) => pricing !== undefined);
  return ({ target }) =>
    target.kind === "credit" || (priced && (target.kind === "agent" || target.kind === "openai"));
}

/** What each model costs at a route where the model decides the price; undefined: every call costs the route's price. */
export function modelPricesAt(
  route: Pick<Route, "target" | "price">,
  models: readonly Pick<ModelConfig, "name" | "pricing">[],
): readonly ModelPrice[] | undefined {
  if (!takesModel(route) || !quotedRoutes(models)(route)) return undefined;
  return models.map(({ name: model, pricing }) => {
    if (pricing?.kind !== "tokens") {
      return { model, unit: "call", price: formatUsd(pricing?.price ?? route.price) };
    }
    const { input, output } = pricing;
    return { model, unit: "token-million", input: formatUsd(input), output: formatUsd(output) };
  });
}
