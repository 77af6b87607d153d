use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", |text: &str| async move { println!("{text}") });
}

fn main() {}
