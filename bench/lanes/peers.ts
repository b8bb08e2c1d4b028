import { type Lane, NETWORK_ID, PAY_TO, pathOf } from "../lane.ts";

/** Node alone: the ceiling. */
export const nodeHttp = bare("node-http", "bare node:http", "servers/node-http.mjs", {});

/** Node alone, as fast as we can make it: answers of one turn of the event loop leave together. */
export const nodeTogether = bare("node-http-together", "bare node:http, together", "servers/node-http.mjs", {
  TOGETHER: "1",
});

/** Express 5, the first `app.use`, raw `writeHead`: the peer of the middleware. */
export const expressUse = bare("express-use", "bare Express 5 (app.use)", "servers/express.mjs", {
  FORM: "use",
});

export const expressRoute = bare("express-route", "bare Express 5 (route)", "servers/express.mjs", {
  FORM: "route",
});

/** The reference middleware. */
export const x402Express: Lane = {
  name: "x402-express",
  label: "@x402/express",
  sells: true,
  command: (directory, { facilitatorUrl }) => ({
    name: "x402-express",
    directory,
    args: [pathOf("servers/x402-express.mjs")],
    env: { FACILITATOR_URL: facilitatorUrl, NETWORK_ID, PAY_TO },
  }),
};

/** Both calls to the facilitator and nothing else: what a paid call costs whoever sells it. */
export const floor: Lane = {
  name: "floor",
  label: "floor: the two facilitator calls",
  sells: false,
  floor: true,
  command: (directory, { challengeFile, facilitatorUrl }) => ({
    name: "floor",
    directory,
    args: [pathOf("servers/floor.mjs")],
    env: { CHALLENGE_FILE: challengeFile, FACILITATOR_URL: facilitatorUrl },
  }),
};

function bare(name: string, label: string, file: string, env: Record<string, string>): Lane {
  return {
    name,
    label,
    sells: false,
    command: (directory, { challengeFile }) => ({
      name,
      directory,
      args: [pathOf(file)],
      env: { ...env, CHALLENGE_FILE: challengeFile },
    }),
  };
}
