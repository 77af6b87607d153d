// What the scripts have in common: checks, servers, a link that can be cut, and the browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
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
