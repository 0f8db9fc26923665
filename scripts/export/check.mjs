// Opens GGUF files written by stearin with llama.cpp and compares; called by scripts/export-check.sh.
//
//   node check.mjs FOLDER
//
// FOLDER/*/case.json has {text, ids, head_dim, layers}. The same folder has stearin's own logits (logits.f32, rows of the
// vocabulary) and the model in files, base-KIND.gguf. FOLDER/*/*/adapter.gguf is an adapter of that model, with the
// logits of both (logits.f32) and the merged model, merged-KIND.gguf. Files that were changed on purpose must be
// detected. Needs node-llama-cpp, which has llama.cpp compiled.

import { copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

import { LlamaLogLevel, getLlama, readGgufFileInfo } from "node-llama-cpp";

// Largest difference of a logit over the largest logit, by the type of the base. llama.cpp rounds activations to the
// type of the weights; of blocks, to 8 bits. Measured at most: 4e-6, 4e-3, 5e-2, 7e-2, 7e-2.
const BOUNDS = { f32: 1e-5, f16: 1e-2, bf16: 8e-2, q8_0: 1.1e-1, blocks: 1.1e-1 };
// What an adapter changes is compared, too: largest difference of a change of a logit over the largest change. A file
// without its adapter is 1 apart. Measured at most: 6.9e-2; of SmolLM2 0.62, where thirty blocks round.
const REAL = "smollm2";
const changeBound = (name) => (name === REAL ? 0.85 : 0.15);
const ADAPTER = "adapter.gguf";

const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, logLevel: LlamaLogLevel.error });
const temporary = mkdtempSync(path.join(os.tmpdir(), "export-check-"));
const count = { passed: 0, failed: 0 };

/** Logits after each token, rows of the vocabulary. */
async function logitsOf(model, ids, adapter) {
  const context = await model.createContext({
    contextSize: Math.max(ids.length + 8, 64),
    // More than one wait for each other in a loop, which takes minutes where the cores have other work.
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
    ...(adapter && { lora: { adapters: [{ filePath: adapter, scale: 1 }] } }),
  });
  const input = ids.map((id) => [id, { generateNext: { logits: true, options: { temperature: 0 } } }]);
  const output = await context.getSequence().controlledEvaluate(input);
  const rows = output.map((one) => one.next.logits);
  await context.dispose();
  return rows;
}

/** Logits in the order of bytes of f32, as rows. */
function readLogits(file, rows) {
  const bytes = readFileSync(file);
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) => values.subarray(row * width, (row + 1) * width));
}

function logProb(row, id) {
  const most = row.reduce((a, b) => Math.max(a, b));
  return row[id] - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

/** Of logits, largest difference over largest value; of the log-probs of the tokens that follow, in nats. */
function distance(got, want, ids) {
  let [apart, largest, nats] = [0, 0, 0];
  want.forEach((expected, at) => {
    const row = Float64Array.from(expected, (_, id) => got[at].get(id) ?? NaN);
    expected.forEach((wanted, id) => {
      const gap = Math.abs(row[id] - wanted);
      apart = Number.isFinite(gap) ? Math.max(apart, gap) : Infinity;
      largest = Math.max(largest, Math.abs(wanted));
    });
    if (at + 1 < ids.length) nats = Math.max(nats, Math.abs(logProb(row, ids[at + 1]) - logProb(expected, ids[at + 1])));
  });
  return [apart / largest, nats];
}

/** Of the changes of logits that an adapter makes, largest difference over largest change; in nats, as `distance`. */
function changeDistance([gotOn, gotOff], [wantOn, wantOff], ids) {
  let [apart, largest] = [0, 0];
  wantOn.forEach((expected, at) => {
    expected.forEach((wanted, id) => {
      const change = wanted - wantOff[at][id];
      const gap = Math.abs((gotOn[at].get(id) ?? NaN) - (gotOff[at].get(id) ?? NaN) - change);
      apart = Number.isFinite(gap) ? Math.max(apart, gap) : Infinity;
      largest = Math.max(largest, Math.abs(change));
    });
  });
  return [apart / largest, distance(gotOn, wantOn, ids)[1]];
}

function row(model, what, [apart, nats], problems) {
  count[problems.length ? "failed" : "passed"] += 1;
  const verdict = problems.length ? "FAILED" : "ok";
  console.log(`| ${model} | ${what} | llama.cpp | ${apart.toExponential(1)} | ${nats.toExponential(1)} | ${verdict} |`);
  problems.forEach((problem) => console.log(`  ${problem}`));
}

function near(model, what, bound, apart, problems = []) {
  const far = apart[0] <= bound ? [] : [`more than ${bound} apart`];
  row(model, what, apart, [...problems, ...far]);
}

/** A negative control: what is wrong must be beyond the bound. */
function far(model, what, bound, apart) {
  row(model, `control: ${what}`, apart, apart[0] > bound ? [] : ["does not differ from the right one"]);
}

/** Where the values of a tensor of f32 are, and its sizes. */
async function find(file, name) {
  const info = await readGgufFileInfo(file, { logWarnings: false });
  const found = info.fullTensorInfo.find((tensor) => tensor.name === name);
  const sizes = found.dimensions.map(Number);
  return { start: Number(found.fileOffset), sizes, bytes: 4 * sizes.reduce((a, b) => a * b, 1) };
}

function setAlpha(file, alpha) {
  const [bytes, key] = [readFileSync(file), "adapter.lora.alpha"];
  // The key is followed by its type, then by its value in f32.
  bytes.writeFloatLE(alpha, bytes.indexOf(key) + key.length + 4);
  writeFileSync(file, bytes);
}

/** Rows of queries and keys in the order of Hugging Face, as if a llama's were not permuted. */
async function plainRows(file, { head_dim: width, layers }, half) {
  const bytes = readFileSync(file);
  for (const map of ["attn_q", "attn_k"]) {
    for (let layer = 0; layer < layers; layer += 1) {
      const { start, sizes: [inner, rows] } = await find(file, `blk.${layer}.${map}.weight${half}`);
      const before = Buffer.from(bytes.subarray(start, start + 4 * inner * rows));
      for (let to = 0; to < rows; to += 1) {
        const [head, at] = [to - (to % width), to % width];
        const from = head + 2 * (at % (width / 2)) + Math.floor(at / (width / 2));
        before.copy(bytes, start + 4 * inner * to, 4 * inner * from, 4 * inner * (from + 1));
      }
    }
  }
  writeFileSync(file, bytes);
}

async function swapHalves(file, { layers }) {
  const bytes = readFileSync(file);
  for (const map of ["attn_q", "attn_output"]) {
    for (let layer = 0; layer < layers; layer += 1) {
      const [a, b] = [await find(file, `blk.${layer}.${map}.weight.lora_a`), await find(file, `blk.${layer}.${map}.weight.lora_b`)];
      const first = Buffer.from(bytes.subarray(a.start, a.start + a.bytes));
      bytes.copy(bytes, a.start, b.start, b.start + b.bytes);
      first.copy(bytes, b.start);
    }
  }
  writeFileSync(file, bytes);
}

// Adapters in which each makes a difference, with the number of models on which it was tried. Rows of other families
// than llama are not permuted: there it is the other way that is wrong.
const SPOILT = [
  { of: "all", what: "alpha where alpha / r is due", spoil: (file, _, config) => setAlpha(file, config.lora_alpha * config.r), tried: 0 },
  { of: "some", what: "rsLoRA flag ignored", spoil: (file, _, config) => setAlpha(file, config.lora_alpha), tried: 0 },
  { of: "all", what: "rows of q and k in the wrong order", spoil: (file, given) => plainRows(file, given, ".lora_b"), tried: 0 },
  { of: "square", what: "A and B swapped", spoil: swapHalves, tried: 0 },
];

async function withModel(file, use) {
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  await use(model);
  await model.dispose();
}

const kindOf = (file) => path.basename(file, ".gguf").split("-")[1];
const files = (folder, start) => readdirSync(folder).filter((x) => x.startsWith(start) && x.endsWith(".gguf")).sort();

/** Adapters of a model in a file by themselves, right and spoilt. */
async function checkAdapters(folder, given, model, kind, plain, off, adapters) {
  const name = path.basename(folder);
  for (const adapter of adapters) {
    const [own, want] = [path.join(folder, adapter, ADAPTER), readLogits(path.join(folder, adapter, "logits.f32"), given.ids.length)];
    const apart = (on) =>
      kind === "f32" ? distance(on, want, given.ids) : changeDistance([on, off], [want, plain], given.ids);
    const on = await logitsOf(model, given.ids, own);
    const bound = kind === "f32" ? BOUNDS[kind] : changeBound(name);
    if (kind !== "f32") near(name, `adapter \`${adapter}\` on ${kind}`, BOUNDS[kind], distance(on, want, given.ids));
    near(name, `adapter \`${adapter}\` on ${kind}${kind === "f32" ? "" : ", change"}`, bound, apart(on));
    far(name, `adapter \`${adapter}\` left out`, bound, apart(off));
    // What is spoilt may be less than what the blocks of a real model round.
    if (kind !== "f32" && name === REAL) continue;
    for (const spoilt of SPOILT.filter(({ of }) => of === adapter)) {
      const file = path.join(temporary, `${name}-${kind}-${adapter}-${spoilt.what.replaceAll(/\W/g, "-")}.gguf`);
      copyFileSync(own, file);
      await spoilt.spoil(file, given, JSON.parse(readFileSync(path.join(folder, adapter, "peft/adapter_config.json"), "utf8")));
      far(name, `${spoilt.what}, on ${kind}`, bound, apart(await logitsOf(model, given.ids, file)));
      spoilt.tried += 1;
    }
  }
}

async function checkModel(folder) {
  const name = path.basename(folder);
  const given = JSON.parse(readFileSync(path.join(folder, "case.json"), "utf8"));
  const read = (file) => readLogits(file, given.ids.length);
  const adapters = readdirSync(folder).filter((x) => existsSync(path.join(folder, x, ADAPTER))).sort();
  if (adapters.length === 0) row(name, "adapters", [NaN, NaN], ["there is none"]);
  const plain = read(path.join(folder, "logits.f32"));
  // Of the base, by the type of its file.
  const without = new Map();
  for (const file of files(folder, "base-")) {
    const kind = kindOf(file);
    await withModel(path.join(folder, file), async (model) => {
      const found = model.tokenize(given.text, true);
      const same = JSON.stringify(found) === JSON.stringify(given.ids);
      const problems = same ? [] : [`token ids: expected ${given.ids.slice(0, 12)}, got ${found.slice(0, 12)}`];
      const off = await logitsOf(model, given.ids);
      without.set(kind, off);
      near(name, `base, ${kind}`, BOUNDS[kind], distance(off, plain, given.ids), problems);
      if (kind === "f32" || kind === "blocks") await checkAdapters(folder, given, model, kind, plain, off, adapters);
    });
  }
  for (const adapter of adapters) {
    const want = read(path.join(folder, adapter, "logits.f32"));
    for (const file of files(path.join(folder, adapter), "merged-")) {
      const [kind, own] = [kindOf(file), path.join(folder, adapter, file)];
      const what = `adapter \`${adapter}\` merged, ${kind}`;
      const off = without.get(kind) ?? without.get("f32");
      const change = (on) => changeDistance([on, off], [want, plain], given.ids);
      await withModel(own, async (model) => {
        const on = await logitsOf(model, given.ids);
        near(name, what, BOUNDS[kind], distance(on, want, given.ids));
        near(name, `${what}, change`, changeBound(name), change(on));
        far(name, `${what}, the base in its place`, changeBound(name), change(off));
      });
      if (kind !== "f32" || name === REAL) continue;
      const spoilt = path.join(temporary, `${name}-${adapter}-merged.gguf`);
      copyFileSync(own, spoilt);
      await plainRows(spoilt, given, "");
      await withModel(spoilt, async (model) => {
        const apart = distance(await logitsOf(model, given.ids), want, given.ids);
        far(name, `${what}, rows of q and k in the wrong order`, BOUNDS.f32, apart);
      });
    }
  }
}

console.log("| model | what | program | logits | log-probs, nats | |\n|---|---|---|---|---|---|");
for (const name of readdirSync(process.argv[2]).sort()) {
  const folder = path.join(process.argv[2], name);
  if (existsSync(path.join(folder, "case.json"))) await checkModel(folder);
}
rmSync(temporary, { recursive: true });
for (const { what, tried } of SPOILT) {
  if (tried === 0) row("every", `control: ${what}`, [NaN, NaN], ["was tried on no adapter"]);
}
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exit(count.passed > 0 && count.failed === 0 ? 0 : 1);
