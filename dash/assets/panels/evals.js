import { get, route } from "../api.js";
import { css, success } from "../colour.js";
import { card, choice, el, folded, press, replace, table, visible } from "../dom.js";
import { figure, percent } from "../number.js";
import { Chart, Charts } from "../plot.js";
import { move, touch } from "../state.js";
import { ProblemView } from "./problem.js";

const MOST_STEPS = 60;
const MOST_ROWS = 150;
const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
const third = (cells) => Math.max(1, Math.floor(cells.length / 3));
/** Last third of the evaluations less the first one. */
const gain = (cells) => mean(cells.slice(-third(cells))) - mean(cells.slice(0, third(cells)));
const ORDERS = [["gained", "most gained", (cells) => -gain(cells)], ["lost", "most lost", gain], ["hard", "hardest", mean], ["easy", "easiest", (cells) => -mean(cells)]];

/** Held-out accuracy with intervals, and every problem at every evaluation. */
export const evalsPanel = {
  title: "Evals",
  needs: [],
  keys: [],
  mount(element, run) {
    Object.assign(this, { run, charts: new Charts([]), matrices: [] });
    this.problem = null;
    if (run.info.evals.length === 0) {
      element.append(folded(this.title, ["evals/step-*/NAME.json"], "`eval.every` and `data.held_out`"));
      return;
    }
    const grid = el("div", { class: "grid" });
    element.append(grid);
    const keys = run.info.evals.flatMap(({ set }) => ["val-core", "val-aux"].flatMap((part) => [...run.keys.keys()].filter((key) => key.startsWith(`${part}/${set}/`))));
    for (const { set } of run.info.evals) this.set(grid, set);
    const below = el("div", { class: "grid more samples-like" });
    element.append(below);
    this.problem = new ProblemView(below, run);
    this.problem.card.classList.add("whole");
    this.problem.note.textContent = "choose a problem in the table above";
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
    const shades = ["--half", "--q-lp", "--accent", "--q-um", "--q-up", "--ink"];
    const lines = (keys, first, more) => keys.map((key, at) => run.curve(key, key.split("/").at(-1), shades[Math.min(at + first, 5)], { span: true, ...more }));
    if (passes.length > 1) this.charts.list.push(new Chart(grid, run, {
      title: `${set}: pass@k`, unit: votes.length > 0 ? "share of problems; dashed: maj@k" : "share of problems", classes: "half tall", range: [0, 1],
      series: () => [...lines(passes, 0), ...lines(votes, 1, { dash: [4, 3], width: 1.2 })],
    }));
    this.matrices.push(new Matrix(grid, run, set, passes.length > 1 ? "whole" : "half"));
  },

  /** Figures of the last evaluation, where there are no curves of them. */
  async summary(grid, set) {
    const box = card(`${set}: figures`, "95 % intervals over problems", "half");
    grid.append(box);
    const step = this.run.info.evals.find((one) => one.set === set).steps.at(-1);
    const { summary } = await get(`${route("runs", this.run.id, "evals", set, step)}?after=0`);
    if (!summary) return box.append(el("p", { class: "note", text: "There is no summary: the evaluation has not ended." }));
    const { accuracy: mean, low, high, samples, pass, maj, greedy, problems, length, truncated } = summary;
    const several = (name, all) => Object.entries(all ?? {}).map(([k, one]) => [`${name}@${k}`, one]);
    const rows = [[`avg@${samples}`, { mean, low, high }], ...several("pass", pass), ...several("maj", maj), ...(greedy ? [["greedy", greedy]] : [])];
    box.append(table(["figure", "mean", "95 % interval"], rows.map(([name, one]) => [name, percent(one.mean, 1), `${percent(one.low, 1)} to ${percent(one.high, 1)}`])),
      el("p", { class: "note", text: `${problems} problems; ${figure(Number(length.toFixed(1)))} tokens a completion, ${percent(truncated, 1)} truncated` }));
  },

  draw(state) {
    this.charts.draw(state);
    for (const matrix of this.matrices) matrix.draw(state);
    if (state.id) this.problem?.draw(state.id);
  },
};

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

/** Problems by steps; the colour is the share of correct completions. */
class Matrix {
  constructor(element, run, set, classes) {
    Object.assign(this, { run, set, seen: "" });
    this.order = choice("order", ORDERS, ORDERS[0][0], (rank) => move({ rank }));
    this.card = card(`${set}: problems`, "share correct at each evaluation", classes, this.order);
    this.key = el("div", { class: "legend" });
    this.body = el("div", { class: "matrix", tabindex: "0", role: "region", "aria-label": `${set}, problem by step` });
    this.card.append(this.key, this.body);
    element.append(this.card);
  }

  async draw(state) {
    const { steps } = this.run.info.evals.find(({ set }) => set === this.set);
    const theme = document.documentElement.dataset.theme;
    const [rank, , place] = ORDERS.find(([key]) => key === state.rank) ?? ORDERS[steps.length > 1 ? 0 : 2];
    press(this.order, rank);
    const seen = [steps.length, steps.at(-1), theme, rank].join();
    if (seen === this.seen) return;
    this.seen = seen;
    const every = Math.ceil(steps.length / MOST_STEPS);
    const shown = steps.filter((_, at) => (steps.length - 1 - at) % every === 0);
    const columns = await Promise.all(shown.map((step) => evalLines(this.run, this.set, step)));
    if (seen !== this.seen) return;
    const rows = new Map();
    columns.forEach((all, at) => {
      for (const line of all) {
        const row = rows.get(line.id) ?? { id: line.id, name: line.problem ?? line.id, cells: [] };
        row.cells[at] = line.correct / line.n;
        rows.set(line.id, row);
      }
    });
    const worth = new Map([...rows.values()].map((row) => [row, place(row.cells.filter(Number.isFinite))]));
    const sorted = [...rows.values()].sort((a, b) => worth.get(a) - worth.get(b));
    const swatch = (share, text) => {
      const mark = el("i", {});
      mark.style.color = success(share);
      return el("span", {}, mark, text);
    };
    replace(this.key, swatch(1, "all correct"), swatch(0.5, "half"), swatch(0, "none"), el("span", { text: sorted.length > MOST_ROWS ? `the first ${MOST_ROWS} of ${sorted.length} problems in this order` : `${sorted.length} problems` }));
    replace(this.body, table(["problem", ...shown.map(String)], sorted.slice(0, MOST_ROWS).map((row) => this.row(row, shown))));
  }

  row({ id, name, cells }, steps) {
    const open = el("button", { type: "button", class: "plain", title: visible(id), text: visible(name), onclick: () => move({ id }) });
    return [open, ...steps.map((step, at) => {
      const cell = el("span", { class: "cell", title: `step ${step}: ${percent(cells[at])}` }, el("span", { class: "quiet", text: figure(cells[at]) }));
      if (Number.isFinite(cells[at])) cell.style.background = success(cells[at]);
      return cell;
    })];
  }
}

/** Lines of an evaluation, all pages. */
export async function evalLines(run, set, step) {
  const all = [];
  for (let after = 0; after !== null; ) {
    const page = await get(`${route("runs", run.id, "evals", set, step)}?after=${after}`);
    all.push(...page.lines);
    after = page.next;
  }
  return all;
}
