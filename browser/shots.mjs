// Pictures of the page for docs/dashboard.md: `node shots.mjs RUN [OTHER] [FOLDER]`. RUN is a run
// directory; OTHER, beside it, is compared with it.
import fs from "node:fs";
import path from "node:path";
import { browser, open, server } from "./tests/help.mjs";

const [run, other, folder = new URL("../docs/dashboard/", import.meta.url).pathname] = process.argv.slice(2);
if (!run) {
  console.error("usage: node shots.mjs RUN [OTHER] [FOLDER]");
  process.exit(2);
}
fs.mkdirSync(folder, { recursive: true });
// With the checkpoints of the run, so that the fork is in the pictures.
const site = await server(run, ...(other ? [other] : []), "--model", "run");
const runs = await site.json("/runs");
const named = (place) => runs.find(({ name }) => name === path.basename(place)).id;
const id = named(run);
const about = await site.json(`/runs/${id}`);
const step = about.sampled[Math.floor(about.sampled.length / 2)];
// The group with the most to see: half of it right, and the most tokens.
const groups = (await site.json(`/runs/${id}/groups?step=${step}`)).lines.filter(({ kept }) => kept);
const split = ({ correct, n }) => Math.abs(correct / n - 0.5);
const { group } = groups.sort((a, b) => split(a) - split(b) || b.entropy - a.entropy)[0];

// Name and address; height and theme of the picture at 1280 and at 390 pixels.
const SHOTS = [
  ["run", `run?step=${step}`, [830, "light"], [1500, "light"]],
  ["samples", `samples?step=${step}&group=${group}&by=credit`, [1000, "dark"], [1500, "dark"]],
  ["evals", `evals?step=${step}`, [880, "light"], [1300, "dark"]],
  ...(other ? [["compare", `compare?with=${named(other)}`, [860, "dark"], [1300, "light"]]] : []),
];
const chrome = await browser();
for (const [name, rest, ...sizes] of SHOTS) {
  for (const [at, [height, theme]] of sizes.entries()) {
    const width = [1280, 390][at];
    const { page, clean } = await open(chrome, `${site.url}/#/${id}/${rest}`, { viewport: { width, height }, colorScheme: theme, deviceScaleFactor: 1 });
    await page.waitForLoadState("networkidle").catch(() => {});
    await page.waitForTimeout(1500);
    const file = path.join(folder, `${name}-${width}-${theme}.png`);
    await page.screenshot({ path: file });
    console.log(`${file} ${Math.round(fs.statSync(file).size / 1024)} kB`);
    await clean();
  }
}
await chrome.close();
site.close();
