import { coded, el, replace, visible } from "../dom.js";
import { figure } from "../number.js";
import { move } from "../state.js";

/** Problems of the record that are shown before the others are asked for. */
const MOST_PROBLEMS = 6;

/** Characters of a sentence that are shown before the others are asked for. */
const MOST_LETTERS = 600;

/** The name of the list of further problems among what is opened. */
const FURTHER = Symbol("further problems");

/** Warnings: alarms, or advice while no alarm stands; what is wrong with the record. */
export const healthPanel = {
  title: "Health",
  needs: [],
  keys: [],
  mount(element, run) {
    // What the reader opened stays open when the list is drawn again.
    Object.assign(this, { run, seen: null, opened: new Set() });
    this.list = el("div", { class: "health", role: "status", "aria-label": "Health" });
    element.append(this.list);
  },
  draw() {
    const { run } = this;
    const seen = `${run.version} ${run.health.length} ${run.info.status?.state} ${run.gone}`;
    if (seen === this.seen) return;
    this.seen = seen;
    replace(this.list, ...states(run), ...damages(run.info, this.opened), ...warnings(run.health, this.opened));
  },
};

function states(run) {
  const { status } = run.info;
  const line = (kind, title, ...text) => [el("div", { class: `notice ${kind}` }, el("b", { text: title }), el("span", {}, ...text))];
  if (run.gone) return line("alarm", "is not there any more", `${sentence(visible(run.gone))} What was read of the run before is still shown.`);
  if (!status) return [];
  if (status.state === "killed") return line("alarm", "was killed", "The run says that it is running, and nobody holds its lock. Continue it with ", el("code", { text: "stearin train … --resume" }), ".");
  if (status.state === "silent") return line("alarm", "no sign of life", "The run has written nothing for longer than 30 seconds and 5 steps.");
  if (status.state === "failed") return line("alarm", "failed", visible(status.reason ?? ""));
  if (status.waiting) return line("advice", "waiting", visible(`for ${status.waiting.for}: ${status.waiting.reason}`));
  return [];
}

/** What could not be read, the first of it at once. */
function damages({ problems, more_problems: more = 0 }, opened) {
  const all = problems.map((one) => damage(one, opened));
  const unlisted = more > 0 ? [el("p", { class: "note", text: `and ${more} more that are not listed` })] : [];
  if (all.length <= MOST_PROBLEMS + 1) return [...all, ...unlisted];
  const count = all.length - MOST_PROBLEMS + more;
  const rest = el("details", { class: "further", open: opened.has(FURTHER) ? "" : null, ontoggle: () => opened[rest.open ? "add" : "delete"](FURTHER) }, el("summary", { text: `and ${count} more` }), ...all.slice(MOST_PROBLEMS), ...unlisted);
  return [...all.slice(0, MOST_PROBLEMS), rest];
}

function damage({ file, line, problem, act }, opened) {
  const place = line ? `${file}, line ${line}` : file;
  return el("div", { class: "notice alarm" }, el("b", { text: visible(place) }), el("span", {}, ...cut(visible(`${problem}. ${act ?? ""}`), opened)));
}

/** The newest of each name, with how often it came. */
function warnings(lines, opened) {
  const alarms = lines.filter((one) => one.level === "alarm");
  const names = new Map();
  for (const one of alarms.length ? alarms : lines) names.set(one.name, [one, (names.get(one.name)?.[1] ?? 0) + 1]);
  return [...names.values()].map(([one, times]) => {
    const where = el("button", { type: "button", class: "plain", text: `step ${one.step}${times > 1 ? `, ${times} times` : ""}`, onclick: () => move({ step: one.step }) });
    const value = one.value === undefined || !one.metric ? null : el("small", {}, " ", el("code", { text: one.metric }), ` ${figure(one.value)}`);
    return el("div", { class: `notice ${one.level}` }, el("b", { text: one.name.replaceAll("_", " ") }), el("span", {}, ...cut(sentence(one.cause), opened), " ", ...cut(sentence(one.act), opened), value), where);
  });
}

/** Text with `code` marked; of a long one the beginning, until all of it is asked for. */
function cut(text, opened) {
  if (text.length <= MOST_LETTERS || opened.has(text)) return coded(text);
  const place = el("span", {}, ...coded(text.slice(0, MOST_LETTERS)), "… ");
  const whole = () => (opened.add(text), replace(place, ...coded(text)));
  place.append(el("button", { type: "button", class: "plain", text: `show all ${figure(text.length)} characters`, onclick: whole }));
  return [place];
}

export const sentence = (text) => {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) || whole === "" ? whole : `${whole}.`;
};
