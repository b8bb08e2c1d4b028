import type { Child, Command } from "../child.ts";
import { pathOf } from "../lane.ts";

/** The model that the upstream answers as, and the path that every lane serves it at. */
export const MODEL = "bench";
export const CALL_PATH = "/v1/chat/completions";

/** What surrounds a lane. */
export interface KeyedSurroundings {
  readonly upstreamUrl: string;
  readonly facilitatorUrl: string;
  readonly rpcUrl: string;
}

/** A lane made ready in its directory. */
export interface ReadyLane {
  readonly command: Command;
  /** What its callers send beside the body. */
  readonly headers: Readonly<Record<string, string>>;
}

/** One server between the callers and the upstream. */
export interface KeyedLane {
  readonly name: string;
  readonly label: string;
  /** Its streams are measured too. */
  readonly streams: boolean;
  /** Answered with 200 as soon as the server listens. */
  readonly probePath: string;
  /** Writes what the server needs into the (empty) directory. */
  readonly prepare: (directory: string, around: KeyedSurroundings) => Promise<ReadyLane>;
}

/** A lane that runs. */
export interface KeyedServer extends Child {
  readonly headers: Readonly<Record<string, string>>;
}

/** Node alone. */
export const nodeProxy = peer("node-proxy", "bare node:http proxy", "servers/node-proxy.mjs");

/** Express with undici. */
export const expressProxy = peer(
  "express-proxy",
  "bare Express 5 + undici proxy",
  "servers/express-proxy.mjs",
);

/** A gateway that bills nobody. On Node 20 it answers every stream with 500: it changes headers that `fetch` has made immutable. */
export const portkey: KeyedLane = {
  name: "portkey",
  label: "Portkey 1.15.2",
  streams: false,
  probePath: "/",
  prepare: async (directory, { upstreamUrl }) => ({
    command: {
      name: "portkey",
      directory,
      args: [pathOf("servers/portkey.mjs")],
      env: { TRUSTED_CUSTOM_HOSTS: "127.0.0.1,localhost" },
    },
    headers: {
      authorization: "Bearer unused",
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `${upstreamUrl}/v1`,
    },
  }),
};

function peer(name: string, label: string, file: string): KeyedLane {
  return {
    name,
    label,
    streams: true,
    probePath: "/",
    prepare: async (directory, { upstreamUrl }) => ({
      command: { name, directory, args: [pathOf(file)], env: { UPSTREAM_URL: upstreamUrl } },
      headers: { authorization: "Bearer unused" },
    }),
  };
}
