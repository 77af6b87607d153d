// The server of Node's ws. usage: node with_ws.mjs PORT [CERTIFICATE KEY]
import { readFileSync } from "node:fs";
import { createServer as createPlain } from "node:http";
import { createServer } from "node:https";
import { WebSocketServer } from "ws";

const [port, cert, key] = process.argv.slice(2);
const http = cert ? createServer({ cert: readFileSync(cert), key: readFileSync(key) }) : createPlain();
http.listen(Number(port), "127.0.0.1");
const server = new WebSocketServer({
    server: http,
    handleProtocols: (offered) => (offered.has("echo") ? "echo" : false),
    verifyClient: ({ req }, done) => done(req.url !== "/refused", 403, "not here"),
});
server.on("connection", (socket) => {
    socket.on("message", (message, isBinary) => {
        const text = isBinary ? null : message.toString();
        if (text === "close") socket.close(4001, "bye");
        else if (text === "ping me") socket.ping();
        else socket.send(message, { binary: isBinary });
    });
});
