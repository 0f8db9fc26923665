// A run of 10,000 steps: STEARIN_SPEED=1 measures it, on a machine that does nothing else.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { plain, record } from "./fixture.mjs";
import { browser, needsBrowser, open, scratch, server } from "./help.mjs";

const skip = needsBrowser || (process.env.STEARIN_SPEED ? false : "STEARIN_SPEED is not set");

test("a run of 10,000 steps and 120 keys: answer, first curve, cursor, memory", { skip, timeout: 300_000 }, async (t) => {
  const folder = scratch();
  record(path.join(folder, "long"), { groups: [plain()], metrics: 10_000, keys: 117 });
  const chrome = await browser();
  const [answers, curves] = [[], []];
  let [frames, memory] = [[], 0];
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    const site = await server(folder);
    await site.json("/runs");
    answers.push(performance.now() - start);
    const { page, clean } = await open(chrome, `${site.url}/`);
    await page.waitForFunction(() => performance.getEntriesByName("first-curve").length > 0);
    curves.push(await page.evaluate(() => performance.getEntriesByName("first-curve")[0].duration));
    if (round === 4) frames = await page.waitForTimeout(3000).then(() => page.evaluate(moves));
    memory = Math.max(memory, Number(/VmHWM:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${site.pid}/status`, "utf8"))[1]) / 1024);
    await clean();
    site.close();
  }
  await chrome.close();
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  t.diagnostic(`start to answer ${median(answers).toFixed(0)} ms, first curve ${median(curves).toFixed(0)} ms, cursor ${median(frames).toFixed(1)} ms (longest ${Math.max(...frames).toFixed(1)} ms), server ${memory.toFixed(0)} MiB, load ${os.loadavg()[0].toFixed(1)}`);
  assert.ok(median(curves) <= 1000 && median(frames) <= 16 && memory <= 150);
});

/** Milliseconds that the page computes for a move of the slider. */
async function moves() {
  const ask = requestAnimationFrame;
  const times = [];
  window.requestAnimationFrame = (call) => ask((now) => {
    const from = performance.now();
    call(now);
    times.push(performance.now() - from);
  });
  const slider = document.querySelector(".track input");
  for (let step = 100; step < 9000; step += 150) {
    slider.value = step;
    slider.dispatchEvent(new Event("input"));
    await new Promise((done) => ask(() => ask(done)));
  }
  return times;
}
