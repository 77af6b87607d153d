use react_websocket::WebSocketConnection;

async fn find(key: String) -> String {
    key
}

fn register(connection: WebSocketConnection) {
    connection.on("text", move |text: &str| connection.write(find(text.to_owned()).await));
}

fn main() {}
