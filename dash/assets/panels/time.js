import { Chart, Charts } from "../plot.js";
import { stackSpec } from "../stack.js";

const PHASES = [["gen", "sampling", "--q-lp"], ["reward", "judging", "--q-um"], ["old_log_prob", "old log-probs", "--half"], ["ref", "reference", "--q-lm"], ["adv", "advantages", "--ink"], ["probe", "probe", "--faint"], ["update_actor", "update", "--q-up"], ["testing", "evaluation", "--good"], ["save_checkpoint", "saving", "--bad"]];

/** Seconds by phase, rates, memory. */
export const timePanel = {
  title: "Time",
  needs: [{ any: ["timing_s/step"], record: "every run, in `timings.jsonl`" }],
  keys: [...PHASES.map(([name]) => `timing_s/${name}`), "timing_s/step", "perf/gen_throughput", "perf/throughput", "perf/peak_rss_mib"],
  mount(element, run) {
    const there = PHASES.filter(([name]) => run.has(`timing_s/${name}`));
    const list = [new Chart(element, run, {
      title: this.title, unit: "seconds of a step", classes: "small",
      ...stackSpec(() => there.map(([name, label, colour]) => ({ label, colour, values: run.column(`timing_s/${name}`) ?? [] }))),
    })];
    const rates = [["perf/gen_throughput", "sampling", "--q-lp"], ["perf/throughput", "whole step", "--ink"]].filter(([key]) => run.has(key));
    if (rates.length > 0) list.push(new Chart(element, run, {
      title: "Speed", unit: "tokens a second", classes: "small", zero: true,
      series: () => rates.map(([key, label, colour]) => ({ label, colour, values: run.column(key) })),
    }));
    if (run.has("perf/peak_rss_mib")) list.push(new Chart(element, run, {
      title: "Peak memory", unit: "MiB", classes: "small", zero: true,
      series: () => [{ label: "so far", values: run.column("perf/peak_rss_mib"), colour: "--ink" }],
    }));
    this.charts = new Charts(list);
  },
  draw(state) {
    this.charts.draw(state);
  },
};
