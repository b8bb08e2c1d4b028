import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, test } from "vitest";
import { useStand } from "./stand.ts";
import { closed, deferred, rawCall, written } from "./wire.ts";

const MIB = 1_048_576;
const TOTAL = 200 * MIB;
/** What the kernel's socket buffers and Node's own queues take before anybody is told to wait. */
const IN_FLIGHT = 32 * MIB;

describe.each(["express", "node"] as const)("large answers sold in %s", (kind) => {
  const stand = useStand(kind);

  test("200 MiB are piped through in bounded memory", async () => {
    const chunk = Buffer.alloc(65_536, "x");
    let made = 0;
    const sold = stand().sell((_req, res) => {
      const source = new Readable({
        read() {
          made += chunk.length;
          this.push(made > TOTAL ? null : chunk);
        },
      });
      return pipeline(source, res);
    });
    const payment = await stand().sign(sold.url);
    const before = process.memoryUsage();
    let most = 0;
    let got = 0;
    const response = await rawCall(sold.url, payment).response;
    for await (const bytes of response) {
      got += (bytes as Buffer).length;
      const { arrayBuffers, heapUsed } = process.memoryUsage();
      most = Math.max(most, arrayBuffers - before.arrayBuffers + heapUsed - before.heapUsed);
    }
    expect(got).toBe(TOTAL);
    // Both ends live in this process; a buffered answer alone would be 200 MiB.
    expect(most).toBeLessThan(100 * MIB);
    await stand().reaches(payment, "delivered");
  });

  test.each([
    ["a text stream", "text/event-stream", Buffer.from(`data: ${"x".repeat(65_528)}\n\n`)],
    ["bytes", "application/octet-stream", Buffer.alloc(65_536)],
  ])("%s: the producer stops when the reader does, and goes on with it", async (_name, type, chunk) => {
    let made = 0;
    const sold = stand().sell(async (_req, res) => {
      res.setHeader("Content-Type", type);
      for (; made < TOTAL / 4; made += chunk.length) {
        if (!res.write(chunk)) await new Promise((go) => res.once("drain", go));
      }
      res.end();
    });
    // The head has come, so it is settled; nobody reads the body.
    const response = await rawCall(sold.url, await stand().sign(sold.url)).response;
    for (let before = -1; before !== made; ) {
      before = made;
      for (let turn = 0; turn < 50; turn += 1) await new Promise((go) => setImmediate(go));
    }
    expect(made).toBeLessThan(IN_FLIGHT);
    let got = 0;
    for await (const bytes of response) got += (bytes as Buffer).length;
    expect(got).toBe(Math.ceil(TOTAL / 4 / chunk.length) * chunk.length);
  });

  test("a callback comes only when the chunk was taken, so a handler that awaits it stops too", async () => {
    const chunk = Buffer.alloc(4 * MIB);
    let pending = 0;
    let most = 0;
    const sold = stand().sell(async (_req, res) => {
      res.setHeader("Content-Type", "application/octet-stream");
      for (let n = 0; n < 10; n += 1) {
        pending += 1;
        most = Math.max(most, pending);
        await written(res, chunk);
        pending -= 1;
      }
      res.end();
    });
    const response = await rawCall(sold.url, await stand().sign(sold.url)).response;
    let got = 0;
    await pipeline(
      response,
      new Writable({
        highWaterMark: 1,
        write(bytes: Buffer, _encoding, done) {
          got += bytes.length;
          setImmediate(done);
        },
      }),
    );
    expect(got).toBe(10 * chunk.length);
    expect(most).toBe(1);
  });

  test("a reader that leaves stops a pipe of any length", async () => {
    const over = deferred<unknown>();
    const sold = stand().sell(async (_req, res) => {
      const source = new Readable({
        read() {
          this.push(Buffer.alloc(65_536));
        },
      });
      void pipeline(source, res).catch((error: unknown) => over.resolve(error));
      await closed(res);
    });
    const payment = await stand().sign(sold.url);
    const response = await rawCall(sold.url, payment).response;
    response.destroy();
    expect(await over.promise).toMatchObject({ code: "ERR_STREAM_PREMATURE_CLOSE" });
    await stand().reaches(payment, "delivered");
  });
});
