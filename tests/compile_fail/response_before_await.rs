use react_websocket::handlers::Next;
use react_websocket::{HttpServer, Response, ServerRequest};

fn main() {
    let note = |request: ServerRequest, next: Next| next.run(request).with_header("X-A", "1");
    HttpServer::new((note, |_: ServerRequest| Response::new(404)));
}
