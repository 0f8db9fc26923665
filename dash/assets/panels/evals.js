import { get, route } from "../api.js";
import { css } from "../colour.js";
import { card, el, folded, table, visible } from "../dom.js";
import { figure, percent } from "../number.js";
import { Chart, Charts } from "../plot.js";
import { cursor, move, touch } from "../state.js";
import { Matrix } from "./matrix.js";
import { ProblemView } from "./problem.js";

/** Held-out accuracy with intervals, and every problem at every evaluation. */
export const evalsPanel = {
  title: "Evals",
  needs: [],
  keys: [],
  mount(element, run) {
    Object.assign(this, { run, charts: new Charts([]), matrices: [] });
    this.problem = null;
    if (run.info.evals.length === 0) {
      if (run.info.facts?.kind === "eval") return element.append(el("p", { class: "note", text: "The figures and problems of a set are shown when all of its problems are judged." }));
      element.append(folded(this.title, ["evals/step-*/NAME.json"], "`eval.every` and `data.held_out`"));
      return;
    }
    const grid = el("div", { class: "grid" });
    element.append(grid);
    const keys = run.info.evals.flatMap(({ set }) => ["val-core", "val-aux"].flatMap((part) => [...run.keys.keys()].filter((key) => key.startsWith(`${part}/${set}/`))));
    for (const { set } of run.info.evals) this.set(grid, set);
    const below = el("div", { class: "grid more samples-like" });
    element.append(below);
    this.problem = new ProblemView(below, run, () => move({ id: null }));
    this.problem.card.classList.add("whole");
    this.problem.note.textContent = "choose a problem, or one of its cells, in the table above";
    run.load(keys).then(() => touch("data"));
  },

  set(grid, set) {
    const { run } = this;
    const accuracy = run.matching(`val-core/${set}/acc/mean@*`)[0];
    if (!accuracy) this.summary(grid, set);
    const aux = (name) => `val-aux/${set}/${name}`;
    const seen = (key) => run.column(key) ?? [];
    if (accuracy) this.charts.list.push(new Chart(grid, run, {
      title: `${set}: accuracy`, unit: `mean of ${accuracy.split("@")[1]} a problem, 95 % interval over problems`, classes: "half tall", range: [0, 1],
      series: () => [run.curve(accuracy, "accuracy", "--good", { points: true, width: 1, span: true })],
      paint: (plot, chart) => whiskers(plot, chart.steps, seen(aux("acc/low")), seen(aux("acc/high"))),
    }));
    const [passes, votes] = ["pass@*", "maj@*"].map((name) => run.matching(aux(name)).sort((a, b) => Number(a.split("@")[1]) - Number(b.split("@")[1])));
    const shades = ["--half", "--blue", "--accent", "--violet", "--orange", "--ink"];
    const lines = (keys, first, more) => keys.map((key, at) => run.curve(key, key.split("/").at(-1), shades[Math.min(at + first, 5)], { span: true, ...more }));
    if (passes.length > 1) this.charts.list.push(new Chart(grid, run, {
      title: `${set}: pass@k`, unit: votes.length > 0 ? "share of problems; dashed: maj@k" : "share of problems", classes: "half tall", range: [0, 1],
      series: () => [...lines(passes, 0), ...lines(votes, 1, { dash: [4, 3], width: 1.2 })],
    }));
    const matrix = new Matrix(grid, run, set, passes.length > 1 ? "whole" : "half", (id, step) => this.open(id, set, step));
    // Where there are no curves to look at, the first problem is shown.
    matrix.ready = accuracy ? null : (id) => cursor.id === null && move({ id });
    this.matrices.push(matrix);
  },

  /** Shows a problem; at a step of the set where one was chosen. */
  async open(id, set, step) {
    this.problem.wanted = step === null ? null : { where: set, step };
    move(step === null ? { id } : { id, step }, true);
    await this.problem.draw(id);
    this.problem.card.scrollIntoView({ block: "nearest" });
  },

  /** Figures of the last evaluation, where there are no curves of them. */
  async summary(grid, set) {
    const box = card(`${set}: figures`, "95 % intervals over problems", "half");
    grid.append(box);
    const step = this.run.info.evals.find((one) => one.set === set).steps.at(-1);
    const { summary } = await get(`${route("runs", this.run.id, "evals", set, step)}?after=0`);
    if (!summary) return box.append(el("p", { class: "note", text: "There is no summary: the evaluation has not ended." }));
    const { accuracy: mean, low, high, samples, pass, maj, greedy, problems, unjudged, length, truncated } = summary;
    const parts = (name, all) => Object.entries(all ?? {}).map(([part, { accuracy, problems: of }]) => [`${name} ${visible(part)}, ${figure(of)} problems`, accuracy]);
    const several = (name, all) => Object.entries(all ?? {}).map(([k, one]) => [`${name}@${k}`, one]);
    const rows = [[`avg@${samples}`, { mean, low, high }], ...several("pass", pass), ...several("maj", maj), ...(greedy ? [["greedy", greedy]] : []), ...parts("source", summary.by_source), ...parts("level", summary.by_level)];
    box.append(table(["figure", "mean", "95 % interval"], rows.map(([name, one]) => [name, percent(one.mean, 1), `${percent(one.low, 1)} to ${percent(one.high, 1)}`])),
      el("p", { class: "note", text: `${figure(problems)} problems${unjudged ? `, ${figure(unjudged)} not judged and left out` : ""}; ${figure(Number(length.toFixed(1)))} ${this.run.lengths()} a completion, ${percent(truncated, 1)} truncated` }),
      el("p", { class: "note", text: settings(summary) }));
  },

  draw(state) {
    this.charts.draw(state);
    for (const matrix of this.matrices) matrix.draw(state);
    if (state.id) this.problem?.draw(state.id);
  },
};

/** How completions were drawn and judged. */
function settings({ protocol, prompt, criterion, sampling }) {
  const { temperature, top_p: top, max_new_tokens: most } = sampling ?? {};
  return [["protocol", protocol], ["prompt", prompt], ["criterion", criterion], ["temperature", temperature], ["top-p", top], ["new tokens at most", most]].filter(([, value]) => value !== undefined && value !== null).map(([name, value]) => `${name} ${visible(String(value))}`).join(" · ");
}

function whiskers(plot, steps, lows, highs) {
  const { ctx } = plot;
  ctx.strokeStyle = css("--good");
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = 1.5 * (devicePixelRatio || 1);
  steps.forEach((step, at) => {
    if (!Number.isFinite(lows[at]) || !Number.isFinite(highs[at])) return;
    const x = plot.valToPos(step, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, plot.valToPos(lows[at], "y", true));
    ctx.lineTo(x, plot.valToPos(highs[at], "y", true));
    ctx.stroke();
  });
  ctx.globalAlpha = 1;
}
