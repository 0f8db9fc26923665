import { getLines, route } from "../api.js";
import { dataTable, el, replace } from "../dom.js";
import { rolling } from "../number.js";
import { Chart, Charts, nearest } from "../plot.js";
import { stackSpec } from "../stack.js";
import { move } from "../state.js";

const SMOOTH = 12;
const OUTCOMES = ["--good", "--bad", "--violet", "--orange", "--half", "--teal", "--muted"];

/** Rewards of everything sampled: mean, outcomes, parts, pass@k, and how often problems are solved. */
export const rewardsPanel = {
  title: "Reward",
  needs: [{ any: ["unfiltered/rewards/mean", "critic/rewards/mean"], record: "`kind = \"rl\"` in a `[[stage]]`" }],
  keys: ["unfiltered/rewards/mean", "critic/rewards/mean", "unfiltered/score/mean", "critic/score/mean", "reward/outcome/*", "reward/part/*", "reward/group/*", "reward/pass@*", "dynamic_sampling/*"],
  mount(element, run, rest) {
    const pick = (name) => (run.has(`unfiltered/${name}`) ? `unfiltered/${name}` : `critic/${name}`);
    const main = new Chart(element, run, {
      title: this.title, unit: "mean a completion, all that was sampled", classes: "tall",
      series: () => {
        const step = run.curve(pick("rewards/mean"), "step", "--faint", { width: 1 });
        return [step, { label: `mean of ${SMOOTH} steps`, values: rolling(step.values, SMOOTH), colour: "--good", width: 2 }];
      },
    });
    this.charts = new Charts([main]);
    const add = (spec) => this.charts.list.push(new Chart(rest, run, { classes: "small", ...spec }));
    const outcomes = run.matching("reward/outcome/*");
    if (outcomes.length > 0) add({
      title: "Outcomes", unit: "share of completions",
      ...stackSpec(() => outcomes.map((key, at) => run.curve(key, key.split("/").at(-1), OUTCOMES[at % OUTCOMES.length]))),
      range: [0, 1],
    });
    const passes = run.matching("reward/pass@*").sort((a, b) => passed(a) - passed(b));
    if (passes.length > 0) add({
      title: "pass@k", unit: "share of problems, as sampled", zero: true,
      series: () => passes.map((key, at) => run.curve(key, key.split("/").at(-1), ["--faint", "--half", "--blue", "--accent", "--violet", "--orange"][Math.min(5, at)])),
    });
    const group = (name, label, colour) => (run.has(`reward/group/${name}`) ? [run.curve(`reward/group/${name}`, label, colour)] : []);
    if (run.matching("reward/group/*").length > 0) add({
      title: "Groups", unit: "share of groups", range: [0, 1],
      series: () => {
        const [right, wrong] = [...group("all_correct", "all right", "--good"), ...group("none_correct", "all wrong", "--bad")];
        const mixed = run.has("reward/group/mixed") ? group("mixed", "mixed", "--violet") : wrong ? [{ label: "mixed", colour: "--violet", values: Array.from(right.values, (share, at) => 1 - share - wrong.values[at]) }] : [];
        return [right, wrong, ...mixed, ...group("zero_spread", "equal rewards", "--half")].filter(Boolean);
      },
    });
    const parts = run.matching("reward/part/*");
    if (parts.length > 1) add({
      title: "Reward by verifier", unit: "before its weight",
      series: () => parts.map((key, at) => run.curve(key, key.split("/").at(-1), OUTCOMES[at % OUTCOMES.length])),
    });
    this.solved = new Solved(rest, run);
  },
  draw(state) {
    this.charts.draw(state);
    this.solved.draw(state);
  },
};

const passed = (key) => Number(key.split("@")[1]);

/** How many completions of a group are correct, over the recorded groups of the step. */
class Solved {
  constructor(element, run) {
    Object.assign(this, { run, seen: null });
    if (run.info.sampled.length === 0) return;
    this.bars = el("div", { class: "bars", role: "group", "aria-label": "solve rates" });
    this.note = el("small", {});
    this.counts = [];
    this.data = dataTable("Solve rates", () => [["correct", "groups"], this.counts.map((count, at) => [`${at} of ${this.counts.length - 1}`, String(count)])]);
    this.card = el("section", { class: "card small", "aria-label": "Solve rates" },
      el("div", { class: "top" }, el("h2", {}, "Solve rates ", this.note)), this.bars,
      el("p", { class: "note", text: "A bar opens its groups." }), this.data);
    element.append(this.card);
  }

  async draw(state) {
    if (!this.card || state.step === null) return;
    const step = nearest(this.run.info.sampled, state.step);
    if (step === this.seen) return;
    this.seen = step;
    const lines = await getLines(`${route("runs", this.run.id, "groups")}?step=${step}`);
    if (step !== this.seen) return;
    // As many as are there: a damaged line may say that there are more.
    const most = Math.max(1, ...lines.map((line) => line.outcomes.length));
    const counts = new Array(most + 1).fill(0);
    for (const line of lines) counts[Math.round(Math.min(1, line.correct / Math.max(1, line.n)) * most)] += 1;
    const highest = Math.max(...counts, 1);
    this.counts = counts;
    this.data.fill();
    this.note.textContent = `groups by completions correct; ${lines.length} recorded at step ${step}`;
    replace(this.bars, ...counts.map((count, at) => {
      const bar = el("span", { class: "bar" });
      bar.style.height = `${Math.round((72 * count) / highest)}px`;
      const open = () => move({ view: "samples", step, solved: `${at / most}..${at / most}`, group: null }, true);
      const unseen = (words) => el("span", { class: "quiet", text: words });
      return el("button", { type: "button", onclick: open }, unseen(count ? "" : "no"), el("span", { class: "count", text: count ? String(count) : "" }), unseen(" groups with "), bar, el("span", { text: String(at) }), unseen(` of ${most} correct`));
    }));
  }
}
