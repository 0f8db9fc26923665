// Records that are not whole: no panic, a sentence with file and act, the rest is shown.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { plain, record } from "./fixture.mjs";
import { browser, needsBrowser as skip, open, scratch, server } from "./help.mjs";

const STEP = "samples/step-000010";
const cut = (file, share) => fs.truncateSync(file, Math.floor(fs.statSync(file).size * share));
const header = (file, length) => {
  const bytes = fs.readFileSync(file);
  bytes.writeBigUInt64LE(length, 0);
  fs.writeFileSync(file, bytes);
};

let chrome;
before(async () => {
  if (!skip) chrome = await browser();
});
after(() => chrome?.close());

/** What is broken, how, and what has to speak of it: the run's problems, or a route's refusal. */
const CASES = [
  ["a future format", (at) => fs.writeFileSync(at("run.json"), '{"format": 9, "commit": "abc"}'), "run.json", /expected format 2, got 9/],
  ["half a status", (at) => fs.writeFileSync(at("status.json"), "{"), "status.json", /EOF|end/],
  ["a torn last line", (at) => fs.appendFileSync(at("metrics.jsonl"), '{"step": 13, "unfil'), null, null],
  ["a broken line amid whole ones", (at) => fs.appendFileSync(at("metrics.jsonl"), 'no json\n{"step": 13, "unfiltered/entropy": 0.4}\n'), "metrics.jsonl", /expected ident/],
  ["NUL bytes", (at) => fs.appendFileSync(at("metrics.jsonl"), "\0\0\0\n"), "metrics.jsonl", /NUL bytes/],
  ["bytes that are no UTF-8", (at) => fs.appendFileSync(at("metrics.jsonl"), Buffer.from([0xff, 0xfe, 10])), "metrics.jsonl", /expected value/],
  ["a line of 2 MB", (at) => fs.appendFileSync(at("metrics.jsonl"), `{"step": 13, "x": "${"y".repeat(2 << 20)}"}\n`), "metrics.jsonl", /longer line/],
  ["steps twice and backwards", (at) => fs.appendFileSync(at("metrics.jsonl"), '{"step": 3, "unfiltered/entropy": 0.9}\n'), "metrics.jsonl", /a step after 12, got 3/],
  ["a folder in place of a file", (at) => (fs.rmSync(at("metrics.jsonl")), fs.mkdirSync(at("metrics.jsonl"))), "metrics.jsonl", /got a folder/],
  ["an index beyond its file", (at) => cut(at(`${STEP}.jsonl`), 0.5), "/groups/10/0", /the index points at bytes/],
  ["cut columns", (at) => cut(at(`${STEP}.safetensors`), 0.5), "/groups/10/0/tokens", /cut|header/],
  ["a header of 2^60 bytes", (at) => header(at(`${STEP}.safetensors`), 1n << 60n), "/groups/10/0/tokens", /header/],
  ["half a surrogate pair in a text", (at) => fs.writeFileSync(at(`${STEP}.jsonl`), fs.readFileSync(at(`${STEP}.jsonl`), "utf8").replace("1+1=3", "1+1\\ud83")), "/groups/10/0", /are no group/],
  ["a link out of the run", (at) => (fs.renameSync(at(`${STEP}.jsonl`), at("../elsewhere")), fs.symlinkSync(at("../elsewhere"), at(`${STEP}.jsonl`))), "/groups/10/0", /expected a file, got a link/],
  ["a link in place of the facts", (at) => (fs.renameSync(at("run.json"), at("../facts")), fs.symlinkSync(at("../facts"), at("run.json"))), "run.json", /expected a file, got a link/],
  ["no columns", (at) => fs.rmSync(at(`${STEP}.safetensors`)), "/groups/10/0/tree", /there is no such file/],
];

test("damage is told with its file, and the rest is read", async () => {
  for (const [name, damage, place, words] of CASES) {
    const folder = scratch();
    record(path.join(folder, "run"), { groups: [plain()] });
    damage((file) => path.join(folder, "run", file));
    const site = await server(folder);
    const runs = await site.json("/runs");
    assert.equal(runs.length, 1, name);
    const about = await site.json(`/runs/${runs[0].id}`);
    if (place === null) assert.deepEqual(about.problems, [], name);
    else if (place.startsWith("/")) {
      const refused = await site.json(`/runs/${runs[0].id}${place}`);
      assert.match(refused.error, words, name);
      assert.ok(refused.file && refused.act, name);
    } else {
      const told = about.problems.find(({ file }) => file.endsWith(place));
      assert.match(told?.problem ?? "", words, name);
      assert.ok(told.act, name);
    }
    site.close();
  }
});

test("the page shows what is left of a damaged record", { skip, timeout: 120_000 }, async () => {
  for (const name of ["a broken line amid whole ones", "cut columns", "half a status"]) {
    const folder = scratch();
    record(path.join(folder, "run"), { groups: [plain()] });
    CASES.find(([one]) => one === name)[1]((file) => path.join(folder, "run", file));
    const site = await server(folder);
    const { page, clean } = await open(chrome, `${site.url}/`);
    await page.waitForSelector("section[aria-label=Entropy] canvas");
    if (name !== "cut columns") await page.waitForSelector("#view-run .notice.alarm");
    await page.keyboard.press("2");
    if (name === "cut columns") await page.waitForSelector("#view-samples .notice.alarm");
    else await page.waitForSelector(".rows .tok span.t");
    await clean(/Failed to load resource/);
    site.close();
  }
});

test("a folder that links to a run is none", async () => {
  const [runs, elsewhere] = [scratch(), scratch()];
  record(path.join(elsewhere, "run"), { groups: [plain()] });
  record(path.join(runs, "own"), { groups: [plain()] });
  fs.symlinkSync(path.join(elsewhere, "run"), path.join(runs, "linked"));
  const site = await server(runs);
  assert.deepEqual((await site.json("/runs")).map(({ name }) => name), ["own"]);
  site.close();
});

test("a run that is removed while it is watched is said to be gone, and what was read stays", { skip, timeout: 60_000 }, async () => {
  const folder = scratch();
  record(path.join(folder, "run"), { groups: [plain()] });
  const site = await server(folder);
  const { page, clean } = await open(chrome, `${site.url}/`);
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  const label = await page.locator("section[aria-label=Entropy] [role=img]").getAttribute("aria-label");
  fs.rmSync(path.join(folder, "run"), { recursive: true });
  await page.waitForFunction(() => document.querySelector("#head .state").textContent.startsWith("is not there any more"));
  await page.waitForFunction(() => /Expected a folder, got nothing\. What was read of the run before is still shown\./.test(document.querySelector(".health").textContent));
  assert.equal(await page.locator("section[aria-label=Entropy] [role=img]").getAttribute("aria-label"), label);
  await page.keyboard.press("2");
  await page.waitForFunction(() => document.querySelector("#view-samples .notice.alarm, #live:not(:empty)"));
  await clean(/Failed to load resource/);
  site.close();
});

test("a warning of any length is cut, and whole when it is asked for", { skip, timeout: 60_000 }, async () => {
  const folder = scratch();
  record(path.join(folder, "run"), { groups: [plain()] });
  const cause = "x".repeat(900_000);
  const warn = (name, cause) => fs.appendFileSync(path.join(folder, "run/health.jsonl"), `${JSON.stringify({ step: 3, name, level: "alarm", cause, act: "stop" })}\n`);
  warn("long", cause);
  const site = await server(folder);
  const { page, clean } = await open(chrome, `${site.url}/`);
  const notice = page.locator(".health .notice");
  await notice.waitFor();
  assert.ok((await notice.textContent()).length < 1000);
  assert.ok((await notice.evaluate((element) => element.offsetHeight)) < 300);
  await notice.getByRole("button", { name: "show all" }).click();
  assert.ok((await notice.textContent()).length > 900_000);
  // A new warning draws the list again: what was opened stays open.
  warn("short", "a second one");
  await page.waitForFunction(() => document.querySelectorAll(".health .notice").length === 2);
  assert.ok((await notice.first().textContent()).length > 900_000);
  await clean();
  site.close();
});

test("an empty folder is told", { skip, timeout: 60_000 }, async () => {
  const folder = scratch();
  const site = await server(folder);
  const { page, clean } = await open(chrome, `${site.url}/`);
  await page.waitForFunction(() => /no run in this folder/.test(document.body.textContent));
  await clean();
  site.close();
});
