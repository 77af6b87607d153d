use react_websocket::{HttpServer, Response, ServerRequest, WebSocketMiddleware};

fn main() {
    HttpServer::new(WebSocketMiddleware::new(), |_: ServerRequest| Response::new(404));
}
