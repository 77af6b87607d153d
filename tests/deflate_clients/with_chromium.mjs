// Chromium, which offers compression by itself. usage: with_chromium.mjs PORT
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const port = process.argv[2];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  const [extensions, isSame] = await page.evaluate(async (url) => {
    const words = Array.from({ length: 5000 }, (_, number) => `${(number * 7919) % 1000} words`).join(" ");
    const socket = new WebSocket(url);
    await new Promise((open, failed) => ((socket.onopen = open), (socket.onclose = failed)));
    for (const message of ["hello", "", words, words.slice(0, 300), words]) {
      socket.send(message);
      const echo = await new Promise((received, failed) => ((socket.onmessage = received), (socket.onclose = failed)));
      if (echo.data !== message) return [socket.extensions, false];
    }
    return [socket.extensions, true];
  }, `ws://127.0.0.1:${port}/`);
  assert.match(extensions, /^permessage-deflate/);
  assert.ok(isSame);
} finally {
  await browser.close();
}
