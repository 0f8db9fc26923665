import { css, success } from "../colour.js";
import { card, el, replace, svg, visible } from "../dom.js";
import { figure, percent, signed } from "../number.js";
import { cursor, move } from "../state.js";

const LETTER = 6.7;
const LETTERS = 24;
const ROW = 30;

/** A group as a prefix tree, drawn and as a list. */
export class TreeView {
  constructor(element, run) {
    this.run = run;
    this.card = card("Group as a tree", "branch: mean reward below it; circle: entropy of the next token");
    this.picture = el("div", { class: "tree", tabindex: "0", role: "region", "aria-label": "prefix tree" });
    this.legend = el("div", { class: "legend" });
    this.list = el("div", { class: "tree" });
    this.details = el("details", {}, el("summary", { text: "as a list" }), this.list);
    this.card.append(this.picture, this.legend, this.details);
    element.append(this.card);
  }

  show(nodes) {
    this.nodes = nodes;
    this.seen = "";
  }

  /** Adds continuations from a token, as a dashed branch. */
  graft(fork) {
    this.nodes = grafted(this.nodes, fork);
    this.seen = "";
    this.draw();
  }

  draw() {
    if (!this.nodes) return;
    const seen = [document.documentElement.dataset.theme, cursor.sib].join();
    if (seen === this.seen) return;
    this.seen = seen;
    replace(this.picture, treePicture(this.nodes, cursor.sib, this.run));
    const swatch = (colour, text) => {
      const mark = el("i", {});
      mark.style.color = colour;
      return el("span", {}, mark, text);
    };
    const opposed = this.nodes.some((node) => node.opposed) ? [el("span", { text: "◆ credit of the algorithm has the other sign than the value" })] : [];
    const unequal = this.run.info.equal_prefixes !== false && this.nodes.some((node) => !node.entropies_agree) ? [el("span", { class: "bad", text: "≠ the sampler computed an equal prefix differently" })] : [];
    replace(this.legend, swatch(success(1), "reward 1"), swatch(success(0.5), "half"), swatch(success(0), "0"), el("span", { text: "thicker: more completions" }), ...opposed, ...unequal);
    replace(this.list, nested(this.nodes, 0));
  }
}

/**
 * The tree with a leaf for continuations of `fork.sibling` from `fork.token` on, of which
 * `fork.correct` of `fork.n` are correct. It parts from the node that holds the last kept token.
 */
export function grafted(nodes, fork) {
  const last = Math.max(0, fork.token - 1);
  const parent = Math.max(0, nodes.findIndex(({ siblings, from, len }) => siblings.includes(fork.sibling) && last >= from && last < from + len));
  const { from, len } = nodes[parent];
  const leaf = {
    parent, fork, from: fork.token, len: 0, siblings: [], correct: fork.correct, value: fork.correct / fork.n, interval: [fork.low, fork.high],
    text: "", ends: true, is_cut: false, credit: null, monte_carlo_credit: null, opposed: false, entropy: null, entropies_agree: true,
    // Where on its parent's line it begins.
    along: len > 0 ? Math.min(1, (fork.token - from) / len) : 1,
  };
  return [...nodes, leaf];
}

const childrenOf = (nodes, at) => nodes.flatMap((node, child) => (node.parent === at ? [child] : []));

const names = (node) => node.siblings.map((sibling) => `#${sibling + 1}`).join(" ");

function label(node, pieces) {
  const text = visible(node.text).trim();
  const letters = [...text];
  if (letters.length <= LETTERS && !node.is_cut) return text;
  return `${letters.slice(0, LETTERS - 4).join("")} … ${node.len} ${pieces}`;
}

/** Where each node lies: leaves one below the other, a parent in the middle of its children. */
function places(nodes, pieces) {
  const at = new Array(nodes.length);
  let leaves = 0;
  const visit = (index, x) => {
    const node = nodes[index];
    const width = node.len === 0 ? 16 : Math.max(34, [...label(node, pieces)].length * LETTER + 14);
    const from = x + (index === 0 ? 0 : 32);
    const children = childrenOf(nodes, index);
    const place = { from, to: from + width, y: 0 };
    at[index] = place;
    if (children.length === 0) place.y = 24 + ROW * leaves++;
    else place.y = children.map((child) => visit(child, begin(nodes[child], place))).reduce((sum, y) => sum + y, 0) / children.length;
    return place.y;
  };
  visit(0, 8);
  return { at, height: 24 + ROW * Math.max(1, leaves), width: Math.max(...at.map(({ to }) => to)) + (nodes.some(({ fork }) => fork) ? 400 : 190) };
}

/** Where a child's line leaves its parent's. */
const begin = (node, parent) => (node.fork ? parent.from + (parent.to - parent.from) * node.along : parent.to);

/** The tree of a group of `run` as SVG; branches of `sibling` are drawn strong. */
export function treePicture(nodes, sibling, run) {
  const [pieces, strict] = [run.pieces(), run.info.equal_prefixes !== false];
  const { at, width, height } = places(nodes, pieces);
  const root = nodes[0];
  const told = `Prefix tree of ${root.siblings.length} completions, ${root.correct} correct, ${nodes.length} nodes`;
  const picture = svg("svg", { viewBox: `0 0 ${Math.ceil(width)} ${height}`, width: Math.ceil(width), height, role: "img", "aria-label": told });
  const top = [];
  nodes.forEach((node, index) => {
    const { from, to, y } = at[index];
    const parent = node.parent === null ? null : at[node.parent];
    const left = parent && begin(node, parent);
    const curve = parent ? `M${left} ${parent.y}C${left + 18} ${parent.y} ${from - 20} ${y} ${from} ${y}L${to} ${y}` : `M${from} ${y}L${to} ${y}`;
    const on = node.siblings.includes(sibling);
    const branch = svg("g", { class: "branch", onclick: () => move({ sib: on ? sibling : firstOf(node), tok: node.from }) });
    branch.append(svg("title", {}, describe(node)));
    branch.append(svg("path", { class: "run", d: curve, fill: "none", stroke: success(node.value), "stroke-width": 1.5 + Math.min(14, node.siblings.length) * 0.7, "stroke-linecap": "round", "stroke-dasharray": node.fork ? "2 6" : null, "stroke-opacity": sibling === null || sibling === undefined || on || node.fork ? 1 : 0.5 }));
    const text = label(node, pieces);
    if (text) branch.append(svg("text", { class: "over", x: from + 5, y: y - 5 - Math.min(14, node.siblings.length) * 0.35 }, text));
    if (node.opposed) branch.append(svg("text", { x: from - 8, y: y + 4, fill: css("--ink") }, "◆"));
    if (node.fork) {
      top.push(svg("text", { class: "dim", x: to + 8, y: y + 4 }, `fork, ${node.fork.by}: ${node.correct} of ${node.fork.n} correct`));
    } else if (node.ends) {
      const share = node.correct === node.siblings.length ? "correct" : node.correct === 0 ? "not correct" : `${node.correct} correct`;
      top.push(svg("text", { class: "dim", x: to + 8, y: y + 4 }, `${node.siblings.length > 4 ? `${node.siblings.length} completions` : names(node)} ${share}`));
    } else {
      top.push(svg("circle", { cx: to, cy: y, r: 3 + 4 * Math.min(2, node.entropy ?? 0), fill: css("--card"), stroke: css(node.entropies_agree || !strict ? "--ink" : "--bad"), "stroke-width": 1.4 }));
      top.push(svg("text", { class: "dim over", x: to, y: y + 22, "text-anchor": "middle" }, percentOf(node)));
    }
    picture.append(branch);
  });
  picture.append(...top);
  return picture;
}

/** A completion of a node. */
const firstOf = (node) => (node.fork ? node.fork.sibling : node.siblings[0]);

/** Three digits; a dash where a reward was not measured or is not finite. */
const rounded = (value) => (Number.isFinite(value) ? figure(Number(value.toFixed(3))) : "—");

const percentOf = (node) => (node.interval ? percent(node.value) : rounded(node.value));

function describe(node) {
  if (node.fork) {
    const { n, sibling, token, low, high, by } = node.fork;
    return `Fork of #${sibling + 1} from token ${token}, ${by}: ${node.correct} of ${n} correct; 95 % interval ${percent(low)} to ${percent(high)}.`;
  }
  const parts = [`${names(node)}: mean reward ${rounded(node.value)}, ${node.correct} of ${node.siblings.length} correct`];
  if (node.interval) parts.push(`95 % interval ${percent(node.interval[0])} to ${percent(node.interval[1])}`);
  if (Number.isFinite(node.monte_carlo_credit)) parts.push(`worth of this step ${signed(Number(node.monte_carlo_credit.toFixed(3)))}`);
  if (Number.isFinite(node.credit)) parts.push(`credit of its first token ${signed(Number(node.credit.toFixed(3)))}${node.opposed ? ", the opposite sign" : ""}`);
  if (node.entropy !== null) parts.push(`entropy after it ${figure(node.entropy)} nats`);
  return `${parts.join("; ")}.`;
}

function nested(nodes, index) {
  const node = nodes[index];
  const open = el("button", { type: "button", class: "plain", text: `token ${node.from}`, onclick: () => move({ sib: firstOf(node), tok: node.from }) });
  const item = el("li", {}, el("code", { text: visible(node.text) || "no text" }), ` ${describe(node)} `, open);
  const children = childrenOf(nodes, index);
  for (const child of children) item.append(nested(nodes, child));
  return el("ul", {}, item);
}
