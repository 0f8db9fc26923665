// One cursor for all panels, and the address that holds it.
import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { RUN, browser, why as skip, open, server } from "./help.mjs";

let [chrome, site, id, about] = [];

before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(RUN);
  id = (await site.json("/runs"))[0].id;
  about = await site.json(`/runs/${id}`);
});
after(() => chrome?.close());

const at = (rest) => `${site.url}/#/${id}/${rest}`;
const stepIs = (page, step) => page.waitForFunction((one) => document.querySelector(".strip b")?.textContent === String(one), step);
const shown = (page) => page.locator(".strip b").textContent();

/** Every chart of the Run view speaks of the cursor's step. */
async function all(page) {
  await page.waitForTimeout(150);
  const step = await shown(page);
  const labels = await page.locator("#view-run .card:not(.nothing):not([aria-label='Length by outcome']) .plot[role=img]").evaluateAll((every) => every.map((one) => one.getAttribute("aria-label")));
  assert.ok(labels.length > 12);
  for (const label of labels) assert.match(label, new RegExp(`Step ${step}:`), label);
}

test("the pointer, the slider and keys move every panel", { skip }, async () => {
  const [first, second] = about.sampled;
  const { page, clean } = await open(chrome, at(`run?step=${first}`));
  await page.waitForFunction(() => document.querySelectorAll("#view-run canvas").length > 12);
  await page.keyboard.press("ArrowRight");
  await stepIs(page, first + 1);
  await page.keyboard.press("Shift+ArrowRight");
  await stepIs(page, second);
  await all(page);
  const chart = page.locator("section[aria-label=Reward] .u-over");
  await chart.hover({ position: { x: 30, y: 40 } });
  await chart.hover({ position: { x: 90, y: 40 } });
  const one = await shown(page);
  await chart.hover({ position: { x: 250, y: 40 } });
  await page.waitForFunction((step) => Number(document.querySelector(".strip b").textContent) > Number(step), one);
  await all(page);
  await page.locator(".track input").fill(String(about.sampled.at(-1)));
  await stepIs(page, about.sampled.at(-1));
  await all(page);
  await clean();
});

test("a copied address opens the same token; back and forward work", { skip }, async () => {
  const { page, clean } = await open(chrome, at(`run?step=${about.sampled[1]}`));
  await page.waitForSelector("section[aria-label=Reward] canvas");
  await page.keyboard.press("2");
  await page.waitForSelector(".tok span.on");
  for (const key of ["j", "l", ".", ".", "c"]) {
    const before = page.url();
    await page.keyboard.press(key);
    await page.waitForFunction((url) => location.href !== url, before);
    // Another group is read before its completions can be walked through.
    await page.waitForFunction(() => {
      const group = new URLSearchParams(location.hash.split("?")[1]).get("group");
      return document.querySelector("section[aria-label=Problem] h2").textContent.includes(`group ${group}`);
    });
    await page.waitForTimeout(300);
  }
  const told = (where) => where.locator(".stackup .side").first().textContent();
  const address = page.url();
  for (const part of ["group=", "sib=", "tok=2", "by=entropy"]) assert.ok(address.includes(part), address);
  const again = await open(chrome, address);
  await again.page.waitForSelector(".tok span.on");
  assert.equal(await told(again.page), await told(page));
  assert.equal(await again.page.locator(".tok span.on").textContent(), await page.locator(".tok span.on").textContent());
  await page.goBack();
  await page.waitForSelector("#view-run:not([hidden])");
  await page.goForward();
  await page.waitForSelector("#view-samples:not([hidden])");
  await again.clean();
  await clean();
});

test("an address with values that are not there goes to what is, and is written so", { skip }, async () => {
  const wild = "step=99999999&group=77&sib=44&tok=8888&from=90&to=3&by=zzz&id=nobody&fig=q&rule=q&sort=q&solved=x&rank=q&x=q&key=no%2Fkey&with=ffff";
  const last = about.sampled.at(-1);
  const { page, clean } = await open(chrome, at(`samples?${wild}`));
  await page.waitForSelector(".tok span.on");
  const settled = (values) => page.waitForFunction((wanted) => {
    const query = new URLSearchParams(location.hash.split("?")[1]);
    return Object.entries(wanted).every(([name, value]) => query.get(name) === value);
  }, values);
  const none = { to: null, by: null, fig: null, rule: null, sort: null, solved: null, rank: null, x: null, with: null };
  const { lines: [first] } = await site.json(`/runs/${id}/groups?step=${last}`);
  await settled({ ...none, step: String(last), group: String(first.group), id: first.id });
  const query = new URLSearchParams(page.url().split("?")[1]);
  const [sib, tok] = ["sib", "tok"].map((name) => Number(query.get(name)));
  assert.ok(sib < first.n && tok < first.lengths[sib], page.url());
  assert.equal(await page.locator("[aria-label=colouring] [aria-pressed=true]").textContent(), "surprisal");

  // The same in a page that is open, with negative numbers and numbers that are none.
  for (const more of ["step=-5&group=-1&sib=-1&tok=-9&by=__proto__", `step=${"9".repeat(400)}&sib=1e3&tok=0x10&by=credit%00`]) {
    await page.evaluate((hash) => (location.hash = hash), `#/${id}/samples?${more}&id=nobody`);
    await page.waitForFunction(() => !/nobody|-1|-5|-9|proto|x10|999|%00/.test(location.hash));
    await page.waitForSelector(".tok span.on");
  }
  await page.evaluate((hash) => (location.hash = hash), `#/${id}/evals?id=nobody&rank=q`);
  await settled({ id: null, rank: null });
  await page.evaluate((hash) => (location.hash = hash), `#/${id}/compare?key=no%2Fkey`);
  await settled({ key: null });
  await page.evaluate((hash) => (location.hash = hash), "#/nobody/run");
  await page.waitForFunction((run) => location.hash.startsWith(`#/${run}/run`), id);
  await clean();
});

test("fewer steps are shown after a drag, all after a double click", { skip }, async () => {
  const { page, clean } = await open(chrome, at("run"));
  const over = page.locator("section[aria-label=Entropy] .u-over");
  await over.waitFor();
  const box = await over.boundingBox();
  await page.mouse.move(box.x + 100, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + 400, box.y + 60, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction(() => /from=\d+&to=\d+/.test(location.hash));
  await over.dblclick();
  await page.waitForFunction(() => !/to=/.test(location.hash));
  await clean();
});
