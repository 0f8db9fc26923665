// A run of 10,000 steps: STEARIN_SPEED=1 measures it, on a machine that does nothing else.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { plain, record } from "./fixture.mjs";
import { browser, needsBrowser, open, scratch, server } from "./help.mjs";

const skip = needsBrowser || (process.env.STEARIN_SPEED ? false : "STEARIN_SPEED is not set");

test("the first curve in a second, a cursor move in 16 ms", { skip, timeout: 180_000 }, async (t) => {
  const folder = scratch();
  record(path.join(folder, "long"), { groups: [plain()], metrics: 10_000, keys: 117 });
  const site = await server(folder);
  await site.json("/runs");
  const chrome = await browser();
  const first = [];
  let frames = [];
  for (let round = 0; round < 5; round++) {
    const { page, close } = await open(chrome, `${site.url}/`);
    await page.waitForFunction(() => performance.getEntriesByName("first-curve").length > 0);
    first.push(await page.evaluate(() => performance.getEntriesByName("first-curve")[0].duration));
    if (round === 4) {
      await page.waitForTimeout(3000);
      frames = await page.evaluate(async () => {
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
        return times.sort((a, b) => a - b);
      });
    }
    await close();
  }
  await chrome.close();
  site.close();
  fs.rmSync(folder, { recursive: true });
  const median = first.sort((a, b) => a - b)[2];
  const frame = frames[Math.floor(frames.length / 2)];
  t.diagnostic(`first curve ${median.toFixed(0)} ms, cursor move ${frame.toFixed(1)} ms (median), ${frames.at(-1).toFixed(1)} ms (longest)`);
  assert.ok(median <= 1000 && frame <= 16);
});
