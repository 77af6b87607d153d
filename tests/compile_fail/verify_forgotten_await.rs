use react_websocket::{Response, ServerRequest, WebSocketMiddleware};

async fn is_known(_request: ServerRequest) -> bool {
    false
}

fn main() {
    WebSocketMiddleware::new().with_verify(async |request: ServerRequest| Ok::<_, Response>(is_known(request)));
}
