import { getLines, route } from "../api.js";
import { Chart, Charts } from "../plot.js";
import { touch } from "../state.js";

/** How long completions are. */
export const lengthsPanel = {
  title: "Length",
  needs: [{ any: ["response_length/mean"], record: "`kind = \"rl\"` in a `[[stage]]`" }],
  keys: ["response_length/*", "unfiltered/response_length/*", "reflection/*"],
  mount(element, run) {
    const spread = [["max", "longest", "--faint"], ["min", "shortest", "--faint"]].filter(([name]) => run.has(`response_length/${name}`));
    const list = [new Chart(element, run, {
      title: this.title, unit: "tokens a completion", classes: "small",
      series: () => [
        run.curve("response_length/mean", "mean", "--teal", { width: 1.8 }),
        ...spread.map(([name, label, colour]) => run.curve(`response_length/${name}`, label, colour, { width: 0.5 })),
      ],
      bands: () => (spread.length === 2 ? [{ series: [2, 3], colour: "--teal", alpha: 0.12 }] : []),
    })];
    if (run.has("response_length/clip_ratio")) list.push(new Chart(element, run, {
      title: "Truncated", unit: "share of completions cut at the limit", classes: "small", zero: true,
      series: () => [run.curve("response_length/clip_ratio", "truncated", "--bad")],
    }));
    const words = run.matching("reflection/*");
    const colours = ["--orange", "--blue", "--violet", "--teal", "--half", "--ink"];
    if (words.length > 0) list.push(new Chart(element, run, {
      title: "Reflection words", unit: "words a completion", classes: "small", zero: true,
      series: () => words.map((key, at) => run.curve(key, key.split("/").at(-1).replaceAll("_", " "), colours[at % colours.length])),
    }));
    this.charts = new Charts([...list, new ByOutcome(list[0].card, run)]);
  },
  draw(state) {
    this.charts.draw(state);
  },
};

const KINDS = [["solved", "--good"], ["unsolved", "--bad"], ["without an answer", "--half"]];
const kindOf = (outcome) => (outcome === "correct" ? 0 : ["no-answer", "unclosed"].includes(outcome) ? 2 : 1);

/** Mean length of the completions of the recorded groups, by what became of them. */
class ByOutcome {
  constructor(beside, run) {
    Object.assign(this, { beside, run, sums: new Map(), after: 0, known: 0, steps: [], curves: [], chart: null });
  }

  destroy() {
    this.chart?.destroy();
  }

  draw(state) {
    // Groups are only ever added; a thinned record rebuilds the page.
    if (this.run.info.sampled.length !== this.known) {
      this.known = this.run.info.sampled.length;
      this.read().catch(() => {});
    }
    this.chart?.draw(state);
  }

  async read() {
    const fresh = await getLines(route("runs", this.run.id, "groups"), this.after);
    fresh.forEach((line) => this.add(line));
    this.after += fresh.length;
    this.steps = [...this.sums.keys()].sort((a, b) => a - b);
    const mean = (step, kind) => this.sums.get(step)[kind][0] / this.sums.get(step)[kind][1];
    this.curves = KINDS.map(([label, colour], kind) => ({ label, colour, values: this.steps.map((step) => mean(step, kind)) })).filter(({ values }) => values.some(Number.isFinite));
    if (this.chart === null) {
      this.chart = new Chart(this.beside.parentElement, this.run, {
        title: "Length by outcome", unit: `${this.run.lengths()}, mean over recorded groups`, classes: "small", steps: () => this.steps, series: () => this.curves,
      });
      this.beside.after(this.chart.card);
    }
    // The chart's rows are no metrics of the run, so its version does not tell that they changed.
    this.chart.seen = "";
    touch("data");
  }

  add({ step, outcomes, lengths }) {
    const of = this.sums.get(step) ?? KINDS.map(() => [0, 0]);
    outcomes.forEach((outcome, at) => {
      const kind = kindOf(outcome);
      of[kind] = [of[kind][0] + lengths[at], of[kind][1] + 1];
    });
    this.sums.set(step, of);
  }
}
