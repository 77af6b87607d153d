use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", move |text: &str| connection.send(text));
}

fn main() {}
