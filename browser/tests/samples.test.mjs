// The Samples view: tokens, tree, one problem through the steps.
import assert from "node:assert/strict";
import path from "node:path";
import test, { after, before } from "node:test";
import { plain, record } from "./fixture.mjs";
import { RUN, browser, column, lines, why as skip, open, parts, scratch, server, unfold } from "./help.mjs";

let [chrome, site, id, about, number] = [];

before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(RUN);
  id = (await site.json("/runs"))[0].id;
  about = await site.json(`/runs/${id}`);
  number = await parts()("number.js");
});
after(() => chrome?.close());

const at = (rest) => `${site.url}/#/${id}/${rest}`;
const pairs = (page) => page.locator(".stackup .side dl").first().evaluate((list) => Object.fromEntries([...list.querySelectorAll("dt")].map((term) => [term.textContent, term.nextSibling.textContent])));

test("a token's figures are those of the safetensors", { skip }, async () => {
  const step = about.sampled.at(-1);
  const entry = lines(path.join(RUN, "samples/index.jsonl")).find((one) => one.step === step && one.kept);
  const file = path.join(RUN, `samples/step-${String(step).padStart(6, "0")}.safetensors`);
  const of = (name) => column(file, name);
  const sibling = 1;
  const completion = entry.completions[0] + sibling;
  const [log, entropy, sum, weight, train] = ["log_prob", "entropy", "phi_sum", "weight", "train_log_prob"].map(of);
  const advantage = of("completion_advantage")[completion];
  const { page, clean } = await open(chrome, at(`samples?step=${step}&group=${entry.group}&sib=${sibling}&tok=0`));
  await page.waitForSelector(".tok span.on");
  const { figure, signed } = number;
  for (const token of [0, 3, entry.lengths[sibling] - 1]) {
    await page.goto(at(`samples?step=${step}&group=${entry.group}&sib=${sibling}&tok=${token}`));
    await page.waitForFunction((place) => document.querySelector(".stackup .side h2 small").textContent.endsWith(`position ${place}`), token);
    const row = of("completion_start")[completion] + token;
    const p = Math.exp(log[row]);
    const phi = p * (log[row] + entropy[row]) - sum[row];
    const shown = await pairs(page);
    const expected = {
      id: String(of("token")[row]), surprisal: `${figure(-log[row])} nats`, probability: figure(p), "entropy here": `${figure(entropy[row])} nats`, Φ: `${figure(phi)} nats`, advantage: signed(advantage),
      weight: figure(weight[row]), "credit = weight × advantage": signed(weight[row] * advantage), "rollout gap": `${figure(train[row] - log[row])} nats`,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(shown[name], value, `${name} of token ${token}`);
  }
  await clean();
});

test("colourings differ, and the tokens are the completion's text", { skip }, async () => {
  const step = about.sampled.at(-1);
  const entry = lines(path.join(RUN, "samples/index.jsonl")).find((one) => one.step === step && one.kept && one.correct > 0 && one.correct < one.n);
  const { page, clean } = await open(chrome, at(`samples?step=${step}&group=${entry.group}`));
  await page.waitForSelector(".tok span.on");
  const colours = () => page.locator(".tok span.t").evaluateAll((all) => all.map((one) => one.style.background).join());
  const names = await page.locator("[aria-label=colouring] button").allTextContents();
  assert.deepEqual(names.slice(0, 5), ["surprisal", "entropy", "Φ", "credit", "rollout gap"]);
  const seen = new Set();
  for (const name of names) {
    await page.waitForFunction((text) => document.querySelector("[aria-label=colouring] [aria-pressed=true]").textContent === text, name);
    await page.waitForTimeout(80);
    seen.add(await colours());
    await page.keyboard.press("c");
  }
  assert.ok(seen.size >= 4, `${seen.size} different colourings of ${names.length}`);
  await page.keyboard.press("s");
  await page.waitForSelector(".tok.dim");
  const group = await site.json(`/runs/${id}/groups/${step}/${entry.group}`);
  const bodies = await page.locator(".rows .tok").evaluateAll((all) => all.map((one) => [Number(one.dataset.sibling), one.textContent]));
  assert.equal(bodies.length, entry.n);
  for (const [sibling, text] of bodies) assert.ok(text.startsWith(group.completions[sibling].text.replaceAll("\n", "↵\n")), text);
  await clean();
});

test("the tree has the branches and values of /tree", { skip }, async () => {
  const step = about.sampled.at(-1);
  const { group } = lines(path.join(RUN, "samples/index.jsonl")).findLast((one) => one.step === step);
  const nodes = await site.json(`/runs/${id}/groups/${step}/${group}/tree`);
  const { page, clean } = await open(chrome, at(`samples?step=${step}&group=${group}`));
  await page.waitForSelector(".tree g.branch");
  const titles = await page.locator(".tree").first().locator("g.branch title").allTextContents();
  assert.equal(titles.length, nodes.length);
  titles.forEach((title, place) => {
    assert.ok(title.includes(`mean reward ${number.figure(Number(nodes[place].value.toFixed(3)))}, ${nodes[place].correct} of ${nodes[place].siblings.length} correct`), title);
  });
  await unfold(page.locator(".tree + .legend + details summary").first());
  assert.equal(await page.locator("details .tree li").count(), nodes.length);
  await clean();
});

test("one problem at two steps: the token at which their most frequent paths part", { skip }, async () => {
  const group = (...texts) => ({ ...plain(), completions: texts.map((text, place) => ({ pieces: [...text], outcome: place ? "wrong" : "correct", reward: place ? 0 : 1, answer: text.at(-1) })) });
  const { folder } = record(path.join(scratch(), "twice"), { groups: [group("abcd", "abcd", "axy")], more: [[5, [group("abzz", "abzz", "abcd")]], [7, [{ ...group("q", "r"), id: "another" }]]] });
  const own = await server(folder);
  const [{ id: run }] = await own.json("/runs");
  const { page, clean } = await open(chrome, `${own.url}/#/${run}/samples?step=10&group=0`);
  await page.waitForSelector(".thru button");
  assert.deepEqual(await page.locator(".thru b").allTextContents(), ["step 5", "step 10"]);
  await page.waitForFunction(() => /part at token/.test(document.querySelector(".thru ~ div").textContent));
  const words = await page.locator(".thru ~ div .note").textContent();
  assert.equal(words, "The most frequent paths part at token 2: “z” (2 of 3) at step 5, “c” (2 of 2) at step 10.");
  assert.equal(await page.locator(".pair .tree svg").count(), 2);
  await clean();
});
