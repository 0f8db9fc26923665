import { css } from "../colour.js";
import { Chart, Charts } from "../plot.js";
import { stackSpec } from "../stack.js";

const PHASES = [["gen", "sampling", "--blue"], ["reward", "judging", "--violet"], ["old_log_prob", "old log-probs", "--half"], ["ref", "reference", "--teal"], ["adv", "advantages", "--ink"], ["probe", "probe", "--faint"], ["update_actor", "update", "--orange"], ["testing", "evaluation", "--good"], ["save_checkpoint", "saving", "--bad"]];

/** Seconds by phase, rates, memory. */
export const timePanel = {
  title: "Time",
  needs: [{ any: ["timing_s/step"], record: "every run, in `timings.jsonl`" }],
  keys: [...PHASES.map(([name]) => `timing_s/${name}`), "timing_s/step", "perf/gen_throughput", "perf/throughput", "perf/peak_rss_mib"],
  mount(element, run) {
    const there = PHASES.filter(([name]) => run.has(`timing_s/${name}`));
    const list = [new Chart(element, run, {
      title: this.title, unit: "seconds of a step; ▲ beyond the scale", classes: "small", most: withoutRare,
      paint: (plot, chart) => beyond(plot, chart.steps, run.column("timing_s/step") ?? []),
      ...stackSpec(() => there.map(([name, label, colour]) => run.curve(`timing_s/${name}`, label, colour))),
    })];
    const rates = [["perf/gen_throughput", "sampling", "--blue"], ["perf/throughput", "whole step", "--ink"]].filter(([key]) => run.has(key));
    if (rates.length > 0) list.push(new Chart(element, run, {
      title: "Speed", unit: "tokens a second", classes: "small", zero: true,
      series: () => rates.map(([key, label, colour]) => run.curve(key, label, colour)),
    }));
    if (run.has("perf/peak_rss_mib")) list.push(new Chart(element, run, {
      title: "Peak memory", unit: "MiB", classes: "small", zero: true,
      series: () => [run.curve("perf/peak_rss_mib", "so far", "--ink")],
    }));
    this.charts = new Charts(list);
  },
  draw(state) {
    this.charts.draw(state);
  },
};

/** A few slow steps, of a busy machine say, must not hide the others. */
function withoutRare(high, series) {
  const all = series.flatMap((one) => one.values.filter(Number.isFinite)).sort((a, b) => a - b);
  const usual = 1.25 * all[Math.floor(0.98 * (all.length - 1))];
  return high > 3 * usual ? usual : high;
}

function beyond(plot, steps, seconds) {
  const { ctx, bbox } = plot;
  const size = 4 * (devicePixelRatio || 1);
  ctx.fillStyle = css("--bad");
  steps.forEach((step, at) => {
    if (!(seconds[at] > plot.scales.y.max)) return;
    const x = plot.valToPos(step, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x + size, bbox.top + 1.5 * size);
    ctx.lineTo(x - size, bbox.top + 1.5 * size);
    ctx.fill();
  });
}
