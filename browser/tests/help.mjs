// Starts the program's own server, and a browser.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = (place) => fileURLToPath(new URL(place, import.meta.url));
/** Debian's Chromium; CHROMIUM names another. */
export const CHROMIUM = [process.env.CHROMIUM ?? "/usr/bin/chromium"].find((file) => fs.existsSync(file));
/** The program; STEARIN names another build of it. */
export const STEARIN = path.resolve(process.env.STEARIN ?? here("../../target/release/stearin"));
/** A run of `stearin train` with samples and evaluations; STEARIN_TEST_RUN names it. */
export const RUN = process.env.STEARIN_TEST_RUN;
/** Files of the page in place of the embedded ones, for work on them without a build. */
const ASSETS = process.env.STEARIN_ASSETS;
export const needsBrowser = CHROMIUM ? false : "there is no chromium: apt-get install chromium";
export const why = needsBrowser || (RUN ? false : "STEARIN_TEST_RUN names no run directory");

const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** The program with these arguments. It ends with the tests, if not before. */
export function program(args, stdio) {
  const child = spawn(STEARIN, args, { stdio });
  children.add(child);
  child.unref();
  child.stdout?.unref();
  return child;
}

/** `stearin dash` over folders. */
export async function server(...folders) {
  const child = program(["dash", ...folders, "--port", "0"], ["ignore", "pipe", "inherit"]);
  const url = await new Promise((found, failed) => {
    let said = "";
    child.stdout.on("data", (part) => {
      said += part;
      const url = /http:\/\/[0-9.:]+/.exec(said);
      if (url) found(url[0]);
    });
    child.on("error", failed);
    child.on("exit", (code) => failed(new Error(`stearin dash ended with ${code}`)));
    child.ref();
    child.stdout.ref();
  });
  child.unref();
  child.stdout.unref();
  return { url, pid: child.pid, close: () => child.kill("SIGKILL"), json: async (route) => (await fetch(`${url}/api/v1${route}`)).json() };
}

export async function browser() {
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

const TYPES = new Map([[".js", "text/javascript"], [".css", "text/css"]]);

/** A page that notes everything that must not happen. */
export async function open(chrome, url, settings = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 900 }, ...settings });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("dialog", (dialog) => (faults.push("dialog"), dialog.dismiss()));
  page.on("request", (request) => !/^(data:|http:\/\/127\.0\.0\.1:)/.test(request.url()) && faults.push(`request to ${request.url()}`));
  await page.addInitScript(() => {
    window.violated = 0;
    document.addEventListener("securitypolicyviolation", () => (window.violated += 1));
  });
  if (ASSETS) await page.route(/\/assets\//, (route) => {
    const file = new URL(route.request().url()).pathname.split("/").slice(3).join("/");
    return route.fulfill({ path: path.join(ASSETS, file), contentType: TYPES.get(path.extname(file)) ?? "text/plain" });
  });
  await page.goto(url, { waitUntil: "load" });
  const close = async () => {
    faults.push(...Array.from({ length: await page.evaluate(() => window.violated) }, () => "a violation of the policy"));
    await context.close();
  };
  /** Ends the page, at which nothing may have happened but what `expected` describes. */
  const clean = async (expected = null) => {
    await close();
    assert.deepEqual(faults.filter((one) => !expected?.test(one)), []);
  };
  return { page, faults, close, clean };
}

/** Opens a list or a table below a drawing. The page fills it after the click, in the event that tells of it. */
export async function unfold(summary) {
  await summary.click();
  await summary.locator("xpath=..").locator("tbody td, li").first().waitFor();
}

const folders = [];
process.on("exit", () => folders.forEach((folder) => fs.rmSync(folder, { recursive: true, force: true })));

/** A folder that is removed with the end of the tests. */
export function scratch() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "stearin-dash-"));
  folders.push(folder);
  return folder;
}

/** Modules of the page, without a browser: `part("number.js")`. */
export function parts() {
  const folder = scratch();
  fs.cpSync(ASSETS ?? here("../../dash/assets/"), folder, { recursive: true });
  fs.writeFileSync(path.join(folder, "package.json"), '{"type": "module"}');
  return (name) => import(pathToFileURL(path.join(folder, name)).href);
}

/** The objects of a file with one a line. */
export const lines = (file) => fs.readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));

/** The numbers of a column of a safetensors file. */
export function column(file, name) {
  const bytes = fs.readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const { dtype, data_offsets: [from, to] } = JSON.parse(bytes.toString("utf8", 8, 8 + length))[name];
  const part = bytes.subarray(8 + length + from, 8 + length + to);
  const [size, read] = new Map([["F32", [4, "readFloatLE"]], ["U32", [4, "readUInt32LE"]], ["U8", [1, "readUInt8"]], ["U64", [8, "readBigUInt64LE"]]]).get(dtype);
  return Array.from({ length: part.length / size }, (_, at) => Number(part[read](at * size)));
}
