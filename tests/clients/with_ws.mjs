// Node's `ws` as the client. usage: with_ws.mjs PORT [AUTHORITY], which NODE_EXTRA_CA_CERTS names, too
import { once } from "node:events";
import assert from "node:assert/strict";
import { WebSocket } from "ws";

const url = process.argv[3] ? `wss://localhost:${process.argv[2]}/` : `ws://127.0.0.1:${process.argv[2]}/`;
const messages = ["hello", "", "grüße 日本 𝄞", Buffer.from([0, 255]), Buffer.alloc(0), "x".repeat(1 << 20), Buffer.alloc(1 << 20, 7)];

const socket = new WebSocket(url, ["other", "echo"]);
await once(socket, "open");
assert.equal(socket.protocol, "echo");
assert.equal(socket.extensions, "");
for (const message of messages) {
  socket.send(message);
  const [data, isBinary] = await once(socket, "message");
  assert.equal(isBinary, typeof message !== "string");
  assert.ok(data.equals(Buffer.from(message)));
}
socket.send("in ", { fin: false });
socket.ping("in between");
socket.send("fragments", { fin: true });
const [[pong], [text]] = await Promise.all([once(socket, "pong"), once(socket, "message")]);
assert.deepEqual([pong.toString(), text.toString()], ["in between", "in fragments"]);
socket.close(4001, "bye");
const [code] = await once(socket, "close");
assert.equal(code, 4001);
