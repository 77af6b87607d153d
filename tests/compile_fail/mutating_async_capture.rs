use react_websocket::WebSocketConnection;

fn register(connection: WebSocketConnection) {
    let mut count = 0;
    connection.on("text", async move |_text: &str| count += 1);
}

fn main() {}
