import { RunData, get } from "../api.js";
import { card, el, replace, short, table, visible } from "../dom.js";
import { figure } from "../number.js";
import { Chart } from "../plot.js";
import { cursor, move, offer, touch } from "../state.js";
import { sentence } from "./health.js";

const COLOURS = ["--accent", "--orange", "--teal", "--violet", "--bad", "--half"];
const AXES = [["step", "step"], ["training/updates", "update"], ["training/num_tokens", "tokens in the loss"]];
const COMPARED = ["unfiltered/entropy", "actor/entropy", "unfiltered/rewards/mean", "critic/rewards/mean", "train/loss"];

offer("x", AXES.map(([key]) => key));

/** Several runs on one axis, the difference of their recipes, and a paired test. */
export const comparePanel = {
  title: "Compare",
  needs: [],
  keys: [],
  mount(element, run, runs) {
    Object.assign(this, { run, runs, others: new Map(), chart: null, seen: "", built: "" });
    this.key = el("select", { "aria-label": "key" });
    this.key.addEventListener("change", () => move({ key: this.key.value }));
    this.x = el("select", { "aria-label": "axis" }, ...AXES.map(([value, text]) => el("option", { value, text: `by ${text}` })));
    this.x.addEventListener("change", () => move({ x: this.x.value === "step" ? null : this.x.value }));
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "runs to compare" });
    const choose = card("Compare", "up to six runs", "whole");
    choose.append(this.chips, el("div", { class: "chips" }, this.key, this.x));
    this.grid = el("div", { class: "grid" }, choose);
    this.plot = el("div", { class: "grid more" });
    this.diff = el("div", { class: "grid more" });
    element.append(this.grid, this.plot, this.diff);
    for (const one of runs) {
      if (one.id === run.id) continue;
      const box = el("input", { type: "checkbox", value: one.id });
      box.addEventListener("change", () => this.choose());
      this.chips.append(el("label", { class: "check" }, box, one.name));
    }
    if (runs.length < 2) this.chips.append(el("p", { class: "note", text: "There is one run here. Open the folder above it to compare it with others." }));
  },

  choose() {
    const chosen = [...this.chips.querySelectorAll("input:checked")].map((box) => box.value);
    move({ with: chosen.slice(0, 5) });
  },

  async draw(state) {
    for (const box of this.chips.querySelectorAll("input")) {
      box.checked = state.with.includes(box.value);
      box.disabled = !box.checked && state.with.length >= 5;
    }
    const asked = state.with.join();
    if (asked !== this.seen) {
      this.seen = asked;
      await Promise.all(state.with.map((id) => this.open(id)));
      if (asked !== this.seen) return;
      this.options();
      this.differ(state).catch((error) => replace(this.diff, el("p", { class: "note", text: error.message })));
    }
    if (this.key.options.length === 0) this.options();
    const has = (key) => [...this.key.options].some(({ value }) => value === key);
    if (cursor.key !== null && !has(cursor.key)) return void move({ key: null });
    const key = cursor.key ?? COMPARED.find((one) => this.run.has(one)) ?? this.key.options[0]?.value;
    if (!key) return;
    this.key.value = key;
    this.x.value = state.x ?? "step";
    await Promise.all(this.all().map((run) => run.load([key, ...(state.x ? [state.x] : [])])));
    this.draws(key, state);
  },

  async open(id) {
    if (this.others.has(id) || !this.runs.some((one) => one.id === id)) return;
    const run = new RunData(id);
    await run.open();
    this.others.set(id, run);
  },

  all() {
    return [this.run, ...cursor.with.map((id) => this.others.get(id)).filter(Boolean)];
  },

  options() {
    const keys = new Set(this.all().flatMap((run) => [...run.keys.keys()]));
    const value = this.key.value;
    replace(this.key, ...[...keys].sort().map((key) => el("option", { value: key, text: key })));
    this.key.value = keys.has(value) ? value : this.key.value;
    // Evaluations alone have no curves.
    this.key.hidden = this.x.hidden = keys.size === 0;
  },

  name(run) {
    return this.runs.find((one) => one.id === run.id)?.name ?? run.id;
  },

  draws(key, state) {
    const all = this.all();
    const built = [key, state.x, ...all.map((run) => `${run.id} ${run.version}`)].join();
    if (built !== this.built) {
      this.built = built;
      this.chart?.destroy();
      replace(this.plot);
      const merged = new Overlay(all, key, state.x);
      const holder = { version: 0 };
      this.chart = new Chart(this.plot, holder, {
        title: key, unit: [this.run.unit(key), this.run.keys.get(key)?.meaning].filter(Boolean).join("; "), classes: "whole tall",
        steps: () => merged.axis, foreign: Boolean(state.x),
        series: () => all.map((run, at) => ({ label: this.name(run), values: merged.values[at], colour: COLOURS[at % COLOURS.length], width: 1.6, span: true })),
      });
    }
    const free = { ...state, from: state.x ? null : state.from, to: state.x ? null : state.to, step: state.x ? null : state.step };
    this.chart.draw(free);
  },

  async differ(state) {
    replace(this.diff);
    for (const id of state.with) {
      const other = this.others.get(id);
      if (!other) continue;
      const rows = await get(`/diff?a=${encodeURIComponent(this.run.id)}&b=${encodeURIComponent(id)}`);
      const box = card("Recipes", `${this.name(this.run)} against ${this.name(other)}: ${rows.length} differences`, "half");
      const cells = rows.map(({ key, a, b }) => [el("code", { text: key }), short(a ?? "—"), short(b ?? "—")]);
      const made = table(["key", this.name(this.run), this.name(other)], cells);
      made.className = "left";
      box.append(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "differences of the recipes" }, made));
      const tests = card("Paired test", "same problems, last evaluation of each", "half");
      tests.append(...await paired(this.run, other).catch(({ message }) => [el("p", { class: "note", text: sentence(visible(message)) })]));
      this.diff.append(box, tests);
    }
    touch("data");
  },
};

/** Values of several runs over one axis. */
class Overlay {
  constructor(runs, key, x) {
    const points = runs.map((run) => {
      const values = run.column(key) ?? [];
      const axis = x === null || x === "step" ? run.steps : along(run.column(x) ?? [], x);
      return values.map((value, at) => [axis[at], value]).filter(([place, value]) => Number.isFinite(place) && !Number.isNaN(value));
    });
    this.axis = [...new Set(points.flatMap((one) => one.map(([place]) => place)))].sort((a, b) => a - b);
    const places = new Map(this.axis.map((place, at) => [place, at]));
    this.values = points.map((one) => {
      const values = new Array(this.axis.length).fill(NaN);
      for (const [place, value] of one) values[places.get(place)] = value;
      return values;
    });
  }
}

/** Tokens are summed; updates are a count already. */
function along(values, x) {
  if (x !== "training/num_tokens") return values;
  let sum = 0;
  return values.map((value) => (Number.isFinite(value) ? (sum += value) : NaN));
}

/** The paired test of the last evaluations of each common set, as the server computes it. */
async function paired(first, second) {
  const sets = await get(`/paired?a=${encodeURIComponent(first.id)}&b=${encodeURIComponent(second.id)}`);
  if (sets.length === 0) return [el("p", { class: "note", text: "The runs have no held-out set in common." })];
  const parts = sets.map(({ set, steps, error, figures }) => {
    // Figures of all completions have the same problems; where one has fewer, each says its own.
    const counts = new Set(figures.map(({ problems }) => problems));
    const over = counts.size === 1 ? `, ${figure([...counts][0])} problems` : "";
    const title = el("h3", { text: `${set}: step ${steps[0]} against step ${steps[1]}${over}` });
    if (error) return [title, el("p", { class: "note", text: sentence(visible(error)) })];
    const head = ["figure", "difference", "95 % interval", "higher, lower", "p"];
    const made = table(over ? head : [...head, "problems"], figures.map((one) => [...tested(one), ...(over ? [] : [figure(one.problems)])]));
    made.className = "wraps";
    return [title, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${set}, paired test` }, made)];
  });
  const note = "This run less the other, over the problems of both that could be judged: shares in points, rewards and lengths as they are. Higher, lower: in how many problems. p: two-sided, signs of the differences flipped.";
  return [...parts.flat(), el("p", { class: "note", text: note })];
}

/** Factor and digits of figures that are no shares. */
const UNITS_OF = new Map([["tokens", [1, 1]], ["reward", [1, 3]]]);

function tested({ figure: name, mean, interval, higher, lower, p }) {
  const [scale, digits] = UNITS_OF.get(name) ?? [100, 1];
  // The same digits in every row, so that a column can be read downwards.
  const points = (value) => `${scale * value > 0 ? "+" : ""}${(scale * value).toFixed(digits)}`;
  return [name, points(mean), interval ? `${points(interval[0])} to ${points(interval[1])}` : "—", `${higher}, ${lower}`, figure(p)];
}
