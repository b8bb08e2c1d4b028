import type { OtherOffer, PublishedRoute } from "../well-known/types.ts";
import type { Config, TopUpToken } from "./config.ts";
import { publishRoute } from "./discovery.ts";
import type { OpenedPayments } from "./open-payments.ts";
import { amountIn } from "./payment/asset-offers.ts";
import type { Terms } from "./payment/terms.ts";
import { modelPricesAt, quotedRoutes } from "./quoted-routes.ts";
import { type Route, takesModel } from "./routes.ts";

/** The priced routes with today's terms; the same list until they change, so that documents are rendered only then. */
export function publishedRoutes(
  config: Pick<Config, "routes" | "models">,
  { payments, merchant, topUpTokens }: Pick<OpenedPayments, "payments" | "merchant" | "topUpTokens">,
): () => readonly PublishedRoute[] {
  const models = config.models.map((model) => model.name);
  const isQuoted = quotedRoutes(config.models);
  const priced = config.routes.map((route) => ({ route, modelPrices: modelPricesAt(route, config.models) }));
  const publish = (offered: Terms | undefined, tokens: readonly TopUpToken[]) =>
    priced.map(({ route, modelPrices }) =>
      publishRoute(route, {
        ...merchant,
        feePayer: offered?.feePayer,
        otherOffers: otherOffers(route, tokens),
        models: takesModel(route) ? models : undefined,
        modelPrices,
        quoted: isQuoted(route),
      }),
    );
  let terms = payments.terms.current();
  let tokens = topUpTokens.offers.current();
  let routes = publish(terms, tokens);
  return () => {
    const now = { terms: payments.terms.current(), tokens: topUpTokens.offers.current() };
    if (now.terms !== terms || now.tokens !== tokens) {
      ({ terms, tokens } = now);
      routes = publish(terms, tokens);
    }
    return routes;
  };
}

/** What a route can be paid in besides USDC, as its 402 says. */
function otherOffers(route: Route, tokens: readonly TopUpToken[]): readonly OtherOffer[] | undefined {
  if (route.target.kind !== "credit" || tokens.length === 0) return undefined;
  return tokens.flatMap((token) => {
    const amount = amountIn(token, route.price)?.toString();
    const { mint: asset, symbol, decimals } = token;
    return amount === undefined ? [] : [{ asset, symbol, decimals, amount }];
  });
}
