import { get, route } from "../api.js";
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
        run.curve("response_length/mean", "mean", "--q-lm", { width: 1.8 }),
        ...spread.map(([name, label, colour]) => run.curve(`response_length/${name}`, label, colour, { width: 0.5 })),
      ],
      bands: () => (spread.length === 2 ? [{ series: [2, 3], colour: "--q-lm", alpha: 0.12 }] : []),
    })];
    if (run.has("response_length/clip_ratio")) list.push(new Chart(element, run, {
      title: "Truncated", unit: "share of completions cut at the limit", classes: "small", zero: true,
      series: () => [run.curve("response_length/clip_ratio", "truncated", "--bad")],
    }));
    const words = run.matching("reflection/*");
    const colours = ["--q-up", "--q-lp", "--q-um", "--q-lm", "--half", "--ink"];
    if (words.length > 0) list.push(new Chart(element, run, {
      title: "Reflection words", unit: "words a completion", classes: "small", zero: true,
      series: () => words.map((key, at) => run.curve(key, key.split("/").at(-1).replaceAll("_", " "), colours[at % colours.length])),
    }));
    this.charts = new Charts(list);
    if (run.info.sampled.length > 0) byOutcome(list[0].card, run, this.charts).catch(() => {});
  },
  draw(state) {
    this.charts.draw(state);
  },
};

const KINDS = [["solved", "--good"], ["unsolved", "--bad"], ["without an answer", "--half"]];
const kindOf = (outcome) => (outcome === "correct" ? 0 : ["no-answer", "unclosed"].includes(outcome) ? 2 : 1);

/** Mean length of the completions of the recorded groups, by what became of them. */
async function byOutcome(beside, run, charts) {
  const sums = new Map();
  for (let after = 0; after !== null; ) {
    const { lines, next } = await get(`${route("runs", run.id, "groups")}?after=${after}`);
    for (const { step, outcomes, lengths } of lines) outcomes.forEach((outcome, at) => {
      const of = sums.get(step) ?? KINDS.map(() => [0, 0]);
      const kind = kindOf(outcome);
      of[kind] = [of[kind][0] + lengths[at], of[kind][1] + 1];
      sums.set(step, of);
    });
    after = next;
  }
  const steps = [...sums.keys()].sort((a, b) => a - b);
  const there = KINDS.map(([label, colour], kind) => ({ label, colour, values: steps.map((step) => sums.get(step)[kind][0] / sums.get(step)[kind][1]) })).filter(({ values }) => values.some(Number.isFinite));
  const chart = new Chart(beside.parentElement, run, {
    title: "Length by outcome", unit: "tokens, mean over recorded groups", classes: "small", steps: () => steps,
    series: () => there,
  });
  beside.after(chart.card);
  charts.list.push(chart);
  touch("data");
}
