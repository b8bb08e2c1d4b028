import express, { type Express, type RequestHandler, Router } from "express";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SoldRoute } from "../../server/index.ts";
import { targetsNear } from "./hostile-targets.ts";
import { rawRequest, requestBytes } from "./raw-request.ts";
import { openStall, type Stall } from "./stall.ts";

/** Everything the app below sells, each at a price of its own. */
const TABLE = [
  "GET /",
  "GET /agent",
  "POST /agent",
  "GET /slash/",
  "* /all",
  "GET /report/:id",
  "GET /report/:id/part/:part",
  "GET /files/*path",
  "GET /opt{/:a}/end",
  "GET /a.b-c",
  "GET /api",
  "GET /api/rep",
  "GET /api/deep",
  "* /api/:id",
  "GET /api/deep/:x/:y",
  "GET /t/:tenant",
  "GET /t/:tenant/report",
  "POST /t/:tenant/:id",
  "GET /w/*rest",
];

interface Settings {
  readonly strict: boolean;
  readonly caseSensitive: boolean;
}

/** The same handlers with or without a paywall in front: what Express routes where is its own business. */
function shop(settings: Settings, ran: string[], guard: RequestHandler | undefined): Express {
  const app = express();
  app.set("strict routing", settings.strict);
  app.set("case sensitive routing", settings.caseSensitive);
  if (guard !== undefined) app.use(guard);
  const handler =
    (word: string): RequestHandler =>
    (_req, res) => {
      ran.push(word);
      res.end("sold");
    };
  app.get("/", handler("root"));
  app.get("/agent", handler("agent"));
  app.post("/agent", handler("agent"));
  app.get("/slash/", handler("slash"));
  app.all("/all", handler("all"));
  app.get("/report/:id", handler("report"));
  app.get("/report/:id/part/:part", handler("part"));
  app.get("/files/*path", handler("files"));
  app.get("/opt{/:a}/end", handler("opt"));
  app.get("/a.b-c", handler("dots"));
  const api = Router(settings);
  const deep = Router({ ...settings, mergeParams: true });
  api.get("/", handler("api"));
  api.get("/rep", handler("rep"));
  api.use("/deep", deep);
  api.all("/:id", handler("api id"));
  deep.get("/", handler("deep"));
  deep.get("/:x/:y", handler("deep xy"));
  app.use("/api", api);
  const tenant = Router({ ...settings, mergeParams: true });
  tenant.get("/", handler("tenant"));
  tenant.get("/report", handler("tenant report"));
  tenant.post("/:id", handler("tenant id"));
  app.use("/t/:tenant", tenant);
  const wild = Router(settings);
  wild.get("/", handler("wild"));
  app.use("/w/*rest", wild);
  const listed = Router(settings);
  listed.get("/agent", handler("listed agent"));
  app.use(["/", "/listed-elsewhere"], listed);
  return app;
}

/** A path of each handler. */
const PATHS = [
  ...[
    "/",
    "/agent",
    "/slash/",
    "/all",
    "/report/1",
    "/report/1/part/2",
    "/files/a/b",
    "/opt/end",
    "/opt/1/end",
  ],
  ...[
    "/a.b-c",
    "/api/",
    "/api/rep",
    "/api/1",
    "/api/deep/",
    "/api/deep/1/2",
    "/t/1/",
    "/t/1/report",
    "/w/1/2",
  ],
];

const target = targetsNear(PATHS);

const method = fc.constantFrom(
  "GET",
  "GET",
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "OPTIONS",
  "PROPFIND",
  "QUERY",
  "get",
);

const request = fc.tuple(method, target).map(([verb, text]) => ({ verb, text }));

const BATCH = 20;
const RUNS = 120;

describe.each<Settings>([
  { strict: false, caseSensitive: false },
  { strict: true, caseSensitive: false },
  { strict: false, caseSensitive: true },
  { strict: true, caseSensitive: true },
])("a table in front of an Express app, $strict strict, $caseSensitive case sensitive", (settings) => {
  let sold: Stall;
  let free: Stall;

  beforeAll(async () => {
    const routes = Object.fromEntries(TABLE.map((name): [string, SoldRoute] => [name, { price: "$0.02" }]));
    sold = await openStall("/agent", (paywall, ran) => {
      return shop(settings, ran, paywall({ routes }) as RequestHandler);
    });
    free = await openStall("/priced", (paywall, ran) => {
      const app = express();
      app.get("/priced", paywall({ price: "$0.02" }) as RequestHandler);
      app.use(shop(settings, ran, undefined));
      return app;
    });
  });

  afterAll(async () => {
    await sold.close();
    await free.close();
  });

  beforeEach(() => {
    sold.ran.length = 0;
    free.ran.length = 0;
  });

  test("every handler runs when nobody asks for money, and is 402 when somebody does", async () => {
    for (const each of PATHS) {
      free.ran.length = 0;
      await rawRequest(free.port, requestBytes("GET", each));
      expect([each, free.ran.length]).toEqual([each, 1]);
      const { statuses } = await rawRequest(sold.port, requestBytes("GET", each));
      expect([each, statuses]).toEqual([each, [402]]);
    }
    expect(sold.ran).toEqual([]);
  });

  test("whatever Express routes to a handler was priced", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: BATCH, maxLength: BATCH }), async (requests) => {
        const bytes = requests.map(({ verb, text }) => requestBytes(verb, text));
        const answers = await Promise.all(bytes.map((each) => rawRequest(sold.port, each)));
        expect(sold.ran).toEqual([]);
        expect(answers.flatMap(({ statuses }) => statuses).filter((status) => status >= 500)).toEqual([]);
        // The same requests reach handlers where nobody asks for money: the property is about something.
        await Promise.all(bytes.slice(0, 5).map((each) => rawRequest(free.port, each)));
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
    expect(free.ran.length).toBeGreaterThan(20);
  });

  // Each of these ran its handler unpaid once.
  test.each<[string, string]>([
    ["a pattern's trailing slash, which Express cuts", "/slash"],
    ["the root of a mounted router, with one slash more", "/api//"],
    [
      "a fragment: Express escapes the quote, then cuts the mount path off the text before that",
      '/t/"/x/report#',
    ],
    ["an absolute form, for which it does the same", 'http://x/t/"/x/report'],
  ])("%s", async (_name, each) => {
    await rawRequest(sold.port, requestBytes("GET", each));
    expect(sold.ran).toEqual([]);
  });
});
