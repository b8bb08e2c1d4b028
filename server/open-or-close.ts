/** Opens something on parts that are open already. If that fails, closes them and rejects with the failure. */
export async function openOrClose<Opened>(
  open: () => Promise<Opened> | Opened,
  close: () => unknown,
): Promise<Opened> {
  try {
    return await open();
  } catch (error) {
    // What went wrong first is what the operator must mend.
    await Promise.allSettled([(async () => close())()]);
    throw error;
  }
}
