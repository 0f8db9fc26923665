import { Chart } from "../plot.js";

/** The policy's entropy with its target, the open gate, and the spread over tokens. */
export const entropyPanel = {
  title: "Entropy",
  needs: [{ any: ["unfiltered/entropy", "actor/entropy"], record: "`kind = \"rl\"` in a `[[stage]]`" }],
  keys: ["unfiltered/entropy", "actor/entropy", "entropy/quantile/p10", "entropy/quantile/p90", "stare/target_entropy", "stare/gate_on"],
  mount(element, run) {
    const main = run.has("unfiltered/entropy") ? "unfiltered/entropy" : "actor/entropy";
    const quantiles = ["p10", "p90"].map((name) => `entropy/quantile/${name}`);
    const spread = quantiles.every((key) => run.has(key));
    this.chart = new Chart(element, run, {
      title: this.title,
      unit: `nats a token${run.has("stare/gate_on") ? "; shaded: gate open" : ""}`,
      classes: "wide tall",
      zero: true,
      note: averaged(run, main, spread),
      series: () => [
        run.curve(main, "mean", "--accent", { width: 2 }),
        ...(spread ? quantiles.map((key, at) => run.curve(key, `${at ? 90 : 10} % of tokens below`, "--faint", { width: 0.5 })) : []),
        ...(run.has("stare/target_entropy") ? [run.curve("stare/target_entropy", "target", "--warn", { width: 1, dash: [4, 3] })] : []),
      ],
      bands: () => (spread ? [{ series: [3, 2], colour: "--accent", alpha: 0.12 }] : []),
      shade: () => run.column("stare/gate_on"),
      flags: () => collapses(run),
    });
  },
  draw(state) {
    this.chart.draw(state);
  },
};

/** What each line is taken over. */
function averaged(run, main, spread) {
  // Other trainers log a mean without saying what it is over.
  if (!main.startsWith("unfiltered")) return "Mean: as the trainer logged it.";
  const words = ["Mean: over every token of all completions that were sampled, those of discarded groups too; the whole distribution at the sampling temperature."];
  if (spread) words.push("Shares: over the tokens of the groups that are learnt from.");
  if (run.has("stare/target_entropy")) words.push("Target: the gate compares it with the mean over the tokens in the loss.");
  return words.join(" ");
}

/** The first warning of each kind about the entropy. */
function collapses(run) {
  const first = new Map();
  for (const line of run.health) if (/^entropy_/.test(line.name) && !first.has(line.name)) first.set(line.name, line);
  return [...first.values()].map(({ step, name }) => ({ step, label: name.replace("_", " "), colour: "--bad" }));
}
