use react_websocket::WebSocketConnection;
use std::sync::{Arc, Mutex};

async fn find(key: &str) -> String {
    key.to_owned()
}

fn register(connection: WebSocketConnection, log: Arc<Mutex<Vec<String>>>) {
    connection.on("text", async move |text: &str| {
        let mut log = log.lock().unwrap();
        log.push(find(text).await);
    });
}

fn main() {}
