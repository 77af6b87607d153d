use react_websocket::{ServerRequest, WebSocketMiddleware};
use std::sync::Mutex;

fn main() {
    let seen = Mutex::new(0);
    WebSocketMiddleware::new().with_verify(async move |_request: ServerRequest| {
        *seen.lock().unwrap() += 1;
        true
    });
}
