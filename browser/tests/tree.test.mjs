// The tree of the test server is that of `evals::run::tree`: the same cases.
import assert from "node:assert/strict";
import test from "node:test";
import { tree } from "../dev/tree.mjs";
import { differences, flatten, stages } from "../dev/toml.mjs";

const siblings = (texts, credit, rewards) => texts.map((text, at) => ({
  tokens: [...Buffer.from(text)], bytes: Buffer.from(text), textEnd: [...text].map((_, end) => end + 1),
  entropy: [...text].map((_, place) => place / 8), credit: [...text].map(() => credit[at]), reward: rewards[at], correct: rewards[at] > 0.5,
}));

test("branches have the value of the completions below them", () => {
  const nodes = tree(siblings(["abcx", "abcy", "abd", "ab"], [1, -1, 1, NaN], [1, 0, 0, 1]));
  assert.deepEqual(nodes.map((node) => [node.parent, node.text, node.siblings, node.ends]), [
    [null, "ab", [0, 1, 2, 3], false], [0, "", [3], true], [0, "c", [0, 1], false], [2, "x", [0], true], [2, "y", [1], true], [0, "d", [2], true],
  ]);
  assert.deepEqual([nodes[0].value, nodes[0].correct, nodes[0].entropy, nodes[1].entropy], [0.5, 2, 0.25, null]);
  assert.deepEqual([nodes[3].monte_carlo_credit, nodes[3].credit, nodes[5].opposed, nodes[3].opposed], [0.5, 1, true, false]);
  assert.ok(Math.abs(nodes[0].interval[0] - 0.15003898915214947) < 1e-12);
});

test("equal completions are one leaf; an unequal sampler shows", () => {
  const nodes = tree(siblings(["ab", "ab"], [1, 1], [0.5, 0.25]));
  assert.deepEqual([nodes.length, nodes[0].ends, nodes[0].interval, nodes[0].value], [1, true, null, 0.375]);
  const group = siblings(["abx", "aby"], [0, 0], [0, 0]);
  assert.ok(tree(group)[0].entropies_agree);
  group[1].entropy[2] += 1e-9;
  assert.ok(!tree(group)[0].entropies_agree);
});

test("recipes are compared key by key", () => {
  const text = 'seed = 1\n[model]\npath = "a#b"\n[[stage]]\nkind = "sft"\nsteps = 2\n[[stage]]\nkind = "rl"\nsteps = 3\n[stage.loss]\nlist = [\n  1,\n  2,\n]\n[[stage.rewards]]\nkind = "math"\n';
  assert.deepEqual(flatten(text).map(([key]) => key), ["seed", "model.path", "stage[0].kind", "stage[0].steps", "stage[1].kind", "stage[1].steps", "stage[1].loss.list", "stage[1].rewards[0].kind"]);
  assert.deepEqual(stages(text), [{ name: "sft", kind: "sft", from: 1, to: 2 }, { name: "rl", kind: "rl", from: 3, to: 5 }]);
  assert.deepEqual(differences(flatten(text), flatten(text.replace("seed = 1", "seed = 2").replace("steps = 3\n", ""))), [
    { key: "seed", a: "1", b: "2" }, { key: "stage[1].steps", a: "3", b: null },
  ]);
});
