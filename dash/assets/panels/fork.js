import { get, listen, post, remove, route } from "../api.js";
import { mark } from "../colour.js";
import { announce, card, coded, el, replace, visible } from "../dom.js";
import { figure, percent } from "../number.js";
import { cursor } from "../state.js";
import { bars } from "./inspector.js";

const ROLLS = 8;

/** Continuations from the cursor's token, and the alternatives there, by a model of the server. */
export class ForkView {
  constructor(element, run, graft) {
    Object.assign(this, { run, graft });
    this.place = el("div", {});
    element.append(this.place);
    this.ready = this.open();
  }

  /** Without a model there is one line that says why. */
  async open() {
    this.model = await get("/model").catch((error) => ({ weights: null, error: error.message, act: error.act }));
    if (this.model.weights === null) {
      return replace(this.place, el("p", { class: "folded" }, el("b", { text: "Fork and alternatives" }), " ", ...coded(reasonOf(this.model))));
    }
    this.roller = action("Roll from this token", () => this.roll());
    this.scorer = action("Alternatives here", () => this.score());
    this.stopper = action("Cancel", () => this.stop());
    this.out = el("div", { "aria-live": "polite" });
    this.likely = el("div", { "aria-live": "polite" });
    this.stopper.hidden = true;
    const panel = card("Fork and alternatives", this.model.name ?? "");
    panel.append(this.form(), el("div", { class: "chips" }, this.roller, this.scorer, this.stopper), this.out, this.likely);
    replace(this.place, panel);
    if (this.entry) this.fill();
  }

  /** How many, how warm, and by which weights. */
  form() {
    const { n: [fewest, most], temperature: [coldest, hottest] } = this.model.fork ?? { n: [1, 32], temperature: [0, 10] };
    const number = (more) => el("input", { type: "number", ...more });
    this.n = number({ min: fewest, max: most, step: 1, value: ROLLS });
    this.temperature = number({ min: coldest, max: hottest, step: "any" });
    this.weighed = this.model.weights === "checkpoints" ? el("select", {}) : null;
    const fields = [["continuations", this.n], ["temperature", this.temperature], ["checkpoint", this.weighed]].filter(([, field]) => field);
    return el("div", { class: "form" }, ...fields.map(([name, field]) => el("label", {}, el("span", { text: name }), field)));
  }

  show(entry, group, about) {
    this.stop();
    Object.assign(this, { entry, group, about });
    if (this.out) this.fill();
  }

  /** What the form offers for the group: the step's temperature, the checkpoints that there are. */
  fill() {
    replace(this.out);
    replace(this.likely);
    this.temperature.placeholder = `${figure(this.about.temperature)}, the step's`;
    if (!this.weighed) return;
    const before = this.before();
    const all = this.run.info.checkpoints;
    replace(this.weighed, ...all.map((step) => el("option", { value: step, text: `${step}${step >= this.entry.step ? " (later)" : step === before ? " (nearest)" : ""}` })));
    this.weighed.value = String(before);
  }

  /** The form's numbers; null, with the reason said, where one is none. */
  chosen() {
    for (const field of [this.n, this.temperature]) if (!field.reportValidity()) return null;
    const own = this.temperature.value;
    return { n: Number(this.n.value || ROLLS), temperature: own === "" ? null : Number(own), checkpoint: this.checkpoint() };
  }

  /** What a request names, as it is now: the cursor may move while an answer is awaited. */
  asked(further) {
    return { run: this.run.id, step: this.entry.step, group: this.entry.group, sibling: cursor.sib ?? 0, ...further };
  }

  /** The newest checkpoint before the step, whose weights are nearest to those that sampled; else the first. */
  before() {
    const all = this.run.info.checkpoints;
    return all.findLast((step) => step < this.entry.step) ?? all[0] ?? null;
  }

  checkpoint() {
    return this.weighed && this.weighed.value !== "" ? Number(this.weighed.value) : null;
  }

  weights(checkpoint, step) {
    return checkpoint === null ? this.model.name : checkpoint < step ? `checkpoint ${checkpoint}` : `checkpoint ${checkpoint}, later than the step`;
  }

  async roll() {
    await this.ready;
    if (!this.entry || !this.out) return;
    const chosen = this.chosen();
    if (!chosen) return;
    this.stop();
    const asked = this.asked({ token: cursor.tok ?? 0, ...chosen, max_new_tokens: null });
    replace(this.out, el("p", { class: "note", text: "Reading the weights …" }));
    this.busy(true);
    try {
      const [{ job, checkpoint }, recorded] = await Promise.all([post("/fork", asked), this.recorded(asked, this.group)]);
      if (!this.shows(asked)) return void remove(route("fork", job)).catch(() => {}).finally(() => this.busy(false));
      this.follow(job, asked, checkpoint, recorded);
    } catch (error) {
      this.refused(error);
    }
  }

  /** What became of the recorded completions that begin with the tokens that are kept. */
  async recorded({ step, group, sibling, token }, { completions }) {
    const nodes = await get(route("runs", this.run.id, "groups", step, group, "tree"));
    const last = token - 1;
    const node = nodes.find(({ siblings, from, len }) => siblings.includes(sibling) && last >= from && last < from + len);
    const outcomes = (node?.siblings ?? [...completions.keys()]).map((one) => completions[one].outcome);
    return `${outcomes.filter((one) => one === "correct").length} of ${outcomes.length}`;
  }

  /** Whether the group of a request is still the one that is shown. */
  shows({ step, group }) {
    return this.entry.step === step && this.entry.group === group;
  }

  follow(job, asked, checkpoint, recorded) {
    const squares = el("span", { class: "marks" });
    const note = el("p", { class: "note" });
    const text = el("p", { class: "problem" });
    // Who sees the tree has to see by which weights a branch was drawn.
    const warmth = asked.temperature === null ? "" : `, temperature ${figure(asked.temperature)}`;
    const by = `${this.weights(checkpoint, asked.step)}${warmth}`;
    const from = `From token ${asked.token} of #${asked.sibling + 1}, ${by}: `;
    replace(this.out, el("p", { class: "note" }, from, squares), note, text);
    const told = [];
    const source = listen(route("fork", job, "events"), ["completion", "done", "cancelled", "failed"], (event, data) => {
      if (event === "completion") {
        told.push(data);
        const label = `continuation ${data.number + 1}: ${data.outcome}`;
        squares.append(el("button", { type: "button", class: mark(data.outcome), "aria-label": label, title: label, onclick: () => replace(text, ...whole(data)) }));
        note.textContent = `${told.length} of ${asked.n} judged; recorded with these tokens: ${recorded} correct`;
        return;
      }
      source.close();
      this.job = null;
      this.busy(false);
      if (event === "failed") return this.refused(data);
      const share = `${data.correct} of ${data.n} correct (95 %: ${percent(data.low)} to ${percent(data.high)}); recorded with these tokens: ${recorded}`;
      const reason = event === "cancelled" ? ` Cancelled: ${data.reason}.` : "";
      replace(note, `${share}.${reason} `, action("as JSON", () => save(`fork-${asked.step}-${asked.group}-${asked.sibling}-${asked.token}.json`, { ...asked, checkpoint, ...data, completions: told })));
      if (this.shows(asked) && data.n > 0) this.graft({ ...asked, ...data, by });
      announce(`fork: ${data.correct} of ${data.n} correct`);
    });
    // Another server knows nothing of it, and the browser gives up.
    source.addEventListener("error", () => source.readyState === EventSource.CLOSED && this.refused({ error: "the server does not know the fork any more", act: "roll again" }));
    this.job = job;
  }

  /** Ends the fork under way. */
  stop() {
    if (!this.job) return;
    remove(route("fork", this.job)).catch((error) => announce(error.message));
  }

  busy(is) {
    this.roller.disabled = this.scorer.disabled = is;
    this.stopper.hidden = !is;
  }

  /** What is likeliest here under the chosen checkpoint and under the next one from the step on. */
  async score() {
    await this.ready;
    if (!this.entry || !this.out) return;
    const first = this.checkpoint();
    const next = first === null ? undefined : this.run.info.checkpoints.find((step) => step >= this.entry.step && step > first);
    const checkpoints = [first, ...(next === undefined ? [] : [next])];
    const at = cursor.tok ?? 0;
    const asked = this.asked({ top: 5 });
    this.busy(true);
    try {
      const shares = new Map();
      for (const [side, checkpoint] of checkpoints.entries()) {
        const { alternatives } = await post("/score", { ...asked, checkpoint });
        if (!this.shows(asked)) return void this.busy(false);
        for (const { token, text, log_prob: log } of alternatives[at] ?? []) {
          const one = shares.get(token) ?? { text, pair: [] };
          one.pair[side] = Math.exp(log);
          shares.set(token, one);
        }
      }
      const title = `Likeliest at token ${at}, ${checkpoints.map((one) => this.weights(one, asked.step)).join(", then ")}`;
      replace(this.likely, el("p", { class: "note", text: title }), ...[...shares.values()].map(({ text, pair }) => bars(visible(text) || "no text", pair)));
      this.busy(false);
    } catch (error) {
      this.refused(error);
    }
  }

  refused(error) {
    this.job = null;
    this.busy(false);
    const reason = reasonOf({ error: error.error ?? error.message, act: error.act });
    replace(this.out, el("p", { class: "note" }, ...coded(reason)));
    announce(reason);
  }
}

const action = (text, onclick) => el("button", { type: "button", class: "action", text, onclick });

/** What is wrong and what to do, as sentences. */
function reasonOf({ error, act }) {
  const capital = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.?$/, ".")}`;
  return [error, act].filter(Boolean).map(capital).join(" ");
}

/** The text of a continuation, with what is new in bold. */
function whole({ text, from }) {
  const bytes = new TextEncoder().encode(text);
  const part = (piece) => visible(new TextDecoder().decode(piece), true);
  return [part(bytes.subarray(0, from)), el("b", { text: part(bytes.subarray(from)) })];
}

/** Saves a value as a file of the browser. */
function save(name, value) {
  const address = URL.createObjectURL(new Blob([JSON.stringify(value, null, 1)], { type: "application/json" }));
  el("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}
