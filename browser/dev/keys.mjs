// The table of metric keys, read from the source of `evals::metrics`.
import fs from "node:fs";

const source = fs.readFileSync(new URL("../../evals/src/metrics/table.rs", import.meta.url), "utf8");
const rows = [...source.matchAll(/\b[mt]\(\s*"([^"]+)",\s*"([^"]+)",\s*"([^"]+)",?\s*\)/g)];
const table = rows.map(([, key, unit, meaning]) => {
  const pattern = key.split("/").map((part) => part.replace(/[.*+?^${}()|[\]\\@]/g, "\\$&").replace(/<[^>]+>/, "[^/]+"));
  return { pattern: new RegExp(`^${pattern.join("/")}$`), unit, meaning };
});

/** `{key, unit, meaning, plot, better}`; the table has no `plot` and no `better` yet. */
export function describe(key) {
  const row = table.find(({ pattern }) => pattern.test(key));
  return { key, unit: row?.unit ?? "1", meaning: row?.meaning ?? "", plot: null, better: null };
}
