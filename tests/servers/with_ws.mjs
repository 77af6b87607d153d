// The server of Node's ws. usage: node with_ws.mjs PORT
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
    host: "127.0.0.1",
    port: Number(process.argv[2]),
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
