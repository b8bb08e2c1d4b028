import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createKeyPairSignerFromPrivateKeyBytes } from "@solana/kit";
import type { Browser, Page } from "playwright-core";
import { openBrowser } from "../support/browser.ts";
import { smaller } from "./png.ts";
import { openStand } from "./stand.ts";
import { becomes, makeData, STOPS } from "./tour.ts";

/** Writes docs/screens: every screen of the console in local mode, light and dark, at a desk and on a phone. */

const DIRECTORY = fileURLToPath(new URL("../../docs/screens/", import.meta.url));
const SEED = new Uint8Array(32).fill(11);
const SIZES = { desktop: { width: 1200, height: 800 }, phone: { width: 360, height: 780 } } as const;
const THEMES = ["light", "dark"] as const;

async function run(): Promise<void> {
  const { address } = await createKeyPairSignerFromPrivateKeyBytes(SEED);
  const [stand, browser] = await Promise.all([openStand(address), openBrowser()]);
  try {
    await mkdir(DIRECTORY, { recursive: true });
    const page = await openPage(browser, stand.url);
    await picture(page, "connect");
    await makeData(page, stand.url);
    for (const { name, show, leave } of STOPS) {
      await show(page);
      await picture(page, name);
      await leave?.(page);
    }
  } finally {
    await browser.close();
    await stand.close();
  }
}

/** Its local wallet is the one that has a month behind it. */
async function openPage(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage({
    viewport: SIZES.desktop,
    locale: "en-GB",
    timezoneId: "UTC",
    reducedMotion: "reduce",
  });
  const seed = Buffer.from(SEED).toString("base64");
  await page.addInitScript(`localStorage.setItem("farebox-local-wallet", "${seed}")`);
  await page.goto(`${url}/console`);
  await page.getByRole("button", { name: "Local wallet" }).waitFor();
  return page;
}

/** What is on the page now, in each size and theme. */
async function picture(page: Page, name: string): Promise<void> {
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    for (const theme of THEMES) {
      await page.emulateMedia({ colorScheme: theme });
      // Charts follow the window a moment later. Nothing may be wider than it.
      await becomes(page, "document.documentElement.scrollWidth <= innerWidth");
      const png = await page.screenshot({ animations: "disabled" });
      await writeFile(join(DIRECTORY, `${name}-${size}-${theme}.png`), smaller(png));
    }
  }
  await page.setViewportSize(SIZES.desktop);
}

await run();
