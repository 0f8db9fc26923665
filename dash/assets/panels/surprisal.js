import { css, tint } from "../colour.js";
import { Chart } from "../plot.js";
import { tick } from "../number.js";

const QUANTILES = [["p50", "median"], ["p80", "80 %"], ["p90", "90 %"], ["p99", "99 %"]];
const FAINTEST = 2e-3;

/** Shares of tokens by surprisal, a column a step. */
export const surprisalPanel = {
  title: "Surprisal",
  needs: [{ any: ["surprisal/histogram/*"], record: "`kind = \"rl\"` in a `[[stage]]`" }],
  keys: ["surprisal/histogram/*", "surprisal/quantile/*", "surprisal/mean"],
  mount(element, run) {
    const bins = run.matching("surprisal/histogram/*").map((key) => [Number(key.split("/").at(-1)), key]).sort((a, b) => a[0] - b[0]);
    const edges = bins.map(([edge]) => edge);
    const there = QUANTILES.filter(([name]) => run.has(`surprisal/quantile/${name}`));
    const colours = ["--ink", "--good", "--warn", "--bad"];
    this.chart = new Chart(element, run, {
      title: this.title,
      unit: "share of tokens by nats, colour by its logarithm; lines: quantiles",
      classes: "whole tall",
      range: [0, edges.length],
      series: () => there.map(([name, label], at) => {
        const raw = run.curve(`surprisal/quantile/${name}`, label, colours[at], { width: 1.4 });
        return { ...raw, raw: raw.values, values: raw.values.map((value) => onBins(value, edges)) };
      }),
      axis: () => ({
        splits: () => edges.map((_, at) => at),
        values: () => edges.map((edge) => tick(edge)),
        grid: { show: false },
      }),
      paint: (plot, chart) => cells(plot, chart.steps, bins.map(([, key]) => run.column(key) ?? [])),
    });
  },
  draw(state) {
    this.chart.draw(state);
  },
};

/** Place of a surprisal on the axis of bins. */
function onBins(value, edges) {
  if (!Number.isFinite(value)) return value;
  const at = Math.max(0, edges.findLastIndex((edge) => edge <= value));
  const next = edges[at + 1] ?? 2 * edges[at];
  return Math.min(edges.length, at + (value - edges[at]) / (next - edges[at]));
}

/** The mean of the steps of each pixel column. */
function cells(plot, steps, columns) {
  const { ctx, bbox } = plot;
  const shades = Array.from({ length: 33 }, (_, at) => tint("--accent", at / 52));
  const place = (step) => Math.round(plot.valToPos(step, "x", true));
  for (let row = 0; row < columns.length; row++) {
    const [low, high] = [plot.valToPos(row, "y", true), plot.valToPos(row + 1, "y", true)];
    for (let at = 0; at < steps.length; ) {
      const [x, end] = [place(steps[at] - 0.5), at];
      let [sum, count, last] = [0, 0, at];
      while (last < steps.length && (last === end || place(steps[last] + 0.5) <= x + 1)) {
        if (Number.isFinite(columns[row][last])) [sum, count] = [sum + columns[row][last], count + 1];
        last += 1;
      }
      const to = place(steps[last - 1] + 0.5);
      at = last;
      if (count === 0 || to < bbox.left || x > bbox.left + bbox.width) continue;
      const share = sum / count;
      const shade = share <= 0 ? 0 : Math.max(0.06, 1 - Math.log(share) / Math.log(FAINTEST));
      ctx.fillStyle = shades[Math.max(0, Math.min(32, Math.round(32 * shade)))];
      ctx.fillRect(x, high, Math.max(1, to - x), low - high);
    }
  }
  ctx.fillStyle = css("--card");
  for (let row = 1; row < columns.length; row++) ctx.fillRect(bbox.left, plot.valToPos(row, "y", true), bbox.width, 1);
}
