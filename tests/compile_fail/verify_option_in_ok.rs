use react_websocket::{Response, ServerRequest, WebSocketMiddleware};

struct User;

fn find(_request: &ServerRequest) -> Option<User> {
    None
}

fn main() {
    WebSocketMiddleware::new().with_verify(|request: ServerRequest| Ok::<_, Response>(find(&request)));
}
