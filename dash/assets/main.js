// Starts the page: runs, views, panels, keys.
import { Refused, RunData, get } from "./api.js";
import { announce, el, folded, replace } from "./dom.js";
import { isReport } from "./embedded.js";
import { helpDialog, listenKeys } from "./keys.js";
import { duration } from "./number.js";
import { comparePanel } from "./panels/compare.js";
import { entropyPanel } from "./panels/entropy.js";
import { evalsPanel } from "./panels/evals.js";
import { groupsPanel } from "./panels/groups.js";
import { healthPanel } from "./panels/health.js";
import { lengthsPanel } from "./panels/lengths.js";
import { predictionPanel } from "./panels/prediction.js";
import { quadrantsPanel, weightsPanel } from "./panels/quadrants.js";
import { rewardsPanel } from "./panels/rewards.js";
import { surprisalPanel } from "./panels/surprisal.js";
import { timePanel } from "./panels/time.js";
import { updatesPanel } from "./panels/updates.js";
import { nearest } from "./plot.js";
import { VIEWS, address, arrive, cursor, move, parse, touch, watch } from "./state.js";
import { Strip } from "./strip.js";

const NAMES = new Map([["run", "Run"], ["samples", "Samples"], ["evals", "Evals"], ["compare", "Compare"]]);
const FIRST = [entropyPanel, rewardsPanel];
const CURVES = [quadrantsPanel, predictionPanel, surprisalPanel, weightsPanel, lengthsPanel, updatesPanel, timePanel];
const STATES = new Map([["killed", "was killed"], ["silent", "no sign of life"], ["gone", "is not there any more"], ["unknown", "state unknown"]]);

const page = { runs: [], run: null, newest: null, strip: null, views: new Map(), panels: [], lost: false };

/** Panels of a view, mounted where what they need is there. */
function mount(element, run, panels, rest) {
  const mounted = [];
  const missing = [];
  for (const panel of panels) {
    const lacking = panel.needs.filter(({ any }) => !any.some((key) => run.matching(key).length > 0));
    if (lacking.length > 0) {
      missing.push(folded(panel.title, lacking.flatMap(({ any }) => any.slice(0, 2)), lacking[0].record));
      continue;
    }
    panel.mount(element, run, rest);
    mounted.push(panel);
  }
  return { mounted, missing };
}

const wanted = (run, panels) => panels.flatMap((panel) => panel.keys).flatMap((key) => run.matching(key));

/** Whether a run is an evaluation alone, without steps and groups. */
const isEval = (run) => run.info.facts?.kind === "eval";

/** The views in which a run has something. */
const viewsOf = (run) => (isEval(run) ? ["evals", "compare"] : VIEWS);

/** What decides which charts there are. */
const shape = (run) => JSON.stringify([[...run.keys.keys()].sort(), run.info.sampled.length > 0, run.info.evals.map(({ set }) => set), isEval(run) && run.info.status?.state]);

async function showRun(id) {
  page.run?.close();
  const run = new RunData(id);
  page.run = run;
  page.newest = null;
  await run.open();
  if (page.run !== run) return;
  const first = wanted(run, FIRST);
  await run.load(first.length > 0 ? first : wanted(run, CURVES));
  page.shape = shape(run);
  if (run.keys.size === 0 && run.info.evals.length > 0 && cursor.view === "run") move({ view: "evals" });
  chooseStep(run);
  settle(run);
  build(run);
  run.load(wanted(run, CURVES)).then(() => touch("data"));
  run.listen((event, data) => follow(run, event, data));
}

/** The last stage of a kind that samples, and the newest step, if the address says nothing. */
function chooseStep(run) {
  const patch = {};
  const last = run.steps.at(-1) ?? 0;
  if (cursor.from === null && cursor.to === null) {
    const stage = run.info.stages.findLast(({ kind, from }) => kind === "rl" && from <= last);
    if (stage && stage.from > 1) Object.assign(patch, { from: stage.from, to: stage.to >= last ? null : stage.to });
  }
  move(patch);
  stayNewest(run);
}

/** Moves a cursor that an address put where the run has nothing. */
function settle(run) {
  const patch = {};
  if (!viewsOf(run).includes(cursor.view)) patch.view = viewsOf(run)[0];
  const { info, steps } = run;
  const others = () => [...info.sampled, ...info.evals.flatMap((one) => one.steps)];
  if (cursor.step === null) patch.step = steps.at(-1) ?? null;
  else if (!run.places.has(cursor.step) && !others().includes(cursor.step)) {
    patch.step = nearest([...steps, ...others()].sort((a, b) => a - b), cursor.step);
  }
  if (cursor.from > (steps.at(-1) ?? 0) || (cursor.to ?? Infinity) < (steps[0] ?? 0)) Object.assign(patch, { from: null, to: null });
  patch.with = cursor.with.filter((id, at, all) => id !== run.id && all.indexOf(id) === at && page.runs.some((one) => one.id === id));
  move(patch);
}

/** A cursor at the newest step, or at none, goes to the step that is the newest now. */
function stayNewest(run) {
  const newest = run.steps.at(-1) ?? null;
  if (cursor.step === null || cursor.step === page.newest) move({ step: newest });
  page.newest = newest;
}

function build(run) {
  for (const panel of page.panels) (panel.charts ?? panel.chart)?.destroy();
  const main = document.getElementById("main");
  const sections = VIEWS.map((view) => el("section", { id: `view-${view}`, "aria-label": NAMES.get(view) }));
  page.views = new Map(VIEWS.map((view, at) => [view, sections[at]]));
  replace(main, ...sections);
  page.built = new Set();
  page.panels = [];
  head(run);
  if (isEval(run)) {
    const alerts = page.views.get(viewsOf(run)[0]).appendChild(el("div", {}));
    healthPanel.mount(alerts, run);
    page.panels.push(healthPanel);
  }
  view(cursor.view);
  touch("data");
}

function view(name) {
  for (const [key, section] of page.views) section.hidden = key !== name;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (!page.run?.info || page.built.has(name)) return;
  page.built.add(name);
  const section = page.views.get(name);
  const { run } = page;
  if (name === "run") {
    const alerts = el("div", {});
    const grid = el("div", { class: "grid" });
    const rest = el("div", { class: "grid more" });
    section.append(alerts, grid, rest);
    healthPanel.mount(alerts, run);
    const first = mount(grid, run, FIRST, rest);
    const curves = mount(grid, run, CURVES.slice(0, 3), rest);
    const small = mount(rest, run, CURVES.slice(3), rest);
    rest.append(...first.missing, ...curves.missing, ...small.missing);
    page.panels.push(healthPanel, ...first.mounted, ...curves.mounted, ...small.mounted);
    return;
  }
  const panel = { samples: groupsPanel, evals: evalsPanel, compare: comparePanel }[name];
  panel.mount(section, run, page.runs);
  page.panels.push(panel);
}

function head(run) {
  const choose = el("select", { "aria-label": "run" });
  for (const one of page.runs) choose.append(el("option", { value: one.id, text: one.name }));
  choose.value = run?.id ?? "";
  choose.addEventListener("change", () => move({ run: choose.value, step: null, group: null, sib: null, tok: null, from: null, to: null, id: null, with: [] }, true));
  page.state = el("span", { class: "state" });
  const nav = el("nav", { "aria-label": "views" });
  (run?.info ? viewsOf(run) : VIEWS).forEach((name) => nav.append(el("button", { type: "button", data: { view: name }, text: NAMES.get(name), onclick: () => move({ view: name }, true) })));
  const theme = el("button", { type: "button", class: "icon", "aria-label": "switch theme", title: "theme (t)", text: "◐", onclick: switchTheme });
  const help = el("button", { type: "button", class: "icon", "aria-label": "keys", title: "keys (?)", text: "?", onclick: () => page.help.showModal() });
  const line = el("div", { class: "barline" }, el("span", { class: "logo", text: "stearin" }), choose, page.state, nav, theme, help);
  const header = document.getElementById("head");
  replace(header, line);
  page.strip = run ? new Strip(header, run) : null;
  // An evaluation has one step, the one that its policy was trained to.
  if (run?.info && isEval(run)) page.strip.root.hidden = true;
}

function status(run) {
  const { status: now, stages } = run.info;
  const state = run.gone ? "gone" : page.lost ? "lost" : (now?.state ?? "unknown");
  const name = state === "lost" ? "server lost" : (STATES.get(state) ?? state);
  const parts = [name];
  const whole = isEval(run) ? "problem" : "step";
  if (now) parts.push(isEval(run) ? `${now.step} of ${now.total_steps} problems` : `step ${now.step} of ${now.total_steps}`);
  const stage = stages[now?.stage ?? 0];
  if (stage && stages.length > 1) parts.push(stage.name);
  if (state === "running" && now.phase) parts.push(now.phase);
  const origin = page.runs.find((one) => one.id === run.id)?.origin;
  if (origin && origin !== "stearin") parts.push(`written by ${origin}`);
  const { path: base, adapter } = run.info.facts?.model ?? {};
  if (adapter) parts.push(`adapter of rank ${adapter.rank}, ${adapter.parameters.toLocaleString("en-US")} parameters, on ${base.split("/").at(-1)}`);
  if (Number.isFinite(now?.step_s)) parts.push(`${duration(now.step_s)} a ${whole}`);
  if (state === "running" && Number.isFinite(now.eta_s)) parts.push(`${duration(now.eta_s)} left`);
  page.state.className = `state ${state}`;
  replace(page.state, el("i", {}), parts.join(" · "));
  page.state.title = parts.join(" · ");
  document.title = `${page.runs.find((one) => one.id === run.id)?.name ?? "run"} · stearin`;
}

let asked = false;

/**
 * New steps are read together, however many came, also those that came while nobody listened. A
 * cursor at the newest step stays at the newest step.
 */
function follow(run, event, data) {
  if (run !== page.run) return;
  if (event === "lost" || event === "open") page.lost = event === "lost";
  // The server refused to go on; a server that is away is asked again by the browser.
  if (event === "lost" && data) run.seek().then(() => touch("status"));
  if (event === "status") run.info.status = data;
  // Also those that came while nobody listened.
  if (event === "health" || event === "open") run.heed().then(() => touch("data"), () => {});
  if (event === "restart") return void run.reload().then(() => rebuild(run));
  if ((event === "step" || event === "open" || (event === "status" && isEval(run))) && !asked) {
    asked = true;
    setTimeout(async () => {
      asked = false;
      await run.follow().catch(() => {});
      if (run !== page.run) return;
      stayNewest(run);
      if (shape(run) !== page.shape) await rebuild(run);
      touch("data");
    }, 100);
  }
  touch("status");
}

async function rebuild(run) {
  page.shape = shape(run);
  await run.load(wanted(run, [...FIRST, ...CURVES]));
  chooseStep(run);
  build(run);
}

function switchTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // A browser without storage forgets the theme.
  }
  touch("theme");
}

function act(name) {
  const { run } = page;
  const by = name.endsWith("-") ? -1 : 1;
  if (name === "theme") return switchTheme();
  if (name === "help") return page.help.showModal();
  if (name.startsWith("view")) {
    const to = VIEWS[Number(name.slice(4)) - 1];
    return !run?.info || viewsOf(run).includes(to) ? move({ view: to }, true) : announce(`an evaluation has no ${NAMES.get(to)}`);
  }
  if (!run) return;
  if (name.startsWith("step") || name.startsWith("recorded")) {
    const steps = name.startsWith("step") ? page.strip.shown() : run.info.sampled;
    const here = steps.indexOf(nearest(steps, cursor.step ?? 0));
    const exact = steps[here] === cursor.step || Math.sign(steps[here] - cursor.step) !== by;
    const next = steps[Math.max(0, Math.min(steps.length - 1, exact ? here + by : here))];
    if (next !== undefined) {
      move({ step: next });
      announce(`step ${next}`);
    }
    return;
  }
  if (viewsOf(run).includes("samples") && (cursor.view === "samples" || name === "find")) {
    if (cursor.view !== "samples") move({ view: "samples" }, true);
    requestAnimationFrame(() => groupsPanel.act?.(name, by));
  }
}

async function boot() {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // As above.
  }
  document.documentElement.dataset.theme = theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  page.help = helpDialog();
  listenKeys(act);
  watch((state, changed) => {
    if (changed.has("run") && state.run && state.run !== page.run?.id) return void open(state.run);
    if (!page.run?.info || page.strip?.run !== page.run) return;
    if (["view", "step", "from", "to", "with"].some((name) => changed.has(name))) settle(page.run);
    if (changed.has("view")) view(state.view);
    status(page.run);
    page.strip.draw(state);
    for (const panel of page.panels) if (!isHidden(panel)) panel.draw(state, changed);
    if (page.drawn) return;
    page.drawn = true;
    performance.measure("first-curve", { start: 0 });
  });
  addEventListener("unhandledrejection", (event) => {
    if (!(event.reason instanceof Refused)) return;
    event.preventDefault();
    announce(event.reason.message);
  });
  addEventListener("popstate", () => arrive(within(parse(location.hash))));
  addEventListener("hashchange", () => location.hash !== address() && arrive(within(parse(location.hash))));
  try {
    page.runs = await get("/runs");
  } catch (error) {
    return fail(error);
  }
  if (page.runs.length === 0) return fail({ message: "There is no run in this folder.", act: "start the dashboard in a folder of runs, or name one" });
  arrive(within(parse(location.hash)));
}

/** The address, with another run in place of one that is not there. */
function within(patch) {
  if (page.runs.some((one) => one.id === patch.run)) return patch;
  const newest = [...page.runs].sort((a, b) => (b.updated ?? 0) - (a.updated ?? 0));
  // A report is of its first run; further ones are there to compare it with.
  patch.run = (isReport ? page.runs : newest)[0].id;
  if (isReport) patch.with = page.runs.slice(1).map((one) => one.id);
  return patch;
}

const panelView = new Map([[groupsPanel, "samples"], [evalsPanel, "evals"], [comparePanel, "compare"]]);
const isHidden = (panel) => (panelView.get(panel) ?? viewsOf(page.run)[0]) !== cursor.view;

const open = (id) => showRun(id).catch(fail);

function fail(error) {
  head(null);
  const act = error.act ? el("p", { class: "note", text: `${error.act.charAt(0).toUpperCase()}${error.act.slice(1)}.` }) : null;
  replace(document.getElementById("main"), el("div", { class: "notice alarm", role: "alert" }, el("div", {}, el("b", { text: error.message }), act)));
}

boot();
