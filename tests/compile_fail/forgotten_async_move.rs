use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", async |text: &str| connection.write(text));
}

fn main() {}
