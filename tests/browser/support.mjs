// What the scripts have in common: checks, servers, a link that can be cut, the browser, and its pages.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

export const SCREENSHOTS = path.join(process.env.TARGET, "browser");
const PATIENCE = 15_000;
const ends = []; // what ends everything that was started
let failed = 0;

/** Runs one check, and says what became of it. */
export async function check(name, run) {
  try {
    await run();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack ?? error}`);
  }
}

/** Runs a script: all its checks. Ends everything that it has started, and the process. */
export async function main(run) {
  try {
    await run();
  } catch (error) {
    failed += 1;
    console.log(error);
  }
  await finish();
}

async function finish() {
  for (const end of ends.splice(0).reverse()) {
    await end();
  }
  process.exit(failed === 0 ? 0 : 1);
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    failed += 1;
    finish();
  });
}

/** Waits until the values are equal. */
export async function eventually(read, expected, what = "") {
  let last;
  for (const end = Date.now() + PATIENCE; Date.now() < end; await sleep(50)) {
    last = await read();
    try {
      assert.deepEqual(last, expected);
      return;
    } catch {
      // not yet
    }
  }
  assert.deepEqual(last, expected, what);
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** Starts an example. `stop` ends it by a signal, and returns its exit code. */
export function launch(example, args = []) {
  const program = path.join(process.env.TARGET, "debug", "examples", example);
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  const exit = once(child, "exit");
  const stop = async (signal = "SIGKILL") => {
    child.kill(signal);
    return (await exit)[0];
  };
  ends.push(() => stop());
  return { child, stop };
}

/** Starts an example and waits until it accepts connections. Returns its `stop`. */
export async function start(example, port, args = []) {
  const { child, stop } = launch(example, args);
  for (const end = Date.now() + PATIENCE; !(await accepts(port)); await sleep(50)) {
    assert(child.exitCode === null && Date.now() < end, `${example} does not listen on ${port}`);
  }
  return stop;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => resolve(true) ?? socket.destroy());
    socket.on("error", () => resolve(false));
  });
}

/** A link to a server, which can be cut, or pass on nothing of what the server sends. */
export async function link(to) {
  const state = { isCut: false, isDeaf: false };
  const sockets = new Set();
  const server = net.createServer((client) => {
    if (state.isCut) {
      client.destroy();
      return;
    }
    const upstream = net.connect(to, "127.0.0.1");
    for (const [from, into] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("data", (bytes) => (from === upstream && state.isDeaf) || into.write(bytes));
      from.on("close", () => into.destroy() && sockets.delete(from));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    state.isCut = true;
    sockets.forEach((socket) => socket.destroy());
  };
  ends.push(() => cut() ?? server.close());
  return { port: server.address().port, cut, state, mend: () => Object.assign(state, { isCut: false, isDeaf: false }) };
}

export async function browser() {
  const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
  const launched = await chromium.launch({ executablePath: process.env.CHROMIUM, args, handleSIGINT: false, handleSIGTERM: false });
  ends.push(() => launched.close());
  return launched;
}

/** Opens pages, each in a profile of its own. `errors` are those of all consoles, violations of the policy included. */
export function pages(chromium) {
  const errors = [];
  async function open(url, { prepare, ...options } = {}) {
    const context = await chromium.newContext({ locale: "en-GB", ...options });
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => console.error(`CSP ${event.violatedDirective}`));
    });
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => {
      // The browser reports each failed attempt to connect.
      if (message.type() === "error" && !/^WebSocket connection to .* failed/.test(message.text())) {
        errors.push(message.text());
      }
    });
    await prepare?.(page);
    await page.goto(url);
    return page;
  }
  return { open, errors };
}

/** Checks the headers of the files of a page, whose types are given. The first file is the page. */
export async function expectStrictHeaders(port, files) {
  for (const [file, type] of Object.entries(files)) {
    const { headers } = await fetch(`http://127.0.0.1:${port}/${file}`);
    assert(headers.get("Content-Type").startsWith(type), file);
    assert.match(headers.get("Content-Security-Policy"), /^default-src 'none'; script-src 'self'; style-src 'self'; /);
    assert.doesNotMatch(headers.get("Content-Security-Policy"), /unsafe|\*|http|data:/);
    assert.equal(headers.get("X-Content-Type-Options"), "nosniff");
    assert.equal(headers.get("Referrer-Policy"), "no-referrer");
  }
  const html = await (await fetch(`http://127.0.0.1:${port}/${Object.keys(files)[0]}`)).text();
  assert.doesNotMatch(html, /<style|style=|<script>|\son\w+=|https?:/i);
}

/** Expects that axe finds nothing. It sets styles of its own, so the page has to be opened with `bypassCSP`. */
export async function inspect(page, what) {
  await page.evaluate(fs.readFileSync(path.join(path.dirname(process.argv[1]), "node_modules", "axe-core", "axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
  assert.deepEqual(found, [], what);
  const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement);
  assert.equal(scrollWidth, clientWidth, `${what}: nothing to scroll sideways`);
}

/** Puts the screenshots of a desktop and of a phone into one picture. The positions are styles. */
export async function composePicture(chromium, name, height, desktop, phone) {
  const page = await (await chromium.newContext({ viewport: { width: 1400, height } })).newPage();
  const image = ([name, style]) => `<img src="data:image/png;base64,${fs.readFileSync(path.join(SCREENSHOTS, `${name}.png`), "base64")}" style="${style}">`;
  await page.setContent(`<body style="margin:0;background:#dcdad4">
    <style>img { position: absolute; border-radius: 12px; box-shadow: 0 12px 40px #0003 }</style>${image(desktop)}${image(phone)}`);
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}
