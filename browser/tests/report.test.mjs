// A report, opened from the disk without a network.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { pathToFileURL } from "node:url";
import { ATTACK, CONTROL, hostile, placeOf, plain, record } from "./fixture.mjs";
import { RUN, STEARIN, browser, needsBrowser, scratch, server, why } from "./help.mjs";

const skip = needsBrowser;
let [chrome, folder] = [];
before(async () => {
  if (skip) return;
  chrome = await browser();
  folder = scratch();
});
after(async () => {
  await chrome?.close();
  if (folder) fs.rmSync(folder, { recursive: true });
});

/** Writes a report and returns its file. */
function write(run, name, ...options) {
  const file = path.join(folder, name);
  execFileSync(STEARIN, ["report", run, "-o", file, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  return file;
}

/** A page of the report that may ask nobody, with what must not happen. */
async function read(file, hash = "", settings = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 900 }, offline: true, ...settings });
  const page = await context.newPage();
  const faults = [];
  const url = pathToFileURL(file).href;
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("dialog", (dialog) => (faults.push("dialog"), dialog.dismiss()));
  page.on("request", (request) => !request.url().startsWith("data:") && request.url().split("#")[0] !== url && faults.push(`request to ${request.url()}`));
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation", () => (window.violated = (window.violated ?? 0) + 1)));
  await page.goto(url + hash, { waitUntil: "load" });
  return { page, faults, close: () => context.close() };
}

/** Violations so far, and after one on purpose: the counter counts. */
async function violations(page) {
  const seen = await page.evaluate(() => window.violated ?? 0);
  const tripped = await page.evaluate(async () => {
    const script = document.createElement("img");
    script.src = "http://evil.test/x.png";
    document.body.append(script);
    await fetch("http://evil.test/").catch(() => {});
    return new Promise((done) => setTimeout(() => done(window.violated ?? 0), 300));
  });
  return { seen, tripped };
}

test("curves, tokens and tree are shown from the disk, and nothing is asked", { skip: skip || why, timeout: 120_000 }, async () => {
  const file = write(RUN, "run.html");
  const site = await server(RUN);
  const [{ id }] = await site.json("/runs");
  const { page, faults, close } = await read(file);
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  await page.waitForFunction(() => document.querySelectorAll("#view-run canvas").length > 12);
  const label = await page.locator("section[aria-label=Entropy] [role=img]").getAttribute("aria-label");
  const step = Number(/Step (\d+):/.exec(label)[1]);
  const { values } = await site.json(`/runs/${id}/series?keys=unfiltered/entropy&format=json&from=${step}`);
  const shown = Number(/mean (\S+?),/.exec(label)[1]);
  assert.ok(Math.abs(shown - values[1][0]) <= 0.005 * values[1][0], `${shown} against ${values[1][0]}`);
  assert.match(await page.locator("footer").textContent(), /12 of \d+ recorded groups/);

  await page.keyboard.press("2");
  await page.waitForSelector(".rows .tok span.t");
  // The address follows the view after a moment.
  await page.waitForFunction(() => /[?&]group=/.test(location.hash));
  const place = new URLSearchParams((await page.evaluate(() => location.hash)).split("?")[1]);
  const heading = await page.locator(".samples h2 small").filter({ hasText: "group" }).textContent();
  const [, at, group] = /step (\d+), group (\d+)/.exec(heading);
  const own = await site.json(`/runs/${id}/groups/${at}/${group}`);
  const nodes = await site.json(`/runs/${id}/groups/${at}/${group}/tree`);
  assert.equal(await page.locator("section.card .problem").first().textContent(), own.problem);
  assert.equal(await page.locator(".rows .row").count(), own.completions.length);
  assert.ok((await page.locator(".tree svg").count()) > 0 && nodes.length > 0);
  assert.equal(await page.locator("section[aria-label='Fork and alternatives']").count(), 0);
  assert.equal(place.get("group"), group);
  await page.keyboard.press("f");

  await page.keyboard.press("3");
  await page.waitForSelector(".matrix td button");
  await page.locator(".matrix td button").first().click();
  await page.keyboard.press("4");
  await page.waitForSelector("section[aria-label=Compare]");
  await page.waitForTimeout(300);
  assert.deepEqual(faults, []);
  const { seen, tripped } = await violations(page);
  assert.ok(seen === 0 && tripped >= 2, `${seen} violations, ${tripped} with some on purpose`);
  await close();
  site.close();
});

test("a copied address opens the same token, and a group that was left out says so", { skip: skip || why, timeout: 120_000 }, async () => {
  const file = write(RUN, "few.html", "--groups", "3");
  const first = await read(file);
  await first.page.waitForSelector("section[aria-label=Entropy] canvas");
  await first.page.keyboard.press("2");
  await first.page.waitForSelector(".tok span.on");
  await first.page.keyboard.press(".");
  await first.page.waitForTimeout(400);
  const hash = await first.page.evaluate(() => location.hash);
  const on = (page) => page.locator(".tok span.on").first().textContent();
  const token = await on(first.page);
  await first.page.locator(".groups li button").last().click();
  await first.page.waitForSelector(".samples .notice.alarm");
  assert.match(await first.page.locator(".samples .notice.alarm").textContent(), /not in the report/);
  assert.deepEqual(first.faults, []);
  await first.close();
  const second = await read(file, hash);
  await second.page.waitForSelector(".tok span.on");
  assert.equal(await on(second.page), token);
  assert.deepEqual(second.faults, []);
  await second.close();
});

test("two reports of a run are the same bytes, within --max-mb, with another run to compare", { skip: skip || why, timeout: 120_000 }, async () => {
  const { folder: other } = record(path.join(folder, "other"), { groups: [plain()], metrics: 30 });
  const [first, second] = ["one.html", "two.html"].map((name) => fs.readFileSync(write(RUN, name, "--against", other)));
  assert.ok(first.equals(second));
  assert.ok(first.length < 8e6);
  const small = fs.readFileSync(write(RUN, "small.html", "--max-mb", "1"), "utf8");
  assert.ok(Buffer.byteLength(small) < 1e6);
  const { page, faults, close } = await read(path.join(folder, "one.html"));
  await page.waitForSelector("section[aria-label=Entropy] canvas");
  await page.keyboard.press("4");
  await page.waitForSelector("section[aria-label=Recipes] td");
  assert.ok(await page.locator("section[aria-label=Compare] input[type=checkbox]").isChecked());
  assert.deepEqual(faults, []);
  await close();
});

test("a report answers as the server does", { skip: skip || why }, async () => {
  const html = fs.readFileSync(write(RUN, "answers.html"), "utf8");
  const elements = [...html.matchAll(/<script type="(application\/\w+)" data-path="([^"]*)"(?: data-status="(\d+)")?>([^<]*)<\/script>/g)];
  const carried = elements.map(([, type, place, status, textContent]) => ({ type, textContent, dataset: { path: place.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&amp;", "&"), status } }));
  globalThis.document = { querySelectorAll: () => carried };
  const copy = path.join(folder, "embedded.mjs");
  fs.copyFileSync(new URL("../../dash/assets/embedded.js", import.meta.url), copy);
  const { carriedAnswer } = await import(pathToFileURL(copy).href);
  const site = await server(RUN);
  const [{ id }] = await site.json("/runs");
  const about = await site.json(`/runs/${id}`);
  const step = about.sampled.at(-1);
  const ours = async (route) => (await carriedAnswer(route)).json();
  for (const query of ["", `?step=${step}`, `?step=${step}&solved=0.25..0.75`, "?q=arith", "?q=none", `?step=${step}&sort=-solved`, `?step=${step}&sort=entropy`, `?step=${step}&sort=-length`]) {
    const [mine, theirs] = [await ours(`/runs/${id}/groups${query}`), { lines: [] }];
    for (let after = 0; after !== null; ) {
      const page = await site.json(`/runs/${id}/groups${query}${query ? "&" : "?"}after=${after}`);
      theirs.lines.push(...page.lines);
      after = page.next;
    }
    const key = (line) => `${line.step} ${line.group}`;
    const by = (a, b) => (key(a) < key(b) ? -1 : 1);
    assert.deepEqual([...mine.lines].sort(by), [...theirs.lines].sort(by), query);
    // Equal values may stand in another order; the values may not.
    const value = { "-solved": (line) => line.correct / line.n, entropy: (line) => line.entropy, "-length": (line) => line.lengths.reduce((sum, one) => sum + one, 0) / line.n }[/sort=(.*)/.exec(query)?.[1]];
    if (value) assert.deepEqual(mine.lines.map(value), theirs.lines.map(value), query);
  }
  const bytes = async (answer) => Buffer.from(await answer.arrayBuffer());
  const numbers = (all) => {
    const length = all.readUInt32LE(0);
    const start = Math.ceil((4 + length) / 8) * 8;
    return { header: JSON.parse(all.toString("utf8", 4, 4 + length)), values: Array.from({ length: (all.length - start) / 8 }, (_, at) => Math.fround(all.readDoubleLE(start + 8 * at))) };
  };
  const shown = (await ours(`/runs/${id}/groups`)).lines[0];
  const group = `/runs/${id}/groups/${shown.step}/${shown.group}`;
  for (const route of [`/runs/${id}/series?keys=actor%2Fentropy,timing_s%2Fstep`, `/runs/${id}/series?keys=unfiltered%2Fentropy`, `${group}/tokens`]) {
    const [mine, theirs] = [numbers(await bytes(await carriedAnswer(route))), numbers(await bytes(await fetch(`${site.url}/api/v1${route}`)))];
    assert.deepEqual(mine, theirs, route);
    assert.ok(mine.values.length > 20);
  }
  const [set] = about.evals;
  for (const route of [group, `${group}/tree`, `/runs/${id}/health?after=0`, `/runs/${id}/problem?id=${encodeURIComponent(shown.id)}`]) assert.deepEqual(await ours(route), await site.json(route), route);
  const page = `/runs/${id}/evals/${set.set}/${set.steps.at(-1)}?after=0`;
  const [mine, theirs] = [await ours(page), await site.json(page)];
  assert.ok(theirs.lines.length > 0);
  for (const line of theirs.lines) line.texts = [];
  assert.deepEqual(mine, theirs);
  assert.equal((await carriedAnswer(`/runs/${id}/groups/99999/0`)).status, 404);
  site.close();
});

test("a report of a damaged run says what is missing, on a telephone too", { skip, timeout: 60_000 }, async () => {
  const { folder: run } = record(path.join(folder, "damaged"), { groups: [plain()], more: [[5, [{ ...plain(), id: "two" }]]], held: "held-out" });
  fs.appendFileSync(path.join(run, "metrics.jsonl"), 'no json\n{"step": 13, "unfiltered/entropy": 0.4}\n');
  fs.truncateSync(path.join(run, "samples/step-000005.safetensors"), 300);
  const file = write(run, "damaged.html");
  for (const width of [1280, 390]) {
    const { page, faults, close } = await read(file, "", { viewport: { width, height: 844 } });
    await page.waitForSelector("section[aria-label=Entropy] canvas");
    assert.match(await page.locator(".health").textContent(), /metrics\.jsonl, line 13/);
    for (const view of ["run", "samples", "evals", "compare"]) {
      await page.locator(`nav [data-view=${view}]`).click();
      await page.waitForTimeout(300);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `${view} is wider than ${width}`);
      if (width > 390) continue;
      const small = await page.locator("button:visible, select:visible, summary:visible, .check:visible").evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().height < 43.5).map((one) => one.outerHTML.slice(0, 90)));
      assert.deepEqual(small, [], view);
    }
    await page.locator("nav [data-view=samples]").click();
    await page.waitForSelector(".rows .tok span.t");
    // The step whose columns are cut: its group says so.
    await page.locator(".track input").fill("5");
    await page.waitForSelector("#view-samples .notice.alarm");
    assert.deepEqual(faults, []);
    await close();
  }
});

test("hostile texts in a report are texts", { skip, timeout: 120_000 }, async () => {
  const { folder: run } = record(path.join(folder, "hostile"), { name: ATTACK, groups: [{ id: ATTACK, source: ATTACK, problem: ATTACK, gold: ATTACK, completions: hostile() }], held: "held-out" });
  const keys = { step: 13, stage: "rl", ["__proto__"]: 1, constructor: 2, [ATTACK]: 3 };
  fs.appendFileSync(path.join(run, "metrics.jsonl"), `${JSON.stringify(keys)}\n`);
  const file = write(run, "hostile.html");
  const html = fs.readFileSync(file, "utf8");
  const count = (part) => html.split(part).length - 1;
  assert.equal(count("<script"), count("</script>"));
  assert.equal(count("<img src=x"), 0);
  const policy = /content="(default-src [^"]*)"/.exec(html)[1];
  for (const kind of [/<script>([\s\S]*?)<\/script>/, /<script type="module">([\s\S]*?)<\/script>/]) assert.ok(policy.includes(createHash("sha256").update(kind.exec(html)[1]).digest("base64")));
  for (const width of [1280, 390]) {
    const { page, faults, close } = await read(file, "", { viewport: { width, height: 844 } });
    await page.waitForSelector("section[aria-label=Entropy] canvas");
    await page.keyboard.press("2");
    await page.waitForSelector(".rows .tok span.t");
    assert.equal(await page.locator("section .problem").first().textContent(), ATTACK);
    const bodies = await page.locator(".rows .tok").evaluateAll((all) => Object.fromEntries(all.map((one) => [one.dataset.sibling, one.textContent])));
    assert.equal(bodies[placeOf("markup")], ATTACK);
    assert.equal(bodies[placeOf("control")], CONTROL);
    for (const key of ["1", "3", "4"]) {
      await page.keyboard.press(key);
      await page.waitForTimeout(200);
    }
    assert.deepEqual(await page.evaluate(() => [window.pwned, document.documentElement.scrollWidth <= innerWidth]), [undefined, true]);
    assert.deepEqual(faults, []);
    const { seen, tripped } = await violations(page);
    assert.ok(seen === 0 && tripped >= 2, `${seen} violations, ${tripped} with some on purpose`);
    await close();
  }
});
