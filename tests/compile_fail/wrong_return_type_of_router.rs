use react_websocket::{HttpServer, ServerRequest};

fn main() {
    HttpServer::new(|_request: ServerRequest| "hello");
}
