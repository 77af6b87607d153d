use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    connection.on("text", move |text: &str| {
        if !text.is_empty() {
            connection.write(text)
        }
    });
}

fn main() {}
