import { describe, expect, test } from "vitest";
import { OUTCOMES, runMoneyModel } from "./run-money-model.ts";
import { MODEL_TIMEOUT_MS, type World } from "./world.ts";

export function moneyModelContract(world: World): void {
  describe("money model", () => {
    test(
      "random holds, captures, releases, credits and limits end as the model says",
      async () => {
        const met = await runMoneyModel(world, Math.ceil(80 * world.share), async () => {});
        // Fewer runs need not come everywhere.
        if (world.share === 1) expect(met).toEqual([...OUTCOMES]);
      },
      MODEL_TIMEOUT_MS,
    );
  });
}
