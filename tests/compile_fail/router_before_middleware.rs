use react_websocket::{HttpServer, Response, ServerRequest, WebSocketMiddleware};

fn main() {
    HttpServer::new((|_request: ServerRequest| Response::new(404), WebSocketMiddleware::new()));
}
