use react_websocket::{WebSocketConnection, WebSocketMiddleware};
use std::sync::Arc;

struct Chat {
    count: usize,
}

fn main() {
    let chat = Arc::new(Chat { count: 0 });
    WebSocketMiddleware::new().on("connection", move |_: WebSocketConnection| chat.count += 1);
}
