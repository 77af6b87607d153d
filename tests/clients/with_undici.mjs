// undici, which is what a browser's WebSocket is in Node, as the client. usage: with_undici.mjs PORT [AUTHORITY], which
// NODE_EXTRA_CA_CERTS names, too
import assert from "node:assert/strict";
import { WebSocket, fetch } from "undici";

const [url, tls] = process.argv[3] ? [`localhost:${process.argv[2]}/`, "s"] : [`127.0.0.1:${process.argv[2]}/`, ""];
const response = await fetch(`http${tls}://${url}`);
assert.equal(response.status, 200);
assert.match(await response.text(), /echo server/);

const event = (target, name) => new Promise((resolve, reject) => {
  target.addEventListener(name, resolve, { once: true });
  if (name !== "close") target.addEventListener("close", () => reject(new Error(`closed before ${name}`)), { once: true });
});

const socket = new WebSocket(`ws${tls}://${url}`, ["echo"]);
socket.binaryType = "arraybuffer";
await event(socket, "open");
assert.equal(socket.protocol, "echo");
for (const message of ["hello", "", "grüße 日本 𝄞", "x".repeat(1 << 20)]) {
  socket.send(message);
  assert.equal((await event(socket, "message")).data, message);
}
for (const message of [new Uint8Array([0, 255]), new Uint8Array(0), new Uint8Array(1 << 20).fill(7)]) {
  socket.send(message);
  assert.deepEqual(new Uint8Array((await event(socket, "message")).data), message);
}
socket.close(4001, "bye");
const closed = await event(socket, "close");
assert.deepEqual([closed.code, closed.wasClean], [4001, true]);
