//! A server for external tests: the Autobahn TestSuite (`tests/autobahn/run`) and other WebSocket
//! clients (`tests/clients/run`). It echoes text as text and binary as binary, and speaks the
//! subprotocol `echo`. Its limits are high enough for messages of 16 MiB in 65,536 fragments.
//!
//! With the feature `deflate` it compresses messages. The port may be given as an argument and, with the feature `tls`, a certificate and its key after it, as PEM files.

use react_websocket::errors::BoxError;
use react_websocket::options::ControlRate;
use react_websocket::{
    HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = WebSocketOptions::new()
        .max_message_size(64 << 20)
        .max_frame_size(64 << 20)
        .max_fragments(100_000)
        .write_buffer_hard_limit(64 << 20)
        .control_rate(ControlRate { burst: 10_000, per_second: 10_000 })
        .subprotocols(["echo"]);
    // With a window in both directions, so that clients use theirs.
    #[cfg(feature = "deflate")]
    let options = options.compression(react_websocket::options::Compression::new().peer_window(32 * 1024));
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    });
    let router = |_request: ServerRequest| Response::plaintext("An echo server for the Autobahn TestSuite");

    let socket = listen(std::env::args().skip(1).collect())?;
    Ok(HttpServer::new((websocket, router)).listen(socket).await?)
}

fn listen(arguments: Vec<String>) -> Result<SocketServer, BoxError> {
    let port = arguments.first().map_or("9001", String::as_str);
    #[cfg(feature = "tls")]
    if let [_, certificate, key] = &arguments[..] {
        let tls = react_websocket::tls::Tls::from_pem_files(certificate, key)?;
        let options = react_websocket::SocketOptions::new().tls(tls);
        return Ok(SocketServer::with_options(format!("tls://127.0.0.1:{port}"), options)?);
    }
    Ok(SocketServer::new(format!("127.0.0.1:{port}"))?)
}
