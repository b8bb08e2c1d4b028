import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { join, normalize } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openForBusiness } from "../faults/audit.ts";
import { createBuyer, post } from "../support/buyer.ts";
import { openShop, type Shop } from "../support/shop.ts";
import { prepareShipment, type Shipment } from "./shipment.ts";

const run = promisify(execFile);

let shipment: Shipment;
beforeAll(async () => {
  shipment = await prepareShipment();
});
afterAll(() => shipment?.remove());

describe("the image", () => {
  test("has no embedded chain, which would need development packages", () => {
    expect(readdirSync(shipment.image).sort()).toEqual(["dist", "node_modules", "package.json"]);
    expect(readdirSync(join(shipment.image, "dist"))).not.toContain("localnet");
  });

  test("has every package that its code names", () => {
    const code = readdirSync(join(shipment.image, "dist"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".js") && !path.startsWith("console"))
      .map((path) => readFileSync(join(shipment.image, "dist", path), "utf8"));
    const named = new Set(code.flatMap(packagesOf));
    expect(named).toContain("express");
    expect([...named].filter((name) => !existsSync(join(shipment.image, "node_modules", name)))).toEqual([]);
  });

  describe("beside a facilitator, a chain and a model", () => {
    let shop: Shop;
    let env: Record<string, string>;
    beforeAll(async () => {
      shop = await openShop({ noGateway: true });
      const config = join(shop.dataDir, "farebox.yaml");
      await writeFile(config, shop.configText);
      env = {
        ...shop.env,
        ...shipment.env,
        PATH: process.env["PATH"] ?? "",
        LOG_LEVEL: "error",
        FAREBOX_CONFIG: config,
        FAREBOX_SESSION_KEY: "00".repeat(32),
      };
    });
    afterAll(() => shop?.close());

    async function inImage([file = "", ...args]: readonly string[]): Promise<string> {
      return (await run(file, args, { cwd: shipment.image, env })).stdout;
    }
    const farebox = (...args: string[]) =>
      inImage([process.execPath, "dist/server/cli.js", ...args, "--json"]);

    test("it checks its configuration", async () => {
      expect(JSON.parse(await farebox("check", "--config"))).toMatchObject({ ok: true, network: "solana" });
    });

    test("it starts, is healthy, sells to wallets and to keys, and stops", async () => {
      const [file = "", ...args] = shipment.command;
      const gateway = spawn(file, args, { cwd: shipment.image, env, stdio: "inherit" });
      const exit = once(gateway, "exit");
      try {
        await Promise.race([
          openForBusiness(shop.url),
          exit.then(() => Promise.reject(new Error("the gateway ended"))),
        ]);
        await inImage(shipment.healthCheck);
        expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
        expect((await fetch(`${shop.url}/agent`, post({ prompt: "Hi" }))).status).toBe(402);
        expect(await (await fetch(`${shop.url}/console`)).text()).toContain("<script");

        const buyer = await createBuyer(shop);
        const paid = await buyer.fetch(`${shop.url}/agent`, post({ prompt: "Hi" }));
        expect(paid.status).toBe(200);
        expect(await paid.json()).toMatchObject({ success: true, reply: "Hello there!" });

        await farebox("accounts", "create", "Acme", "--id", "acme");
        await farebox("credit", "acme", "5.00", "--reference", "invoice-1");
        const { key } = JSON.parse(await farebox("keys", "create", "--account", "acme", "--label", "web"));
        const keyed = await fetch(`${shop.url}/agent`, {
          ...post({ prompt: "Hi" }),
          headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        });
        expect(await keyed.json()).toMatchObject({ success: true, reply: "Hello there!" });
      } finally {
        gateway.kill("SIGTERM");
      }
      expect(await exit).toEqual([0, null]);
    });

    test("it says that local mode is not there", async () => {
      const local = { PATH: env["PATH"], ...shipment.env, NETWORK: "local", FAREBOX_DATA_DIR: shop.dataDir };
      const [file = "", ...args] = shipment.command;
      await expect(run(file, args, { cwd: shipment.image, env: local })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining("local mode is not part of this installation"),
      });
    });
  });
});

describe("the package", () => {
  test("has every file that its manifest names", () => {
    const { exports, bin } = JSON.parse(readFileSync(join(shipment.image, "package.json"), "utf8"));
    const named = [
      ...Object.values<object>(exports).flatMap((entry) => Object.values(entry)),
      ...Object.values(bin),
    ];
    expect(named.length).toBeGreaterThan(4);
    for (const path of named) expect(shipment.packed).toContain(normalize(String(path)));
  });

  test("has the code, the console, the scripts of the ledger, the documentation and the licence", () => {
    for (const path of [
      "LICENSE",
      "README.md",
      "farebox.example.yaml",
      ".env.example",
      "docs/operations.md",
      "dist/console/index.html",
      // Of the packages that are built into it.
      "dist/chunks/LICENSES.md",
      "dist/server/ledger/scripts/hold.lua",
    ])
      expect(shipment.packed).toContain(path);
  });

  test("has types with which the app of the README compiles, strictly", async () => {
    const readme = readFileSync(join(shipment.checkout, "README.md"), "utf8");
    const app = [...readme.matchAll(/```ts\n(.*?)```/gs)].find(([, code]) =>
      code?.includes("createPaywall"),
    )?.[1];
    await writeFile(join(shipment.checkout, "app.ts"), app ?? "the README has no such app");
    const compilerOptions = { module: "nodenext", target: "es2023", types: ["node"], noEmit: true };
    const config = {
      compilerOptions: { ...compilerOptions, strict: true, exactOptionalPropertyTypes: true },
      files: ["app.ts"],
    };
    await writeFile(join(shipment.checkout, "tsconfig.app.json"), JSON.stringify(config));
    const tsc = join(shipment.checkout, "node_modules/.bin/tsc");
    await run(tsc, ["-p", "tsconfig.app.json"], { cwd: shipment.checkout });
  });

  test("has no embedded chain, no tests, no sources and no secrets", () => {
    const kinds = new Set(shipment.packed.map((path) => path.split("/").slice(0, 2).join("/")));
    const allowed =
      /^(?:LICENSE|README\.md|package\.json|farebox\.example\.yaml|\.env\.example|docs\/.*|dist\/(?:chunks|client|console|facilitator-client|server|well-known))$/;
    expect([...kinds].filter((kind) => !allowed.test(kind))).toEqual([]);
  });
});

/** The packages that a compiled module imports, also those that it imports only when it needs them. */
function packagesOf(code: string): readonly string[] {
  const named = code.matchAll(
    /^(?:import|export)\b[^;]*?\bfrom "([^."][^"]*)"|\bimport\("([^."][^"]*)"\)|^import "([^."][^"]*)"/gm,
  );
  return [...named].flatMap(([, from, lazily, effect]) => {
    const specifier = from ?? lazily ?? effect ?? "";
    return isBuiltin(specifier)
      ? []
      : [
          specifier
            .split("/")
            .slice(0, specifier.startsWith("@") ? 2 : 1)
            .join("/"),
        ];
  });
}
