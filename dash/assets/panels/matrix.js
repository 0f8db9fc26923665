import { getLines, route } from "../api.js";
import { success } from "../colour.js";
import { card, choice, dataTable, el, press, replace, table, visible } from "../dom.js";
import { figure, percent } from "../number.js";
import { move, offer } from "../state.js";

const MOST_STEPS = 60;
const MOST_ROWS = 150;
const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
const third = (cells) => Math.max(1, Math.floor(cells.length / 3));
/** Last third of the evaluations less the first one. */
const gain = (cells) => mean(cells.slice(-third(cells))) - mean(cells.slice(0, third(cells)));
const ORDERS = [["gained", "most gained", (cells) => -gain(cells)], ["lost", "most lost", gain], ["hard", "hardest", mean], ["easy", "easiest", (cells) => -mean(cells)]];
offer("rank", ORDERS.map(([rank]) => rank));

const UNKNOWN = ["gold-unparseable", "error"];
/** Whether the problem is in the figures: its gold answer could be read, and no verifier failed. */
const judged = ({ n, outcomes, greedy }) => n > 0 && ![...outcomes, greedy?.outcome].some((outcome) => UNKNOWN.includes(outcome));

/** Problems by steps; the colour is the share of correct completions. `chosen(id, step)` is told. */
export class Matrix {
  constructor(element, run, set, classes, chosen) {
    Object.assign(this, { run, set, chosen, seen: "", most: MOST_ROWS, rows: [], at: [0, 0] });
    const { steps } = run.info.evals.find((one) => one.set === set);
    this.orders = steps.length > 1 ? ORDERS : ORDERS.slice(2);
    this.order = choice("order", this.orders, this.orders[0][0], (rank) => move({ rank }));
    this.card = card(`${set}: problems`, steps.length > 1 ? "share correct at each evaluation" : "share correct", classes, this.order);
    this.key = el("div", { class: "legend" });
    this.body = el("div", { class: "matrix" });
    this.body.addEventListener("keydown", (event) => this.walk(event));
    this.more = el("p", { class: "note more" });
    this.data = dataTable(`${set}, problem by step`, () => [["problem", ...this.steps.map((step) => `step ${step}`)], this.visible().map(({ name, cells }) => [visible(name), ...this.steps.map((_, at) => percent(cells[at]))])]);
    this.card.append(this.key, this.body, this.more, this.data);
    element.append(this.card);
  }

  async draw(state) {
    const { steps } = this.run.info.evals.find(({ set }) => set === this.set);
    const [rank, , place] = this.orders.find(([key]) => key === state.rank) ?? this.orders[0];
    press(this.order, rank);
    this.mark(state.id);
    const seen = [steps.length, steps.at(-1), document.documentElement.dataset.theme, rank].join();
    if (seen === this.seen) return;
    this.seen = seen;
    const every = Math.ceil(steps.length / MOST_STEPS);
    const shown = steps.filter((_, at) => (steps.length - 1 - at) % every === 0);
    const columns = await Promise.all(shown.map((step) => getLines(route("runs", this.run.id, "evals", this.set, step))));
    if (seen !== this.seen) return;
    const rows = new Map();
    const left = new Set();
    columns.forEach((all, at) => {
      for (const line of all) {
        if (!judged(line)) {
          left.add(line.id);
          continue;
        }
        const row = rows.get(line.id) ?? { id: line.id, name: line.problem ?? line.id, cells: [] };
        row.cells[at] = line.correct / line.n;
        rows.set(line.id, row);
      }
    });
    const worth = new Map([...rows.values()].map((row) => [row, place(row.cells.filter(Number.isFinite))]));
    this.rows = [...rows.values()].sort((a, b) => worth.get(a) - worth.get(b));
    Object.assign(this, { steps: shown, at: [0, 0] });
    this.told(every, [...left].filter((id) => !rows.has(id)).length);
    this.fill(state.id);
    if (this.rows.length > 0) this.ready?.(this.rows[0].id);
  }

  told(every, left) {
    const swatch = (share, text) => {
      const square = el("i", {});
      square.style.color = success(share);
      return el("span", {}, square, text);
    };
    const words = [`${figure(this.rows.length)} problems`];
    if (every > 1) words.push(`one evaluation in ${every}`);
    if (left > 0) words.push(`${figure(left)} not judged, left out`);
    replace(this.key, swatch(1, "all correct"), swatch(0.5, "half"), swatch(0, "none"), el("span", { text: words.join(" · ") }));
  }

  visible() {
    return this.rows.slice(0, this.most);
  }

  fill(id) {
    this.body.classList.toggle("single", this.steps.length === 1);
    const made = table(["problem", ...this.steps.map((step, _, all) => (all.length > 1 ? String(step) : "correct"))], this.visible().map((row) => this.row(row)));
    made.setAttribute("role", "grid");
    made.setAttribute("aria-label", `${this.set}, problem by step; arrow keys move`);
    replace(this.body, made);
    const rest = this.rows.length - this.most;
    const next = Math.min(rest, MOST_ROWS);
    const add = (count) => () => {
      this.most += count;
      this.fill(id);
    };
    const buttons = rest > 0 ? [el("button", { type: "button", class: "action", text: `show ${next} more`, onclick: add(MOST_ROWS) }), ...(rest > next ? [el("button", { type: "button", class: "action", text: "show all", onclick: add(rest) })] : [])] : [];
    replace(this.more, ...(rest > 0 ? [`and ${figure(rest)} more in this order `, ...buttons] : []));
    this.mark(id);
    this.reach(...this.at, false);
    this.data.fill();
  }

  row({ id, name, cells }) {
    const open = el("button", { type: "button", class: "plain", tabindex: -1, title: visible(id), text: visible(name), onclick: () => this.chosen(id, null) });
    return [open, ...this.steps.map((step, at) => {
      const cell = el("button", { type: "button", class: "cell", tabindex: -1, title: `step ${step}: ${percent(cells[at])}`, "aria-label": `step ${step}: ${percent(cells[at])}`, onclick: () => this.chosen(id, step) });
      if (Number.isFinite(cells[at])) cell.style.background = success(cells[at]);
      else cell.disabled = true;
      return cell;
    })];
  }

  /** Marks the row of the chosen problem. */
  mark(id) {
    const lines = this.body.querySelectorAll("tbody tr");
    this.visible().forEach((row, at) => lines[at]?.classList.toggle("on", row.id === id));
  }

  /** Makes one cell the one that Tab reaches; with `focus` goes there. */
  reach(row, column, focus) {
    const lines = this.body.querySelectorAll("tbody tr");
    const line = lines[Math.max(0, Math.min(lines.length - 1, row))];
    if (!line) return;
    const place = Math.max(0, Math.min(line.children.length - 1, column));
    const button = line.children[place].firstChild;
    this.body.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    const there = button.disabled ? line.firstChild.firstChild : button;
    there.setAttribute("tabindex", "0");
    this.at = [[...lines].indexOf(line), button.disabled ? 0 : place];
    if (focus) there.focus();
  }

  /** Arrow keys walk through the cells, and no further. */
  walk(event) {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -Infinity], End: [0, Infinity] }[event.key];
    const cell = event.target.closest("td");
    if (!by || !cell || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const line = cell.parentElement;
    this.reach([...line.parentElement.children].indexOf(line) + by[0], [...line.children].indexOf(cell) + by[1], true);
  }
}
