// The example `echo`, with the lines that the README has for the console of a browser.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { browser, check, eventually, main, start } from "./support.mjs";

main(async () => {
  const readme = fs.readFileSync(path.join(process.env.ROOT, "README.md"), "utf8");
  const [, url, ...blocks] = readme.match(/Open <(http:.+?)>, and enter .+?```js\n(.+?)\n```.+?```js\n(.+?)\n```/s);
  await start("echo", 8000);
  const chromium = await browser();
  // Each entry is a script of its own, as in the console.
  for (const [how, entries] of Object.entries({ "line by line": blocks.join("\n").split("\n"), "block by block": blocks })) {
    await check(`the console lines of the README print the echo, entered ${how}`, async () => {
      const page = await chromium.newPage();
      const printed = [];
      page.on("console", (message) => printed.push(message.text()));
      await page.goto(url);
      assert.equal(await page.textContent("body"), "This is a websocket server");
      for (const entry of entries) {
        await page.evaluate((entry) => (0, eval)(entry) && null, entry);
        // Nobody enters lines as fast as this program.
        await page.waitForFunction(() => window.socket.readyState === WebSocket.OPEN);
      }
      await eventually(() => printed, ["hello"]);
    });
  }
});
