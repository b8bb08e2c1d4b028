import { BarController, BarElement, CategoryScale, Chart, LinearScale, Tooltip } from "chart.js";
import { dollars, forDrawing } from "../money.ts";
import type { Bars } from "./chart.tsx";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, Tooltip);

/** The scale's steps are the library's floats, such as 0.6000000000000001. */
const scale = new Intl.NumberFormat(undefined, {
  style: "currency",
  currency: "USD",
  currencyDisplay: "narrowSymbol",
  maximumFractionDigits: 6,
});

/** Draws in the page's colours of this moment. */
export function draw(canvas: HTMLCanvasElement, bars: Bars["bars"], lying: boolean): { destroy(): void } {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const ticks = { color: colour("--muted"), font: { family: style.fontFamily } };
  const amounts = {
    beginAtZero: true,
    grid: { color: colour("--line") },
    border: { display: false },
    ticks: { ...ticks, maxTicksLimit: 5, callback: (value: string | number) => scale.format(Number(value)) },
  };
  const names = { grid: { display: false }, ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 12 } };
  return new Chart(canvas, {
    type: "bar",
    data: {
      labels: bars.map(({ name }) => name),
      datasets: [
        {
          data: bars.map(({ micro }) => forDrawing(micro.toString())),
          backgroundColor: colour("--accent"),
          borderRadius: 3,
          maxBarThickness: 28,
        },
      ],
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      indexAxis: lying ? "y" : "x",
      scales: lying ? { x: amounts, y: names } : { x: names, y: amounts },
      plugins: {
        tooltip: { callbacks: { label: ({ dataIndex }) => dollars(bars[dataIndex]?.micro ?? 0n) } },
      },
    },
  });
}
