use react_websocket::{WebSocketConnection, WebSocketMiddleware};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

fn main() {
    let websocket = WebSocketMiddleware::new();
    let clients = Arc::new(Mutex::new(HashSet::new()));
    websocket.on("connection", move |connection: WebSocketConnection| clients.lock().unwrap().insert(connection));
    websocket.on("error", move |connection: WebSocketConnection| clients.lock().unwrap().remove(&connection));
}
