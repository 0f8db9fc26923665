// The strip under the header: one slider for the step, with evaluations, recorded steps, alarms and
// the open gate.
import { css } from "./colour.js";
import { el, replace } from "./dom.js";
import { nearest } from "./plot.js";
import { move } from "./state.js";

export class Strip {
  constructor(element, run) {
    Object.assign(this, { run, seen: "" });
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.slider = el("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "step" });
    this.slider.addEventListener("input", () => {
      const step = nearest(this.shown(), Number(this.slider.value));
      if (step !== null) move({ step });
    });
    this.at = el("output", {});
    this.range = el("select", { "aria-label": "steps shown", title: "steps shown" });
    this.range.addEventListener("change", () => {
      const [from, to] = this.range.value.split("..").map((part) => (part === "" ? null : Number(part)));
      move({ from: from ?? this.run.steps[0], to: to ?? null });
    });
    this.track = el("div", { class: "track" }, this.canvas, this.slider);
    this.root = element.appendChild(el("div", { class: "strip" }, this.at, this.track, this.range));
    new ResizeObserver(() => this.paint()).observe(this.track);
  }

  /** Steps within the range that is shown. */
  shown() {
    const { from, to } = this.state;
    return this.run.steps.filter((step) => step >= (from ?? -Infinity) && step <= (to ?? Infinity));
  }

  draw(state) {
    this.state = state;
    replace(this.at, "step ", el("b", { text: state.step === null ? "—" : String(state.step) }));
    const seen = [this.run.version, state.from, state.to].join();
    if (seen !== this.seen) {
      this.seen = seen;
      const steps = this.shown();
      this.slider.min = steps[0] ?? 0;
      this.slider.max = steps.at(-1) ?? 0;
      this.choices(state);
    }
    this.slider.value = state.step ?? 0;
    this.slider.setAttribute("aria-valuetext", `step ${state.step ?? "—"}`);
    this.paint();
  }

  choices(state) {
    const all = [["..", "all steps"]];
    const last = this.run.steps.at(-1) ?? 0;
    for (const { name, from, to } of this.run.info.stages) if (from <= last) all.push([`${from}..${to >= last ? "" : to}`, `${name} ${from}–${to}`]);
    const whole = state.from === null || (state.from === this.run.steps[0] && state.to === null);
    const value = whole ? ".." : `${state.from}..${state.to ?? ""}`;
    if (!all.some(([key]) => key === value)) all.push([value, `steps ${state.from}–${state.to ?? last}`]);
    replace(this.range, ...all.map(([key, label]) => el("option", { value: key, text: label })));
    this.range.value = value;
  }

  paint() {
    const { canvas, track, state, run } = this;
    if (!state || track.clientWidth === 0) return;
    const scale = devicePixelRatio || 1;
    const [width, height] = [track.clientWidth, track.clientHeight];
    canvas.width = width * scale;
    canvas.height = height * scale;
    const ctx = canvas.getContext("2d");
    ctx.scale(scale, scale);
    const [low, high] = [Number(this.slider.min), Number(this.slider.max)];
    const x = (step) => 8 + ((width - 16) * (step - low)) / Math.max(1, high - low);
    const inside = (step) => step >= low && step <= high;
    const middle = height / 2;
    ctx.fillStyle = css("--soft");
    ctx.fillRect(4, middle - 2, width - 8, 4);
    const gate = run.column("stare/gate_on");
    ctx.fillStyle = css("--gate-strong");
    if (gate) run.steps.forEach((step, at) => gate[at] > 0.5 && inside(step) && ctx.fillRect(x(step - 0.5), middle - 2, Math.max(1, x(1) - x(0)), 4));
    ctx.fillStyle = css("--accent");
    for (const step of run.info.sampled) if (inside(step)) ctx.fillRect(x(step) - 0.75, middle + 5, 1.5, 4);
    ctx.fillStyle = css("--muted");
    for (const { steps } of run.info.evals) for (const step of steps) if (inside(step)) ctx.fillRect(x(step) - 0.5, middle - 7, 1, 14);
    for (const { step, level } of run.health) {
      if (!inside(step)) continue;
      ctx.fillStyle = css(level === "alarm" ? "--bad" : "--warn");
      ctx.beginPath();
      ctx.arc(x(step), middle - 8, 2.5, 0, 7);
      ctx.fill();
    }
    if (state.step === null || !inside(state.step)) return;
    ctx.fillStyle = css("--ink");
    ctx.beginPath();
    ctx.arc(x(state.step), middle, 6, 0, 7);
    ctx.fill();
  }
}
