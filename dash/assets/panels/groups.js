import { Refused, get, getColumns, route } from "../api.js";
import { mark } from "../colour.js";
import { completionsOf } from "../columns.js";
import { announce, card, el, folded, replace, visible } from "../dom.js";
import { isReport } from "../embedded.js";
import { figure } from "../number.js";
import { nearest } from "../plot.js";
import { cursor, move, offer } from "../state.js";
import { ForkView } from "./fork.js";
import { Inspector } from "./inspector.js";
import { MOST_MARKS, ProblemView } from "./problem.js";
import { TokensView } from "./tokens.js";
import { TreeView } from "./tree.js";

const SORTS = [["", "as drawn"], ["solved", "fewest solved"], ["-solved", "most solved"], ["-entropy", "highest entropy"], ["entropy", "lowest entropy"], ["-length", "longest"]];
const SOLVED = [["", "all groups"], ["0..0", "none correct"], ["0.001..0.999", "mixed"], ["1..1", "all correct"]];

offer("sort", SORTS.map(([value]) => value));

/** The recorded groups of a step, and the chosen one in full. */
export const groupsPanel = {
  title: "Samples",
  needs: [],
  keys: [],
  mount(element, run) {
    Object.assign(this, { run, listed: null, shown: null, lines: [], all: null });
    if (run.info.sampled.length === 0) {
      const wait = "`samples = { every = 10 }` in `[record]`, at steps of stages that sample";
      element.append(folded(this.title, ["samples/index.jsonl"], wait));
      this.empty = true;
      return;
    }
    this.empty = false;
    const [list, middle, side] = ["", "stackup", "stackup"].map((name) => el("div", { class: name }));
    element.append(el("div", { class: "samples" }, list, middle, side));
    this.build(list);
    this.trouble = middle.appendChild(el("div", {}));
    this.about = middle.appendChild(card("Problem", ""));
    this.tree = new TreeView(middle, run);
    this.tokens = new TokensView(middle, run);
    this.problem = new ProblemView(middle, run, () => move({ id: this.about.dataset.id ?? null }));
    this.inspector = new Inspector(side, run);
    this.fork = isReport ? null : new ForkView(side, run, (fork) => this.tree.graft(fork));
  },

  build(element) {
    this.card = card("Groups", "", "groups side");
    this.note = this.card.querySelector("h2").appendChild(el("small", {}));
    const pick = (name, label, options) => {
      const select = el("select", { "aria-label": label }, ...options.map(([value, text]) => el("option", { value, text })));
      select.addEventListener("change", () => move({ [name]: select.value || null, group: null }));
      return select;
    };
    this.find = el("input", { type: "search", placeholder: "find in all steps ( / )", "aria-label": "find groups by id or source" });
    this.find.addEventListener("input", () => move({ q: this.find.value || null }));
    this.solved = pick("solved", "solve rate", SOLVED);
    this.sort = pick("sort", "order", SORTS);
    this.list = el("ul", { class: "list" });
    this.card.append(el("div", { class: "finds" }, this.find, el("div", {}, this.solved, this.sort)), this.list);
    element.append(this.card);
  },

  draw(state) {
    if (this.empty) return;
    this.fill(state).catch((error) => this.fail(error));
    for (const part of [this.tree, this.tokens, this.inspector]) part.draw(state);
    if (state.id) this.problem.draw(state.id).catch((error) => this.fail(error));
  },

  /** Lists the groups that the cursor asks for, and shows one of them. */
  async fill(state) {
    const step = nearest(this.run.info.sampled, state.step ?? 0);
    const query = new URLSearchParams();
    if (state.q) query.set("q", state.q);
    else query.set("step", step);
    if (state.solved) query.set("solved", state.solved);
    if (state.sort) query.set("sort", state.sort);
    const key = `${query} ${this.run.generation}`;
    if (key !== this.listed) {
      this.listed = key;
      const { lines, next } = await get(`${route("runs", this.run.id, "groups")}?${query}`);
      if (key !== this.listed) return;
      Object.assign(this, { lines, next, query });
      const kept = lines.filter((line) => line.kept).length;
      const away = state.step !== step && !state.q ? `, nearest to ${state.step}` : "";
      this.note.textContent = state.q ? ` ${lines.length}${next ? " and more" : ""} in all steps` : ` step ${step}${away} · ${kept} of ${lines.length} learnt from`;
      this.find.value = state.q ?? "";
      this.options(state);
      this.table();
    }
    this.within(state);
    const entry = this.lines.find((line) => line.group === state.group && (!state.q || line.step === state.step)) ?? this.lines[0];
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-current", String(entry !== undefined && button.dataset.key === `${entry.step} ${entry.group}`));
    if (entry && this.shown !== `${entry.step} ${entry.group} ${this.run.generation}`) await this.show(entry);
  },

  /** A completion and a token that the shown group has, where an address names others. */
  within(state) {
    if (!this.all) return;
    const one = this.all[state.sib];
    if (!one) return move({ sib: this.tokens.order[0], tok: 0 });
    const last = Math.max(0, one.length - 1);
    if (state.tok === null || state.tok < 0 || state.tok > last) move({ tok: state.tok > last ? last : 0 });
  },

  options(state) {
    const known = SOLVED.some(([value]) => value === (state.solved ?? ""));
    this.solved.querySelector(".own")?.remove();
    if (!known) this.solved.append(el("option", { class: "own", value: state.solved, text: `solved ${state.solved.split("..").map((part) => figure(Number(part))).join(" to ")}` }));
    this.solved.value = state.solved ?? "";
    this.sort.value = state.sort ?? "";
  },

  table() {
    replace(this.list, ...this.lines.map((line) => {
      const squares = el("span", { class: "marks", "aria-hidden": "true" }, ...line.outcomes.slice(0, MOST_MARKS).map((outcome) => el("span", { class: mark(outcome), title: outcome })));
      if (line.outcomes.length > MOST_MARKS) squares.append(el("small", { text: `+${line.outcomes.length - MOST_MARKS}` }));
      const kind = !line.kept ? "discarded" : line.correct === line.n ? "all right" : line.correct === 0 ? "all wrong" : "mixed";
      const button = el("button", { type: "button", data: { key: `${line.step} ${line.group}` }, onclick: () => this.open(line) },
        el("span", { class: "name", text: visible(line.id) }), el("small", { text: `${line.correct} of ${line.n}` }), squares, el("small", { text: cursor.q ? `step ${line.step}` : kind }));
      return el("li", {}, button);
    }));
    if (this.next) this.list.append(el("li", {}, el("button", { type: "button", text: "more", onclick: () => this.more() })));
    if (this.lines.length === 0) this.list.append(el("li", { class: "note", text: "No group fits." }));
  },

  /** The next page of the list. */
  async more() {
    const { lines, next } = await get(`${route("runs", this.run.id, "groups")}?${this.query}&after=${this.next}`);
    this.next = next;
    this.lines.push(...lines);
    this.table();
  },

  open(line) {
    move({ step: line.step, group: line.group, sib: 0, tok: 0, id: null });
  },

  async show(entry) {
    const key = `${entry.step} ${entry.group} ${this.run.generation}`;
    const first = this.shown === null;
    this.shown = key;
    const base = route("runs", this.run.id, "groups", entry.step, entry.group);
    const [group, columns, nodes] = await Promise.all([get(base), getColumns(`${base}/tokens`, (header) => header.columns), get(`${base}/tree`)]);
    if (key !== this.shown) return;
    replace(this.trouble);
    const all = completionsOf(group, columns);
    const order = nodes.filter((node) => node.ends).flatMap((node) => node.siblings);
    this.text(entry, group);
    this.tree.show(nodes);
    this.tokens.show(all, order);
    this.inspector.show(all, nodes, columns.header);
    this.fork?.show(entry, group, columns.header);
    this.all = all;
    const sib = all[cursor.sib] ? cursor.sib : order[0];
    const last = Math.max(0, all[sib].length - 1);
    // A copied address keeps its place in the text; from group to group the token stays, or is the first.
    const tok = (cursor.tok ?? 0) <= last ? Math.max(0, cursor.tok ?? 0) : first ? last : 0;
    move({ group: entry.group, sib, tok, id: first && cursor.id ? cursor.id : group.id });
    for (const part of [this.tree, this.tokens, this.inspector]) part.draw(cursor);
  },

  text(entry, group) {
    const gold = group.gold === "" ? "—" : visible(group.gold);
    const turns = (group.history ?? []).map((turn) => el("p", { class: "problem" }, el("small", { text: `${turn.role}: ` }), visible(turn.content ?? "", true)));
    const heading = el("div", { class: "top" }, el("h2", {}, visible(group.id), " ", el("small", { text: `step ${entry.step}, group ${entry.group} · ${visible(group.source)}` })));
    const prompt = el("details", {}, el("summary", { text: "prompt, special tokens included" }), el("p", { class: "problem tok", text: visible(group.prompt, true) }));
    this.about.dataset.id = group.id;
    replace(this.about, heading, ...turns, el("p", { class: "problem", text: visible(group.problem, true) }), el("p", { class: "note" }, "gold ", el("code", { text: gold })), prompt);
  },

  fail(error) {
    if (!(error instanceof Refused)) throw error;
    const place = error.file ? `${error.file}: ` : "";
    replace(this.trouble, el("div", { class: "notice alarm", role: "alert" }, el("b", { text: `${place}${error.message}` }), el("span", { text: error.act ?? "" })));
    if (error.status === 410) this.listed = null;
  },

  /** Keys of this view. */
  act(name, by) {
    if (this.empty) return;
    if (name === "find") return this.find.focus();
    if (name === "fork") return void this.fork?.roll();
    if (name === "colour") return this.tokens.cycle();
    if (name === "only") return move({ only: !cursor.only });
    if (name.startsWith("token")) return this.tokens.step(by, false);
    if (name.startsWith("selected")) return this.tokens.step(by, true);
    if (name.startsWith("group")) {
      const at = this.lines.findIndex((line) => this.shown?.startsWith(`${line.step} ${line.group} `));
      const next = this.lines[at + by];
      if (!next) return announce("no further group");
      announce(`group ${next.group}, ${visible(next.id)}, ${next.correct} of ${next.n} correct`);
      return this.open(next);
    }
    if (name.startsWith("sibling") && this.tokens.order) {
      const at = this.tokens.order.indexOf(cursor.sib ?? 0);
      const sib = this.tokens.order[at + by];
      if (sib === undefined) return announce("no further sibling");
      announce(`completion ${sib + 1}, ${this.tokens.all[sib].outcome}`);
      move({ sib, tok: Math.min(cursor.tok ?? 0, Math.max(0, this.tokens.all[sib].length - 1)) });
    }
  },
};
