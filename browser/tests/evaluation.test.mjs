// Runs of `stearin eval`, and the problems of an evaluation as a grid that is walked by keys.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { plain, record } from "./fixture.mjs";
import { RUN, STEARIN, browser, lines, needsBrowser, open, scratch, server, unfold, why } from "./help.mjs";

let chrome;
before(async () => {
  if (!needsBrowser) chrome = await browser();
});
after(() => chrome?.close());

test("a run of `stearin eval` opens at its figures, without views that it has not", { skip: why, timeout: 60_000 }, async () => {
  const folder = path.join(scratch(), "evaluated");
  execFileSync(STEARIN, ["eval", "--model", RUN, "--bench", "arithmetic", "--limit", "6", "--samples", "2", "--max-new-tokens", "12", "--out", folder], { stdio: "ignore" });
  const site = await server(folder);
  const [{ id }] = await site.json("/runs");
  const evaluated = lines(path.join(folder, "evals/step-000000/arithmetic.jsonl"));
  for (const view of ["run", "samples?step=7"]) {
    const { page, clean } = await open(chrome, `${site.url}/#/${id}/${view}`);
    await page.waitForSelector("section[aria-label='arithmetic: figures'] td");
    assert.match(await page.locator("#head .state").textContent(), /^finished · 6 of 6 problems/);
    assert.deepEqual(await page.locator("nav button").allTextContents(), ["Evals", "Compare"]);
    assert.equal(await page.locator(".strip").isVisible(), false);
    // The first problem of the order is there, with its texts.
    await page.waitForSelector("section[aria-label='This problem'] .tok");
    const first = await page.locator(".matrix tbody .plain").first().getAttribute("title");
    const line = evaluated.find((one) => one.id === first);
    const card = await page.locator("section[aria-label='This problem']").textContent();
    assert.ok(card.includes(line.problem) && card.includes(`gold ${line.gold}`), card);
    assert.equal(await page.locator("section[aria-label='This problem'] .tok").count(), line.texts.length);
    await page.keyboard.press("2");
    await page.waitForFunction(() => document.getElementById("live").textContent === "an evaluation has no Samples");
    assert.match(page.url(), /\/evals/);
    await clean();
  }
  const status = path.join(folder, "status.json");
  fs.writeFileSync(status, JSON.stringify({ ...JSON.parse(fs.readFileSync(status)), state: "failed", reason: "the disk is full" }));
  const { page, clean } = await open(chrome, `${site.url}/#/${id}/evals`);
  await page.waitForFunction(() => /the disk is full/.test(document.querySelector("#view-evals .health")?.textContent));
  await clean();
  site.close();
});

test("an evaluation under way is followed to its end", { skip: why, timeout: 60_000 }, async () => {
  const folder = path.join(scratch(), "growing");
  execFileSync(STEARIN, ["eval", "--model", RUN, "--bench", "arithmetic", "--limit", "6", "--samples", "2", "--max-new-tokens", "12", "--out", folder], { stdio: "ignore" });
  const [status, all, summary] = ["status.json", "evals/step-000000/arithmetic.jsonl", "evals/step-000000/arithmetic.json"].map((name) => path.join(folder, name));
  const [ended, text, figures] = [status, all, summary].map((file) => fs.readFileSync(file, "utf8"));
  const told = (step) => fs.writeFileSync(status, JSON.stringify({ ...JSON.parse(ended), state: "running", step, updated: Math.floor(Date.now() / 1000) }));
  const first = (count) => text.split("\n").slice(0, count).map((line) => `${line}\n`).join("");
  fs.rmSync(summary);
  fs.writeFileSync(all, first(2));
  told(2);
  const site = await server(folder);
  const { page, clean } = await open(chrome, `${site.url}/`);
  await page.waitForFunction(() => /when all of its problems are judged/.test(document.querySelector("#view-evals")?.textContent));
  assert.match(await page.locator("#head .state").textContent(), /2 of 6 problems/);
  fs.writeFileSync(all, first(4));
  told(4);
  await page.waitForFunction(() => /4 of 6 problems/.test(document.querySelector("#head .state").textContent));
  fs.writeFileSync(all, text);
  fs.writeFileSync(summary, figures);
  fs.writeFileSync(status, ended);
  await page.waitForSelector("section[aria-label='arithmetic: figures'] td");
  await page.waitForFunction(() => document.querySelectorAll(".matrix tbody tr").length === 6);
  await clean();
  site.close();
});

/** A run whose held-out set has so many problems, the last of which no verifier could judge. */
function many(count) {
  const groups = Array.from({ length: count }, (_, at) => ({ ...plain(), id: `p${String(at).padStart(3, "0")}`, problem: `problem ${at}` }));
  groups.at(-1).completions[0].outcome = "error";
  return record(path.join(scratch(), "many"), { groups, held: "held-out" }).folder;
}

test("a problem's cell is reached by keys and opens its step; the rest of the problems is offered", { skip: needsBrowser, timeout: 60_000 }, async () => {
  const site = await server(many(401));
  const [{ id }] = await site.json("/runs");
  const { page, clean } = await open(chrome, `${site.url}/#/${id}/evals?step=5`);
  const rows = page.locator(".matrix tbody tr");
  await rows.first().waitFor();
  const key = await page.locator(".matrix").locator("xpath=preceding-sibling::div[1]").textContent();
  assert.match(key, /400 problems · 1 not judged, left out/);
  assert.equal(await rows.count(), 150);
  const rest = page.locator(".note.more");
  assert.match(await rest.textContent(), /^and 250 more/);
  await rest.getByRole("button", { name: "show 150 more" }).click();
  assert.equal(await rows.count(), 300);
  await rest.getByRole("button", { name: "show 100 more" }).click();
  assert.equal(await rows.count(), 400);
  assert.equal(await rest.isVisible(), false);

  // One stop of Tab for the whole grid.
  assert.equal(await page.locator(".matrix [tabindex='0']").count(), 1);
  await page.locator(".matrix [tabindex='0']").focus();
  const step = await page.locator(".strip b").textContent();
  for (const one of ["ArrowDown", "ArrowDown", "ArrowRight"]) await page.keyboard.press(one);
  assert.equal(await page.locator(".strip b").textContent(), step, "the step stays");
  const here = await page.evaluate(() => [document.activeElement.title, document.activeElement.closest("tr").querySelector(".plain").title]);
  assert.deepEqual(here, ["step 10: 50 %", "p002"]);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /[?&]id=p002/.test(location.hash) && /[?&]step=10/.test(location.hash));
  await page.waitForFunction(() => document.querySelector("#view-evals .thru [aria-pressed=true]:last-of-type small")?.textContent === "held-out");
  assert.equal(await page.locator(".matrix tr.on .plain").getAttribute("title"), "p002");

  await unfold(page.locator(".data summary").last());
  const cells = await page.locator("section[aria-label='held-out: problems'] .data tbody tr").first().locator("td").allTextContents();
  assert.deepEqual(cells, ["problem 0", "50 %"]);
  await clean();
  site.close();
});
