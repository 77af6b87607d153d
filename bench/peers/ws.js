// ws, on Node.
//
// usage: node ws.js PORT [--mode broadcast]
"use strict";

const { WebSocketServer } = require("ws");

const [port, , mode] = process.argv.slice(2);
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), maxPayload: 4 << 20, perMessageDeflate: false });
const everybody = new Set();

server.on("connection", (socket) => {
  everybody.add(socket);
  socket.on("close", () => everybody.delete(socket));
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (mode !== "broadcast") {
      socket.send(data, { binary: isBinary });
      return;
    }
    const [count, size] = data.toString().split(" ").map(Number);
    // Made once, as its documentation advises.
    const payload = Buffer.alloc(size, "x");
    for (let index = 0; index < count; index++) {
      for (const member of everybody) member.send(payload, { binary: false });
    }
  });
});
