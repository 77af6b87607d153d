use react_websocket::WebSocketConnection;
use std::collections::HashSet;
use std::sync::Mutex;

static CLIENTS: Mutex<HashSet<WebSocketConnection>> = Mutex::new(HashSet::new());

fn main() {
    println!("{}", CLIENTS.lock().unwrap().len());
}
