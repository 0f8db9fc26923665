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
        { label: "mean", values: run.column("response_length/mean"), colour: "--q-lm", width: 1.8 },
        ...spread.map(([name, label, colour]) => ({ label, colour, values: run.column(`response_length/${name}`), width: 1, dash: [3, 3] })),
      ],
    })];
    if (run.has("response_length/clip_ratio")) list.push(new Chart(element, run, {
      title: "Truncated", unit: "share of completions cut at the limit", classes: "small", zero: true,
      series: () => [{ label: "truncated", values: run.column("response_length/clip_ratio"), colour: "--bad" }],
    }));
    const words = run.matching("reflection/*");
    const colours = ["--q-up", "--q-lp", "--q-um", "--q-lm", "--half", "--ink"];
    if (words.length > 0) list.push(new Chart(element, run, {
      title: "Reflection words", unit: "words a completion", classes: "small", zero: true,
      series: () => words.map((key, at) => ({ label: key.split("/").at(-1).replaceAll("_", " "), values: run.column(key), colour: colours[at % colours.length] })),
    }));
    this.charts = new Charts(list);
    if (run.info.sampled.length > 0) byOutcome(element, run, this.charts).catch(() => {});
  },
  draw(state) {
    this.charts.draw(state);
  },
};

const KINDS = [["solved", "--good", (outcome) => outcome === "correct"], ["unsolved", "--bad", (outcome) => outcome !== "correct"]];

/** Mean length of solved and of unsolved completions of the recorded groups. */
async function byOutcome(element, run, charts) {
  const sums = new Map();
  for (let after = 0; after !== null; ) {
    const { lines, next } = await get(`${route("runs", run.id, "groups")}?after=${after}`);
    for (const { step, outcomes, lengths } of lines) outcomes.forEach((outcome, at) => {
      const of = sums.get(step) ?? KINDS.map(() => [0, 0]);
      KINDS.forEach(([, , fits], kind) => fits(outcome) && (of[kind] = [of[kind][0] + lengths[at], of[kind][1] + 1]));
      sums.set(step, of);
    });
    after = next;
  }
  const steps = [...sums.keys()].sort((a, b) => a - b);
  charts.list.push(new Chart(element, run, {
    title: "Length by outcome", unit: "tokens, mean over recorded groups", classes: "small", steps: () => steps,
    series: () => KINDS.map(([label, colour], kind) => ({ label, colour, values: steps.map((step) => sums.get(step)[kind][0] / sums.get(step)[kind][1]) })),
  }));
  touch("data");
}
