// What the loss made of a token, and what the record says was likely in its place.
import assert from "node:assert/strict";
import path from "node:path";
import test, { after, before } from "node:test";
import { plain, record } from "./fixture.mjs";
import { browser, needsBrowser as skip, open, scratch, server } from "./help.mjs";

const FLAGS = [1, 1 | 8, 1 | 16, 1 | 32, 1 | 64, 0, 1 | 2 | 4];
const KINDS = ["not generated", "left out of the loss", "importance weight out of bounds", "clipped above", "clipped below, or by the dual clip", "in the loss"];

let [chrome, site, id] = [];
before(async () => {
  if (skip) return;
  chrome = await browser();
  const pieces = ["a", "b", "c", "d", "e", "f", "g"];
  const completions = [0, 1].map((at) => ({ pieces, outcome: at ? "wrong" : "correct", reward: 1 - at, answer: null }));
  const { folder } = record(path.join(scratch(), "flagged"), { groups: [{ ...plain(), completions }], flags: FLAGS, likeliest: 3 });
  site = await server(folder);
  [{ id }] = await site.json("/runs");
});
after(async () => {
  await chrome?.close();
  site?.close();
});

const figures = (page) => page.locator("section[aria-label=Token] dl").first().evaluate((list) => Object.fromEntries([...list.querySelectorAll("dt")].map((term) => [term.textContent, term.nextSibling.textContent])));
const at = async (page, token) => {
  await page.locator(`.tok[data-sibling='0'] span.t[data-at='${token}']`).click();
  await page.waitForFunction((one) => document.querySelector("section[aria-label=Token] h2").textContent.includes(`position ${one}`), token);
};

test("every flag of a token is told, and the mask has a colour for each", { skip }, async () => {
  const { page, clean } = await open(chrome, `${site.url}/#/${id}/samples?by=mask`);
  await page.waitForSelector(".tok span.on");
  const told = [];
  for (const token of FLAGS.keys()) {
    await at(page, token);
    told.push((await figures(page)).flags);
  }
  assert.deepEqual(told, ["none", "clipped above", "clipped below, or by the dual clip", "importance weight out of bounds", "left out of the loss", "not generated", "selected, high surprisal"]);
  const colours = await page.locator(".tok[data-sibling='0'] span.t").evaluateAll((all) => all.map((one) => one.style.background));
  assert.deepEqual([colours[0], colours[6]], ["", ""], "what is in the loss as it is has no colour");
  assert.equal(new Set(colours.slice(1, 6)).size, 5, colours.join());
  const key = await page.locator(".scale").textContent();
  for (const kind of KINDS) assert.ok(key.includes(`${kind}: ${kind === "in the loss" ? 4 : 2}`), key);
  await page.keyboard.press(".");
  await page.keyboard.press(",");
  await page.waitForFunction(() => /mask not generated$/.test(document.getElementById("live").textContent));
  await clean();
});

test("the recorded alternatives of a token are shown with their probabilities", { skip }, async () => {
  const { page, clean } = await open(chrome, `${site.url}/#/${id}/samples?sib=0&tok=5`);
  await page.waitForSelector(".tok span.on");
  const shown = () => page.locator("section[aria-label=Token] .alt").evaluateAll((all) => all.map((one) => [one.querySelector("code").textContent, one.querySelector("span").textContent, one.classList.contains("own")]));
  const { log_prob: [log] } = { log_prob: [-0.1 - 5 / 4] };
  const share = (place) => `${(100 * Math.exp(log) / 2 ** place).toFixed(1)} %`;
  assert.deepEqual(await shown(), [["f", share(0), true], ["g", share(1), false], ["id 7", share(2), false]]);
  await clean();
});
