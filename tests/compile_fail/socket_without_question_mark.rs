use react_websocket::{HttpServer, Response, ServerRequest, SocketServer};

fn main() {
    HttpServer::new(|_: ServerRequest| Response::new(404)).listen(SocketServer::new("127.0.0.1:8000"));
}
