// Parts of the page that compute, without a browser.
import assert from "node:assert/strict";
import test from "node:test";
import { parts } from "./help.mjs";

const part = parts();
const { stacked } = await part("stack.js");
const { figure, rolling } = await part("number.js");
const { visible } = await part("dom.js");
const { parse } = await part("state.js");
const { nearest } = await part("plot.js");
const { completionsOf, credit, gap, phi, textOf } = await part("columns.js");
const { grafted } = await part("panels/tree.js");
const { partingOf } = await part("panels/problem.js");
const { effect } = await part("panels/prediction.js");

test("a stack sums positive and negative parts apart", () => {
  const parts = [{ label: "a", colour: "--a", values: [1, -1, NaN] }, { label: "b", colour: "--b", values: [2, 3, NaN] }, { label: "c", colour: "--c", values: [-4, -2, NaN] }];
  const { series, bands } = stacked(parts, 3);
  const of = (label) => series.find((one) => one.label === label).values;
  assert.deepEqual([of("a up"), of("b up"), of("c up")], [[1, 0, NaN], [3, 3, NaN], [3, 3, NaN]]);
  assert.deepEqual([of("a down"), of("b down"), of("c down")], [[0, -1, NaN], [0, -1, NaN], [-4, -3, NaN]]);
  assert.equal(bands.length, 6);
  for (const { series: [upper, lower] } of bands) series[upper - 1].values.forEach((value, at) => assert.ok(!(value < series[lower - 1].values[at])));
});

test("absent is a dash, and what is not finite is said", () => {
  assert.deepEqual([figure(NaN), figure(null), figure(undefined), figure(0), figure(Infinity)], ["—", "—", "—", "0", "not finite"]);
  assert.deepEqual([figure(1234.5), figure(0.123456), figure(3.14159), figure(0.00001234)], ["1,235", "0.123", "3.142", "1.23e-5"]);
  assert.deepEqual(rolling([1, NaN, 3, 5], 2), [1, NaN, 3, 4]);
});

test("characters that show nothing are symbols", () => {
  assert.equal(visible("a\u0000\u001b\u007f\u0085\u200b\u202e\n"), "a␀␛␡U+0085U+200BU+202E↵");
  assert.equal(visible("a\n", true), "a↵\n");
  assert.equal(visible("\ud800"), "�");
});

test("an address is read, and what it does not say is null", () => {
  const read = parse("#/r%2F1/samples?step=380&group=3&sib=1&tok=57&by=credit&from=100&to=400&with=b,c&only=1");
  assert.deepEqual([read.run, read.view, read.step, read.group, read.sib, read.tok, read.by, read.from, read.to, read.with, read.only], ["r/1", "samples", 380, 3, 1, 57, "credit", 100, 400, ["b", "c"], true]);
  for (const [solved, kept] of [["0..0", true], ["0.125..0.5", true], [".....", false], ["1..", false], ["x", false]]) assert.equal(parse(`#/r/samples?solved=${solved}`).solved, kept ? solved : null, solved);
  const bad = parse("#/r/nowhere?step=x");
  assert.deepEqual([bad.view, bad.step, bad.group, bad.with], ["run", null, null, []]);
});

test("an address that is no escape is read as it is", () => {
  assert.deepEqual([parse("#/%zz/evals").run, parse("#/%zz/evals").view], ["%zz", "evals"]);
});

test("a difference to the step before is what the update of that step changed", () => {
  const run = { steps: [1, 2, 3, 5], column: () => [NaN, 0.1, -0.2, 0.4] };
  assert.deepEqual(effect(run, "entropy/measured_delta"), [0.1, -0.2, NaN, NaN]);
  assert.deepEqual(effect(run, "entropy/probe_delta"), [NaN, 0.1, -0.2, 0.4]);
});

test("the nearest step is found", () => {
  assert.deepEqual([nearest([], 3), nearest([5], 3), nearest([0, 10, 20], 14), nearest([0, 10, 20], 99)], [null, 5, 10, 20]);
});

const group = (...all) => {
  const lengths = all.map((tokens) => tokens.length);
  let from = 0;
  const siblings = lengths.map((length, sibling) => ({ sibling, from, to: (from += length), advantage: -2 }));
  const flat = all.flat();
  const ends = all.flatMap((tokens) => tokens.map((_, at) => at + 1));
  const columns = new Map([["token", Float64Array.from(flat)], ["text_end", Float64Array.from(ends)], ["log_prob", Float64Array.from(flat, () => -1)], ["entropy", Float64Array.from(flat, () => 0.5)], ["phi_sum", Float64Array.from(flat, () => 0.1)], ["train_log_prob", Float64Array.from(flat, () => -0.75)], ["weight", Float64Array.from(flat, () => 1.5)]]);
  const completions = all.map((tokens) => ({ text: tokens.map((id) => String.fromCharCode(96 + id)).join("") }));
  return completionsOf({ completions }, { header: { siblings }, columns });
};

test("figures of a token are computed as defined", () => {
  const [one] = group([1, 2, 3]);
  assert.equal(textOf(one, 1), "b");
  assert.ok(Math.abs(phi(one, 0) - (Math.exp(-1) * (-1 + 0.5) - 0.1)) < 1e-12);
  assert.equal(gap(one, 0), 0.25);
  assert.equal(credit(one, 0), -3);
});

test("two groups part where their most frequent paths do", () => {
  const first = group([1, 2, 3], [1, 2, 3], [1, 9, 4]);
  const second = group([1, 2, 5], [1, 2, 5], [1, 2, 3]);
  const { at, a, b } = partingOf(first, second);
  assert.deepEqual([at, a.token, a.votes, b.token, b.votes], [2, 3, 2, 5, 2]);
  const same = partingOf(first, first);
  assert.deepEqual([same.a, same.b], [null, null]);
});

test("a fork is a leaf of the node that holds the last kept token", () => {
  const node = (parent, from, len, siblings) => ({ parent, from, len, siblings });
  const nodes = [node(null, 0, 3, [0, 1, 2]), node(0, 3, 4, [0, 2]), node(0, 3, 2, [1]), node(1, 7, 0, [2])];
  const leaf = (sibling, token) => grafted(nodes, { sibling, token, correct: 3, n: 8, low: 0.1, high: 0.7 }).at(-1);
  const at = (sibling, token) => [leaf(sibling, token).parent, leaf(sibling, token).along];
  assert.deepEqual([at(0, 0), at(0, 3), at(0, 4), at(0, 7), at(1, 4), at(1, 5)], [[0, 0], [0, 1], [1, 0.25], [1, 1], [2, 0.5], [2, 1]]);
  assert.deepEqual([leaf(0, 4).value, leaf(0, 4).interval, nodes.length], [0.375, [0.1, 0.7], 4]);
});
