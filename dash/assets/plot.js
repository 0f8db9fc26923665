// Charts: uPlot with our axes, bands, shading, cursor line, legend and table.
import { card, dataTable, el, moved, replace } from "./dom.js";
import { css, tint } from "./colour.js";
import { NOT_FINITE, figure, tick } from "./number.js";
import { move } from "./state.js";

const FONT = "11px system-ui, 'DejaVu Sans', sans-serif";
const LEFT = 50;
const ROWS = 50;

/** The step nearest to `step` among those of a run, by bisection. */
export function nearest(steps, step) {
  if (steps.length === 0) return null;
  let [low, high] = [0, steps.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle;
    else high = middle;
  }
  return Math.abs(steps[low] - step) <= Math.abs(steps[high] - step) ? steps[low] : steps[high];
}

/** Values for uPlot: absent and not finite are gaps. */
const gaps = (values) => Array.from(values, (value) => (Number.isFinite(value) ? value : null));

/**
 * A card with a chart. `spec` has `title`, `unit`, `classes`, `series(run, state)` and, where
 * wanted, `note` (a line below the legend), `bands`, `shade(run)`, `flags(run)`, `zero`, `range`, `log`, `paint`,
 * `axis`, `tools`, `most` (the top of the scale for the highest value and all series), `foreign`
 * (the axis is no step of the page's cursor).
 *
 * A series has `label`, `values`, `colour`, and `key` (of the record), `width`, `dash`, `points`,
 * `span`, `bare` (no legend), `raw` (what the legend says), `loose` (does not set the scale).
 */
export class Chart {
  constructor(element, run, spec) {
    Object.assign(this, { run, spec, plot: null, version: -1, seen: "" });
    this.box = el("div", { class: "plot", role: "img" });
    this.legend = el("div", { class: "legend" });
    this.below = dataTable(spec.title, () => this.cells());
    const note = spec.note ? el("p", { class: "note", text: spec.note }) : "";
    this.card = card(spec.title, spec.unit === "1" ? "" : spec.unit, spec.classes, ...(spec.tools ?? []));
    this.none = el("p", { class: "note none" });
    this.card.append(this.box, this.none, this.legend, note, this.below);
    element.append(this.card);
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(this.box);
  }

  destroy() {
    this.sized.disconnect();
    this.plot?.destroy();
  }

  /** Draws what changed: everything for new data, the cursor line alone for a step. */
  draw(state) {
    const seen = [this.run.version, state.from, state.to, state.fig, state.rule, document.documentElement.dataset.theme].join();
    if (seen !== this.seen) {
      this.seen = seen;
      this.build(state);
    }
    this.point(state);
  }

  build(state) {
    this.series = this.spec.series(this.run, state).map((one) => ({ ...one, values: one.values ?? [] }));
    const steps = this.spec.steps?.(this.run) ?? this.run.steps;
    const data = [steps, ...this.series.map((one) => gaps(one.values))];
    this.steps = steps;
    this.first = state.from ?? steps[0] ?? 0;
    this.last = state.to ?? steps.at(-1) ?? 1;
    const key = JSON.stringify([this.series.map((one) => one.label), state.from, state.to, document.documentElement.dataset.theme, this.spec.key?.(state)]);
    if (this.plot && this.key === key) {
      this.plot.setData(data);
    } else {
      this.plot?.destroy();
      this.key = key;
      this.plot = new uPlot(this.options(), data, this.box);
      this.follow(this.plot.over);
    }
    const present = this.present(state);
    this.card.classList.toggle("nothing", present.length === 0);
    this.card.classList.toggle("flat", present.length > 0 && present.every((value) => value === 0));
    this.none.textContent = present.length === 0 ? "No value in these steps." : "0 at each of these steps.";
    this.hair = this.plot.over.querySelector(".hair") ?? this.plot.over.appendChild(el("div", { class: "hair" }));
    this.keyed();
    this.below.fill();
  }

  /** The values of the legend's series in the steps that are shown. */
  present({ from, to }) {
    const inside = (at) => this.steps[at] >= (from ?? -Infinity) && this.steps[at] <= (to ?? Infinity);
    const there = (value, at) => value !== undefined && !Number.isNaN(value) && inside(at);
    return this.series.filter((one) => !one.bare).flatMap((one) => (one.raw ?? one.values).filter(there));
  }

  options() {
    const { spec } = this;
    const range = (low, high) => {
      if (spec.range) return spec.range;
      if (low === null) return [0, 1];
      const least = spec.zero ? Math.min(0, low) : low;
      const highest = spec.most ? spec.most(high, this.series) : high;
      const most = spec.zero ? Math.max(0, highest) : highest;
      if (least === 0 && most === 0) return [0, 1];
      const pad = (most - least || Math.abs(most)) * 0.06;
      return [least === 0 ? 0 : least - pad, most === 0 ? 0 : most + pad];
    };
    const log = spec.log?.(this.series) ?? false;
    const axis = { font: FONT, stroke: css("--muted"), ticks: { show: false }, grid: { stroke: css("--line"), width: 1 } };
    return {
      width: Math.max(120, this.box.clientWidth),
      height: this.box.clientHeight,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { x: false, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { time: false, range: () => (this.last > this.first ? [this.first, this.last] : [this.first - 0.5, this.first + 0.5]) },
        y: log ? { distr: 3 } : { range: (_, low, high) => range(low, high) },
      },
      axes: [
        { ...axis, size: 24, gap: 4, space: 60, grid: { show: false }, values: (_, ticks) => ticks.map((one) => (Number.isInteger(one) ? String(one) : "")) },
        { ...axis, size: LEFT, gap: 6, space: 34, values: (_, ticks) => ticks.map((one) => (one === null ? "" : tick(one))), ...spec.axis?.(this) },
      ],
      series: [{}, ...this.series.map((one) => ({
        label: one.label, stroke: css(one.colour), width: one.width ?? 1.5, dash: one.dash,
        spanGaps: one.span ?? false, auto: !one.loose, paths: one.points ? () => null : undefined,
        points: { show: one.points ?? ((_, __, from, to) => to - from < 2), size: 5, fill: css(one.colour), width: 0 },
      }))],
      bands: (spec.bands?.(this.series) ?? []).map(({ series, colour, alpha }) => ({ series, fill: tint(colour, alpha) })),
      hooks: {
        drawClear: [(plot) => this.under(plot)],
        draw: [(plot) => this.over(plot), () => this.place()],
        setSelect: [(plot) => this.zoom(plot)],
      },
    };
  }

  /** Shades steps, and what the panel paints by itself. */
  under(plot) {
    const { ctx, bbox } = plot;
    const shade = this.spec.shade?.(this.run);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    if (shade) {
      ctx.fillStyle = css("--gate");
      this.steps.forEach((step, at) => {
        if (!(shade[at] > 0.5)) return;
        const [a, b] = [plot.valToPos(step - 0.5, "x", true), plot.valToPos(step + 0.5, "x", true)];
        ctx.fillRect(a, bbox.top, Math.max(1, b - a), bbox.height);
      });
    }
    this.spec.paint?.(plot, this);
    ctx.restore();
  }

  /** Flags, and a red mark where a value was not finite. */
  over(plot) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${11 * scale}px system-ui, 'DejaVu Sans', sans-serif`;
    for (const { step, label, colour } of this.spec.flags?.(this.run) ?? []) {
      const x = plot.valToPos(step, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = css(colour);
      line(ctx, x, bbox.top, x, bbox.top + bbox.height);
      ctx.textAlign = x > bbox.left + bbox.width * 0.7 ? "right" : "left";
      halo(ctx, ` ${label} `, x, bbox.top + 10 * scale);
    }
    ctx.fillStyle = css("--bad");
    for (const { values } of this.series) {
      this.steps.forEach((step, at) => {
        if (values[at] !== Infinity) return;
        const x = plot.valToPos(step, "x", true);
        if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x - 2 * scale, bbox.top + bbox.height - 6 * scale, 4 * scale, 6 * scale);
      });
    }
    ctx.restore();
  }

  /** The pointer moves the cursor of the page, where the axis is the steps. */
  follow(over) {
    if (this.spec.foreign) return;
    const to = (event) => {
      const x = event.clientX - over.getBoundingClientRect().left;
      const step = nearest(this.steps, this.plot.posToVal(x, "x"));
      if (step !== null) move({ step });
    };
    over.addEventListener("pointermove", (event) => event.buttons === 0 && moved(event) && to(event));
    over.addEventListener("pointerdown", to);
    over.addEventListener("dblclick", () => move({ from: null, to: null }));
  }

  zoom(plot) {
    const { left, width } = plot.select;
    if (width < 8 || this.spec.foreign) return;
    const [from, to] = [left, left + width].map((x) => nearest(this.steps, plot.posToVal(x, "x")));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (to > from) move({ from, to });
  }

  /** The legend's names; their values follow the cursor. */
  keyed() {
    const shown = this.series.filter((one) => !one.bare);
    this.values = shown.map((one) => [one, el("b", one.key ? { data: { key: one.key } } : {})]);
    replace(this.legend, ...this.values.map(([one, value]) => {
      const swatch = el("i", { class: one.points ? "dot" : one.dash ? "dash" : "" });
      swatch.style.color = css(one.colour);
      return el("span", {}, swatch, one.label, value);
    }));
  }

  point(state) {
    if (!this.plot) return;
    const step = state.step === null ? null : nearest(this.steps, state.step);
    this.at = step;
    this.place();
    const at = this.steps.indexOf(step);
    const words = this.values.map(([one, value]) => {
      const read = one.raw ?? one.values;
      const text = at < 0 ? "—" : figure(read[at]);
      value.textContent = text;
      value.className = text === NOT_FINITE ? "bad" : "";
      return `${one.label} ${text}`;
    });
    const told = `${this.spec.title}${this.spec.unit ? `, ${this.spec.unit}` : ""}. Step ${step ?? "—"}: ${words.join(", ")}.`;
    this.box.setAttribute("aria-label", told);
  }

  /** Puts the cursor line at its step. uPlot changes its scales after it was given data. */
  place() {
    if (!this.hair) return;
    const x = this.at === null || this.at === undefined ? -1 : this.plot.valToPos(this.at, "x");
    const inside = x >= 0 && x <= this.plot.over.clientWidth + 0.5;
    this.hair.style.display = inside ? "" : "none";
    if (inside) this.hair.style.transform = `translateX(${x}px)`;
  }

  resize() {
    if (this.plot && this.box.clientWidth > 0) this.plot.setSize({ width: this.box.clientWidth, height: this.box.clientHeight });
  }

  /** 50 rows at even distances. */
  cells() {
    const shown = this.series.filter((one) => !one.bare);
    const every = Math.max(1, Math.ceil(this.steps.length / ROWS));
    const rows = [];
    for (let at = 0; at < this.steps.length; at += every) {
      const cells = shown.map((one) => figure((one.raw ?? one.values)[at]));
      if (cells.some((cell) => cell !== "—")) rows.push([String(this.steps[at]), ...cells]);
    }
    return [["step", ...shown.map((one) => one.label)], rows];
  }
}

/** Text that can be read across lines. */
function halo(ctx, text, x, y) {
  ctx.strokeStyle = css("--card");
  ctx.lineWidth = 4 * (devicePixelRatio || 1);
  ctx.lineJoin = "round";
  ctx.strokeText(text, x, y);
  ctx.fillText(text, x, y);
}

function line(ctx, x0, y0, x1, y1) {
  ctx.lineWidth = devicePixelRatio || 1;
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

/** Several charts that are drawn together. */
export class Charts {
  constructor(list) {
    this.list = list;
  }

  draw(state) {
    for (const one of this.list) one.draw(state);
  }

  destroy() {
    for (const one of this.list) one.destroy();
  }
}
