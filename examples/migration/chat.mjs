// The chat with Node's ws. usage: node chat.mjs ADDRESS
import { createServer } from "node:http";
import { WebSocket, WebSocketServer } from "ws";

const PING_INTERVAL = 20_000;
const CLOSE_TIMEOUT = 10_000;
// How many bytes a slow reader may be behind.
const BEHIND = 4 << 20;

const rooms = new Map();
const http = createServer((request, response) => response.writeHead(404).end());
const server = new WebSocketServer({ server: http, path: "/ws", maxPayload: 64 * 1024 });

server.on("connection", (socket, request) => {
    const name = new URL(request.url, "http://localhost").searchParams.get("room") ?? "lobby";
    const room = rooms.get(name) ?? new Set();
    rooms.set(name, room.add(socket));
    socket.isAlive = true;
    socket.on("pong", () => (socket.isAlive = true));
    socket.on("message", (message, isBinary) => {
        if (isBinary) return;
        for (const member of room) {
            if (member === socket || member.readyState !== WebSocket.OPEN) continue;
            // A Close frame would follow the unsent bytes, which this member does not read.
            if (member.bufferedAmount > BEHIND) member.terminate();
            else member.send(message, { binary: false });
        }
    });
    // Without this listener a malformed frame of any client would end the process.
    socket.on("error", () => {});
    socket.on("close", () => {
        room.delete(socket);
        if (room.size === 0) rooms.delete(name);
    });
});

const pings = setInterval(() => {
    for (const socket of server.clients) {
        if (!socket.isAlive) socket.terminate();
        else {
            socket.isAlive = false;
            socket.ping();
        }
    }
}, PING_INTERVAL);

function end() {
    clearInterval(pings);
    http.close();
    server.close();
    for (const socket of server.clients) socket.close(1001);
    setTimeout(() => process.exit(), CLOSE_TIMEOUT).unref();
}
process.once("SIGINT", end);
process.once("SIGTERM", end);

const [host, port] = (process.argv[2] ?? "127.0.0.1:8000").split(":");
http.listen(Number(port), host, () => console.log(`listening on [${host}:${http.address().port}]`));
