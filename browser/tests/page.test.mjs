// The page over a real run, in Chromium.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import test, { after, before } from "node:test";
import { RUN, browser, columns, open, scratch, server, why } from "./help.mjs";

let [chrome, site, id, about] = [];
const skip = why;

before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(RUN);
  id = (await site.json("/runs"))[0].id;
  about = await site.json(`/runs/${id}`);
});
after(async () => {
  await chrome?.close();
  site?.close();
});

const at = (rest) => `${site.url}/#/${id}/${rest}`;
const text = (page, selector) => page.locator(selector).first().textContent();

test("the run view shows the record's numbers at the cursor's step", { skip }, async () => {
  const step = about.sampled[1];
  const { page, faults, close } = await open(chrome, at(`run?step=${step}`));
  await page.waitForSelector("section[aria-label=Entropy] .legend b");
  await page.waitForFunction(() => document.querySelectorAll("#view-run canvas").length > 12);
  const label = await page.locator("section[aria-label=Entropy] [role=img]").getAttribute("aria-label");
  const { values } = await site.json(`/runs/${id}/series?keys=unfiltered/entropy&format=json&from=${step}`);
  const shown = Number(/mean (\S+?),/.exec(label)[1]);
  assert.ok(Math.abs(shown - values[1][0]) <= 0.005 * values[1][0], `${shown} against ${values[1][0]}`);
  assert.match(label, new RegExp(`Step ${step}:`));
  await page.locator("section[aria-label=Entropy] summary").click();
  assert.ok((await page.locator("section[aria-label=Entropy] tbody tr").count()) > 5);
  assert.deepEqual(faults, []);
  await close();
});

test("keys and the pointer move one cursor, and the address opens the same place", { skip }, async () => {
  const [first, second] = about.sampled;
  const { page, faults, close } = await open(chrome, at(`run?step=${first}`));
  await page.waitForSelector("section[aria-label=Reward] canvas");
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction((step) => document.querySelector(".strip b").textContent === String(step), first + 1);
  await page.keyboard.press("Shift+ArrowRight");
  await page.waitForFunction((step) => document.querySelector(".strip b").textContent === String(step), second);
  await page.locator("section[aria-label=Reward] .u-over").hover({ position: { x: 40, y: 40 } });
  await page.waitForFunction((step) => document.querySelector(".strip b").textContent !== String(step), second);
  const step = await text(page, ".strip b");
  const labels = await page.locator("#view-run .card:not(.nothing) .plot[role=img]").evaluateAll((all) => all.map((one) => one.getAttribute("aria-label")));
  for (const label of labels) assert.match(label, new RegExp(`Step ${step}:`), label);
  await page.keyboard.press("2");
  await page.waitForSelector(".tok span.on");
  await page.keyboard.press("l");
  await page.keyboard.press(".");
  await page.waitForTimeout(400);
  const address = page.url();
  const token = await text(page, ".side dl");
  const again = await open(chrome, address);
  await again.page.waitForSelector(".tok span.on");
  assert.equal(await text(again.page, ".side dl"), token);
  await page.goBack();
  await page.waitForSelector("#view-run:not([hidden])");
  await page.goForward();
  await page.waitForSelector("#view-samples:not([hidden])");
  assert.deepEqual([...faults, ...again.faults], []);
  await close();
  await again.close();
});

test("a token's figures are those of the safetensors, and colourings differ", { skip }, async () => {
  const step = about.sampled[0];
  const { page, faults, close } = await open(chrome, at(`samples?step=${step}&group=0&sib=1&tok=3&by=surprisal`));
  await page.waitForSelector(".tok span.on");
  const { header, at: value } = await columns(`${site.url}/api/v1/runs/${id}/groups/${step}/0/tokens`);
  const row = header.siblings[1].from + 3;
  const shown = new Map(await page.locator(".stackup .side dl").first().evaluate((list) => [...list.querySelectorAll("dt")].map((term) => [term.textContent, term.nextSibling.textContent])));
  const near = (name, expected) => assert.ok(Math.abs(parseFloat(shown.get(name)) - expected) <= 0.005 * Math.abs(expected) + 1e-9, `${name}: ${shown.get(name)} against ${expected}`);
  near("surprisal", -value("log_prob", row));
  near("entropy here", value("entropy", row));
  near("weight", value("weight", row));
  near("credit = weight × advantage", value("weight", row) * header.siblings[1].advantage);
  const p = Math.exp(value("log_prob", row));
  near("Φ", p * (value("log_prob", row) + value("entropy", row)) - value("phi_sum", row));
  const colours = () => page.locator(".tok span.t").evaluateAll((all) => all.map((one) => one.style.background).join());
  const before = await colours();
  await page.keyboard.press("c");
  await page.waitForFunction(() => document.querySelector(".rows").closest("section").querySelector("[aria-pressed=true]").textContent === "entropy");
  await page.waitForTimeout(100);
  assert.notEqual(await colours(), before);
  await page.keyboard.press("s");
  await page.waitForSelector(".tok.dim");
  const whole = await page.locator(".rows .tok").first().textContent();
  const group = await site.json(`/runs/${id}/groups/${step}/0`);
  assert.ok(group.completions.some((one) => whole.startsWith(one.text)), whole);
  assert.deepEqual(faults, []);
  await close();
});

test("the tree has the branches and values of /tree", { skip }, async () => {
  const step = about.sampled[0];
  const nodes = await site.json(`/runs/${id}/groups/${step}/6/tree`);
  const { page, faults, close } = await open(chrome, at(`samples?step=${step}&group=6`));
  await page.waitForSelector(".tree g.branch");
  assert.equal(await page.locator(".tree").first().locator("g.branch").count(), nodes.length);
  const titles = await page.locator(".tree").first().locator("g.branch title").allTextContents();
  titles.forEach((title, place) => assert.equal(Number(/mean reward (\S+),/.exec(title)[1]), Number(nodes[place].value.toFixed(3))));
  await page.locator("section[aria-label='Fork and alternatives'] button").first().click();
  await page.waitForFunction(() => /no model/.test(document.querySelector("section[aria-label='Fork and alternatives']").textContent));
  assert.deepEqual(faults.filter((one) => !/404/.test(one)), []);
  await close();
});

test("no overflow, targets of 44 px at 390, and nothing serious for axe", { skip }, async () => {
  const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const [width, colorScheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
    const { page, faults, close } = await open(chrome, at("run"), { viewport: { width, height: 844 }, colorScheme, bypassCSP: true });
    for (const key of ["1", "2", "3", "4"]) {
      await page.keyboard.press(key);
      await page.waitForTimeout(900);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `view ${key} at ${width}`);
      if (width === 390) {
        const small = await page.locator("button:visible, select:visible, summary:visible").evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().height < 43.5).map((one) => one.outerHTML.slice(0, 90)));
        assert.deepEqual(small, []);
      }
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      assert.deepEqual(serious.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 160)} ${one.nodes[0].failureSummary}`), [], `view ${key}, ${width} ${colorScheme}`);
    }
    assert.deepEqual(faults, []);
    await close();
  }
});

test("a step that is written arrives without a reload; a cut record is read again", { skip }, async () => {
  const folder = path.join(scratch(), "live");
  fs.cpSync(RUN, folder, { recursive: true, filter: (file) => !/checkpoints/.test(file) });
  const lines = fs.readFileSync(path.join(folder, "metrics.jsonl"), "utf8").trimEnd().split("\n");
  fs.rmSync(path.join(folder, "timings.jsonl"));
  const write = (count) => fs.writeFileSync(path.join(folder, "metrics.jsonl"), `${lines.slice(0, count).join("\n")}\n`);
  const status = JSON.parse(fs.readFileSync(path.join(folder, "status.json"), "utf8"));
  const say = (patch) => fs.writeFileSync(path.join(folder, "status.json"), JSON.stringify({ ...status, ...patch }));
  write(lines.length - 3);
  say({ step: lines.length - 4, generation: 0 });
  const live = await server(folder);
  const { page, faults, close } = await open(chrome, `${live.url}/`);
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  await page.evaluate(() => (window.stayed = true));
  await page.keyboard.press("End");
  const last = () => page.locator(".track input").evaluate((slider) => Number(slider.max));
  const before = await last();
  fs.appendFileSync(path.join(folder, "metrics.jsonl"), `${lines.at(-3)}\n`);
  await page.waitForFunction((known) => Number(document.querySelector(".track input").max) === known + 1, before, { timeout: 8000 });
  const told = (step) => page.waitForFunction((one) => document.querySelector("section[aria-label=Entropy] [role=img]").getAttribute("aria-label").includes(`Step ${one}:`), step, { timeout: 8000 });
  await told(before + 1);
  const right = await page.evaluate(() => [document.querySelector("section[aria-label=Entropy] .hair").getBoundingClientRect().x, document.querySelector("section[aria-label=Entropy] .u-over").getBoundingClientRect().right]);
  assert.ok(Math.abs(right[0] - right[1]) < 3, "the newest step is at the right end");
  write(lines.length - 5);
  say({ generation: 1, state: "running", updated: 1 });
  await page.waitForFunction((known) => Number(document.querySelector(".track input").max) === known - 2, before, { timeout: 8000 });
  await page.waitForFunction(() => /was killed/.test(document.querySelector(".state").textContent));
  assert.equal(await page.evaluate(() => window.stayed), true);
  assert.deepEqual(faults, []);
  await close();
  live.close();
  fs.rmSync(path.dirname(folder), { recursive: true });
});
