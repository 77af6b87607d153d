// The example `echo_tls`: a WebSocket over TLS, with a certificate of an authority that the browser trusts.

import assert from "node:assert/strict";
import { browser, check, main, start } from "./support.mjs";

main(async () => {
  await start("echo_tls", 8443, process.argv.slice(2));
  const page = await (await browser()).newPage();

  await check("the browser opens a page over TLS", async () => {
    const response = await page.goto("https://localhost:8443/");
    assert.equal(response.status(), 200);
    assert.equal((await response.securityDetails()).issuer, "tests");
    assert.equal(await page.textContent("body"), "localhost speaks TLS: true\n");
  });

  await check("text and 64 KiB of binary come back over wss", async () => {
    const echoed = await page.evaluate(async () => {
      const socket = new WebSocket("wss://localhost:8443/");
      socket.binaryType = "arraybuffer";
      const next = (event) => new Promise((resolve) => socket.addEventListener(event, resolve, { once: true }));
      await next("open");
      socket.send("grüße 👋");
      const text = (await next("message")).data;
      const bytes = crypto.getRandomValues(new Uint8Array(65_536));
      socket.send(bytes);
      const back = new Uint8Array((await next("message")).data);
      const isEqual = back.length === bytes.length && back.every((byte, index) => byte === bytes[index]);
      socket.close(4001, "enough");
      const { code, reason, wasClean } = await next("close");
      return { text, isEqual, code, reason, wasClean };
    });
    assert.deepEqual(echoed, { text: "grüße 👋", isEqual: true, code: 4001, reason: "enough", wasClean: true });
  });

  await check("a close code of the server arrives: a message that is too large fails the connection with 1009", async () => {
    const closed = await page.evaluate(async () => {
      const socket = new WebSocket("wss://localhost:8443/");
      await new Promise((resolve) => (socket.onopen = resolve));
      socket.send(new Uint8Array(1_048_577));
      const { code, wasClean } = await new Promise((resolve) => (socket.onclose = resolve));
      return { code, wasClean };
    });
    assert.deepEqual(closed, { code: 1009, wasClean: true });
  });

  await check("a certificate of another name is refused", async () => {
    await assert.rejects(page.goto("https://127.0.0.1:8443/"), /ERR_CERT_COMMON_NAME_INVALID/);
  });
});
