// Forks and alternatives, by the checkpoints of a real run.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { RUN, browser, open, scratch, server, why as skip } from "./help.mjs";

let [chrome, site, id, about, entry] = [];
const CARD = "section[aria-label='Fork and alternatives']";

before(async () => {
  if (skip) return;
  chrome = await browser();
  site = await server(RUN, "--model", "run");
  id = (await site.json("/runs"))[0].id;
  about = await site.json(`/runs/${id}`);
  const { lines } = await site.json(`/runs/${id}/groups?step=${about.sampled.at(-1)}`);
  entry = lines.reduce((best, one) => (one.lengths[0] > best.lengths[0] ? one : best));
});
after(async () => {
  await chrome?.close();
  site?.close();
});

const place = (token, url = site.url) => `${url}/#/${id}/samples?step=${entry.step}&group=${entry.group}&sib=0&tok=${token}`;

async function opened(url) {
  const one = await open(chrome, url);
  await one.page.waitForSelector(".tok span.on");
  await one.page.waitForSelector(`${CARD} button, .folded:has-text('Fork')`);
  return one;
}

const button = (page, name) => page.locator(CARD).getByRole("button", { name });
const marks = (page) => page.locator(`${CARD} .marks button`);

/** Rolls, and gives the texts of the continuations by their numbers. */
async function roll(page) {
  await button(page, /^Roll/).click();
  await page.waitForFunction((card) => /95 %/.test(document.querySelector(card).textContent), CARD);
  assert.equal(await marks(page).count(), 8);
  const texts = [];
  for (const one of await marks(page).all()) {
    await one.click();
    const number = /continuation (\d+): /.exec(await one.getAttribute("aria-label"))[1];
    texts[number - 1] = await page.locator(`${CARD} p.problem`).textContent();
  }
  return texts;
}

test("eight continuations arrive, judged, and the same fork gives them again", { skip }, async () => {
  const { page, clean } = await opened(place(1));
  const first = await roll(page);
  assert.equal(first.filter(Boolean).length, 8);
  const note = await page.locator(`${CARD} .note`).nth(1).textContent();
  const [, correct, n, recorded, of] = /^(\d+) of (\d+) correct .*: (\d+) of (\d+)\./.exec(note);
  assert.equal(Number(correct), await page.locator(`${CARD} .marks .yes`).count());
  assert.equal(n, "8");
  assert.ok(Number(recorded) <= Number(of) && Number(of) <= entry.n);
  const branch = page.locator(".tree svg g:has(path[stroke-dasharray])");
  assert.equal(await branch.count(), 1);
  assert.match(await branch.locator("title").textContent(), new RegExp(`^Fork of #1 from token 1, checkpoint \\d+: ${correct} of 8 correct; 95 % interval`));
  const saved = page.waitForEvent("download");
  await button(page, "as JSON").click();
  const file = JSON.parse(fs.readFileSync(await (await saved).path(), "utf8"));
  assert.equal(file.completions.length, 8);
  assert.equal(file.correct, Number(correct));
  assert.deepEqual(await roll(page), first);
  await clean();
});

test("how many, how warm and by which weights is chosen in the form", { skip }, async () => {
  const { page, clean } = await opened(place(1));
  const field = (name) => page.locator(CARD).getByLabel(name);
  const before = about.checkpoints.findLast((step) => step < entry.step);
  assert.equal(await field("checkpoint").inputValue(), String(before));
  assert.deepEqual(await field("checkpoint").locator("option").evaluateAll((all) => all.map((one) => Number(one.value))), about.checkpoints);
  await field("continuations").fill("3");
  await field("temperature").fill("0.5");
  await field("checkpoint").selectOption(String(about.checkpoints.at(-1)));
  await button(page, /^Roll/).click();
  await page.waitForFunction((card) => /95 %/.test(document.querySelector(card).textContent), CARD);
  assert.equal(await marks(page).count(), 3);
  assert.match(await page.locator(`${CARD} .note`).first().textContent(), new RegExp(`checkpoint ${about.checkpoints.at(-1)}.*, temperature 0.5: `));
  // The branch says by which weights it is, and the alternatives stay beside it.
  assert.match(await page.locator(".tree svg").first().textContent(), new RegExp(`fork, checkpoint ${about.checkpoints.at(-1)}.*, temperature 0.5: \\d of 3 correct`));
  await button(page, "Alternatives here").click();
  await page.waitForSelector(`${CARD} .alt`);
  assert.equal(await marks(page).count(), 3);
  const saved = page.waitForEvent("download");
  await button(page, "as JSON").click();
  const file = JSON.parse(fs.readFileSync(await (await saved).path(), "utf8"));
  assert.deepEqual([file.n, file.temperature, file.checkpoint, file.completions.length], [3, 0.5, about.checkpoints.at(-1), 3]);
  // What is no number of continuations is asked of nobody.
  await field("continuations").fill("999");
  await button(page, /^Roll/).click();
  assert.equal(await field("continuations").evaluate((one) => one.validity.valid), false);
  assert.equal(await marks(page).count(), 3);
  await clean();
});

test("alternatives are shown under two checkpoints where there are two", { skip }, async () => {
  const { page, clean } = await opened(place(1));
  await button(page, "Alternatives here").click();
  await page.waitForSelector(`${CARD} .alt`);
  const shares = await page.locator(`${CARD} .alt span`).allTextContents();
  const first = shares.map((text) => Number.parseFloat(text)).slice(0, 5);
  assert.deepEqual(first, [...first].sort((a, b) => b - a));
  assert.ok(first.reduce((sum, share) => sum + share, 0) < 100.3);
  const title = await page.locator(`${CARD} .note`).first().textContent();
  assert.match(title, /^Likeliest at token 1, checkpoint \d+/);
  assert.equal(shares[0].includes("→"), title.includes("then"));
  await clean();
});

/** A copy of the run whose completions are judged by a program that takes two seconds for each. */
function slow() {
  const copy = path.join(scratch(), "slow");
  fs.cpSync(RUN, copy, { recursive: true });
  const judge = path.join(copy, "judge.sh");
  fs.writeFileSync(judge, `echo '{"ready": true}'
while read -r line; do id=\${line#*'"id":'}; id=\${id%%,*}; sleep 2; echo '{"id": '$id', "reward": 1}'; done
`);
  const recipe = path.join(copy, "recipe.toml");
  const rewards = `[[stage.rewards]]\nkind = "process"\ncommand = ["sh", "${judge}"]\n\n`;
  fs.writeFileSync(recipe, fs.readFileSync(recipe, "utf8").replace(/(\[\[stage\.rewards\]\]\n([^[\n].*\n|\n)*)+/, rewards));
  return copy;
}

test("a second fork is refused in words, and one that is cancelled ends", { skip }, async () => {
  const other = await server(slow(), "--model", "run");
  const [first, second] = [await opened(place(0, other.url)), await opened(place(0, other.url))];
  await button(first.page, /^Roll/).click();
  await marks(first.page).first().waitFor();
  await button(second.page, /^Roll/).click();
  await second.page.waitForFunction((card) => /The model is busy.*Wait until the fork has ended, or cancel it\./.test(document.querySelector(card).textContent), CARD, { polling: 100 });
  await button(first.page, "Cancel").click();
  await first.page.waitForFunction((card) => /Cancelled: it was cancelled\./.test(document.querySelector(card).textContent), CARD, { polling: 100 });
  assert.ok((await marks(first.page).count()) < 8);
  // The model is free for the other one.
  await button(second.page, /^Roll/).click();
  await marks(second.page).first().waitFor();
  await first.clean();
  await second.clean(/409/);
  other.close();
});

test("without a model one line says why there is no fork", { skip }, async () => {
  const other = await server(RUN);
  const { page, clean } = await opened(place(0, other.url));
  assert.equal(await page.locator(CARD).count(), 0);
  assert.match(await page.locator(".folded:has-text('Fork')").textContent(), /This server has no model\. Start it with --model run/);
  await clean();
  other.close();
});
