// Opens GGUF files written by stearin with llama.cpp and compares; called by scripts/export-check.sh.
//
//   node scripts/llama_check.mjs FOLDER
//
// FOLDER/*/expected.json has {text, ids, logits (rows, vocabulary)}, stearin's own in f32; beside it lie the same model
// as GGUF files, named after the type of their weights. Needs node-llama-cpp, which has llama.cpp compiled.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";

import { LlamaLogLevel, getLlama } from "node-llama-cpp";

// Largest difference over the largest logit: twice of the worst that was measured, and more in f32 and f16. llama.cpp rounds
// activations to the type of the weights, to 8 bits for q8_0.
const BOUNDS = { f32: 1e-5, f16: 1e-2, bf16: 6e-2, q8_0: 1.3e-1 };

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });

/** Logits after each token, rows of the vocabulary. */
async function logitsOf(model, ids) {
  const context = await model.createContext({
    contextSize: Math.max(ids.length + 8, 64),
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  });
  const input = ids.map((id) => [id, { generateNext: { logits: true, options: { temperature: 0 } } }]);
  const output = await context.getSequence().controlledEvaluate(input);
  const rows = output.map((one) => one.next.logits);
  await context.dispose();
  return rows;
}

/** How far the logits are apart, and what else differs, as sentences. */
async function check(file, expected) {
  const problems = [];
  const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
  const found = model.tokenize(expected.text, true);
  if (JSON.stringify(found) !== JSON.stringify(expected.ids)) {
    problems.push(`token ids: expected ${expected.ids.slice(0, 12)}, got ${found.slice(0, 12)}`);
  }
  let [apart, largest] = [0, 0];
  (await logitsOf(model, expected.ids)).forEach((row, at) => {
    expected.logits[at].forEach((wanted, id) => {
      const gap = Math.abs(row.get(id) - wanted);
      apart = Number.isFinite(gap) ? Math.max(apart, gap) : Infinity;
      largest = Math.max(largest, Math.abs(wanted));
    });
  });
  const bound = BOUNDS[path.basename(file, ".gguf")];
  if (!(apart / largest <= bound)) problems.push(`bound ${bound}`);
  await model.dispose();
  return [apart / largest, problems];
}

let [passed, failed] = [0, 0];
for (const name of readdirSync(process.argv[2]).sort()) {
  const folder = path.join(process.argv[2], name);
  if (!existsSync(path.join(folder, "expected.json"))) continue;
  const expected = JSON.parse(readFileSync(path.join(folder, "expected.json"), "utf8"));
  for (const file of readdirSync(folder).filter((file) => file.endsWith(".gguf")).sort()) {
    const [apart, problems] = await check(path.join(folder, file), expected);
    const good = problems.length === 0;
    [passed, failed] = [passed + Number(good), failed + Number(!good)];
    console.log(`${good ? "ok    " : "FAILED"} ${name}/${file}: logits at most ${apart.toExponential(1)} apart`);
    problems.forEach((problem) => console.log(`       ${problem}`));
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(passed > 0 && failed === 0 ? 0 : 1);
