use react_websocket::{Response, ServerRequest, WebSocketMiddleware};

fn main() {
    WebSocketMiddleware::new().with_verify(|_request: ServerRequest| Ok::<_, Response>(Response::new(403)));
}
