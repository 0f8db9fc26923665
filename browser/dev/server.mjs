// The HTTP interface of the page over run directories on disk, for the browser tests and for work
// on the page. The page's own server is part of the program.
//
//   node browser/dev/server.mjs [--port 7117] DIR…
import { createHash } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { follow } from "./events.mjs";
import { Run, Trouble } from "./record.mjs";
import { answer } from "./routes.mjs";

const ASSETS = fileURLToPath(new URL("../../dash/assets/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8" };
const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/** Every asset by its path below the folder, read once as they are embedded once. */
function assets() {
  const found = new Map();
  const walk = (folder) => {
    for (const entry of fs.readdirSync(path.join(ASSETS, folder), { withFileTypes: true })) {
      const name = path.posix.join(folder, entry.name);
      if (entry.isDirectory()) walk(name);
      else found.set(name, fs.readFileSync(path.join(ASSETS, name)));
    }
  };
  walk("");
  const hash = createHash("sha256");
  for (const name of [...found.keys()].sort()) hash.update(name).update(found.get(name));
  return { found, hash: hash.digest("hex").slice(0, 8) };
}

/** Runs below the given folders: themselves, their children, and one level more. */
function discover(folders) {
  const found = [];
  const visit = (folder, depth) => {
    const is = (name) => fs.existsSync(path.join(folder, name));
    if (is("run.json") || is("metrics.jsonl")) return void found.push(folder);
    if (depth === 0) return;
    let entries = [];
    try {
      entries = fs.readdirSync(folder, { withFileTypes: true });
    } catch {
      return;
    }
    for (const entry of entries) if (entry.isDirectory()) visit(path.join(folder, entry.name), depth - 1);
  };
  for (const folder of folders) visit(path.resolve(folder), 2);
  return found;
}

class Runs {
  constructor(folders) {
    Object.assign(this, { folders, open: new Map() });
  }

  /** Runs by id; the id stays while the folder stays. */
  all() {
    for (const root of discover(this.folders)) {
      if ([...this.open.values()].some((run) => run.root === root)) continue;
      const run = new Run(root);
      let id = createHash("sha256").update(root).digest("hex").slice(0, 8);
      if (/^[0-9a-f]{16}$/.test(run.facts.id ?? "") && !this.open.has(run.facts.id)) id = run.facts.id;
      run.id = id;
      this.open.set(id, run);
    }
    return [...this.open.values()];
  }

  get(id) {
    const run = this.open.get(id) ?? this.all().find((one) => one.id === id);
    if (!run) throw new Trouble(404, "there is no such run", { act: "choose one of /api/v1/runs" });
    return run;
  }
}

function guard(request) {
  const host = (request.headers.host ?? "").replace(/:\d+$/, "");
  if (!["localhost", "127.0.0.1", "[::1]"].includes(host)) throw new Trouble(403, "this Host is not this machine", { act: "open http://127.0.0.1" });
  if (!["GET", "HEAD", "POST", "DELETE"].includes(request.method)) throw new Trouble(400, `there is no ${request.method} here`);
  if (!["POST", "DELETE"].includes(request.method)) return;
  const site = request.headers["sec-fetch-site"];
  const own = site === undefined ? request.headers.origin === `http://${request.headers.host}` : site === "same-origin";
  if (!own) throw new Trouble(403, "this request comes from another page");
  if (!/^application\/json\b/.test(request.headers["content-type"] ?? "")) throw new Trouble(400, "expected application/json");
}

/** A server of the page over runs in `folders`; `listen` it on 127.0.0.1. */
export function serve(folders) {
  const { found, hash } = assets();
  const runs = new Runs(folders);
  const index = found.get("index.html").toString("utf8").replaceAll("@ASSETS@", `/assets/${hash}`);
  const send = (response, status, body, headers) => {
    response.writeHead(status, { ...HEADERS, ...headers });
    response.end(body);
  };
  const cached = (request, response, body, type, tag) => {
    const headers = { "Content-Type": type, "Cache-Control": "no-cache", ETag: tag };
    if (request.headers["if-none-match"] === tag) return send(response, 304, undefined, headers);
    send(response, 200, body, headers);
  };
  const route = (request, response) => {
    guard(request);
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/") return cached(request, response, index, TYPES[".html"], `"${hash}"`);
    const asset = new RegExp(`^/assets/${hash}/(.+)$`).exec(url.pathname);
    if (asset && asset[1] !== "index.html" && found.has(asset[1])) {
      const type = TYPES[path.extname(asset[1])] ?? "text/plain; charset=utf-8";
      return send(response, 200, found.get(asset[1]), { "Content-Type": type, "Cache-Control": "public, max-age=31536000, immutable" });
    }
    const events = /^\/api\/v1\/runs\/([^/]+)\/events$/.exec(url.pathname);
    if (events) return follow(runs.get(events[1]), request, response, HEADERS);
    const { body, type } = answer(runs, request.method, url);
    const tag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`;
    cached(request, response, body, type, tag);
  };
  return http.createServer((request, response) => {
    try {
      route(request, response);
    } catch (error) {
      const status = error instanceof Trouble ? error.status : 400;
      const body = JSON.stringify(error instanceof Trouble ? error.body : { error: String(error.message) });
      if (!response.headersSent) send(response, status, body, { "Content-Type": "application/json", "Cache-Control": "no-cache" });
      else response.end();
    }
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folders = process.argv.slice(2);
  const at = folders.indexOf("--port");
  const port = at < 0 ? 7117 : Number(folders.splice(at, 2)[1]);
  serve(folders).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
}
