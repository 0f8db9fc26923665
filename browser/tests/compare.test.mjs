// Two runs beside one another: the paired test is the server's, and nothing is cut at 390 pixels.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test, { after, before } from "node:test";
import { plain, record } from "./fixture.mjs";
import { RUN, browser, needsBrowser, open, parts, scratch, server, why } from "./help.mjs";

let chrome;
before(async () => {
  if (!needsBrowser) chrome = await browser();
});
after(() => chrome?.close());

/** A copy of the run whose last evaluation solved every third problem, and could not judge one. */
function better() {
  const copy = path.join(scratch(), "better");
  fs.cpSync(RUN, copy, { recursive: true });
  const step = fs.readdirSync(path.join(copy, "evals")).sort().at(-1);
  const file = path.join(copy, "evals", step, "held-out.jsonl");
  const lines = fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  lines.forEach((line, at) => {
    if (at % 3 === 0) Object.assign(line, { correct: line.n, outcomes: line.outcomes.map(() => "correct"), classes: [{ answer: line.gold, votes: line.n, correct: true }], votes: line.votes.map(() => 0) });
  });
  lines[1].outcomes[0] = "error";
  fs.writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return { copy, count: lines.length };
}

test("the paired test is that of the server, over the problems that both could judge", { skip: why, timeout: 60_000 }, async () => {
  const { copy, count } = better();
  const site = await server(RUN, copy);
  const runs = await site.json("/runs");
  const [own, other] = [path.basename(RUN), "better"].map((name) => runs.find((one) => one.name === name).id);
  const [{ figures, steps }] = await site.json(`/paired?a=${other}&b=${own}`);
  const { figure } = await parts()("number.js");
  const points = (value) => `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)}`;
  const [average] = figures;
  assert.deepEqual([average.figure, average.problems], ["avg", count - 1]);
  assert.ok(average.mean > 0.2 && average.lower === 0);
  for (const width of [1280, 390]) {
    const { page, clean } = await open(chrome, `${site.url}/#/${other}/compare?with=${own}`, { viewport: { width, height: 844 } });
    const card = page.locator("section[aria-label='Paired test']");
    await card.locator("tbody tr").first().waitFor();
    const rows = await card.locator("tbody tr").evaluateAll((all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
    assert.equal(rows.length, figures.length);
    assert.deepEqual(rows[0], ["avg", points(average.mean), `${points(average.interval[0])} to ${points(average.interval[1])}`, `${average.higher}, 0`, figure(average.p)]);
    assert.match(await card.locator("h3").textContent(), new RegExp(`held-out: step ${steps[0]} against step ${steps[1]}, ${count - 1} problems$`));
    const cut = await card.locator("table").evaluate((one) => one.scrollWidth > one.parentElement.clientWidth);
    assert.equal(cut, false, `the table is wider than its card at ${width}`);
    await clean();
  }
  site.close();
});

test("digests are short, and whole in their title", { skip: needsBrowser, timeout: 60_000 }, async () => {
  const digest = (digit) => digit.repeat(64);
  const folder = scratch();
  for (const [name, digit] of [["one", "a"], ["two", "b"]]) record(path.join(folder, name), { groups: [plain()], recipe: `reference = "${digest(digit)}"\n` });
  const site = await server(folder);
  const [one, two] = await site.json("/runs");
  const { page, clean } = await open(chrome, `${site.url}/#/${one.id}/compare?with=${two.id}`);
  const row = page.locator("section[aria-label=Recipes] tbody tr", { hasText: "reference" });
  await row.waitFor();
  const [, a, b] = await row.locator("td").allTextContents();
  assert.deepEqual([a, b].sort(), [`"${"a".repeat(10)}…"`, `"${"b".repeat(10)}…"`]);
  const titles = await row.locator("td [title]").evaluateAll((all) => all.map((cell) => cell.title));
  assert.deepEqual(titles.sort(), [`"${digest("a")}"`, `"${digest("b")}"`]);
  await clean();
  site.close();
});

test("the box of the cursor's token is whole at the edge of its row", { skip: needsBrowser, timeout: 60_000 }, async () => {
  const { folder } = record(path.join(scratch(), "edge"), { groups: [plain()] });
  const site = await server(folder);
  const [{ id }] = await site.json("/runs");
  const { page, clean } = await open(chrome, `${site.url}/#/${id}/samples?sib=0&tok=0`, { viewport: { width: 390, height: 844 } });
  const token = page.locator(".tok span.on");
  await token.waitFor();
  const [room, wide] = await token.evaluate((span) => {
    const row = getComputedStyle(span.closest(".tok"));
    return [parseFloat(row.overflowClipMargin), parseFloat(getComputedStyle(span).outlineWidth)];
  });
  assert.ok(room >= wide, `${room} px for an outline of ${wide} px`);
  await clean();
  site.close();
});
