/**
 * How the 402 declares the `payment-identifier` extension; the same document as `declarePaymentIdentifierExtension` of
 * `@x402/extensions` makes (a test compares them), without that package's 100 MB.
 */
export function paymentIdentifierExtension(required: boolean): Readonly<Record<string, unknown>> {
  return {
    info: { required },
    schema: {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
      properties: {
        required: { type: "boolean" },
        id: { type: "string", minLength: 16, maxLength: 128, pattern: "^[a-zA-Z0-9_-]+$" },
      },
      required: ["required"],
    },
  };
}
