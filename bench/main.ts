import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { measureAbuse } from "./abuse/measure.ts";
import { describeAbuse, judgeAbuse } from "./abuse/results.ts";
import { measureDirectFirstByte, measureFirstByte } from "./first-byte.ts";
import { type Ground, prepareGround } from "./ground.ts";
import { measureKeyed } from "./keyed/measure.ts";
import { describeKeyed, judgeKeyed } from "./keyed/results.ts";
import { type Lane, pathOf } from "./lane.ts";
import { fareboxGateway } from "./lanes/farebox-gateway.ts";
import { fareboxMiddleware, fareboxRoute } from "./lanes/farebox-middleware.ts";
import { expressRoute, expressUse, floor, nodeHttp, nodeTogether, x402Express } from "./lanes/peers.ts";
import { measureLoopDelay } from "./loop-delay.ts";
import { measurePipedBody } from "./piped-body.ts";
import { measureRedis } from "./redis/measure.ts";
import { describeRedis, judgeRedis } from "./redis/results.ts";
import { describe, describeMachine, describeVerdicts, judge, type Results, type Verdict } from "./results.ts";
import { type Amounts, measurePaid, measureUnpaid } from "./throughput.ts";

const LANES = [
  nodeHttp,
  nodeTogether,
  expressUse,
  expressRoute,
  floor,
  x402Express,
  fareboxGateway,
  fareboxMiddleware,
  fareboxRoute,
];
const WALLET_WORKS = ["unpaid", "paid", "first-byte", "body", "start", "loop"];
const WORKS = [...WALLET_WORKS, "keyed", "redis", "abuse"];
const STARTS = 5;

const USAGE = `Usage: npm run bench -- [options]

Measures Farebox beside its peers, one after another, prints tables with the ratios, and writes bench/results.json.

  --only WORKS      only these, comma-separated; the rest of the results stays as it was
                    ${WORKS.join(", ")}
  --works WORKS     the same, and forgets the rest (default: all)
  --lanes LANES     only these servers (default: all)
                    ${LANES.map(({ name }) => name).join(", ")}
  --seconds N       of each measurement of throughput (default 8)
  --warm-up N       seconds before it (default 2)
  --payments N      signed for the paid work (default 4000)
  --help            this text
`;

const { values } = readOptions();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit();
}
const lanes = LANES.filter(({ name }) =>
  listed(
    values.lanes,
    LANES.map((lane) => lane.name),
  ).has(name),
);
const works = listed(values.only ?? values.works, WORKS);
const amounts: Amounts = {
  seconds: Number(values.seconds),
  warmUpSeconds: Number(values["warm-up"]),
  payments: Number(values.payments),
};

install();
const sellers = lanes.filter(({ sells }) => sells);
const answering = lanes.filter(({ floor }) => floor !== true);
const paid = lanes.filter(({ sells, floor }) => sells || floor === true);

const machine = describeMachine();
const wallets = WALLET_WORKS.some((work) => works.has(work)) ? await measureWallets() : undefined;
const keyed = has("keyed") ? await measureKeyed(amounts) : undefined;
const redis = has("redis") ? await measureRedis(amounts) : undefined;
const abuse = has("abuse") ? await measureAbuse() : undefined;
const verdicts = [
  ...(wallets ? judge(wallets) : []),
  ...(keyed ? judgeKeyed(keyed) : []),
  ...(redis ? judgeRedis(redis) : []),
  ...(abuse ? judgeAbuse(abuse) : []),
];
const tables = [
  wallets && describe(wallets, lanes),
  keyed && describeKeyed(keyed),
  redis && describeRedis(redis),
  abuse && describeAbuse(abuse),
  describeVerdicts(verdicts),
];
process.stdout.write(`${tables.filter((one) => one !== undefined).join("\n\n")}\n`);
const measured = {
  ...wallets,
  ...(keyed && { keyed: { machine, ...keyed } }),
  ...(redis && { redis: { machine, ...redis } }),
  ...(abuse && { abuse: { machine, ...abuse } }),
};
const results = { machine, ...earlier(), ...measured, verdicts: [...earlierVerdicts(), ...verdicts] };
writeFileSync(pathOf("results.json"), `${JSON.stringify(results, null, 2)}\n`);

/** Of a run with `--only` the rest of the file stays as it was, each part with the machine of its own run. */
function earlier(): Partial<Results> & { readonly verdicts?: readonly Verdict[] } {
  return values.only === undefined ? {} : JSON.parse(readFileSync(pathOf("results.json"), "utf8"));
}

function earlierVerdicts(): readonly Verdict[] {
  const renewed = new Set(verdicts.map(({ what }) => what));
  return (earlier().verdicts ?? []).filter(({ what }) => !renewed.has(what));
}

async function measureWallets(): Promise<Results> {
  const reference = sellers.find(({ name }) => name === fareboxGateway.name) ?? sellers[0];
  if (reference === undefined)
    throw new Error("one lane at least must sell: its 402 is what the bare servers send");
  const ground = await prepareGround(reference);
  try {
    return await measure(ground);
  } finally {
    await ground.close();
  }
}

/** The peers are no part of Farebox: they are installed here, and Farebox itself is measured as it is built. */
function install(): void {
  const npm = (...words: string[]) => execFileSync("npm", words, { stdio: "inherit" });
  const withPeers = works.has("keyed") || WALLET_WORKS.some((work) => works.has(work));
  // Its newest part: an older installation lacks it.
  if (withPeers && !existsSync(pathOf("node_modules/@portkey-ai/gateway")))
    npm("ci", "--ignore-scripts", "--prefix", pathOf("."));
  if (lanes.some(({ name }) => name.startsWith("farebox"))) npm("run", "--silent", "build");
}

async function measure(on: Ground): Promise<Results> {
  return {
    machine,
    ...(has("unpaid") && { unpaid: await measureUnpaid(on, answering, amounts) }),
    ...(has("paid") && { paid: await measurePaid(on, paid, amounts) }),
    ...(has("first-byte") && {
      firstByte: {
        direct: await measureDirectFirstByte(on),
        ...(await ofEach(sellers, (lane) => measureFirstByte(on, lane))),
      },
    }),
    ...(has("body") && { pipedBodyGrowth: await ofEach(sellers, (lane) => measurePipedBody(on, lane)) }),
    ...(has("start") && { startMs: await ofEach(answering, (lane) => medianStart(on, lane)) }),
    ...(has("loop") && { loopDelay: await ofEach(sellers, (lane) => measureLoopDelay(on, lane, amounts)) }),
  };
}

function has(work: string): boolean {
  if (works.has(work)) process.stderr.write(`${work}\n`);
  return works.has(work);
}

async function ofEach<T>(some: readonly Lane[], measureOne: (lane: Lane) => Promise<T>) {
  const measured: Record<string, T> = {};
  for (const lane of some) measured[lane.name] = await measureOne(lane);
  return measured;
}

async function medianStart(on: Ground, lane: Lane): Promise<number> {
  const starts: number[] = [];
  for (let count = 0; count < STARTS; count += 1)
    starts.push(await on.run(lane, async ({ startMs }) => startMs));
  return starts.toSorted((one, other) => one - other)[Math.floor(STARTS / 2)] ?? Number.NaN;
}

function readOptions() {
  const names = LANES.map(({ name }) => name);
  try {
    return parseArgs({
      options: {
        seconds: { type: "string", default: "8" },
        "warm-up": { type: "string", default: "2" },
        payments: { type: "string", default: "4000" },
        lanes: { type: "string", default: names.join(",") },
        works: { type: "string", default: WORKS.join(",") },
        only: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

/** The names of a list, each of which must be known. */
function listed(list: string, known: readonly string[]): ReadonlySet<string> {
  const names = list.split(",");
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) refuse(`unknown: ${unknown.join(", ")}. There are: ${known.join(", ")}`);
  return new Set(names);
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n\n${USAGE}`);
  process.exit(2);
}
