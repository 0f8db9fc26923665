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

  async score() {
    if (!this.entry) return;
    try {
      const answer = await post("/score", { ...this.place(), checkpoint: this.checkpoint(), top: 5 });
      const at = cursor.tok ?? 0;
      const rows = (answer.alternatives?.[at] ?? []).map(({ text, log_prob: log }) => [el("code", { text: visible(text) }), percent(Math.exp(log), 1)]);
      replace(this.out, el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { text: value })])));
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
