// Rules of the page's source that need no browser.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../dash/assets/", import.meta.url));
const own = ["", "panels"].flatMap((folder) => fs.readdirSync(path.join(ROOT, folder)).filter((name) => name.endsWith(".js")).map((name) => path.join(folder, name)));
const read = (name) => fs.readFileSync(path.join(ROOT, name), "utf8");

test("uPlot is the pinned file, with its licence", () => {
  const digest = (name) => createHash("sha256").update(fs.readFileSync(path.join(ROOT, "vendor/uplot-1.6.32", name))).digest("hex");
  assert.equal(digest("uPlot.iife.min.js"), "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f");
  assert.equal(digest("uPlot.min.css"), "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04");
  assert.match(read("vendor/uplot-1.6.32/LICENSE"), /MIT/);
});

test("text enters the page as text only, and nothing is made from strings", () => {
  for (const name of own) assert.doesNotMatch(read(name), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\s*\(|new Function|setAttribute\("style"/, name);
  assert.doesNotMatch(read("index.html"), /<script>|<style|style=|\son\w+=/);
});

test("modules can be joined into one script", () => {
  const places = new Map();
  for (const name of own) {
    const text = read(name);
    assert.doesNotMatch(text, /export default|import \*|^(import|export) .*\bas\b/m, name);
    for (const [, top] of text.matchAll(/^(?:export )?(?:async )?(?:const|let|function|class) (\w+)/gm)) {
      assert.ok(!places.has(top), `${top} is in ${name} and in ${places.get(top)}`);
      places.set(top, name);
    }
  }
});

// The limit keeps the page small enough to be read. It was 165 kB before the page had the mask, the
// recorded alternatives, the form of forks, problems that are walked by keys, and a table for every
// drawing. The modules are not minified, and come from the same machine.
test("a panel has at most 250 lines, and all modules are under 185 kB", () => {
  for (const name of own) if (name.startsWith("panels")) assert.ok(read(name).split("\n").length <= 251, name);
  const bytes = own.reduce((sum, name) => sum + fs.statSync(path.join(ROOT, name)).size, 0);
  assert.ok(bytes < 185_000, `${bytes} bytes`);
});
