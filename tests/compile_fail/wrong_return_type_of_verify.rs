use react_websocket::{ServerRequest, WebSocketMiddleware};

fn main() {
    WebSocketMiddleware::new().with_verify(|request: ServerRequest| request.path().len());
}
