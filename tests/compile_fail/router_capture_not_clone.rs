use react_websocket::{HttpServer, Response, ServerRequest};
use std::sync::Mutex;

fn main() {
    let last = Mutex::new(String::new());
    HttpServer::new(async move |request: ServerRequest| {
        *last.lock().unwrap() = request.path().to_owned();
        Response::new(204)
    });
}
