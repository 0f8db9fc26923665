// The server: JSON, columns of numbers, events. A report has its answers within itself.
import { visible } from "./dom.js";
import { carriedAnswer, isReport } from "./embedded.js";

const ROOT = "/api/v1";

/** An answer that was refused, with what the server said. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.error ?? `the server answered ${status}`);
    Object.assign(this, { status, act: body?.act ?? null, file: body?.file ?? null });
  }
}

async function ask(path, options) {
  const answer = await (isReport ? carriedAnswer(path) : fetch(ROOT + path, options));
  if (answer.ok) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => null));
}

/** JSON of a route; the browser keeps its ETag. */
export async function get(path) {
  return (await ask(path)).json();
}

/** Lines of a route that answers in pages, all of them from number `first` on. */
export async function getLines(path, first = 0) {
  const all = [];
  for (let after = first; after !== null; ) {
    const page = await get(`${path}${path.includes("?") ? "&" : "?"}after=${after}`);
    all.push(...page.lines);
    after = page.next;
  }
  return all;
}

/** Sends JSON. */
export async function post(path, value) {
  return (await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) })).json();
}

/** Ends what a path stands for. */
export async function remove(path) {
  await ask(path, { method: "DELETE", headers: { "Content-Type": "application/json" } });
}

/** `{header, columns}` of a binary route, `count(header)` numbers a column. */
export async function getColumns(path, names) {
  const bytes = await (await ask(path)).arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  const start = Math.ceil((4 + length) / 8) * 8;
  const all = new Float64Array(bytes, start);
  const listed = names(header);
  const rows = listed.length ? all.length / listed.length : 0;
  const columns = new Map(listed.map((name, at) => [name, all.subarray(at * rows, (at + 1) * rows)]));
  return { header, columns };
}

/** Listens to events by their names; `told(event, data)` is called for each. */
export function listen(path, names, told) {
  const source = new EventSource(ROOT + path);
  for (const name of names) source.addEventListener(name, (event) => told(name, JSON.parse(event.data)));
  return source;
}

/** A warning in which every character can be seen. */
const legible = (line) => Object.fromEntries(Object.entries(line).map(([name, value]) => [name, typeof value === "string" ? visible(value) : value]));

/** A path with its parts escaped. */
export function route(...parts) {
  return `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

/** A run: what it is, and the columns of its metrics that were asked for. */
export class RunData {
  constructor(id) {
    Object.assign(this, { id, info: null, health: [], generation: null, gone: null, last: Promise.resolve() });
    this.clear();
  }

  clear() {
    // The step up to which every loaded key was read.
    this.whole = null;
    this.steps = [];
    this.places = new Map();
    this.series = new Map();
    this.version = (this.version ?? 0) + 1;
  }

  async open() {
    this.info = await get(route("runs", this.id));
    this.keys = new Map(this.info.keys.map((one) => [one.key, one]));
    this.health = (await get(`${route("runs", this.id, "health")}?after=0`)).lines.map(legible);
    this.version += 1;
  }

  has(key) {
    return this.keys.has(key);
  }

  /** Keys of the run that fit a pattern with `*` for any name. */
  matching(pattern) {
    if (!pattern.includes("*")) return this.has(pattern) ? [pattern] : [];
    const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
    const fits = new RegExp(`^${parts.join("[^/]+")}$`);
    return [...this.keys.keys()].filter((key) => fits.test(key));
  }

  /** The values of a key, one a step; absent where it was not loaded. */
  column(key) {
    return this.series.get(key) ?? null;
  }

  /** A series of a chart. */
  curve(key, label, colour, more = {}) {
    return { key, label, colour, values: this.column(key) ?? [], ...more };
  }

  /** The unit of the lengths of completions: other trainers' texts may have no tokens. */
  lengths() {
    return this.info.length_unit ?? "tokens";
  }

  /** What the columns have a row for: a text without tokens is cut into words. */
  pieces() {
    return this.lengths() === "tokens" ? "tokens" : "words";
  }

  unit(key) {
    return this.keys.get(key)?.unit ?? "";
  }

  /** Does what reads the run after what began before it, so that no answer meets another's rows. */
  inTurn(work) {
    this.last = this.last.then(work, work);
    return this.last;
  }

  /** Loads keys that are not there yet. */
  load(keys) {
    return this.inTurn(() => this.loadNow(keys));
  }

  /** Reads what came since; everything where the record was cut. */
  follow() {
    return this.inTurn(async () => {
      const known = [...this.series.keys()];
      const news = known.length > 0 ? this.fetch(known, this.whole) : null;
      const [fresh, answer] = await Promise.all([get(route("runs", this.id)), news]);
      this.info = fresh;
      this.keys = new Map(fresh.keys.map((one) => [one.key, one]));
      if (answer === null) return;
      if (answer.header.generation !== this.generation) return this.reloadNow();
      this.take(answer, known, false);
      this.whole = this.steps.at(-1) ?? null;
    });
  }

  /** Reads the warnings that came since. */
  heed() {
    return this.inTurn(async () => {
      const { lines } = await get(`${route("runs", this.id, "health")}?after=${this.health.length}`);
      if (lines.length === 0) return;
      this.health.push(...lines.map(legible));
      this.version += 1;
    });
  }

  reload() {
    return this.inTurn(() => this.reloadNow());
  }

  async loadNow(keys) {
    const missing = [...new Set(keys)].filter((key) => this.has(key) && !this.series.has(key));
    if (missing.length === 0) return;
    const answer = await this.fetch(missing, null);
    const isFirst = this.series.size === 0;
    if (!isFirst && answer.header.generation !== this.generation) return this.reloadNow(missing);
    this.take(answer, missing, true);
    // A later load may bring steps which the keys before it do not have yet.
    if (isFirst) this.whole = this.steps.at(-1) ?? null;
  }

  async reloadNow(more = []) {
    const known = [...this.series.keys(), ...more];
    this.clear();
    await this.open();
    await this.loadNow(known);
  }

  fetch(keys, from) {
    const query = `keys=${keys.map(encodeURIComponent).join(",")}${from === null ? "" : `&from=${from}`}`;
    return getColumns(`${route("runs", this.id, "series")}?${query}`, (header) => ["step", ...header.keys.map((key) => `=${key}`)]);
  }

  take({ header, columns }, keys, whole) {
    this.generation = header.generation;
    for (const step of columns.get("step")) {
      if (this.places.has(step)) continue;
      this.places.set(step, this.steps.length);
      this.steps.push(step);
    }
    const places = Array.from(columns.get("step"), (step) => this.places.get(step));
    for (const key of keys) {
      const known = whole ? [] : (this.series.get(key) ?? []);
      // A record that was cut may have lost the key.
      const values = columns.get(`=${key}`) ?? [];
      while (known.length < this.steps.length) known.push(NaN);
      places.forEach((place, at) => (known[place] = values[at] ?? NaN));
      this.series.set(key, known);
    }
    for (const [, known] of this.series) while (known.length < this.steps.length) known.push(NaN);
    this.version += 1;
  }

  /** Follows the run; `told(event, data)` is called for each event. */
  listen(told) {
    if (isReport) return;
    this.source = listen(route("runs", this.id, "events"), ["step", "status", "health", "restart"], told);
    this.source.addEventListener("error", () => told("lost", this.source.readyState === EventSource.CLOSED));
    this.source.addEventListener("open", () => told("open", null));
  }

  /** Learns whether the server still has the run: its folder may have been removed. */
  async seek() {
    this.gone = await get(route("runs", this.id)).then(() => null, (error) => (error instanceof Refused ? error.message : null));
    this.version += 1;
  }

  close() {
    this.source?.close();
  }
}
