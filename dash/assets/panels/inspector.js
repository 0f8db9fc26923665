import { mark } from "../colour.js";
import { FLAGS, credit, gap, phi, textOf } from "../columns.js";
import { card, el, replace, visible } from "../dom.js";
import { figure, percent, signed } from "../number.js";

/** Every figure of the cursor's token and of its completion. */
export class Inspector {
  constructor(element, run) {
    this.run = run;
    this.card = card("Token", "", "side");
    this.body = el("div", {});
    this.card.append(this.body);
    element.append(this.card);
  }

  show(all, nodes, about) {
    Object.assign(this, { all, nodes, about, texts: null, seen: "" });
  }

  draw(state) {
    if (!this.all) return;
    const seen = [state.sib, state.tok].join();
    if (seen === this.seen) return;
    this.seen = seen;
    const one = this.all[state.sib ?? 0];
    const at = state.tok ?? 0;
    const heading = this.card.querySelector("h2");
    if (!one || at >= one.length) {
      heading.textContent = "Token";
      return replace(this.body, el("p", { class: "note", text: "Point at a token, or choose one with comma and full stop." }));
    }
    const text = textOf(one, at);
    const shown = text === "" ? (this.run.info.facts.model?.stop_tokens?.[one.token[at]] ?? "no text") : visible(text);
    replace(heading, "Token ", el("code", { class: "token", text: shown }), el("small", { text: ` #${one.sibling + 1}, position ${at}` }));
    replace(this.body, pairs(this.figures(one, at)), ...this.alternatives(one, at), el("h3", { text: `Completion #${one.sibling + 1}` }), pairs(completion(one, this.run.pieces())));
  }

  figures(one, at) {
    const log = one.log_prob[at];
    const share = phi(one, at);
    const own = credit(one, at);
    const nats = (value) => (Number.isNaN(value) ? "—" : `${figure(value)} nats`);
    const rows = [
      ["id", String(one.token[at])],
      ["surprisal", nats(-log)],
      ["probability", figure(Math.exp(log))],
      ["entropy here", nats(one.entropy[at])],
      ["Φ", nats(share)],
      ["advantage", signed(one.advantage)],
      ["weight", figure(one.weight[at])],
      ["credit = weight × advantage", signed(own)],
      ["−credit × Φ, first-order entropy", nats(-own * share)],
      ["quadrant by quantile", Number.isNaN(log) ? "—" : quadrant(one, one.flags[at] & FLAGS.high)],
      ["quadrant by Φ", Number.isNaN(share) ? "—" : quadrant(one, share < 0)],
      ["rollout gap", nats(gap(one, at))],
    ];
    if (one.new_log_prob) rows.push(["change within the step", nats(one.new_log_prob[at] - log)]);
    if (one.ref_log_prob) rows.push(["to the reference", nats(log - one.ref_log_prob[at])]);
    if (one.importance) rows.push(["importance weight", figure(one.importance[at])]);
    if (one.penalty) rows.push(["penalty", figure(one.penalty[at])]);
    const node = this.nodes?.find((part) => part.siblings.includes(one.sibling) && at >= part.from && at < part.from + part.len);
    if (node) {
      rows.push(["correct with this prefix", `${node.correct} of ${node.siblings.length}`]);
      if (node.interval) rows.push(["95 % interval", `${percent(node.interval[0])} to ${percent(node.interval[1])}`]);
    }
    const words = [];
    if (!(one.flags[at] & FLAGS.generated)) words.push("not generated");
    if (one.flags[at] & FLAGS.selected) words.push("selected");
    if (one.flags[at] & FLAGS.high) words.push("high surprisal");
    for (const [name, text] of [["upper", "clipped above"], ["lower", "clipped below, or by the dual clip"], ["bounds", "importance weight out of bounds"], ["left_out", "left out of the loss"]]) if (one.flags[at] & FLAGS[name]) words.push(text);
    rows.push(["flags", words.join(", ") || "none"]);
    return rows;
  }

  /** The likeliest tokens here, where the record has them. */
  alternatives(one, at) {
    const places = [];
    for (let place = 0; one[`alt_token/${place}`]; place++) places.push([one[`alt_token/${place}`][at], one[`alt_log_prob/${place}`][at]]);
    if (places.length === 0) return [];
    this.texts ??= textsOf(this.all, this.run.info.facts?.model?.stop_tokens);
    const drawn = places.map(([id, log]) => {
      const text = this.texts.get(id);
      return [text === undefined ? `id ${id}` : visible(text) || "no text", id === one.token[at], [Math.exp(log)]];
    });
    return [el("h3", { text: "Likeliest here, as recorded" }), ...drawn.map(([text, own, shares]) => bars(text, shares, own))];
  }
}

/** Texts of the ids that the group has; a record holds no vocabulary. */
function textsOf(all, stops) {
  const texts = new Map(Object.entries(stops ?? {}).map(([id, text]) => [Number(id), text]));
  for (const one of all) {
    for (let at = 0; at < one.length; at++) {
      const text = textOf(one, at);
      if (text !== "" && !texts.has(one.token[at])) texts.set(one.token[at], text);
    }
  }
  return texts;
}

/** A token with its probability, or with those of two policies; `own` marks the token of the text. */
export function bars(text, shares, own = false) {
  const known = [0, 1].filter((side) => shares[side] !== undefined);
  const drawn = el("div", { "aria-hidden": "true" }, ...[0, 1].map((side) => {
    const bar = el("i", {});
    bar.style.width = `${100 * (shares[side] ?? 0)}%`;
    return bar;
  }));
  return el("div", { class: own ? "alt own" : "alt" }, el("code", { text }), drawn, el("span", { text: known.map((side) => percent(shares[side], 1)).join(" → ") }));
}

function quadrant(one, high) {
  if (!(Math.abs(one.advantage) > 0)) return "—";
  return `${one.advantage > 0 ? "winner" : "loser"}, ${high ? "high" : "low"}`;
}

function completion(one, pieces) {
  const rows = [
    ["outcome", el("span", {}, el("span", { class: mark(one.outcome) }), ` ${one.outcome}`)],
    ["answer", one.answer === null || one.answer === undefined ? "—" : visible(one.answer)],
    ["reward", figure(one.reward)],
  ];
  for (const [name, value] of Object.entries(one.parts ?? {})) rows.push([`reward by ${visible(name)}`, figure(value)]);
  for (const [name, value] of Object.entries(one.metrics ?? {})) rows.push([visible(name), figure(value)]);
  rows.push(["ended by", { stop: "a stop token", "stop-string": "a stop string", length: "the limit" }[one.finish] ?? "—"]);
  rows.push([pieces, String(one.length)]);
  return rows;
}

function pairs(rows) {
  const list = el("dl", {});
  for (const [name, value] of rows) list.append(el("dt", { text: name }), el("dd", {}, value));
  return list;
}
