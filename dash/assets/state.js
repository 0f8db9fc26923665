// The one cursor, and the address that holds it.

const NUMBERS = ["step", "group", "sib", "tok", "from", "to"];
const TEXTS = ["by", "id", "fig", "rule", "q", "key", "x", "solved", "sort", "rank"];
export const VIEWS = ["run", "samples", "evals", "compare"];

// What a text may be, where a panel has a fixed choice of values.
const offered = new Map();

/** Declares the values of a text of the cursor; an address with another one is read as without it. */
export function offer(name, values) {
  offered.set(name, new Set(values));
}

export const cursor = { run: null, view: "run", with: [], only: false };
for (const name of [...NUMBERS, ...TEXTS]) cursor[name] = null;

const listeners = [];
let changed = new Set();
let waiting = false;
let written = 0;
let timer = null;

/** Calls `listener(cursor, names of what changed)` once a frame. */
export function watch(listener) {
  listeners.push(listener);
}

/** Moves the cursor. With `push` the address gets an entry in the history. */
export function move(patch, push = false) {
  const names = Object.keys(patch).filter((name) => !same(cursor[name], patch[name]));
  if (names.length === 0) return;
  if (push) write(false);
  for (const name of names) {
    cursor[name] = patch[name];
    changed.add(name);
  }
  if (push) write(true);
  else later();
  tell();
}

/** Draws again what depends on these names. */
export function touch(...names) {
  for (const name of names) changed.add(name);
  tell();
}

const same = (a, b) => a === b || (Array.isArray(a) && Array.isArray(b) && a.join() === b.join());

function tell() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const names = changed;
    changed = new Set();
    for (const listener of listeners) listener(cursor, names);
  });
}

/** The address of the cursor. */
export function address() {
  const query = new URLSearchParams();
  for (const name of [...NUMBERS, ...TEXTS]) if (cursor[name] !== null && cursor[name] !== "") query.set(name, cursor[name]);
  if (cursor.only) query.set("only", "1");
  if (cursor.with.length) query.set("with", cursor.with.join(","));
  const text = query.toString();
  return `#/${encodeURIComponent(cursor.run ?? "")}/${cursor.view}${text ? `?${text}` : ""}`;
}

function write(push) {
  clearTimeout(timer);
  timer = null;
  written = Date.now();
  if (location.hash === address()) return;
  if (push) history.pushState(null, "", address());
  else history.replaceState(null, "", address());
}

/** Writes the address at most every 100 ms. */
function later() {
  if (timer !== null) return;
  timer = setTimeout(() => write(false), Math.max(0, 100 - (Date.now() - written)));
}

/** Goes where an address says, and writes what was made of it. */
export function arrive(patch) {
  move(patch);
  later();
}

/** A part of an address; as it is where it is no escape. */
function unescaped(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The cursor that an address says; what it does not say is null. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [run = "", view = "run"] = path.split("/").map(unescaped);
  const values = new URLSearchParams(query);
  const patch = { run: run || null, view: VIEWS.includes(view) ? view : "run" };
  for (const name of NUMBERS) {
    const value = values.get(name);
    const number = value !== null && /^-?\d+$/.test(value) ? Number(value) : null;
    patch[name] = Number.isSafeInteger(number) ? number : null;
  }
  if (patch.from !== null && patch.to !== null && patch.from >= patch.to) patch.from = patch.to = null;
  for (const name of TEXTS) {
    const value = values.get(name) || null;
    patch[name] = value !== null && offered.get(name)?.has(value) === false ? null : value;
  }
  if (patch.solved !== null && !/^\d*\.?\d+\.\.\d*\.?\d+$/.test(patch.solved)) patch.solved = null;
  patch.only = values.get("only") === "1";
  patch.with = (values.get("with") ?? "").split(",").filter(Boolean).slice(0, 5);
  return patch;
}
