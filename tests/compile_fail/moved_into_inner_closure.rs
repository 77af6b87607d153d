use react_websocket::{WebSocketConnection, WebSocketMiddleware};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

fn main() {
    let clients = Arc::new(Mutex::new(HashSet::new()));
    WebSocketMiddleware::new().on("connection", move |connection: WebSocketConnection| {
        clients.lock().unwrap().insert(connection);
        connection.on("close", move || clients.lock().unwrap().remove(&connection));
    });
}
