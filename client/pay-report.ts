import { STATUS_CODES } from "node:http";
import type { PaymentEvent } from "./payment-fetch.ts";
import { formatPrice } from "./terms.ts";
import { formatUsd } from "./usd.ts";

/** One status line for people, for each thing that happens during a paid call. */
export function describeEvent(event: PaymentEvent): string {
  switch (event.type) {
    case "terms": {
      const { price, description } = event.terms;
      const what = description === undefined || description === "" ? "" : ` (${printable(description)})`;
      return `402 Payment Required: ${formatPrice(event.terms, price)}${what}`;
    }
    case "signed": {
      const { price, payTo, network, token } = event.terms;
      const sum = token === undefined ? `${formatUsd(price)} USDC` : formatPrice({ token }, price);
      return `paying ${sum} from ${event.payer} to ${printable(payTo)} on ${printable(network)}`;
    }
    case "resend":
      return `${printable(event.reason)}: sending the same payment again in ${event.waitMs / 1_000} s (${event.attempt} of ${event.maxAttempts})`;
    case "receipt": {
      const { success, transaction } = event.receipt;
      return success ? `transaction ${printable(transaction)}` : "the server says the payment did not settle";
    }
  }
}

/** `200 OK`, and where a redirect points: it is not followed. */
export function describeAnswer(response: Response): string {
  const status = `${response.status} ${STATUS_CODES[response.status] ?? ""}`.trimEnd();
  const location = response.headers.get("location");
  return location === null ? status : `${status}, to ${printable(location)}`;
}

/** A server's text must not move the cursor of a terminal or hide what was written before. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ").slice(0, 500);
}
