import { useEffect, useRef } from "preact/hooks";
import { Money } from "./parts.tsx";

export interface Bars {
  readonly title: string;
  /** What each bar stands for. */
  readonly of: string;
  /** Two keys may have one name, so it is no `id`. */
  readonly bars: readonly { readonly id: string; readonly name: string; readonly micro: bigint }[];
  /** Bars lie down: for names that are long. */
  readonly lying?: boolean;
}

/** Bars, drawn by the library once it is here, and the same numbers as a table for whoever cannot see them. */
export function BarChart({ title, of, bars, lying = false }: Bars) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let chart: { destroy(): void } | undefined;
    let isGone = false;
    const redraw = async () => {
      const { draw } = await import("./draw-bars.ts");
      if (isGone || canvas.current === null) return;
      chart?.destroy();
      chart = draw(canvas.current, bars, lying);
    };
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const themed = new MutationObserver(() => void redraw());
    const changed = () => void redraw();
    scheme.addEventListener("change", changed);
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    void redraw();
    return () => {
      isGone = true;
      scheme.removeEventListener("change", changed);
      themed.disconnect();
      chart?.destroy();
    };
  }, [bars, lying]);
  return (
    <figure class="card">
      <figcaption>{title}</figcaption>
      {bars.length === 0 ? (
        <p class="muted">Nothing yet.</p>
      ) : (
        <>
          <div class={lying ? "canvas lying" : "canvas"} aria-hidden="true">
            <canvas ref={canvas} />
          </div>
          <details>
            <summary>As a table</summary>
            <table>
              <caption class="unseen">{title}</caption>
              <thead>
                <tr>
                  <th scope="col">{of}</th>
                  <th scope="col" class="number">
                    Spent
                  </th>
                </tr>
              </thead>
              <tbody>
                {bars.map(({ id, name, micro }) => (
                  <tr key={id}>
                    <th scope="row">{name}</th>
                    <td class="number">
                      <Money micro={micro} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </details>
        </>
      )}
    </figure>
  );
}
