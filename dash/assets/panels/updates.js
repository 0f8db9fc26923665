import { Chart, Charts } from "../plot.js";

const PLOTS = [
  { title: "Loss", unit: "nats a token, supervised stages", keys: [["train/loss", "loss", "--ink"]] },
  { title: "Policy loss", unit: "1", keys: [["actor/loss", "whole loss", "--faint"], ["actor/pg_loss", "policy gradient", "--ink"]] },
  { title: "Gradient norm", unit: "before clipping", keys: [["actor/grad_norm", "policy", "--ink"], ["train/grad_norm", "supervised", "--half"]], log: true },
  { title: "Learning rate", unit: "of the last update", keys: [["actor/lr", "policy", "--ink"], ["train/lr", "supervised", "--half"]] },
  { title: "Clipped", unit: "share of tokens in the loss", keys: [["actor/pg_clipfrac", "clip", "--orange"], ["actor/pg_clipfrac_lower", "dual clip", "--blue"]], zero: true },
  { title: "Ratio", unit: "new over old probability, quantiles over tokens", keys: [["p99", "99 %", "--orange"], ["p90", "90 %", "--violet"], ["p50", "median", "--ink"], ["p10", "10 %", "--blue"]].map(([name, label, colour]) => [`actor/ratio/quantile/${name}`, label, colour]) },
  { title: "KL", unit: "nats", keys: [["actor/ppo_kl", "old to new policy", "--ink"], ["actor/kl_loss", "to the reference", "--violet"]], zero: true },
  { title: "Rollout against training", unit: "nats, distance of log-probabilities", keys: [["rollout_corr/log_prob_gap_max", "largest", "--warn"], ["rollout_corr/log_prob_gap_mean", "mean", "--ink"]], zero: true },
  { title: "Importance weights", unit: "factor", keys: [["rollout_corr/rollout_is_max", "largest", "--faint"], ["rollout_corr/rollout_is_mean", "mean", "--ink"], ["rollout_corr/rollout_is_min", "smallest", "--faint"]] },
];

/** What updates do: clipping, KL, gradient norm, the gap between rollout and training. */
export const updatesPanel = {
  title: "Updates",
  needs: [{ any: ["actor/grad_norm", "train/loss"], record: "a `[[stage]]`" }],
  keys: PLOTS.flatMap(({ keys }) => keys.map(([key]) => key)),
  mount(element, run) {
    const list = [];
    for (const plot of PLOTS) {
      const there = plot.keys.filter(([key]) => run.has(key));
      if (there.length === 0) continue;
      list.push(new Chart(element, run, {
        title: plot.title, unit: plot.unit, classes: "small", zero: plot.zero,
        log: plot.log ? positive : undefined,
        series: () => there.map(([key, label, colour]) => run.curve(key, label, colour)),
      }));
    }
    this.charts = new Charts(list);
  },
  draw(state) {
    this.charts.draw(state);
  },
};

/** Whether a logarithm shows all of it, and more than a straight scale does. */
function positive(series) {
  const values = series.flatMap((one) => one.values.filter(Number.isFinite));
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, 0]);
  return low > 0 && high / low > 20;
}
