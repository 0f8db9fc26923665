// Runs of other trainers in the page and in a report: their numbers, and what is absent.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { STEARIN, browser, needsBrowser, open, scratch, server } from "./help.mjs";

const skip = needsBrowser;
const PEERS = fileURLToPath(new URL("../../evals/testdata/peers/", import.meta.url));
const EXPECTED = [
  { name: "trl", pieces: "words", length: "characters", origin: "trl", step: 20, curve: ["Entropy", "Reward"], advice: /there are no tokens/, problem: "What is 2+3?", text: "It is 5", siblings: 3, advantage: "adv +0.5", token: ["surprisal", "—"] },
  { name: "verl", pieces: "words", length: "characters", origin: "verl", step: 2, curve: ["Entropy", "Reward"], advice: /there are no tokens/, problem: "Add 2 and 3.", text: "I add.↵\nThe answer is 5", siblings: 3, advantage: "adv —", token: ["entropy here", "—"] },
  { name: "prime-rl-exports", pieces: "tokens", length: "tokens", origin: "prime-rl", step: 3, curve: ["Entropy", "Reward"], advice: /sum behind Φ/, problem: "11 12 13 ", text: "21 22 2 ", siblings: 2, advantage: "adv +0.5", token: ["surprisal", "0.25 nats"] },
  { name: "prime-rl-traces", pieces: "tokens", length: "tokens", origin: "prime-rl", step: 9, curve: ["Entropy", "Reward"], advice: /sum behind Φ/, problem: "What is 2+2?", text: "35 ", siblings: 1, advantage: "adv +0.25", token: ["surprisal", "0.125 nats"] },
];

let [chrome, site, runs, folder] = [];
before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(PEERS);
  runs = await site.json("/runs");
  folder = scratch();
});
after(async () => {
  await chrome?.close();
  site?.close();
  if (folder) fs.rmSync(folder, { recursive: true });
});

/** What the page shows of a run. */
async function check(page, own) {
  for (const title of own.curve) await page.waitForSelector(`section[aria-label=${title}] canvas`);
  assert.match(await page.locator("#head .state").textContent(), new RegExp(`written by ${own.origin}`));
  assert.match(await page.locator(".health").textContent(), own.advice);
  const lengths = page.locator("section[aria-label='Length by outcome'] h2");
  if (own.name === "trl") assert.match(await lengths.textContent(), new RegExp(`${own.length}, mean over`));
  await page.keyboard.press("2");
  await page.waitForSelector(".rows .tok span.t");
  assert.equal(await page.locator("section .problem").first().textContent(), own.problem);
  assert.equal(await page.locator(".rows .row").count(), own.siblings);
  const first = page.locator(".rows .row[data-sibling='0']");
  assert.equal(await first.locator(".tok").textContent(), own.text);
  assert.ok((await first.locator(".who").textContent()).includes(own.advantage));
  assert.match(await first.locator(".who").textContent(), new RegExp(` \\d+ ${own.pieces}`));
  assert.match(await page.locator(".thru small").filter({ hasText: " of " }).first().textContent(), new RegExp(` ${own.length}$`));
  assert.equal(await page.locator(".tree .bad, .legend .bad").count(), 0, "equal prefixes are promised of no other trainer");
  await first.locator("span.t").first().click();
  const [name, value] = own.token;
  const inspector = page.locator("section[aria-label=Token] dl").first();
  await inspector.waitFor();
  const pairs = await inspector.evaluate((list) => [...list.querySelectorAll("dt")].map((one) => [one.textContent, one.nextSibling.textContent]));
  assert.equal(new Map(pairs).get(name), value);
  // What nobody but us records.
  assert.equal(new Map(pairs).get("Φ"), "—");
  assert.equal(new Map(pairs).get("weight"), "—");
  assert.equal(new Map(pairs).get("quadrant by Φ"), "—");
  assert.ok((await page.locator(".tree svg").count()) > 0);
}

for (const own of EXPECTED) {
  test(`${own.name}: the page has its numbers`, { skip, timeout: 60_000 }, async () => {
    const run = runs.find((one) => one.name === own.name);
    assert.deepEqual([run.origin, run.step, run.problems], [own.origin, own.step, 0]);
    const { page, faults, close } = await open(chrome, `${site.url}/#/${run.id}/run`);
    await check(page, own);
    for (const key of ["3", "4"]) {
      await page.keyboard.press(key);
      await page.waitForTimeout(200);
    }
    assert.deepEqual(faults, []);
    await close();
  });

  test(`${own.name}: a report of it has them as well`, { skip, timeout: 60_000 }, async () => {
    const file = path.join(folder, `${own.name}.html`);
    execFileSync(STEARIN, ["report", path.join(PEERS, own.name), "-o", file], { stdio: ["ignore", "pipe", "pipe"] });
    const { page, faults, close } = await open(chrome, "about:blank", { offline: true });
    await page.goto(pathToFileURL(file).href);
    await check(page, own);
    assert.deepEqual(faults.filter((fault) => !/^request to file:/.test(fault)), []);
    await close();
  });
}

test("verl's validation is an evaluation", { skip, timeout: 60_000 }, async () => {
  const { id } = runs.find((one) => one.name === "verl");
  const { page, faults, close } = await open(chrome, `${site.url}/#/${id}/evals`);
  await page.waitForSelector(".matrix td button");
  const cells = await page.locator(".matrix td .cell").evaluateAll((all) => all.map((one) => one.title));
  assert.deepEqual(cells, ["step 0: 0 %", "step 2: 50 %"]);
  assert.deepEqual(faults, []);
  await close();
});
