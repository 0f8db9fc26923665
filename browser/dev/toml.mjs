// Flattens a resolved recipe: enough of TOML to compare two of them key by key.

/** Pairs of dotted key and value as written, in the order of the file. */
export function flatten(text) {
  const pairs = [];
  const counts = new Map();
  let prefix = "";
  let open = null;
  for (const raw of text.split("\n")) {
    const line = raw.trim();
    if (open) {
      open[1] += ` ${line}`;
      if (balanced(open[1])) open = null;
      continue;
    }
    if (line === "" || line.startsWith("#")) continue;
    const table = /^\[(\[)?([^\]]+)\]/.exec(line);
    if (table) {
      prefix = table[1] ? numbered(counts, within(counts, table[2])) : within(counts, table[2]);
      continue;
    }
    const at = line.indexOf("=");
    if (at < 0) continue;
    const pair = [join(prefix, line.slice(0, at).trim()), line.slice(at + 1).trim()];
    if (!balanced(pair[1])) open = pair;
    pairs.push(pair);
  }
  return pairs;
}

const join = (prefix, key) => (prefix ? `${prefix}.${key}` : key);

/** The name of a table with the numbers of the lists that it is in. */
function within(counts, name) {
  let out = "";
  for (const part of name.split(".")) {
    const path = join(out, part);
    out = counts.has(path) ? `${path}[${counts.get(path)}]` : path;
  }
  return out;
}

function numbered(counts, path) {
  const bare = path.replace(/\[\d+\]$/, "");
  const number = counts.has(bare) ? counts.get(bare) + 1 : 0;
  counts.set(bare, number);
  for (const key of [...counts.keys()]) if (key.startsWith(`${bare}[${number}]`)) counts.delete(key);
  return `${bare}[${number}]`;
}

/** Whether every bracket outside of strings is closed. */
function balanced(text) {
  let depth = 0;
  let quote = null;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quote) {
      if (c === "\\" && quote === '"') i++;
      else if (c === quote) quote = null;
    } else if (c === '"' || c === "'") quote = c;
    else if (c === "[" || c === "{") depth++;
    else if (c === "]" || c === "}") depth--;
  }
  return depth <= 0;
}

/** Stages of a recipe with their first and last step. */
export function stages(text) {
  const found = new Map();
  for (const [key, value] of flatten(text)) {
    const part = /^stage\[(\d+)\]\.(kind|steps|name)$/.exec(key);
    if (!part) continue;
    const stage = found.get(part[1]) ?? {};
    stage[part[2]] = value.replace(/^"|"$/g, "");
    found.set(part[1], stage);
  }
  let done = 0;
  return [...found.values()].map((stage) => {
    const from = done + 1;
    done += Number(stage.steps ?? 0);
    return { name: stage.name ?? stage.kind, kind: stage.kind, from, to: done };
  });
}

/** Rows where two lists of pairs differ; null where a side has no such key. */
export function differences(a, b) {
  const [left, right] = [new Map(a), new Map(b)];
  const keys = [...left.keys(), ...[...right.keys()].filter((key) => !left.has(key))];
  return keys
    .filter((key) => left.get(key) !== right.get(key))
    .map((key) => ({ key, a: left.get(key) ?? null, b: right.get(key) ?? null }));
}
