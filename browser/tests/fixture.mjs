// Writes a record of format 2 with texts that are chosen, for tests of damage, hostile texts and size.
import fs from "node:fs";
import path from "node:path";

/** Markup and templates that a page must show as they are. */
export const ATTACK = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script></script><script>window.pwned=1//<!-- --> ]]> {{7*7}} ${7*7}";

/** Texts that want to be more than texts, each with a name by which a test finds it. */
export const HOSTILE = new Map([
  ["markup", ATTACK], ["end", "</script>"], ["comment", "<!--<script>"], ["address", "javascript:window.pwned=1"], ["lines", "a\u2028b\u2029c"],
  ["bidi", "\u202eevil\u202c \u2067rtl\u2069"], ["wide", "zero\u200bwidth\ufeff"], ["marks", `e${"\u0301".repeat(10_000)}`],
  ["control", "\u0000\u0007\u001b[31mred\u001b[0m\u007f\u0085"], ["replaced", "\ufffd"], ["split", "é"], ["empty", ""], ["long", "x".repeat(1 << 20)], ["blank", "\n\n\t tab"],
]);

/** A completion of each hostile text, in its order; the bytes of `split` are in its second token. */
export const hostile = () => [...HOSTILE].map(([name, text], at) => {
  const cut = text === "" ? [] : Array.from({ length: Math.ceil(text.length / 2048) }, (_, part) => text.slice(part * 2048, (part + 1) * 2048));
  return { pieces: name === "split" ? ["", text] : cut, outcome: at % 2 ? "wrong" : "correct", reward: at % 2 ? 0 : 1, answer: text.slice(0, 40), parts: { [ATTACK]: 1, ["__proto__"]: 0 } };
});

/** The place of a hostile text among them. */
export const placeOf = (name) => [...HOSTILE.keys()].indexOf(name);

/** How the text of control characters is shown. */
export const CONTROL = "␀␇␛[31mred␛[0m␡U+0085";

const padded = (step) => String(step).padStart(6, "0");

/** Safetensors of columns `{name: typed array}`. */
function safetensors(columns, about, shapes = {}) {
  const types = new Map([[Uint8Array, "U8"], [Uint32Array, "U32"], [Float32Array, "F32"], [BigUint64Array, "U64"]]);
  const header = { __metadata__: about };
  let at = 0;
  const order = Object.entries(columns).sort((a, b) => b[1].BYTES_PER_ELEMENT - a[1].BYTES_PER_ELEMENT);
  for (const [name, values] of order) {
    header[name] = { dtype: types.get(values.constructor), shape: shapes[name] ?? [values.length], data_offsets: [at, at + values.byteLength] };
    at += values.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const pad = Buffer.alloc((8 - (text.length % 8)) % 8, 32);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length + pad.length));
  return Buffer.concat([length, text, pad, ...order.map(([, values]) => Buffer.from(values.buffer))]);
}

/** A completion's columns; `pieces` are the texts of its tokens. */
function columnsOf(pieces, ids) {
  let end = 0;
  return pieces.map((piece, at) => {
    end += Buffer.byteLength(piece);
    if (!ids.has(piece)) ids.set(piece, ids.size);
    return { token: ids.get(piece), text_end: end, log_prob: -0.1 - (at % 7) / 4, entropy: 0.2 + (at % 5) / 5 };
  });
}

/**
 * A run at `folder`. A group is `{id, source, problem, gold, completions: [{pieces, outcome, reward,
 * answer}]}`; `groups` are those of `step`, `more` are `[step, groups]` of others. With `held`, a set
 * of that name asked the same problems at `step`. `flags` are those of the tokens, in turn;
 * `likeliest` alternatives of each token are recorded; `recipe` is put before the stages.
 */
export function record(folder, { name = "made", groups, step = 10, more = [], metrics = 12, keys = 0, held = null, recipe = "", flags = null, likeliest = 0 }) {
  fs.mkdirSync(path.join(folder, "samples"), { recursive: true });
  const put = (file, text) => fs.writeFileSync(path.join(folder, file), text);
  put("run.json", JSON.stringify({
    format: 2, kind: "train", name, id: "00000000000000aa", created: 1, command: "stearin train made.toml", seed: 0, stearin: "0.1.0", commit: "c0ffee", dirty: false, rustc: "rustc 1.95.0", candle: "0.11.1",
    os: "linux", arch: "x86_64", cpu_features: [], threads: 1, device: "cpu", model: { path: name, family: "llama", parameters: 1, tokenizer_sha256: "00", stop_tokens: {} }, problems: { train: 1 },
  }));
  put("status.json", JSON.stringify({ format: 2, state: "finished", step: metrics, total_steps: metrics, stage: 0, updated: 1, started: 0, generation: 0 }));
  put("recipe.toml", `name = "made"\n${recipe}[[stage]]\nkind = "rl"\nsteps = ${metrics}\n`);
  const line = (at) => ({ step: at, stage: "rl", "unfiltered/entropy": 0.5 + Math.sin(at / 40) / 4, "unfiltered/rewards/mean": 0.5, "response_length/mean": 12 });
  const others = (at) => Object.fromEntries(Array.from({ length: keys }, (_, key) => [`reflection/made_${key}`, Math.sin(at / (key + 7)) + 1.0001 * key]));
  put("metrics.jsonl", Array.from({ length: metrics }, (_, at) => `${JSON.stringify({ ...line(at + 1), ...others(at + 1) })}\n`).join(""));
  const ids = new Map();
  const index = [[step, groups], ...more].sort(([a], [b]) => a - b).flatMap(([at, all]) => sampled(put, at, all, ids, { flags, likeliest }));
  put("samples/index.jsonl", index.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  if (held) evaluated(folder, held, step, groups);
  return { folder, step };
}

/** Writes the groups of a step; the lines of the index that tell of them. `ids` are the tokens'. */
function sampled(put, step, groups, ids, { flags, likeliest }) {
  const rows = [];
  const starts = [0];
  const index = [];
  const texts = [];
  let bytes = 0;
  for (const [number, group] of groups.entries()) {
    const first = rows.length;
    const before = starts.length - 1;
    const mean = group.completions.reduce((sum, one) => sum + one.reward, 0) / group.completions.length;
    const completions = group.completions.map(({ pieces, outcome, reward, answer = null, parts = { math: reward } }, sibling) => {
      rows.push(...columnsOf(pieces, ids).map((row) => ({ ...row, advantage: reward - mean })));
      starts.push(rows.length);
      return { sibling, text: pieces.join(""), answer, outcome, reward, parts, advantage: reward - mean, finish: "stop", tokens: pieces.length };
    });
    const text = `${JSON.stringify({ step, group: number, id: group.id, source: group.source, problem: group.problem, gold: group.gold, prompt: `${group.problem}\n`, kept: true, completions })}\n`;
    index.push({
      step, stage: "rl", group: number, id: group.id, source: group.source, kept: true, n: completions.length, correct: completions.filter((one) => one.outcome === "correct").length,
      reward: completions.map((one) => one.reward), advantage: completions.map((one) => one.advantage), outcomes: completions.map((one) => one.outcome), lengths: completions.map((one) => one.tokens),
      entropy: 0.4, bytes: [bytes, bytes + Buffer.byteLength(text)], rows: [first, rows.length], completions: [before, starts.length - 1],
    });
    bytes += Buffer.byteLength(text);
    texts.push(text);
  }
  put(`samples/step-${padded(step)}.jsonl`, texts.join(""));
  // The token itself, then the ids after it, each half as likely as the one before.
  const places = rows.flatMap((row) => Array.from({ length: likeliest }, (_, place) => [row.token + place, row.log_prob - place * Math.LN2]));
  const alternatives = likeliest ? { alt_token: Uint32Array.from(places, ([id]) => id), alt_log_prob: Float32Array.from(places, ([, log]) => log) } : {};
  const shapes = { alt_token: [rows.length, likeliest], alt_log_prob: [rows.length, likeliest] };
  const floats = (of) => Float32Array.from(rows, of);
  put(`samples/step-${padded(step)}.safetensors`, safetensors({
    token: Uint32Array.from(rows, (row) => row.token), text_end: Uint32Array.from(rows, (row) => row.text_end), flags: Uint8Array.from(rows, (_, at) => (flags ? flags[at % flags.length] : at % 9 === 4 ? 3 : 1)),
    log_prob: floats((row) => row.log_prob), entropy: floats((row) => row.entropy), phi_sum: floats(() => 0.01), weight: floats((_, at) => (at % 9 === 4 ? 1.1 : 1)), train_log_prob: floats((row) => row.log_prob),
    completion_start: BigUint64Array.from(starts, BigInt), completion_group: Uint32Array.from(index.flatMap((entry, at) => entry.lengths.map(() => at))),
    completion_advantage: Float32Array.from(index.flatMap((entry) => entry.advantage)), prompt_start: BigUint64Array.from([0n, ...index.map((_, at) => BigInt(at + 1))]), prompt: Uint32Array.from(index.map(() => 0)), ...alternatives,
  }, { format: "2", step: String(step), stage: "rl", temperature: "1", threshold_plus: "0.5", threshold_minus: "0.5" }, shapes));
  return index;
}

/** Writes an evaluation in which each problem was drawn as often as its group. */
function evaluated(folder, set, step, groups) {
  const place = path.join(folder, `evals/step-${padded(step)}`);
  fs.mkdirSync(place, { recursive: true });
  const lines = groups.map(({ id, source, problem, gold, completions }, number) => ({
    number, id, source, problem, gold, n: completions.length, correct: completions.filter((one) => one.outcome === "correct").length, distinct_correct: 1,
    rewards: completions.map((one) => one.reward), outcomes: completions.map((one) => one.outcome), lengths: completions.map((one) => one.pieces.length), truncated: completions.map(() => false),
    classes: completions.map((one) => ({ answer: one.answer ?? "", votes: 1, correct: one.outcome === "correct" })), votes: completions.map((_, at) => at), texts: completions.map((one) => one.pieces.join("").slice(0, 5000)),
  }));
  fs.writeFileSync(path.join(place, `${set}.jsonl`), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const estimate = { mean: 0.5, low: 0.4, high: 0.6 };
  fs.writeFileSync(path.join(place, `${set}.json`), JSON.stringify({
    format: 2, set, step, protocol: "recipe", prompt: "recipe", criterion: "math", sampling: { temperature: 1, top_k: "off", top_p: 1, min_p: "off", max_new_tokens: 12, min_new_tokens: 0 }, samples: 2, data_sha256: "00",
    asked: lines.length, problems: lines.length, unjudged: 0, accuracy: 0.5, low: 0.4, high: 0.6, pass: { 1: estimate }, maj: {}, distinct_correct: estimate, reward: 0.5, length: 5, truncated: 0, outcomes: [["correct", 0.5]], shown: [],
  }));
}

/** A small group of ordinary texts. */
export const plain = () => ({
  id: "one", source: "test", problem: "1+1", gold: "2",
  completions: [["1", "+", "1", "=", "2"], ["1", "+", "1", "=", "3"]].map((pieces, at) => ({ pieces, outcome: at ? "wrong" : "correct", reward: 1 - at, answer: pieces.at(-1) })),
});
