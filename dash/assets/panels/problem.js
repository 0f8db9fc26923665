import { get, getColumns, getLines, route } from "../api.js";
import { completionsOf, textOf } from "../columns.js";
import { card, el, replace, visible } from "../dom.js";
import { figure } from "../number.js";
import { cursor, move } from "../state.js";
import { treePicture } from "./tree.js";

/** Squares of a row of completions, at most. */
export const MOST_MARKS = 32;

/**
 * One problem at every recorded step and in every held-out evaluation. `lost()` is called where the
 * run does not know the problem.
 */
export class ProblemView {
  constructor(element, run, lost) {
    Object.assign(this, { run, lost, wanted: null });
    this.card = card(run.info.facts?.kind === "eval" ? "This problem" : "This problem through the steps", "");
    this.note = this.card.querySelector(".top").appendChild(el("small", {}));
    this.cards = el("div", { class: "thru" });
    this.pair = el("div", {});
    this.card.append(this.cards, this.pair);
    element.append(this.card);
    this.seen = null;
  }

  async draw(id) {
    const wanted = this.wanted && `${this.wanted.where} ${this.wanted.step}`;
    const key = `${id} ${wanted} ${this.run.generation} ${this.run.info.sampled.length} ${this.run.info.evals.map(({ steps }) => steps.length)}`;
    if (key === this.seen || !id) return;
    Object.assign(this, { seen: key, id });
    const places = await get(`${route("runs", this.run.id, "problem")}?id=${encodeURIComponent(id)}`);
    if (key !== this.seen) return;
    if (places.length === 0 && id === cursor.id) this.lost();
    this.places = places;
    // The first and the last place of the set that has most of them.
    const same = (place) => places.filter(({ where }) => where === place.where);
    const most = places.reduce((best, place) => (same(place).length > best.length ? same(place) : best), []);
    this.chosen = most.length > 1 ? [places.indexOf(most[0]), places.indexOf(most.at(-1))] : [];
    // A place that was asked for, against the first of its set.
    const own = this.wanted === null ? -1 : places.findIndex(({ where, step }) => where === this.wanted.where && step === this.wanted.step);
    if (places.length === 1 && places[0].where !== "train") this.chosen = [0];
    if (own >= 0) this.chosen = [...new Set([places.indexOf(same(places[own])[0]), own])];
    this.note.textContent = places.length === 0 ? "no place of it is recorded" : `${places.length === 1 ? "this is its only recorded place" : `${places.length} places; choose two to compare`}`;
    this.build();
  }

  build() {
    replace(this.cards, ...this.places.map((place, at) => {
      const { where, step, n, correct, entropy, length, classes } = place;
      const often = classes ? [...classes].sort((a, b) => b.votes - a.votes).slice(0, 2).map((one) => `${visible(one.answer)} ×${one.votes}`).join(", ") : null;
      const squares = el("span", { class: "marks", "aria-hidden": "true" });
      for (let i = 0; i < Math.min(n, MOST_MARKS); i++) squares.append(el("span", { class: i < correct ? "mark yes" : "mark no" }));
      if (n > MOST_MARKS) squares.append(el("small", { text: `+${n - MOST_MARKS}` }));
      return el("button", { type: "button", "aria-pressed": String(this.chosen.includes(at)), onclick: () => this.choose(at) },
        el("b", { text: `step ${step}` }), el("small", { text: where === "train" ? "training" : where }), squares,
        el("small", { text: `${correct} of ${n} · ${figure(length === null ? NaN : Number(length.toFixed(1)))} ${this.run.lengths()}` }),
        entropy === null ? null : el("small", { title: "mean over the tokens of its completions, nats", text: `entropy ${figure(entropy)}` }), often ? el("small", { text: often }) : null);
    }));
    this.compare();
  }

  choose(at) {
    this.chosen = this.chosen.includes(at) ? this.chosen.filter((one) => one !== at) : [...this.chosen.slice(-1), at];
    this.chosen.sort((a, b) => a - b);
    const place = this.places[at];
    if (place.where === "train") move({ step: place.step, group: place.group, tok: 0 });
    this.build();
  }

  async compare() {
    const chosen = this.chosen.map((at) => this.places[at]);
    const held = chosen.some(({ where }) => where !== "train");
    if (chosen.length < 2 && !held) return replace(this.pair);
    const sides = await Promise.all(chosen.map((place) => this.side(place)));
    if (chosen.length !== this.chosen.length || chosen.some((place, at) => place !== this.places[this.chosen[at]])) return;
    const asked = sides.find(({ line }) => line)?.line;
    const about = asked ? [el("p", { class: "problem", text: visible(asked.problem, true) }), el("p", { class: "gold" }, "gold ", el("code", { text: asked.gold === "" ? "—" : visible(asked.gold) }))] : [];
    if (chosen.length < 2) return replace(this.pair, ...about, ...sides.map((side) => this.drawn(side)));
    const tokens = sides.every((side) => side.tokens);
    const texts = sides.every((side) => side.texts.length > 0);
    const parts = tokens ? partingOf(sides[0].tokens, sides[1].tokens) : null;
    const words = parts === null ? (texts ? pairedWords(sides) : "No texts of these places are recorded.") : tokenWords(sides, parts);
    replace(this.pair, ...about, el("p", { class: "note", text: words }), el("div", { class: "pair" }, ...sides.map((side) => this.drawn(side))));
  }

  async side(place) {
    const { where, step, group } = place;
    const { id } = this.run;
    if (where !== "train") {
      const lines = await getLines(route("runs", id, "evals", where, step));
      const line = lines.find((one) => one.id === this.id);
      const plain = { place, line, texts: line?.texts ?? [], tokens: null, outcomes: line?.outcomes ?? [] };
      if (place.number === undefined) return plain;
      const text = { completions: plain.texts.map((one) => ({ text: one })) };
      return { ...plain, ...(await tokensOf(route("runs", id, "evals", where, step, place.number), text)) };
    }
    const base = route("runs", id, "groups", step, group);
    const text = await get(base);
    return { place, texts: text.completions.map((one) => one.text), ...(await tokensOf(base, text)) };
  }

  drawn(side) {
    const title = el("h3", { text: `step ${side.place.step}, ${side.place.where === "train" ? "training" : side.place.where}` });
    const tree = side.nodes ? [el("div", { class: "tree" }, treePicture(side.nodes, null, this.run))] : [];
    if (side.place.where === "train") return el("div", {}, title, ...tree);
    if (side.texts.length === 0) return el("div", {}, title, el("p", { class: "note", text: "Its texts are not recorded." }));
    return el("div", {}, title, ...tree, ...side.texts.map((text, at) => el("p", { class: "problem tok" }, el("small", { text: `#${at + 1} ${side.outcomes[at] ?? ""}  ` }), visible(text, true))));
  }
}

/** The tokens and the tree of a group with these texts, at its address. */
async function tokensOf(base, text) {
  const [columns, nodes] = await Promise.all([getColumns(`${base}/tokens`, (header) => header.columns), get(`${base}/tree`)]);
  return { tokens: completionsOf(text, columns), nodes };
}

/** Follows the likeliest next token in both groups until they differ. */
export function partingOf(first, second) {
  let [a, b] = [first, second];
  for (let at = 0; ; at++) {
    const [x, y] = [a, b].map((all) => most(all, at));
    if (x === null || y === null || x.token !== y.token) return { at, a: x, b: y };
    a = a.filter((one) => one.token[at] === x.token);
    b = b.filter((one) => one.token[at] === x.token);
  }
}

function most(all, at) {
  const counts = new Map();
  for (const one of all) if (at < one.length) counts.set(one.token[at], (counts.get(one.token[at]) ?? 0) + 1);
  const best = [...counts].sort((x, y) => y[1] - x[1] || x[0] - y[0])[0];
  return best ? { token: best[0], votes: best[1], of: all.length, from: all.find((one) => one.token[at] === best[0]) } : null;
}

function tokenWords([first, second], { at, a, b }) {
  if (a === null && b === null) return "Both say the same most often.";
  const say = (side, one) => (one ? `“${visible(textOf(one.from, at)) || "no text"}” (${one.votes} of ${one.of}) at step ${side.place.step}` : `the end at step ${side.place.step}`);
  return `The most frequent paths part at token ${at}: ${say(first, a)}, ${say(second, b)}.`;
}

/** Held-out completions have the same draws at every step, so they are compared one by one. */
function pairedWords([first, second]) {
  const same = first.texts.filter((text, at) => text === second.texts[at]).length;
  return `${same} of ${Math.min(first.texts.length, second.texts.length)} completions have the same text at both steps. Completions with the same number have the same draws.`;
}
