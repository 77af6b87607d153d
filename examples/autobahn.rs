//! A server for external tests: the Autobahn TestSuite (`tests/autobahn/run`) and other WebSocket
//! clients (`tests/clients/run`). It echoes text as text and binary as binary, and speaks the
//! subprotocol `echo`. Its limits are high enough for messages of 16 MiB in 65,536 fragments.
//!
//! The first argument is the port, if it is given.

use react_websocket::options::ControlRate;
use react_websocket::{
    Error, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = WebSocketOptions::new()
        .max_message_size(64 << 20)
        .max_frame_size(64 << 20)
        .max_fragments(100_000)
        .write_buffer_hard_limit(64 << 20)
        .control_rate(ControlRate { burst: 10_000, per_second: 10_000 })
        .subprotocols(["echo"]);
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    });
    let router = |_request: ServerRequest| Response::plaintext("An echo server for the Autobahn TestSuite");

    let port = std::env::args().nth(1).unwrap_or_else(|| "9001".to_owned());
    let socket = SocketServer::new(format!("127.0.0.1:{port}"))?;
    HttpServer::new((websocket, router)).listen(socket).await
}
