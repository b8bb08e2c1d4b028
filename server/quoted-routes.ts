import type { ModelConfig } from "./config.ts";
import type { Route } from "./routes.ts";

/** Says which routes cost what their request asks for: those that sell credit, and with model prices those that run a model. */
export function quotedRoutes(
  models: readonly Partial<Pick<ModelConfig, "pricing">>[],
): (route: Pick<Route, "target">) => boolean {
  const priced = models.some(({ pricing }) => pricing !== undefined);
  return ({ target }) =>
    target.kind === "credit" || (priced && (target.kind === "agent" || target.kind === "openai"));
}
