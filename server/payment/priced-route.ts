import type { RouteMatch } from "../route-table.ts";
import type { Route } from "../routes.ts";
import type { Sale } from "./sale.ts";

const REMEMBERED = 1_000;

/** The route at the price of one request. The same price gives the same object, so that what was encoded for it is found again. */
export function createPricedRoutes(
  minimum: bigint,
): (match: RouteMatch, sale: Pick<Sale, "range">) => RouteMatch {
  const known = new WeakMap<Route, Map<bigint, Route>>();
  return (match, { range }) => {
    const { route } = match;
    const price = range.most < minimum ? minimum : range.most;
    if (price === route.price) return match;
    const prices = known.get(route) ?? new Map<bigint, Route>();
    known.set(route, prices);
    const priced = prices.get(price) ?? { ...route, price };
    if (prices.size >= REMEMBERED) prices.clear();
    prices.set(price, priced);
    return { ...match, route: priced };
  };
}
