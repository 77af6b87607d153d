use react_websocket::{WebSocketConnection, WebSocketMiddleware};

fn main() {
    let mut count = 0;
    WebSocketMiddleware::new().on("connection", move |_: WebSocketConnection| count += 1);
}
