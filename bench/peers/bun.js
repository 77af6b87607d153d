// Bun's own server, which is uWebSockets.
//
// usage: bun bun.js PORT [--mode broadcast]
const [port, , mode] = process.argv.slice(2);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("This is a websocket server")),
  websocket: {
    maxPayloadLength: 4 << 20,
    backpressureLimit: 64 << 20,
    open: (socket) => {
      if (mode === "broadcast") socket.subscribe("everybody");
    },
    message: (socket, data) => {
      if (mode !== "broadcast") {
        socket.send(data);
        return;
      }
      const [count, size] = data.split(" ").map(Number);
      const payload = "x".repeat(size);
      for (let index = 0; index < count; index++) server.publish("everybody", payload);
    },
  },
});
