import { describe, expect, test } from "vitest";
import { OUTCOMES, runMoneyModel } from "./run-money-model.ts";
import type { World } from "./world.ts";

export function moneyModelContract(world: World): void {
  describe("money model", () => {
    test("random holds, captures, releases, credits and limits end as the model says", async () => {
      const met = await runMoneyModel(world, 80, async () => {});
      expect(met).toEqual([...OUTCOMES]);
    }, 60_000);
  });
}
