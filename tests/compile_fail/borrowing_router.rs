use react_websocket::{HttpServer, Response, ServerRequest};

fn main() {
    HttpServer::new(|_request: &ServerRequest| Response::new(404));
}
