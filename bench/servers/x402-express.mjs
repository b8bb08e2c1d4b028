import { HTTPFacilitatorClient } from "@x402/core/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { ExactSvmScheme } from "@x402/svm/exact/server";
import express from "express";
import { HANDLERS } from "./handlers.mjs";

const { PORT, FACILITATOR_URL, NETWORK_ID, PAY_TO } = process.env;
const accepts = { scheme: "exact", price: "$0.02", network: NETWORK_ID, payTo: PAY_TO };
const priced = { accepts, description: "The daily report.", mimeType: "application/json" };
const facilitator = new HTTPFacilitatorClient({ url: FACILITATOR_URL });
const server = new x402ResourceServer(facilitator).register(NETWORK_ID, new ExactSvmScheme());

const app = express();
const paths = Object.entries(HANDLERS);
app.use(paymentMiddleware(Object.fromEntries(paths.map(([path]) => [`GET ${path}`, priced])), server));
for (const [path, handler] of paths) app.get(path, handler);
app.listen(Number(PORT), "127.0.0.1");
