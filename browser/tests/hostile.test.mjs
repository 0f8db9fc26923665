// Texts that want to be more than texts, and completions that are very long.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { ATTACK, CONTROL, hostile, placeOf, plain, record } from "./fixture.mjs";
import { browser, needsBrowser as skip, open, scratch, server } from "./help.mjs";

let [chrome, folder] = [];
before(async () => {
  if (skip) return;
  chrome = await browser();
  folder = scratch();
});
after(async () => {
  await chrome?.close();
});

test("hostile texts are texts", { skip, timeout: 120_000 }, async () => {
  const { folder: run } = record(path.join(folder, "hostile"), { name: ATTACK, groups: [{ id: ATTACK, source: ATTACK, problem: ATTACK, gold: ATTACK, completions: hostile() }], held: "held-out" });
  const keys = { step: 13, stage: "rl", ["__proto__"]: 1, constructor: 2, [ATTACK]: 3 };
  fs.appendFileSync(path.join(run, "metrics.jsonl"), `${JSON.stringify(keys)}\n`);
  const site = await server(run);
  for (const width of [1280, 390]) {
    const { page, clean } = await open(chrome, `${site.url}/`, { viewport: { width, height: 844 } });
    await page.waitForSelector("section[aria-label=Entropy] canvas");
    await page.keyboard.press("2");
    await page.waitForSelector(".rows", { state: "attached" });
    await page.evaluate(() => document.querySelector(".rows").scrollIntoView());
    await page.waitForSelector(`.rows .tok[data-sibling='${placeOf("split")}'] span.t`);
    await page.waitForTimeout(300);
    assert.equal(await page.locator("section .problem").first().textContent(), ATTACK);
    const bodies = await page.locator(".rows .tok").evaluateAll((all) => Object.fromEntries(all.map((one) => [one.dataset.sibling, one.textContent])));
    assert.equal(bodies[placeOf("markup")], ATTACK);
    assert.equal(bodies[placeOf("control")], CONTROL);
    assert.equal(bodies[placeOf("split")], "▪é");
    await page.keyboard.press("3");
    await page.locator(".matrix .plain").click();
    await page.waitForFunction((text) => document.querySelector(".matrix button").textContent === text && document.querySelectorAll("#view-evals .thru button").length === 2, ATTACK);
    for (const key of ["1", "4"]) {
      await page.keyboard.press(key);
      await page.waitForTimeout(300);
    }
    await page.keyboard.press("2");
    await page.waitForTimeout(300);
    const seen = await page.evaluate(() => [window.pwned, window.violated, document.documentElement.scrollWidth <= innerWidth]);
    assert.deepEqual(seen, [undefined, 0, true]);
    const tripped = await page.evaluate(() => {
      const image = new Image();
      image.src = "http://evil.test/x.png";
      return new Promise((done) => setTimeout(() => done(window.violated), 300));
    });
    assert.equal(tripped, 1, "the counter of violations counts");
    await clean(/evil\.test|a violation of the policy/);
  }
  site.close();
});

for (const [count, tokens] of [[32, 8192], [2, 32_768]]) test(`${count} completions of ${tokens} tokens scroll with at most 4,000 tokens in the page`, { skip, timeout: 120_000 }, async () => {
  const completions = Array.from({ length: count }, (_, sibling) => ({ pieces: Array.from({ length: tokens }, (_, at) => `w${(at * (sibling + 3)) % 97} `), outcome: "wrong", reward: sibling % 2, answer: null }));
  const { folder: run } = record(path.join(folder, `long-${tokens}`), { groups: [{ ...plain(), completions }] });
  const site = await server(run);
  const { page, clean } = await open(chrome, `${site.url}/`);
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  await page.keyboard.press("2");
  await page.waitForSelector(".rows .tok", { state: "attached" });
  await page.evaluate(() => document.querySelector(".rows").scrollIntoView());
  await page.waitForSelector(".rows .tok span.t");
  for (const share of [0, 0.1, 0.5, 0.9, 1]) {
    await page.evaluate((part) => scrollTo(0, part * document.documentElement.scrollHeight), share);
    await page.waitForTimeout(500);
    const [shown, visible] = await page.evaluate(() => [document.querySelectorAll(".rows span.t").length, [...document.querySelectorAll(".rows .line.away")].filter((one) => one.getBoundingClientRect().top < innerHeight && one.getBoundingClientRect().bottom > 0).length]);
    assert.ok(shown > 0 && shown <= 4000, `${shown} tokens at ${share}`);
    assert.equal(visible, 0, `an empty line in the window at ${share}`);
  }
  await clean();
  site.close();
});
