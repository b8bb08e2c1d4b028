import "./native-fetch.ts";

// After the line above, on purpose: see native-fetch.ts. Everything of ours takes undici from here.
export { Client, type Dispatcher, errors, Pool } from "undici";
