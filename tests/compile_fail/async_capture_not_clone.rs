use react_websocket::WebSocketConnection;
use std::sync::Mutex;

fn register(connection: WebSocketConnection) {
    let last = Mutex::new(String::new());
    connection.on("text", async move |text: &str| *last.lock().unwrap() = text.to_owned());
}

fn main() {}
