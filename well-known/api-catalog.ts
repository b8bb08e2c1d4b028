import { urlOf } from "./resource.ts";
import type { JsonObject, Service } from "./types.ts";

/** Where the catalog lives (RFC 9727 §2). */
export const API_CATALOG_PATH = "/.well-known/api-catalog";

/** The catalog's media type with its profile (RFC 9727 §4 and §7.3). */
export const API_CATALOG_TYPE = 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"';

/** `/.well-known/api-catalog`: a linkset (RFC 9264) that points to our machine-readable documents. */
export function apiCatalog(service: Service): JsonObject {
  const docs =
    service.docsUrl === undefined
      ? { href: urlOf(service, "/llms.txt"), type: "text/plain" }
      : { href: service.docsUrl, type: "text/html" };
  const api = urlOf(service, "/");
  return {
    linkset: [
      { anchor: urlOf(service, API_CATALOG_PATH), item: [{ href: api }] },
      {
        anchor: api,
        "service-desc": [{ href: urlOf(service, "/openapi.json"), type: "application/json" }],
        "service-doc": [docs],
        "service-meta": [{ href: urlOf(service, "/.well-known/x402"), type: "application/json" }],
      },
    ],
  };
}
