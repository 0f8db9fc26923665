// The page beside a trainer: lines arrive, the trainer is killed, the run goes on.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test, { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { browser, lines, needsBrowser as skip, open, program, scratch, server, unfold } from "./help.mjs";

const RECIPE = fileURLToPath(new URL("../../recipes/quickstart.toml", import.meta.url));
const STEPS = 60;
/** Milliseconds from a line to its point: 2 seconds, unless others keep the machine busy. */
const LATEST = os.loadavg()[0] > 2 * os.availableParallelism() ? 5000 : 2000;
const SHORT = ["threads=1", "stage.sft.steps=3", `stage.rl.steps=${STEPS - 3}`, "stage.rl.rollout.max_new_tokens=64", "checkpoint.every=4", "eval.every=1000", "record.samples.every=5"].flatMap((one) => ["--set", one]);

let chrome;
before(async () => {
  if (!skip) chrome = await browser();
});
after(() => chrome?.close());

const written = (folder) => {
  const file = path.join(folder, "metrics.jsonl");
  const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  return text.slice(0, text.lastIndexOf("\n") + 1).split("\n").filter(Boolean).map((line) => JSON.parse(line).step);
};
async function until(what, seconds = 60) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await new Promise((done) => setTimeout(done, 20))) if (what()) return;
  assert.fail(`not within ${seconds} s: ${what}`);
}

test("each line is drawn within 2 seconds; killed and resumed, no step is there twice", { skip, timeout: 170_000 }, async (t) => {
  const folder = path.join(scratch(), "live");
  const train = (...more) => program(["train", RECIPE, "--run-dir", folder, ...SHORT, ...more], "ignore");
  const first = train();
  await until(() => written(folder).at(-1) >= 5);
  const site = await server(folder);
  const { page, clean } = await open(chrome, `${site.url}/`);
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  await page.evaluate(() => {
    window.stayed = true;
    window.arrived = new Map();
    const label = document.querySelector("section[aria-label=Entropy] [role=img]");
    setInterval(() => {
      const step = Number(/Step (\d+): mean [\d.]/.exec(document.querySelector("section[aria-label=Entropy] [role=img]")?.getAttribute("aria-label"))?.[1]);
      if (step && !window.arrived.has(step)) window.arrived.set(step, [Date.now(), document.querySelector(".state").textContent]);
    }, 20);
    return label !== null;
  });
  const seen = new Map();
  const opened = written(folder).at(-1);
  await until(() => {
    for (const step of written(folder)) if (!seen.has(step)) seen.set(step, Date.now());
    return seen.has(opened + 8);
  });
  await page.waitForFunction((step) => [...window.arrived.keys()].some((one) => one >= step), opened + 8, { timeout: LATEST });
  const arrived = new Map(await page.evaluate(() => [...window.arrived]));
  const last = Math.max(...arrived.keys());
  let slowest = 0;
  for (let step = opened + 1; step <= opened + 8; step++) {
    // Steps that are shorter than a look at the files come together: the newest is shown.
    const shown = [...arrived].filter(([one]) => one >= step).map(([, [when]]) => when);
    const delay = Math.min(...shown) - seen.get(step);
    slowest = Math.max(slowest, delay);
    assert.ok(delay < LATEST, `step ${step} was shown ${delay} ms after its line`);
  }
  t.diagnostic(`a line is shown after ${slowest} ms at most`);
  assert.match(arrived.get(last)[1], /^running · step \d+ of 60/);
  await page.waitForFunction(() => document.querySelector(".track input").max === document.querySelector(".strip b").textContent);

  first.kill("SIGKILL");
  await page.waitForFunction(() => /^was killed/.test(document.querySelector(".state").textContent), undefined, { timeout: 8000 });
  await page.waitForFunction(() => /was killed/.test(document.querySelector(".health")?.textContent));
  const before = written(folder).at(-1);

  const second = train("--resume");
  const code = new Promise((done) => second.on("exit", done));
  second.ref();
  await until(() => written(folder).at(-1) < before || written(folder).at(-1) > before);
  assert.equal(await code, 0);
  await page.waitForFunction((step) => document.querySelector(".state").textContent.startsWith(`finished · step ${step}`), STEPS, { timeout: 8000 });
  await page.waitForFunction((step) => Number(document.querySelector(".track input").max) === step, STEPS, { timeout: 8000 });
  await unfold(page.locator("section[aria-label=Entropy] summary"));
  const rows = await page.locator("section[aria-label=Entropy] tbody tr").evaluateAll((all) => all.map((row) => [Number(row.children[0].textContent), row.children[1].textContent]));
  // The table has every second step here. A step that was there twice would change which.
  const all = lines(path.join(folder, "metrics.jsonl"));
  const steps = all.filter((line, at) => at % Math.ceil(all.length / 50) === 0 && line["unfiltered/entropy"] !== undefined).map(({ step }) => step);
  assert.deepEqual(rows.map(([step]) => step), steps, "every step once, in order");
  const { values } = await site.json(`/runs/${(await site.json("/runs"))[0].id}/series?keys=unfiltered/entropy&format=json`);
  const entropy = new Map(values[0].map((step, at) => [step, values[1][at]]));
  for (const [step, shown] of rows) assert.ok(Math.abs(Number(shown) - entropy.get(step)) <= 0.001 * entropy.get(step), `step ${step}`);
  assert.equal(await page.evaluate(() => window.stayed), true, "the page was not loaded again");
  await clean();
});
