use react_websocket::{WebSocketConnection, WebSocketMiddleware};
use std::sync::Mutex;

fn main() {
    let last = Mutex::new(None);
    WebSocketMiddleware::new().on("connection", async move |connection: WebSocketConnection| {
        *last.lock().unwrap() = Some(connection);
    });
}
