import { mark } from "../colour.js";
import { card, el, replace, visible } from "../dom.js";
import { figure, percent, signed } from "../number.js";
import { cursor } from "../state.js";
import { FLAGS, credit, gap, phi, textOf } from "./tokens.js";

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
    Object.assign(this, { all, nodes, about, seen: "" });
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
    replace(this.body, pairs(this.figures(one, at)), el("h3", { text: `Completion #${one.sibling + 1}` }), pairs(completion(one)));
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
    if (one.flags[at] & FLAGS.left_out) words.push("left out of the loss");
    rows.push(["flags", words.join(", ") || "none"]);
    return rows;
  }
}

function quadrant(one, high) {
  if (!(Math.abs(one.advantage) > 0)) return "—";
  return `${one.advantage > 0 ? "winner" : "loser"}, ${high ? "high" : "low"}`;
}

function completion(one) {
  const rows = [
    ["outcome", el("span", {}, el("span", { class: mark(one.outcome) }), ` ${one.outcome}`)],
    ["answer", one.answer === null || one.answer === undefined ? "—" : visible(one.answer)],
    ["reward", figure(one.reward)],
  ];
  for (const [name, value] of Object.entries(one.parts ?? {})) rows.push([`reward by ${visible(name)}`, figure(value)]);
  for (const [name, value] of Object.entries(one.metrics ?? {})) rows.push([visible(name), figure(value)]);
  rows.push(["ended by", { stop: "a stop token", "stop-string": "a stop string", length: "the limit" }[one.finish] ?? "—"]);
  rows.push(["tokens", String(one.length)]);
  return rows;
}

function pairs(rows) {
  const list = el("dl", {});
  for (const [name, value] of rows) list.append(el("dt", { text: name }), el("dd", {}, value));
  return list;
}
