// Width, targets, keyboard and contrast, in both themes.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import test, { after, before } from "node:test";
import { RUN, browser, why as skip, open, server } from "./help.mjs";

let [chrome, site, id] = [];

before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(RUN);
  id = (await site.json("/runs"))[0].id;
});
after(() => chrome?.close());

const VIEWS = ["run", "samples", "evals", "compare"];
const ready = { run: "#view-run .legend b", samples: ".tok span.on", evals: ".matrix td", compare: "#view-compare canvas" };

/** The page at a view, with everything that it shows there. */
async function shown(view, settings) {
  const opened = await open(chrome, `${site.url}/#/${id}/${view}`, { bypassCSP: true, ...settings });
  await opened.page.waitForSelector(ready[view]);
  await opened.page.waitForTimeout(400);
  return opened;
}

for (const [width, colorScheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
  test(`${width} px, ${colorScheme}: no overflow, large targets, nothing serious for axe`, { skip, timeout: 120_000 }, async () => {
    const axe = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    for (const view of VIEWS) {
      const { page, clean } = await shown(view, { viewport: { width, height: 844 }, colorScheme });
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), colorScheme);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `${view} is wider`);
      if (width === 390) {
        const small = await page.locator("button:visible, select:visible, summary:visible, .check:visible").evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().height < 43.5).map((one) => one.outerHTML.slice(0, 90)));
        assert.deepEqual(small, [], view);
      }
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      assert.deepEqual(serious.map((one) => `${one.id}: ${one.nodes[0].html.slice(0, 160)} ${one.nodes[0].failureSummary}`), [], view);
      await clean();
    }
  });
}

test("Tab reaches every control, and the focus can be seen", { skip, timeout: 120_000 }, async () => {
  for (const view of VIEWS) {
    const { page, clean } = await shown(view, {});
    const controls = await page.evaluate(() => {
      const seen = (one) => one.getClientRects().length > 0 && !one.disabled && one.tabIndex >= 0;
      const all = [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex]")].filter(seen);
      all.forEach((one, at) => (one.dataset.test = at));
      window.reached = new Set();
      document.addEventListener("focusin", ({ target }) => window.reached.add(target.dataset.test));
      return all.length;
    });
    assert.ok(controls > 5, view);
    for (let press = 0; press < controls + 3; press++) await page.keyboard.press("Tab");
    const missed = await page.evaluate(() => [...document.querySelectorAll("[data-test]")].filter((one) => one.isConnected && !window.reached.has(one.dataset.test)).map((one) => one.outerHTML.slice(0, 120)));
    assert.deepEqual(missed, [], view);
    await page.locator("nav button").first().focus();
    await page.keyboard.press("Tab");
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
    await clean();
  }
});

test("moves are announced", { skip }, async () => {
  const { page, clean } = await shown("samples", {});
  await page.keyboard.press(".");
  await page.waitForFunction(() => /^token 1/.test(document.getElementById("live").textContent));
  await clean();
});
