// A run directory of format 2, as the page's server reads it.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { Tail } from "./tail.mjs";
import { Tensors } from "./tensors.mjs";
import { flatten, stages } from "./toml.mjs";
import { tree } from "./tree.mjs";

const SHORT = 1 << 20;
const LONG = 64 << 20;
const padded = (step) => String(step).padStart(6, "0");

/** An answer other than success. */
export class Trouble extends Error {
  constructor(status, error, more = {}) {
    super(error);
    Object.assign(this, { status, body: { error, ...more } });
  }
}

const read = (file) => {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return null;
  }
};

export class Run {
  constructor(root) {
    this.root = root;
    this.logs = {
      metrics: new Tail(path.join(root, "metrics.jsonl"), SHORT),
      timings: new Tail(path.join(root, "timings.jsonl"), SHORT),
      health: new Tail(path.join(root, "health.jsonl"), SHORT),
      index: new Tail(path.join(root, "samples/index.jsonl"), SHORT),
    };
    this.problems = new Map();
    this.restart();
    this.facts = this.object("run.json") ?? {};
    this.poll();
  }

  restart() {
    this.steps = [];
    this.places = new Map();
    this.columns = new Map();
    this.health = [];
    this.index = [];
  }

  /** An object of a file, or null with a problem noted. */
  object(name) {
    const file = path.join(this.root, name);
    const text = read(file);
    this.problems.delete(name);
    if (text === null) {
      this.note(name, { file, line: null, problem: "it cannot be read", act: "restore the file; what does not need it is shown" });
      return null;
    }
    try {
      const value = JSON.parse(text);
      if (value.format !== 2) {
        const problem = `it has format ${value.format ?? "none"}, and this reader knows 2`;
        const act = value.commit ? `read it with the program of commit ${value.commit}` : "read it with the program that wrote it";
        this.note(name, { file, line: null, problem, act });
      }
      return value;
    } catch (error) {
      this.note(name, { file, line: null, problem: error.message, act: "restore the file; what does not need it is shown" });
      return null;
    }
  }

  note(key, problem) {
    const known = this.problems.get(key) ?? [];
    if (known.length < 20) this.problems.set(key, [...known, problem]);
  }

  /** Reads what is new; true where everything was read again. */
  poll() {
    this.status = this.object("status.json");
    this.generation = this.status?.generation ?? 0;
    const polled = new Map();
    for (const [name, log] of Object.entries(this.logs)) polled.set(name, log.poll(this.generation));
    const restarted = [...polled.values()].some((one) => one.restarted);
    if (restarted) {
      this.restart();
      for (const [name, log] of Object.entries(this.logs)) {
        log.restart(-1);
        this.problems.delete(name);
        polled.set(name, log.poll(this.generation));
      }
    }
    for (const [name, { problems }] of polled) {
      for (const one of problems) this.note(name, { ...one, file: path.relative(this.root, one.file) });
    }
    for (const name of ["metrics", "timings"]) for (const line of polled.get(name).lines) this.row(line);
    this.health.push(...polled.get("health").lines);
    this.index.push(...polled.get("index").lines);
    this.life = this.lifeOf();
    return restarted;
  }

  row(line) {
    if (!Number.isFinite(line.step)) return;
    let at = this.places.get(line.step);
    if (at === undefined) {
      at = this.steps.length;
      this.steps.push(line.step);
      this.places.set(line.step, at);
    }
    for (const [key, value] of Object.entries(line)) {
      if (key === "step" || key === "stage") continue;
      if (value !== null && typeof value !== "number") continue;
      let column = this.columns.get(key);
      if (!column) this.columns.set(key, (column = new Map()));
      column.set(at, value === null ? Infinity : value);
    }
  }

  lifeOf() {
    const status = this.status;
    if (!status) return "unknown";
    if (status.state !== "running") return status.state;
    const lock = path.join(this.root, "lock");
    if (!fs.existsSync(lock)) return "killed";
    const held = spawnSync("flock", ["--nonblock", "--shared", lock, "true"]).status === 1;
    const patience = Math.max(30, 5 * (status.step_s ?? 0));
    if (!held) return "killed";
    return Date.now() / 1000 - status.updated > patience ? "silent" : "running";
  }

  recipe() {
    return read(path.join(this.root, "recipe.toml")) ?? read(path.join(this.root, "eval.toml"));
  }

  stages() {
    return stages(this.recipe() ?? "");
  }

  flat() {
    const { stearin, commit, device, model, files } = this.facts;
    const facts = Object.entries({ stearin, commit, device, "model.path": model?.path });
    for (const [name, file] of Object.entries(files ?? {})) facts.push([name, file.sha256]);
    return [...flatten(this.recipe() ?? ""), ...facts.filter(([, value]) => value !== undefined)];
  }

  sampled() {
    return [...new Set(this.index.map((entry) => entry.step))].sort((a, b) => a - b);
  }

  evals() {
    const sets = new Map();
    const root = path.join(this.root, "evals");
    for (const folder of list(root)) {
      const step = Number(/^step-(\d+)$/.exec(folder)?.[1] ?? NaN);
      if (!Number.isFinite(step)) continue;
      for (const file of list(path.join(root, folder))) {
        if (!file.endsWith(".json")) continue;
        const set = file.slice(0, -5);
        sets.set(set, [...(sets.get(set) ?? []), step]);
      }
    }
    return [...sets].map(([set, steps]) => ({ set, steps: steps.sort((a, b) => a - b) }));
  }

  checkpoints() {
    const steps = list(path.join(this.root, "checkpoints")).map((name) => /(\d+)$/.exec(name)?.[1]);
    return steps.filter(Boolean).map(Number).sort((a, b) => a - b);
  }

  /** Summary and lines of an evaluation, sorted by number. */
  evaluation(set, step) {
    const known = this.evals().find((one) => one.set === set)?.steps.includes(step);
    if (!known) throw new Trouble(404, `there is no evaluation of ${set} at step ${step}`);
    const base = path.join(this.root, "evals", `step-${padded(step)}`, set);
    const summary = JSON.parse(read(`${base}.json`) ?? "null");
    const lines = new Tail(`${base}.jsonl`, LONG).poll(0).lines;
    return { summary, lines: lines.sort((a, b) => a.number - b.number) };
  }

  entry(step, group) {
    const found = this.index.find((one) => one.step === step && one.group === group);
    if (!found) throw new Trouble(404, `step ${step} has no recorded group ${group}`, { act: "choose one of /groups" });
    return found;
  }

  /** The line of a group in its step's file. */
  group(entry) {
    const file = path.join(this.root, "samples", `step-${padded(entry.step)}.jsonl`);
    const name = path.relative(this.root, file);
    try {
      const [from, to] = entry.bytes;
      const bytes = Buffer.alloc(to - from);
      const fd = fs.openSync(file, "r");
      const got = fs.readSync(fd, bytes, 0, to - from, from);
      fs.closeSync(fd);
      if (got < to - from) throw new Error(`it ends before byte ${to}`);
      return JSON.parse(bytes.toString("utf8"));
    } catch (error) {
      const act = "read the index again: the step may have been thinned";
      throw new Trouble(410, error.message, { file: name, act });
    }
  }

  /** Columns of some completions of a group: `{header, columns}`. */
  tokens(entry, wanted) {
    const name = `samples/step-${padded(entry.step)}.safetensors`;
    let file;
    try {
      file = new Tensors(path.join(this.root, name));
      return columnsOf(file, entry, wanted);
    } catch (error) {
      if (error instanceof Trouble) throw error;
      const act = "read the index again: the step may have been thinned";
      throw new Trouble(410, error.message, { file: name, act });
    } finally {
      file?.close();
    }
  }

  tree(entry) {
    const group = this.group(entry);
    const { header, columns } = this.tokens(entry, null);
    if (header.siblings.length !== group.completions.length) {
      throw new Trouble(410, `${header.siblings.length} completions have tokens, ${group.completions.length} have texts`);
    }
    const siblings = header.siblings.map(({ from, to, advantage }, at) => {
      const one = group.completions[at];
      const column = (key) => columns.get(key).subarray(from, to);
      return {
        tokens: column("token"),
        bytes: Buffer.from(one.text, "utf8"),
        textEnd: column("text_end"),
        entropy: column("entropy"),
        credit: column("weight").map((weight) => weight * advantage),
        reward: one.reward,
        correct: one.outcome === "correct",
      };
    });
    return tree(siblings);
  }

  /** Every place of a problem, in order of steps. */
  places_of(id) {
    const train = this.index.filter((entry) => entry.id === id).map((entry) => ({
      where: "train", step: entry.step, group: entry.group, n: entry.n, correct: entry.correct,
      reward: average(entry.reward), entropy: entry.entropy ?? null, length: average(entry.lengths),
      classes: classesOf(this.group(entry).completions),
    }));
    const held = [];
    for (const { set, steps } of this.evals()) {
      for (const step of steps) {
        const line = this.evaluation(set, step).lines.find((one) => one.id === id);
        if (!line) continue;
        held.push({
          where: set, step, n: line.n ?? line.samples, correct: line.correct, reward: average(line.rewards),
          entropy: null, length: average(line.lengths), classes: line.classes ?? null,
        });
      }
    }
    return [...train, ...held].sort((a, b) => a.step - b.step);
  }
}

const list = (folder) => {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
};

const average = (values) => (values?.length ? values.reduce((sum, one) => sum + one, 0) / values.length : null);

/** Answers by their text: the test server has no grader that calls two of them equal. */
function classesOf(completions) {
  const classes = new Map();
  for (const { answer, outcome } of completions) {
    if (answer === null || answer === undefined) continue;
    const known = classes.get(answer) ?? { answer, votes: 0, correct: outcome === "correct" };
    known.votes += 1;
    classes.set(answer, known);
  }
  return [...classes.values()];
}

function columnsOf(file, entry, wanted) {
  const [first, last] = entry.completions;
  const starts = file.rows("completion_start", first, last + 1);
  const advantages = file.rows("completion_advantage", first, last);
  const all = advantages.length;
  const chosen = wanted ?? Array.from({ length: all }, (_, at) => at);
  const bad = chosen.find((sibling) => !(sibling >= 0 && sibling < all));
  if (bad !== undefined) throw new Trouble(400, `there is no completion ${bad}: the group has ${all}`);
  const each = file.rows.bind(file);
  const names = file.names().filter((name) => file.header[name].shape[0] === file.header.token.shape[0]);
  const tokenColumns = names.filter((name) => !/^(completion|prompt)/.test(name));
  const total = chosen.reduce((sum, sibling) => sum + starts[sibling + 1] - starts[sibling], 0);
  const columns = new Map();
  const siblings = [];
  for (const name of tokenColumns) columns.set(name, new Float64Array(total));
  let at = 0;
  for (const sibling of chosen) {
    const [from, to] = [starts[sibling], starts[sibling + 1]];
    if (!(from >= entry.rows[0] && to <= entry.rows[1] && from <= to)) throw new Error("the completions of the group are not within its tokens");
    for (const name of tokenColumns) columns.get(name).set(each(name, from, to), at);
    const advantage = advantages[sibling];
    siblings.push({ sibling, from: at, to: at + to - from, advantage: Number.isNaN(advantage) ? null : advantage });
    at += to - from;
  }
  const number = (text) => (text === undefined ? null : Number(text));
  const { about } = file;
  const header = {
    step: entry.step, group: entry.group, n: total, columns: tokenColumns, siblings,
    temperature: number(about.temperature), threshold_plus: number(about.threshold_plus), threshold_minus: number(about.threshold_minus),
  };
  return { header, columns };
}
