import { post } from "../api.js";
import { mark } from "../colour.js";
import { announce, card, el, replace, visible } from "../dom.js";
import { percent, wilsonInterval } from "../number.js";
import { cursor } from "../state.js";

const ROLLS = 8;

/** Continuations from the cursor's token, and the alternatives there, by a model of the server. */
export class ForkView {
  constructor(element, run) {
    this.run = run;
    this.card = card("Fork and alternatives", "");
    this.button = el("button", { type: "button", class: "action", text: `Roll ${ROLLS} from this token`, onclick: () => this.roll() });
    this.other = el("button", { type: "button", class: "action", text: "Alternatives here", onclick: () => this.score() });
    this.out = el("div", { "aria-live": "polite" });
    this.card.append(el("div", { class: "chips" }, this.button, this.other), this.out);
    element.append(this.card);
  }

  show(entry, group) {
    this.source?.close();
    Object.assign(this, { entry, group });
    replace(this.out);
  }

  place() {
    return { run: this.run.id, step: this.entry.step, group: this.entry.group, sibling: cursor.sib ?? 0 };
  }

  /** The newest checkpoint at or before the step. */
  checkpoint() {
    return this.run.info.checkpoints.findLast((step) => step <= this.entry.step) ?? this.run.info.checkpoints[0] ?? null;
  }

  async roll() {
    if (!this.entry) return;
    try {
      const asked = { ...this.place(), token: cursor.tok ?? 0, n: ROLLS, checkpoint: this.checkpoint(), temperature: 1, max_new_tokens: null };
      const { job } = await post("/fork", asked);
      this.follow(job, asked);
    } catch (error) {
      this.refused(error);
    }
  }

  follow(job, asked) {
    const squares = el("span", { class: "marks" });
    const text = el("p", { class: "problem" });
    const note = el("span", { text: " " });
    replace(this.out, el("p", { class: "note" }, `From token ${asked.token} of #${asked.sibling + 1}, checkpoint ${asked.checkpoint ?? "—"}: `, squares, note), text);
    let [correct, n] = [0, 0];
    this.source = new EventSource(`/api/v1/fork/${encodeURIComponent(job)}/events`);
    this.source.addEventListener("completion", (event) => {
      const one = JSON.parse(event.data);
      n += 1;
      if (one.outcome === "correct") correct += 1;
      squares.append(el("button", { type: "button", class: mark(one.outcome), "aria-label": one.outcome, onclick: () => (text.textContent = visible(one.text, true)) }));
      const [low, high] = wilsonInterval(correct / n, n);
      note.textContent = ` ${correct} of ${n} correct (${percent(low)} to ${percent(high)})`;
    });
    this.source.addEventListener("done", () => {
      this.source.close();
      announce(`fork: ${correct} of ${n} correct`);
    });
  }

  /** What is likeliest here under the checkpoint before the step and under the next one. */
  async score() {
    if (!this.entry) return;
    const next = this.run.info.checkpoints.find((step) => step > this.entry.step);
    const checkpoints = [this.checkpoint(), ...(next === undefined ? [] : [next])];
    try {
      const answers = [];
      for (const checkpoint of checkpoints) answers.push(await post("/score", { ...this.place(), checkpoint, top: 5 }));
      const at = cursor.tok ?? 0;
      const shares = new Map();
      answers.forEach(({ alternatives }, side) => {
        for (const { text, log_prob: log } of alternatives[at]) shares.set(text, Object.assign(shares.get(text) ?? [], { [side]: Math.exp(log) }));
      });
      replace(this.out, el("p", { class: "note", text: `Checkpoint ${checkpoints.join(", then ")}` }), ...[...shares].map(([text, pair]) => alternative(text, pair)));
    } catch (error) {
      this.refused(error);
    }
  }

  /** Without a model the card says how to get one. */
  refused(error) {
    const act = error.act ? ` ${error.act.charAt(0).toUpperCase()}${error.act.slice(1)}.` : "";
    const reason = `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.${act}`;
    replace(this.out, el("p", { class: "note", text: reason }));
    if (error.status === 404) this.button.disabled = this.other.disabled = true;
    announce(reason);
  }
}

function alternative(text, pair) {
  const bars = el("div", { "aria-hidden": "true" }, ...[0, 1].map((side) => {
    const bar = el("i", {});
    bar.style.width = `${100 * (pair[side] ?? 0)}%`;
    return bar;
  }));
  return el("div", { class: "alt" }, el("code", { text: visible(text) || "no text" }), bars, el("span", { text: [0, 1].filter((side) => pair[side] !== undefined).map((side) => percent(pair[side], 1)).join(" → ") }));
}
