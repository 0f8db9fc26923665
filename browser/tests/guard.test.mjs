// Who may ask, and what every answer says.
import assert from "node:assert/strict";
import http from "node:http";
import test from "node:test";
import { scratch, server } from "./help.mjs";

function ask(url, { method = "GET", headers = {}, path } = {}) {
  const { hostname, port } = new URL(url);
  return new Promise((done) => {
    const request = http.request({ hostname, port, path, method, headers }, (answer) => {
      let body = "";
      answer.on("data", (part) => (body += part));
      answer.on("end", () => done({ status: answer.statusCode, headers: answer.headers, body }));
    });
    request.end(method === "POST" ? "{}" : undefined);
  });
}

test("foreign hosts and pages are refused, and no path leaves the assets", async () => {
  const folder = scratch();
  const site = await server(folder);
  const own = { "content-type": "application/json", "sec-fetch-site": "same-origin" };
  const cases = [
    [403, { path: "/", headers: { host: "evil.test" } }],
    [403, { path: "/api/v1/fork", method: "POST", headers: { ...own, "sec-fetch-site": "cross-site" } }],
    [403, { path: "/api/v1/fork", method: "POST", headers: { "content-type": "application/json", origin: "http://evil.test" } }],
    [400, { path: "/api/v1/fork", method: "POST", headers: { "sec-fetch-site": "same-origin", "content-type": "text/plain" } }],
    [404, { path: "/api/v1/fork", method: "POST", headers: own }],
    [404, { path: "/assets/../server.mjs" }],
    [404, { path: "/assets/%2e%2e/%2e%2e/etc/passwd" }],
    [404, { path: "/api/v1/runs/..%2f..%2fetc/recipe" }],
    [200, { path: "/api/v1/runs" }],
    [200, { path: "/" }],
  ];
  for (const [status, request] of cases) {
    const answer = await ask(site.url, request);
    assert.equal(answer.status, status, JSON.stringify(request));
    assert.match(answer.headers["content-security-policy"], /default-src 'none'.*trusted-types 'none'/);
    assert.equal(answer.headers["x-content-type-options"], "nosniff");
    assert.equal(answer.headers["access-control-allow-origin"], undefined);
    if (status >= 400) assert.ok(JSON.parse(answer.body).error);
  }
  site.close();
});
