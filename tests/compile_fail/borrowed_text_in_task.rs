use react_websocket::WebSocketConnection;

async fn find(key: &str) -> String {
    key.to_owned()
}

fn register(connection: WebSocketConnection) {
    connection.on("text", move |text: &str| {
        tokio::spawn(async move { connection.write(find(text).await) });
    });
}

fn main() {}
