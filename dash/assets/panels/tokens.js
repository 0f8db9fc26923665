import { css, mark, ramp, tint } from "../colour.js";
import { FLAGS, MASKS, credit, gap, maskOf, phi, textOf } from "../columns.js";
import { announce, card, choice, el, moved, press, replace, visible } from "../dom.js";
import { figure, signed } from "../number.js";
import { cursor, move, offer } from "../state.js";
import { LINE, Lines } from "../virtual.js";

const SIGNALS = [
  { key: "surprisal", label: "surprisal", unit: "nats", top: 3, high: "--orange", of: (one, at) => -one.log_prob[at] },
  { key: "entropy", label: "entropy", unit: "nats", top: 2, high: "--accent", of: (one, at) => one.entropy[at] },
  { key: "phi", label: "Φ", unit: "nats", top: 0.3, high: "--blue", low: "--violet", of: phi },
  { key: "credit", label: "credit", unit: "weight × advantage", top: 2, high: "--good", low: "--bad", of: credit },
  { key: "gap", label: "rollout gap", unit: "nats", top: null, high: "--orange", low: "--violet", of: gap },
  { key: "mask", label: "mask", unit: "what the loss made of the token", kinds: MASKS, of: maskOf },
  { key: "importance", label: "importance", unit: "factor less 1", top: 0.5, high: "--good", low: "--bad", needs: "importance", of: (one, at) => one.importance[at] - 1 },
  { key: "penalty", label: "penalty", unit: "1 less factor", top: 0.5, high: "--bad", needs: "penalty", of: (one, at) => 1 - one.penalty[at] },
  { key: "reference", label: "to reference", unit: "nats", top: 1, high: "--orange", low: "--violet", needs: "ref_log_prob", of: (one, at) => one.log_prob[at] - one.ref_log_prob[at] },
];
offer("by", SIGNALS.map(({ key }) => key));

/** A group's completions, token by token. */
export class TokensView {
  constructor(element, run) {
    this.run = run;
    this.tools = el("div", {});
    this.only = el("input", { type: "checkbox" });
    this.only.addEventListener("change", () => move({ only: this.only.checked }));
    this.scale = el("div", { class: "scale" });
    this.rows = el("div", { class: "rows" });
    this.card = card("Tokens", "", "", this.tools);
    this.card.append(this.scale, this.rows);
    element.append(this.card);
    this.rows.addEventListener("click", (event) => this.pick(event.target));
    this.rows.addEventListener("pointermove", (event) => event.pointerType === "mouse" && moved(event) && this.pick(event.target));
  }

  /** Shows another group; `order` are its siblings as the tree has them. */
  show(all, order) {
    this.lines?.clear();
    Object.assign(this, { all, order, lines: null, seen: "" });
    this.signals = SIGNALS.filter(({ key, needs }) => (!needs || all[0]?.[needs]) && (key !== "mask" || this.run.info.advantages !== false));
    this.choice = choice("colouring", this.signals.map(({ key, label, unit }) => [key, label, unit]), this.signal().key, (by) => move({ by }));
    replace(this.tools, this.choice);
  }

  signal() {
    return this.signals.find(({ key }) => key === cursor.by) ?? this.signals[0];
  }

  cycle() {
    const at = this.signals.indexOf(this.signal());
    const next = this.signals[(at + 1) % this.signals.length];
    move({ by: next.key });
    announce(`coloured by ${next.label}`);
  }

  draw(state) {
    if (!this.all) return;
    if (state.by !== null && state.by !== this.signal().key) return void move({ by: null });
    const seen = [this.signal().key, document.documentElement.dataset.theme, state.q].join();
    if (seen !== this.seen) this.build(seen);
    this.only.checked = state.only;
    this.rows.classList.toggle("only", state.only);
    for (const body of this.rows.querySelectorAll(".tok")) body.classList.toggle("dim", state.only);
    this.here(state);
  }

  build(seen) {
    this.seen = seen;
    this.lines?.clear();
    this.lines = new Lines(this.all.reduce((sum, one) => sum + one.length, 0));
    const signal = this.signal();
    press(this.choice, signal.key);
    const value = (one, at) => signal.of(one, at);
    if (signal.kinds) {
      const tints = signal.kinds.map(([, name]) => (name ? tint(name, 0.45) : ""));
      this.colour = (kind) => tints[kind];
    } else {
      this.top = signal.top ?? largest(this.all, value);
      const shade = ramp(signal.high, signal.low ?? null);
      this.colour = (size) => shade(this.top > 0 ? size / this.top : 0);
    }
    replace(this.scale, ...this.key(signal));
    replace(this.rows, ...this.order.map((sibling, at) => this.row(sibling, at > 0 ? this.order[at - 1] : null, value)));
  }

  key(signal) {
    const marks = [el("span", { text: "underlined: selected by the weighting · bar: parts from the row above" }), el("label", { class: "check" }, this.only, "only selected")];
    if (signal.kinds) return [...this.kinds(signal), ...marks];
    const strip = el("span", { class: "ramp", "aria-hidden": "true" });
    for (let at = signal.low ? -8 : 0; at <= 8; at++) {
      const cell = el("i", {});
      cell.style.background = this.colour((this.top * at) / 8);
      strip.append(cell);
    }
    const range = `${signal.low ? `−${figure(this.top)}` : "0"} to ${figure(this.top)} ${signal.unit}`;
    const shows = this.top > 0 ? range : `0 ${signal.unit} at every token`;
    return [strip, el("span", { text: shows }), ...marks];
  }

  /** The kinds that there are, with how many tokens are of each. */
  kinds(signal) {
    const counts = signal.kinds.map(() => 0);
    for (const one of this.all) for (let at = 0; at < one.length; at++) counts[signal.of(one, at)] += 1;
    return signal.kinds.flatMap(([label, colour], kind) => {
      if (counts[kind] === 0) return [];
      const swatch = el("i", { class: "swatch" });
      swatch.style.background = colour ? css(colour) : "transparent";
      return [el("span", {}, swatch, `${label}: ${figure(counts[kind])}`)];
    });
  }

  /** The signal at a token, in words. */
  told(one, at) {
    const { kinds, of, label } = this.signal();
    return `${label} ${kinds ? kinds[of(one, at)][0] : figure(of(one, at))}`;
  }

  row(sibling, above, value) {
    const one = this.all[sibling];
    const name = el("button", { type: "button", onclick: () => move({ sib: sibling, tok: 0 }) }, el("b", { text: `#${sibling + 1} ` }), el("span", { class: mark(one.outcome) }), ` ${one.outcome}`);
    const worth = Number.isFinite(one.advantage) ? `adv ${signed(Number(one.advantage.toFixed(2)))}` : this.run.info.advantages === false ? "adv —" : "not learnt from";
    const facts = [`${worth} · ${one.length} ${this.run.pieces()}${one.finish === "length" ? ", cut" : ""}`];
    if (one.reward !== 0 && one.reward !== 1) facts.push(`reward ${figure(one.reward)}`);
    const who = el("div", { class: "who" }, name, ...facts.map((text) => el("div", { text })));
    const body = el("div", { class: "tok", tabindex: "0", role: "group", "aria-label": `completion ${sibling + 1}, ${one.outcome}, ${one.length} ${this.run.pieces()}; comma and full stop move` });
    body.dataset.sibling = sibling;
    body.addEventListener("focus", () => cursor.sib !== sibling && move({ sib: sibling, tok: 0 }));
    const parts = above === null ? -1 : parting(one.token, this.all[above].token);
    for (let from = 0; from < one.length; from += LINE) {
      const to = Math.min(one.length, from + LINE);
      body.append(this.lines.line(to - from, (line) => {
        for (let at = from; at < to; at++) line.append(this.token(one, at, value(one, at), at === parts));
        if (this.rows.contains(line)) this.mark(line);
      }));
    }
    if (one.length === 0) body.append(el("span", { class: "note", text: "no token" }));
    return el("div", { class: "row", data: { sibling } }, who, body);
  }

  token(one, at, value, parts) {
    const text = textOf(one, at);
    const flags = one.flags[at];
    const names = ["t"];
    if (flags & FLAGS.selected) names.push("sel");
    if (flags & FLAGS.left_out && Number.isFinite(one.advantage)) names.push("out");
    if (parts) names.push("parts");
    if (text === "") names.push("blank");
    const shown = text === "" ? visible(this.run.info.facts?.model?.stop_tokens?.[one.token[at]] ?? "▪") : visible(text, true);
    const span = el("span", { class: names.join(" "), text: shown });
    span.dataset.at = at;
    const colour = this.colour(value);
    if (colour) span.style.background = colour;
    return span;
  }

  pick(target) {
    const span = target.closest?.("span.t");
    if (!span) return;
    move({ sib: Number(span.closest(".tok").dataset.sibling), tok: Number(span.dataset.at) });
  }

  /** Marks the cursor's token. */
  here() {
    this.rows.querySelector("span.on")?.classList.remove("on");
    for (const row of this.rows.children) row.classList.toggle("on", Number(row.dataset.sibling) === cursor.sib);
    this.mark(this.rows);
  }

  mark(within) {
    const row = this.rows.querySelector(`.tok[data-sibling="${cursor.sib}"]`);
    const span = row?.querySelector(`span.t[data-at="${cursor.tok}"]`);
    if (span && within.contains(span)) span.classList.add("on");
  }

  /** Moves to another token; `selected`: the next that the weighting selected. */
  step(by, selected) {
    const one = this.all?.[cursor.sib ?? 0];
    if (!one) return;
    let at = (cursor.tok ?? -1) + by;
    while (selected && at >= 0 && at < one.length && !(one.flags[at] & FLAGS.selected)) at += by;
    if (at < 0 || at >= one.length) return announce(selected ? "no further selected token" : "end of the completion");
    move({ sib: one.sibling, tok: at });
    announce(`token ${at}, ${visible(textOf(one, at)) || "no text"}, ${this.told(one, at)}`);
    requestAnimationFrame(() => this.rows.querySelector("span.on")?.scrollIntoView({ block: "nearest" }));
  }
}

/** The first place at which two lists differ. */
function parting(a, b) {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}

function largest(all, value) {
  let most = 0;
  for (const one of all) for (let at = 0; at < one.length; at++) {
    const size = Math.abs(value(one, at));
    if (Number.isFinite(size) && size > most) most = size;
  }
  return most;
}

