// The answers of `/api/v1`.
import path from "node:path";
import { describe } from "./keys.mjs";
import { Trouble } from "./record.mjs";
import { differences } from "./toml.mjs";

const json = (value) => ({ body: JSON.stringify(value), type: "application/json" });
const PAGE = 200;
const NO_MODEL = { act: "start the dashboard with --model MODEL, or with --model run for its own checkpoints" };

/** The body and type of an answer; throws `Trouble`. */
export function answer(runs, method, url) {
  const parts = url.pathname.split("/").slice(1).map(decodeURIComponent);
  if (parts[0] !== "api" || parts[1] !== "v1") throw new Trouble(404, "there is nothing here", { act: "open /" });
  const [, , what, id, ...rest] = parts;
  if (what === "score" || what === "fork") throw new Trouble(404, "this server has no model", NO_MODEL);
  if (method !== "GET" && method !== "HEAD") throw new Trouble(400, "this route is only read");
  if (what === "runs" && id === undefined) return json(runs.all().map(listed));
  if (what === "diff") return json(differences(...["a", "b"].map((one) => runs.get(url.searchParams.get(one)).flat())));
  if (what !== "runs") throw new Trouble(404, "there is nothing here", { act: "open /" });
  const run = runs.get(id);
  run.poll();
  return ofRun(run, rest, url.searchParams);
}

function listed(run) {
  run.poll();
  const { status, facts } = run;
  return {
    id: run.id, name: path.basename(run.root), kind: facts.kind ?? "train", origin: "stearin", state: run.life,
    step: status?.step ?? run.steps.at(-1) ?? 0, total_steps: status?.total_steps ?? 0, stage: status?.stage ?? 0,
    updated: status?.updated ?? null, started: status?.started ?? null, model: facts.model?.path ?? null,
    problems: [...run.problems.values()].flat().length,
  };
}

function ofRun(run, [what, ...rest], query) {
  switch (what) {
    case undefined: return json(about(run));
    case "series": return series(run, query);
    case "health": return json(page(run.health, query, "lines", run.health.length));
    case "groups": return rest.length ? ofGroup(run, run.entry(Number(rest[0]), Number(rest[1])), rest[2], query) : json(groups(run, query));
    case "problem": return json(run.places_of(query.get("id")));
    case "evals": return evaluation(run, rest, query);
    case "recipe": {
      const body = run.recipe();
      if (body === null) throw new Trouble(404, "there is no recipe", { file: "recipe.toml" });
      return { body, type: "text/plain; charset=utf-8" };
    }
    default: throw new Trouble(404, "there is nothing here", { act: "open /" });
  }
}

function about(run) {
  const columns = new Set();
  const newest = run.index.at(-1);
  if (newest) try {
    for (const name of run.tokens(newest, [0]).header.columns) columns.add(name);
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
  }
  return {
    facts: run.facts, status: run.status && { ...run.status, state: run.life }, stages: run.stages(),
    keys: [...run.columns.keys()].map(describe), sampled: run.sampled(), evals: run.evals(), checkpoints: run.checkpoints(),
    columns: [...columns], problems: [...run.problems.values()].flat(),
  };
}

/** u32 length of the header, header, padding to 8, columns of f64. */
function binary(header, columns) {
  const text = Buffer.from(JSON.stringify(header), "utf8");
  const start = Math.ceil((4 + text.length) / 8) * 8;
  const size = columns.reduce((sum, column) => sum + column.length, 0);
  const body = Buffer.alloc(start + 8 * size);
  body.writeUInt32LE(text.length, 0);
  text.copy(body, 4);
  let at = start;
  for (const column of columns) for (const value of column) at = body.writeDoubleLE(value, at);
  return { body, type: "application/octet-stream" };
}

function series(run, query) {
  const wanted = (query.get("keys") ?? "").split(",").filter(Boolean);
  const from = Number(query.get("from") ?? -Infinity);
  const rows = run.steps.map((step, at) => [step, at]).filter(([step]) => step >= from).sort((a, b) => a[0] - b[0]);
  const columns = wanted.map((key) => {
    const column = run.columns.get(key);
    return rows.map(([, at]) => column?.get(at) ?? NaN);
  });
  const steps = rows.map(([step]) => step);
  const header = { generation: run.generation, steps: steps.length, from: steps[0] ?? 0, keys: wanted };
  if (query.get("format") !== "json") return binary(header, [steps, ...columns]);
  const values = columns.map((column) => column.map((one) => (Number.isFinite(one) ? one : one === Infinity ? "null" : null)));
  return json({ ...header, values: [steps, ...values] });
}

function page(all, query, name, end) {
  const after = Number(query.get("after") ?? 0);
  const lines = all.slice(after, after + PAGE);
  const next = after + lines.length;
  return { next: end !== undefined || next < all.length ? next : null, [name]: lines };
}

const SORTS = new Map([
  ["step", (one) => one.step],
  ["solved", (one) => one.correct / one.n],
  ["entropy", (one) => one.entropy ?? -1],
  ["length", (one) => one.lengths.reduce((sum, length) => sum + length, 0) / one.n],
]);

function groups(run, query) {
  const text = (name) => query.get(name) || null;
  const [step, id, source, outcome, q] = ["step", "id", "source", "outcome", "q"].map(text);
  const kept = text("kept") === null ? null : text("kept") === "true";
  const [low, high] = (text("solved") ?? "0..1").split("..").map(Number);
  const needle = q?.toLowerCase();
  const chosen = run.index.filter((one) =>
    (step === null || one.step === Number(step)) && (id === null || one.id === id) && (source === null || one.source === source) &&
    (kept === null || one.kept === kept) && (outcome === null || one.outcomes.includes(outcome)) &&
    one.correct / one.n >= low && one.correct / one.n <= high &&
    (!needle || one.id.toLowerCase().includes(needle) || one.source.toLowerCase().includes(needle)));
  const sort = text("sort");
  if (sort) {
    const by = SORTS.get(sort.replace(/^-/, ""));
    if (!by) throw new Trouble(400, `groups cannot be sorted by ${sort}`, { act: `use one of ${[...SORTS.keys()].join(", ")}` });
    chosen.sort((a, b) => (sort.startsWith("-") ? by(b) - by(a) : by(a) - by(b)));
  }
  return page(chosen, query, "lines");
}

function ofGroup(run, entry, what, query) {
  if (what === undefined) return json(run.group(entry));
  if (what === "tree") return json(run.tree(entry));
  if (what !== "tokens") throw new Trouble(404, "there is nothing here");
  const siblings = query.get("siblings");
  const { header, columns } = run.tokens(entry, siblings === null ? null : siblings.split(",").map(Number));
  return binary({ generation: run.generation, ...header }, header.columns.map((name) => columns.get(name)));
}

function evaluation(run, [set, step, problem, what], query) {
  const { summary, lines } = run.evaluation(set, Number(step));
  if (problem === undefined) return json({ summary, ...page(lines, query, "lines") });
  const line = lines.find((one) => one.number === Number(problem));
  if (!line) throw new Trouble(404, `the set has no problem ${problem}`);
  if (what === undefined) return json(line);
  throw new Trouble(404, "no token columns are recorded of held-out problems");
}
