import { topUpsSchema } from "../answers.ts";
import { Empty, ErrorNote, Loading, Money, TableBox, Time, Transaction } from "../parts/parts.tsx";
import { useAnswer } from "../parts/use-answer.ts";
import { saveFile } from "../save-file.ts";
import { useSession } from "../session.tsx";

const WHAT: Readonly<Record<string, string>> = {
  top_up: "Top-up",
  key_purchase: "Key purchase",
  owed_credit: "Credit for a call that was not served",
};

/** What was paid in before. */
export function TopUps() {
  const { api, config } = useSession();
  const { asked, again } = useAnswer(() => api.call("/account/topups?limit=50", topUpsSchema));
  return (
    <section aria-labelledby="history">
      <h2 id="history">Paid in so far</h2>
      {asked.kind === "loading" && <Loading what="your top-ups" />}
      {asked.kind === "failed" && <ErrorNote error={asked.error} retry={again} />}
      {asked.kind === "here" && asked.answer.topups.length === 0 && <Empty>Nothing was paid in yet.</Empty>}
      {asked.kind === "here" && asked.answer.topups.length > 0 && (
        <TableBox label="Top-ups">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">What</th>
                <th scope="col" class="number">
                  Amount
                </th>
                <th scope="col">Transaction</th>
                <th scope="col">Receipt</th>
              </tr>
            </thead>
            <tbody>
              {asked.answer.topups.map((one) => (
                <tr key={one.payment}>
                  <td data-head="Time">
                    <Time iso={one.at} />
                  </td>
                  <td data-head="What">{WHAT[one.kind] ?? one.kind}</td>
                  <td data-head="Amount" class="number">
                    <Money micro={one.amount_micro_usd} />
                  </td>
                  <td data-head="Transaction">
                    <Transaction id={one.transaction} explorer={config.explorer} />
                  </td>
                  <td data-head="Receipt">
                    <Receipt jws={one.receipt} payment={one.payment} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableBox>
      )}
    </section>
  );
}

/** A signed receipt, as a file. */
function Receipt({ jws, payment }: { readonly jws: string | null; readonly payment: string }) {
  if (jws === null) return <span class="muted">–</span>;
  return (
    <button
      type="button"
      class="small"
      onClick={() => saveFile(`receipt-${payment}.jws`, new Blob([jws], { type: "application/jose" }))}
    >
      Save receipt
    </button>
  );
}
