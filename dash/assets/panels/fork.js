import { get, listen, post, remove, route } from "../api.js";
import { mark } from "../colour.js";
import { announce, card, el, replace, visible } from "../dom.js";
import { percent } from "../number.js";
import { cursor } from "../state.js";

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
      return replace(this.place, el("p", { class: "folded" }, el("b", { text: "Fork and alternatives" }), ` ${reasonOf(this.model)}`));
    }
    this.roller = action(`Roll ${ROLLS} from this token`, () => this.roll());
    this.scorer = action("Alternatives here", () => this.score());
    this.stopper = action("Cancel", () => this.stop());
    this.out = el("div", { "aria-live": "polite" });
    this.stopper.hidden = true;
    const panel = card("Fork and alternatives", this.model.name ?? "");
    panel.append(el("div", { class: "chips" }, this.roller, this.scorer, this.stopper), this.out);
    replace(this.place, panel);
  }

  show(entry, group) {
    this.stop();
    Object.assign(this, { entry, group });
    if (this.out) replace(this.out);
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
    return this.model.weights === "checkpoints" ? this.before() : null;
  }

  weights(checkpoint, step) {
    return checkpoint === null ? this.model.name : checkpoint < step ? `checkpoint ${checkpoint}` : `checkpoint ${checkpoint}, later than the step`;
  }

  async roll() {
    await this.ready;
    if (!this.entry || !this.out) return;
    this.stop();
    const asked = this.asked({ token: cursor.tok ?? 0, n: ROLLS, checkpoint: this.checkpoint(), temperature: null, max_new_tokens: null });
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
    const from = `From token ${asked.token} of #${asked.sibling + 1}, ${this.weights(checkpoint, asked.step)}: `;
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
      if (this.shows(asked) && data.n > 0) this.graft({ ...asked, ...data });
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

  /** What is likeliest here under the checkpoint before the step and under the next one. */
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
      replace(this.out, el("p", { class: "note", text: title }), ...[...shares.values()].map(alternative));
      this.busy(false);
    } catch (error) {
      this.refused(error);
    }
  }

  refused(error) {
    this.job = null;
    this.busy(false);
    const reason = reasonOf({ error: error.error ?? error.message, act: error.act });
    replace(this.out, el("p", { class: "note", text: reason }));
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

function alternative({ text, pair }) {
  const bars = el("div", { "aria-hidden": "true" }, ...[0, 1].map((side) => {
    const bar = el("i", {});
    bar.style.width = `${100 * (pair[side] ?? 0)}%`;
    return bar;
  }));
  return el("div", { class: "alt" }, el("code", { text: visible(text) || "no text" }), bars, el("span", { text: [0, 1].filter((side) => pair[side] !== undefined).map((side) => percent(pair[side], 1)).join(" → ") }));
}
