import { css } from "../colour.js";
import { dataTable, el, replace, svg } from "../dom.js";
import { figure, percent } from "../number.js";
import { Chart } from "../plot.js";

const MEASURES = ["entropy/probe_delta", "entropy/measured_delta"];

/** First-order change of the entropy against what was measured. */
export const predictionPanel = {
  title: "Predicted against measured",
  needs: [{ any: ["entropy/predicted_delta"], record: "`kind = \"rl\"` in a `[[stage]]`" }, { any: MEASURES, record: "`stage.probe`" }],
  keys: ["entropy/predicted_delta", "entropy/batch_delta", ...MEASURES],
  mount(element, run) {
    this.run = run;
    const measured = MEASURES.find((key) => run.has(key));
    const probed = measured === MEASURES[0];
    const scaled = (state) => {
      const fit = fitted(run, measured, state);
      return { fit, values: (run.column("entropy/predicted_delta") ?? []).map((value) => value * fit.slope) };
    };
    this.measured = measured;
    this.chart = new Chart(element, run, {
      title: this.title,
      unit: `nats; measured ${probed ? "by a probe" : "from step to step"}`,
      classes: "half tall scattered",
      zero: true,
      note: `${probed ? "Measured: mean entropy over the tokens of fresh completions of the probe's problems, the same ones before and after the update, at the step's temperature." : "Measured: the mean of the Entropy chart in the next step, less that of this one; other completions of other problems."} Predicted: over the tokens of the groups that are learnt from.`,
      series: (_, state) => [
        probed ? run.curve(measured, "measured", "--ink", { points: true, width: 1, span: true }) : { label: "measured in the next step", values: effect(run, measured), colour: "--ink", width: 1 },
        { label: "predicted, scaled", values: scaled(state).values, colour: "--warn", width: 1.6 },
        ...(run.has("entropy/batch_delta") ? [run.curve("entropy/batch_delta", "on the step's own tokens", "--faint", { points: true, width: 1, loose: true })] : []),
      ],
    });
    this.side = el("div", { class: "scatter" });
    this.chart.box.after(this.side);
    this.pairs = [];
    this.data = dataTable("Measured against predicted", () => [["step", "predicted, a unit of step", "measured, nats"], this.pairs.map(([x, y, step]) => [String(step), figure(x), figure(y)])]);
    this.data.querySelector("summary").textContent = "data of the scatter";
    this.chart.card.append(this.data);
    this.seen = "";
  },
  draw(state) {
    this.chart.draw(state);
    const seen = [this.run.version, state.from, state.to, document.documentElement.dataset.theme].join();
    if (seen === this.seen) return;
    this.seen = seen;
    const fit = fitted(this.run, this.measured, state);
    replace(this.side, ...scatter(fit));
    this.pairs = fit.pairs;
    this.data.fill();
  },
};

/**
 * What the update of each step changed. `measured_delta` of a step is the difference to the step
 * before it: what the update of that one changed.
 */
export function effect(run, key) {
  const values = run.column(key) ?? [];
  if (key !== "entropy/measured_delta") return values;
  return Array.from(values, (_, at) => (run.steps[at + 1] === run.steps[at] + 1 ? values[at + 1] : NaN));
}

/** The slope through 0 of the visible steps, correlation, and share of equal signs. */
function fitted(run, measured, state) {
  const [xs, ys] = [run.column("entropy/predicted_delta") ?? [], effect(run, measured)];
  const pairs = [];
  run.steps.forEach((step, at) => {
    if (step < (state.from ?? -Infinity) || step > (state.to ?? Infinity)) return;
    if (Number.isFinite(xs[at]) && Number.isFinite(ys[at])) pairs.push([xs[at], ys[at], step]);
  });
  const sum = (value) => pairs.reduce((total, pair) => total + value(pair), 0);
  const [n, xx, xy] = [pairs.length, sum(([x]) => x * x), sum(([x, y]) => x * y)];
  const [mx, my] = [sum(([x]) => x) / n, sum(([, y]) => y) / n];
  const spread = Math.sqrt(sum(([x]) => (x - mx) ** 2) * sum(([, y]) => (y - my) ** 2));
  return {
    pairs, slope: xx > 0 ? xy / xx : NaN,
    correlation: spread > 0 ? sum(([x, y]) => (x - mx) * (y - my)) / spread : NaN,
    signs: n > 0 ? sum(([x, y]) => Number(x * y > 0)) / n : NaN,
  };
}

function scatter({ pairs, slope, correlation, signs }) {
  const size = 132;
  const [wide, high] = [0, 1].map((at) => Math.max(1e-12, ...pairs.map((pair) => Math.abs(pair[at]))));
  const [x, y] = [(value) => size / 2 + (value / wide) * (size / 2 - 6), (value) => size / 2 - (value / high) * (size / 2 - 6)];
  const every = Math.max(1, Math.ceil(pairs.length / 400));
  const end = Math.min(wide, Number.isFinite(slope) && slope !== 0 ? high / Math.abs(slope) : wide);
  const axis = { stroke: css("--line") };
  const picture = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `Measured against predicted, ${pairs.length} steps` },
    svg("path", { d: `M0 ${size / 2}H${size}M${size / 2} 0V${size}`, ...axis }),
    ...(Number.isFinite(slope) ? [svg("path", { d: `M${x(-end)} ${y(-end * slope)}L${x(end)} ${y(end * slope)}`, stroke: css("--warn"), "stroke-width": 1.5 })] : []),
    ...pairs.filter((_, at) => at % every === 0).map(([px, py]) => svg("circle", { cx: x(px), cy: y(py), r: 2, fill: css("--ink"), "fill-opacity": 0.6 })));
  const list = el("dl", {});
  for (const [name, value] of [["steps", String(pairs.length)], ["slope", figure(slope)], ["correlation", figure(Number(correlation.toFixed(2)))], ["equal signs", percent(signs)]]) {
    list.append(el("dt", { text: name }), el("dd", { text: value }));
  }
  return [picture, list];
}
