use react_websocket::handlers::Next;
use react_websocket::{HttpServer, Response, ServerRequest};
use std::sync::Mutex;

fn main() {
    let last = Mutex::new(String::new());
    let note = async move |request: ServerRequest, next: Next| {
        *last.lock().unwrap() = request.path().to_owned();
        next.run(request).await
    };
    HttpServer::new((note, |_request: ServerRequest| Response::new(404)));
}
