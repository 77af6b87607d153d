// The example `echo`, with the lines that the README has for the console of a browser.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { browser, check, eventually, main, start } from "./support.mjs";

main(async () => {
  const readme = fs.readFileSync(path.join(process.env.ROOT, "README.md"), "utf8");
  const [, url, lines] = readme.match(/Open <(http:.+?)>, and enter in the browser's console:\n\n```js\n(.+?)```/s);
  await start("echo", 8000);
  const page = await (await browser()).newPage();
  await check("the console lines of the README print the echo", async () => {
    const printed = [];
    page.on("console", (message) => printed.push(message.text()));
    await page.goto(url);
    assert.equal(await page.textContent("body"), "This is a websocket server");
    for (const line of lines.trim().split("\n")) {
      // As in the console, each line is a script of its own.
      await page.evaluate((line) => (0, eval)(line) && null, line);
    }
    await eventually(() => printed, ["hello"]);
  });
});
