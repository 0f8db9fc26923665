// Starts the server of the tests and one browser.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

export const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((file) => fs.existsSync(file));
/** A run directory of `stearin train` with samples; STEARIN_TEST_RUN names it. */
export const RUN = process.env.STEARIN_TEST_RUN;
/** The program; STEARIN names another build of it. */
const STEARIN = process.env.STEARIN ?? new URL("../../target/release/stearin", import.meta.url).pathname;
export const why = !CHROMIUM ? "there is no chromium: apt-get install chromium" : !RUN ? "STEARIN_TEST_RUN names no run directory" : false;

/** `stearin dash` over folders; `close` it. */
export async function server(...folders) {
  const child = spawn(STEARIN, ["dash", ...folders, "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise((found, failed) => {
    let said = "";
    child.stdout.on("data", (part) => {
      said += part;
      const url = /http:\/\/[0-9.:]+/.exec(said);
      if (url) found(url[0]);
    });
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`stearin dash ended with ${code}`)));
  });
  return { url, pid: child.pid, close: () => child.kill("SIGKILL"), json: async (route) => (await fetch(`${url}/api/v1${route}`)).json() };
}

export async function browser() {
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

/** A page that notes everything that must not happen. */
export async function open(chrome, url, settings = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 900 }, ...settings });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("dialog", (dialog) => (faults.push("dialog"), dialog.dismiss()));
  page.on("request", (request) => !/^(data:|http:\/\/127\.0\.0\.1:)/.test(request.url()) && faults.push(`request to ${request.url()}`));
  await page.goto(url, { waitUntil: "load" });
  return { page, faults, close: () => context.close() };
}

export const scratch = () => fs.mkdtempSync(path.join(os.tmpdir(), "stearin-dash-"));

/** Header and columns of a binary answer. */
export async function columns(url) {
  const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
  const length = bytes.readUInt32LE(0);
  const header = JSON.parse(bytes.toString("utf8", 4, 4 + length));
  const start = Math.ceil((4 + length) / 8) * 8;
  const names = header.columns ?? ["step", ...header.keys];
  const rows = (bytes.length - start) / 8 / names.length;
  return { header, at: (name, row) => bytes.readDoubleLE(start + 8 * (names.indexOf(name) * rows + row)), rows };
}
