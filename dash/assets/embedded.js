// The answers that a report carries in place of a server: a script element of data for each, with
// the route as its `data-path`. JSON is as the server sends it; columns are f32, packed by gzip.

const carried = new Map();
for (const one of globalThis.document?.querySelectorAll("script[data-path]") ?? []) carried.set(one.dataset.path, one);

/** Whether the page is a report: nothing is asked, and nothing changes. */
export const isReport = carried.size > 0;

const unpacked = new Map();

/** The answer to a route, as `fetch` gives it. */
export async function carriedAnswer(path) {
  const [place, query] = path.split("?");
  if (place.endsWith("/series")) return new Response(chosenSeries(await columnsOf(carried.get(place)), new URLSearchParams(query)));
  if (place.endsWith("/groups")) return Response.json(chosenGroups(JSON.parse(carried.get(place).textContent), new URLSearchParams(query)));
  const one = carried.get(path);
  if (!one) return Response.json({ error: "this is not in the report", act: "open the run itself with `stearin dash`, or write the report with more --groups or --max-mb" }, { status: 404 });
  if (one.type === "application/json") return new Response(one.textContent, { status: Number(one.dataset.status ?? 200) });
  const { header, columns } = await columnsOf(one);
  return new Response(binary(header, columns));
}

/** Header and columns of an element; these are as long as one another. */
function columnsOf(one) {
  if (!unpacked.has(one)) unpacked.set(one, unpack(one.textContent));
  return unpacked.get(one);
}

async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const bytes = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  const all = Float64Array.from(new Float32Array(bytes, Math.ceil((4 + length) / 8) * 8));
  const count = header.columns?.length ?? header.keys.length + 1;
  const rows = all.length / count;
  return { header, columns: Array.from({ length: count }, (_, at) => all.subarray(at * rows, (at + 1) * rows)) };
}

/** Columns as the server sends them. */
function binary(header, columns) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = Math.ceil((4 + text.length) / 8) * 8;
  const bytes = new ArrayBuffer(start + 8 * columns.reduce((sum, column) => sum + column.length, 0));
  new DataView(bytes).setUint32(0, text.length, true);
  new Uint8Array(bytes, 4).set(text);
  const values = new Float64Array(bytes, start);
  let at = 0;
  for (const column of columns) {
    values.set(column, at);
    at += column.length;
  }
  return bytes;
}

/** The series of the keys that are asked for. */
function chosenSeries({ header, columns: [steps, ...columns] }, query) {
  const keys = query.get("keys").split(",").filter(Boolean);
  const none = new Float64Array(steps.length).fill(NaN);
  return binary({ ...header, keys }, [steps, ...keys.map((key) => columns[header.keys.indexOf(key)] ?? none)]);
}

const solvedShare = (line) => line.correct / Math.max(1, line.n);
const GROUP_ORDERS = new Map([["step", (line) => line.step], ["solved", solvedShare], ["entropy", (line) => line.entropy ?? -1], ["length", (line) => line.lengths.reduce((sum, one) => sum + one, 0) / Math.max(1, line.n)]]);

/** Lines of the index, chosen and sorted as by the server, on one page. */
function chosenGroups(index, query) {
  const [low, high] = (query.get("solved") ?? "0..1").split("..").map(Number);
  const part = query.get("q")?.toLowerCase() ?? "";
  const has = (text) => text.toLowerCase().includes(part);
  const fits = (line) => (!query.has("step") || line.step === Number(query.get("step"))) && solvedShare(line) >= low && solvedShare(line) <= high && (has(line.id) || has(line.source));
  const lines = index.lines.filter(fits);
  const sort = query.get("sort");
  if (sort) {
    const by = GROUP_ORDERS.get(sort.replace(/^-/, ""));
    lines.sort((a, b) => (sort.startsWith("-") ? by(b) - by(a) : by(a) - by(b)));
  }
  return { next: null, lines: lines.slice(Number(query.get("after") ?? 0)) };
}
