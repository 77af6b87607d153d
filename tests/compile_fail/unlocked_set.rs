use react_websocket::WebSocketConnection;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

fn register(connection: WebSocketConnection, clients: Arc<Mutex<HashSet<WebSocketConnection>>>) {
    connection.on("close", move || clients.remove(&connection));
}

fn main() {}
