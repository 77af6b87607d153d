use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", |text: &str| connection.write(text));
}

fn main() {}
