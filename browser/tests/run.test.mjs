// The Run and Evals views: every number is that of the record's files.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { plain, record } from "./fixture.mjs";
import { RUN, browser, lines, open, parts, scratch, server, unfold, why as skip } from "./help.mjs";

let [chrome, site, id, written, figure] = [];

before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(RUN);
  id = (await site.json("/runs"))[0].id;
  ({ figure } = await parts()("number.js"));
  written = new Map();
  for (const name of ["metrics.jsonl", "timings.jsonl"]) for (const line of lines(path.join(RUN, name))) written.set(line.step, { ...written.get(line.step), ...line });
});
after(() => chrome?.close());

const at = (rest) => `${site.url}/#/${id}/${rest}`;
const told = (step, key) => {
  const value = written.get(step)[key];
  return figure(value === undefined ? NaN : value === null ? Infinity : value);
};
/** `{key, label, shown}` of every number of a view that stands for a key of the record. */
const numbers = (page, view) => page.locator(`#view-${view} .legend b[data-key]`).evaluateAll((all) => all.map((one) => ({ key: one.dataset.key, label: one.previousSibling.textContent, shown: one.textContent })));
const stepIs = (page, step) => page.waitForFunction((one) => document.querySelector(".strip b")?.textContent === String(one), step);

test("each number at the cursor's step is the record's", { skip }, async () => {
  const steps = [...written.keys()].filter((step) => written.get(step).stage === "rl" || written.get(step)["unfiltered/entropy"] !== undefined);
  const { page, clean } = await open(chrome, at(`run?step=${steps[0]}`));
  await page.waitForFunction(() => document.querySelectorAll("#view-run canvas").length > 12);
  await page.waitForFunction(() => document.querySelector("section[aria-label='Length by outcome']"));
  const keys = new Set();
  let absent = 0;
  for (const step of [steps[0], steps[Math.floor(steps.length / 2)], steps.at(-2), steps.at(-1)]) {
    await page.goto(at(`run?step=${step}`));
    await stepIs(page, step);
    await page.waitForTimeout(100);
    for (const { key, shown, label } of await numbers(page, "run")) {
      assert.equal(shown, told(step, key), `${key} (${label}) at step ${step}`);
      keys.add(key);
      if (shown === "—") absent += 1;
    }
  }
  for (const key of ["unfiltered/entropy", "unfiltered/rewards/mean", "entropy/probe_delta", "quadrant/quantile/u_plus/entropy", "surprisal/quantile/p50", "response_length/mean", "reward/outcome/correct", "reward/pass@1", "actor/grad_norm", "timing_s/gen", "perf/gen_throughput"]) assert.ok(keys.has(key), key);
  assert.ok(keys.size >= 40, `${keys.size} keys`);
  assert.ok(absent > 0, "a value that was not measured is a dash");
  const shown = new Map((await numbers(page, "run")).map(({ key, label }) => [key, label]));
  assert.equal(shown.get("entropy/quantile/p10"), "10 % of tokens below");
  assert.equal(shown.get("entropy/quantile/p90"), "90 % of tokens below");
  assert.equal(shown.get("surprisal/quantile/p99"), "99 %");
  const label = await page.locator("section[aria-label=Entropy] [role=img]").getAttribute("aria-label");
  assert.ok(label.includes(`Step ${steps.at(-1)}: mean ${told(steps.at(-1), "unfiltered/entropy")},`), label);
  const share = (quadrant) => [...written.values()].reduce((sum, line) => sum + (line[`quadrant/quantile/${quadrant}/tokens`] ?? 0), 0);
  for (const [sign, name] of [["plus", "winners"], ["minus", "losers"]]) {
    const [high, low] = [`l_${sign}`, `u_${sign}`];
    assert.ok(share(high) < share(low), "fewer tokens have a high surprisal");
    assert.equal(shown.get(`quadrant/quantile/${high}/entropy`), `${name}, high surprisal`);
    assert.equal(shown.get(`quadrant/quantile/${low}/entropy`), `${name}, low`);
  }
  for (const [fig, rule] of [["advantage", "quantile"], ["tokens", "critical"]]) {
    await page.goto(at(`run?step=${steps.at(-1)}&fig=${fig}&rule=${rule}`));
    await page.waitForSelector(`section[aria-label=Quadrants] b[data-key="quadrant/${rule}/l_minus/${fig}"]`);
    for (const { key, shown } of (await numbers(page, "run")).filter((one) => one.key.startsWith("quadrant"))) assert.equal(shown, told(steps.at(-1), key), key);
  }
  await clean();
});

test("a chart's table has the record's rows", { skip }, async () => {
  const { page, clean } = await open(chrome, at("run"));
  await unfold(page.locator("section[aria-label=Entropy] summary"));
  const rows = await page.locator("section[aria-label=Entropy] tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
  assert.ok(rows.length > 5);
  for (const [step, mean] of rows) assert.equal(mean, told(Number(step), "unfiltered/entropy"));
  await clean();
});

test("the prediction's slope, correlation and signs are those of the visible steps", { skip }, async () => {
  const pairs = [...written.values()].map((line) => [line["entropy/predicted_delta"], line["entropy/probe_delta"]]).filter((pair) => pair.every(Number.isFinite));
  const sum = (of) => pairs.reduce((total, pair) => total + of(pair), 0);
  const [mx, my] = [sum(([x]) => x) / pairs.length, sum(([, y]) => y) / pairs.length];
  const expected = {
    steps: String(pairs.length), slope: figure(sum(([x, y]) => x * y) / sum(([x]) => x * x)),
    correlation: figure(Number((sum(([x, y]) => (x - mx) * (y - my)) / Math.sqrt(sum(([x]) => (x - mx) ** 2) * sum(([, y]) => (y - my) ** 2))).toFixed(2))),
    "equal signs": `${((100 * pairs.filter(([x, y]) => x * y > 0).length) / pairs.length).toFixed(0)} %`,
  };
  const { page, clean } = await open(chrome, at("run"));
  const list = page.locator(".scatter dl");
  await list.waitFor();
  await page.waitForFunction((steps) => document.querySelector(".scatter dd").textContent === steps, expected.steps);
  const shown = await list.evaluate((all) => Object.fromEntries([...all.querySelectorAll("dt")].map((term) => [term.textContent, term.nextSibling.textContent])));
  assert.deepEqual(shown, expected);
  await clean();
});

test("the scatter, the solve rates and the problems have tables as well", { skip }, async () => {
  const cells = (where) => where.locator("tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
  const { page, clean } = await open(chrome, at("run"));
  await page.waitForSelector(".scatter circle");
  const prediction = page.locator("section[aria-label='Predicted against measured']");
  await unfold(prediction.locator("summary", { hasText: "data of the scatter" }));
  const pairs = [...written].filter(([, line]) => Number.isFinite(line["entropy/probe_delta"])).map(([step, line]) => [String(step), figure(line["entropy/predicted_delta"]), figure(line["entropy/probe_delta"])]);
  assert.deepEqual(await cells(prediction.locator("[aria-label='Measured against predicted, table']")), pairs);
  const solved = page.locator("section[aria-label='Solve rates']");
  await solved.locator(".bars button").first().waitFor();
  await unfold(solved.locator("summary"));
  const groups = lines(path.join(RUN, "samples/index.jsonl"));
  const of = groups.filter(({ step }) => step === groups.at(-1).step);
  assert.deepEqual(await cells(solved), Array.from({ length: of[0].n + 1 }, (_, correct) => [`${correct} of ${of[0].n}`, String(of.filter((one) => one.correct === correct).length)]));
  // Every drawing has a title, and a table or a list of what it shows.
  const bare = await page.locator("main [role=img]:visible, main .bars:visible").evaluateAll((all) => all.filter((one) => {
    const card = one.closest("section.card");
    return !card.querySelector("h2").textContent || !card.querySelector("details.data");
  }).map((one) => one.getAttribute("aria-label")));
  assert.deepEqual(bare, []);
  await clean();
});

test("groups that are all right, all wrong and mixed are all of them", { skip }, async () => {
  const { page, clean } = await open(chrome, at("run"));
  const groups = page.locator("section[aria-label=Groups]");
  await groups.locator(".legend b").first().waitFor();
  await unfold(groups.locator("summary"));
  const rows = await groups.locator("tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => Number(cell.textContent))));
  assert.deepEqual(await groups.locator("th").allTextContents(), ["step", "all right", "all wrong", "mixed", "equal rewards"]);
  assert.ok(rows.length > 5);
  for (const [step, right, wrong, mixed] of rows) {
    assert.ok(Math.abs(mixed - (1 - written.get(step)["reward/group/all_correct"] - written.get(step)["reward/group/none_correct"])) < 0.001, `step ${step}: ${right}, ${wrong}, ${mixed}`);
  }
  await clean();
});

test("quantiles of the ratio and the recorded share of mixed groups are shown", { skip }, async () => {
  const { folder } = record(path.join(scratch(), "ratios"), { groups: [plain()] });
  const line = { step: 13, stage: "rl", "actor/grad_norm": 1, "actor/ratio/quantile/p10": 0.91, "actor/ratio/quantile/p50": 1, "actor/ratio/quantile/p90": 1.07, "actor/ratio/quantile/p99": 1.3, "unfiltered/rewards/mean": 0.5, "reward/group/all_correct": 0.25, "reward/group/none_correct": 0.25, "reward/group/mixed": 0.5 };
  fs.appendFileSync(path.join(folder, "metrics.jsonl"), `${JSON.stringify(line)}\n`);
  const own = await server(folder);
  const [{ id: run }] = await own.json("/runs");
  const { page, clean } = await open(chrome, `${own.url}/#/${run}/run?step=13`);
  const legend = (title) => page.locator(`section[aria-label=${title}] .legend span`).allTextContents();
  await page.waitForFunction(() => document.querySelector("section[aria-label=Ratio] .legend b")?.textContent === "1.3");
  assert.deepEqual(await legend("Ratio"), ["99 %1.3", "90 %1.07", "median1", "10 %0.91"]);
  assert.deepEqual(await legend("Groups"), ["all right0.25", "all wrong0.25", "mixed0.5"]);
  assert.equal(await page.locator("b[data-key='reward/group/mixed']").count(), 1);
  await clean();
  own.close();
});

test("what an entropy is averaged over is said", { skip }, async () => {
  const { page, clean } = await open(chrome, at("run"));
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  const note = (title) => page.locator(`section[aria-label='${title}'] .note:not(.none)`).first().textContent();
  assert.match(await note("Entropy"), /every token of all completions that were sampled.*sampling temperature.*groups that are learnt from.*tokens in the loss/);
  assert.match(await note("Predicted against measured"), /fresh completions of the probe's problems, the same ones before and after the update/);
  assert.match(await note("Quadrants"), /tokens of the groups that are learnt from/);
  await clean();
});

test("all groups of a step are counted, however many there are", { skip }, async () => {
  const { folder } = record(path.join(scratch(), "wide"), { groups: Array.from({ length: 450 }, (_, place) => ({ ...plain(), id: `p${place}` })) });
  const own = await server(folder);
  const [{ id: run }] = await own.json("/runs");
  const { page, clean } = await open(chrome, `${own.url}/#/${run}/run?step=10`);
  await page.waitForFunction(() => [...document.querySelectorAll(".bars .count")].map((one) => one.textContent).join() === ",450,");
  await clean();
  own.close();
});

test("solve rates count the recorded groups, and a bar opens them", { skip }, async () => {
  const groups = lines(path.join(RUN, "samples/index.jsonl"));
  const { step } = groups.at(-1);
  const of = groups.filter((one) => one.step === step);
  const { page, clean } = await open(chrome, at(`run?step=${step}`));
  await page.waitForSelector(".bars button");
  const counts = await page.locator(".bars .count").allTextContents();
  const most = of[0].n;
  counts.forEach((count, correct) => assert.equal(Number(count), of.filter((one) => one.correct === correct).length, `${correct} of ${most}`));
  await page.locator(".bars button").nth(of[0].correct).click();
  await page.waitForSelector("#view-samples .list [aria-current]");
  const names = await page.locator(".list .name").allTextContents();
  assert.deepEqual(names, of.filter((one) => one.correct === of[0].correct).map((one) => one.id));
  await clean();
});

test("warnings are those of health.jsonl", { skip }, async () => {
  const all = lines(path.join(RUN, "health.jsonl"));
  const alarms = all.filter((one) => one.level === "alarm");
  const shown = alarms.length ? alarms : all;
  const { page, clean } = await open(chrome, at("run"));
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  const names = await page.locator(".health .notice b").allTextContents();
  assert.deepEqual(names, [...new Set(shown.map((one) => one.name.replaceAll("_", " ")))]);
  for (const [place, name] of names.entries()) {
    const own = shown.filter((one) => one.name.replaceAll("_", " ") === name);
    const text = await page.locator(".health .notice").nth(place).textContent();
    assert.ok(text.includes(`step ${own.at(-1).step}${own.length > 1 ? `, ${own.length} times` : ""}`), text);
  }
  await clean();
});

test("evaluations: figures, intervals' ends and each problem's share", { skip }, async () => {
  const evals = (step) => path.join(RUN, `evals/step-${String(step).padStart(6, "0")}`);
  const steps = fs.readdirSync(path.join(RUN, "evals")).map((name) => Number(name.slice(5))).sort((a, b) => a - b);
  const step = steps.at(-1);
  const { page, clean } = await open(chrome, at(`evals?step=${step}`));
  await page.waitForSelector(".matrix tbody tr");
  await page.waitForFunction(() => document.querySelector("#view-evals .legend b[data-key]")?.textContent !== "—");
  for (const { key, shown } of await numbers(page, "evals")) assert.equal(shown, told(step, key), key);
  const summary = JSON.parse(fs.readFileSync(path.join(evals(step), "held-out.json")));
  assert.equal(written.get(step)["val-aux/held-out/acc/low"], summary.low);
  const expected = new Map(lines(path.join(evals(step), "held-out.jsonl")).map((line) => [line.id, `step ${step}: ${((100 * line.correct) / line.n).toFixed(0)} %`]));
  const cells = await page.locator(".matrix").first().locator("tbody tr").evaluateAll((rows) => rows.map((row) => [row.querySelector("button").title, row.lastChild.firstChild.title]));
  assert.ok(cells.length > 10);
  for (const [name, title] of cells) assert.equal(title, expected.get(name), name);
  // The tokens of the first problems are kept, so that one is compared between evaluations by them.
  const first = lines(path.join(evals(step), "held-out.jsonl")).find(({ number }) => number === 0);
  await page.locator(".matrix").first().locator(`button[title=${JSON.stringify(first.id)}]`).click();
  await page.waitForFunction(() => document.querySelectorAll("#view-evals .pair .tree svg").length === 2);
  const words = await page.locator("#view-evals .thru ~ div .note").textContent();
  assert.match(words, /^(The most frequent paths part at token \d+: |Both say the same most often)/);
  await clean();
});

test("an evaluation without curves has its figures; a run without rewards has a cursor", { skip }, async () => {
  const { folder } = record(path.join(scratch(), "own"), { groups: [plain()], held: "held-out" });
  const own = await server(folder);
  const [{ id: run }] = await own.json("/runs");
  const { page, clean } = await open(chrome, `${own.url}/#/${run}/evals`);
  const card = page.locator("section[aria-label='held-out: figures']");
  await card.locator("table").waitFor();
  const rows = await card.locator("tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
  assert.deepEqual(rows, [["avg@2", "50.0 %", "40.0 % to 60.0 %"], ["pass@1", "50.0 %", "40.0 % to 60.0 %"]]);
  await clean();
  fs.writeFileSync(path.join(folder, "metrics.jsonl"), [1, 2, 3].map((step) => `${JSON.stringify({ step, stage: "sft", "train/loss": 1 / step })}\n`).join(""));
  const again = await open(chrome, `${own.url}/#/${run}/run`);
  await again.page.waitForSelector("section[aria-label=Loss] .legend b");
  await again.page.waitForFunction(() => document.querySelector(".strip b").textContent === "3" && document.querySelector("section[aria-label=Loss] .legend b").textContent === "0.333");
  await again.clean();
});
