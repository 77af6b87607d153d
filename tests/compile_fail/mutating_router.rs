use react_websocket::{HttpServer, Response, ServerRequest};

fn main() {
    let mut count = 0;
    HttpServer::new(move |_request: ServerRequest| {
        count += 1;
        Response::plaintext(count.to_string())
    });
}
