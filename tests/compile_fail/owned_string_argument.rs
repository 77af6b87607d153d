use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", |text: String| println!("{text}"));
}

fn main() {}
