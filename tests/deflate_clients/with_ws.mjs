// Node's `ws` as a client with compression. usage: with_ws.mjs PORT
import { once } from "node:events";
import assert from "node:assert/strict";
import { WebSocket } from "ws";

const words = Array.from({ length: 5000 }, (_, number) => `${(number * 7919) % 1000} words`).join(" ");
const messages = ["hello", "", "grüße 日本 𝄞 ".repeat(50), Buffer.from([0, 255]), words, words.slice(0, 300), words, Buffer.alloc(1 << 20, 7)];

/** Exchanges all messages. Returns whether compression was agreed on. */
async function echo(perMessageDeflate) {
  const socket = new WebSocket(`ws://127.0.0.1:${process.argv[2]}/`, { perMessageDeflate });
  await once(socket, "open");
  for (const message of [...messages, ...messages]) {
    socket.send(message);
    const [data, isBinary] = await once(socket, "message");
    assert.equal(isBinary, typeof message !== "string");
    assert.ok(data.equals(Buffer.from(message)), JSON.stringify(perMessageDeflate));
  }
  socket.send("in ", { fin: false });
  socket.ping("in between");
  socket.send("fragments", { fin: true });
  const [[pong], [text]] = await Promise.all([once(socket, "pong"), once(socket, "message")]);
  assert.deepEqual([pong.toString(), text.toString()], ["in between", "in fragments"]);
  socket.close(1000);
  await once(socket, "close");
  return socket.extensions !== "";
}

assert.ok(await echo({ threshold: 0 }));
for (let bits = 8; bits <= 15; bits++) {
  for (const alone of [false, true]) {
    // Its zlib cannot compress with 8 bits.
    const clientMaxWindowBits = Math.max(bits, 9);
    const own = { threshold: 0, clientMaxWindowBits, clientNoContextTakeover: alone, serverNoContextTakeover: alone };
    assert.ok(await echo(own));
    assert.equal(await echo({ ...own, serverMaxWindowBits: bits }), bits > 8, `${bits} bits of the server`);
  }
}
