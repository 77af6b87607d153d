//! Echoes over TLS: `cargo run --features tls --example echo_tls [CERTIFICATE KEY]`.
//!
//! The arguments are PEM files. On SIGHUP the example reads both files again. Without arguments the example makes a
//! self-signed certificate at the start, and writes it to the file `echo_tls.pem` in the system's folder for temporary
//! files. Clients have to trust this file:
//!
//! ```sh
//! curl --cacert /tmp/echo_tls.pem https://localhost:8443/
//! cargo run --features client,tls --example client wss://localhost:8443/ /tmp/echo_tls.pem
//! ```

use react_websocket::errors::{BoxError, SocketError};
use react_websocket::tls::Tls;
use react_websocket::{
    HttpServer, Loop, Response, ServerRequest, Signal, SocketOptions, SocketServer, WebSocketConnection,
    WebSocketMiddleware,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tls = match &arguments[..] {
        [certificate, key] => Tls::from_pem_files(certificate, key)?,
        _ => {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            let file = std::env::temp_dir().join("echo_tls.pem");
            std::fs::write(&file, made.cert.pem())?;
            println!("the certificate is in {}", file.display());
            Tls::from_pem(made.cert.pem(), made.signing_key.serialize_pem())?
        }
    };

    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    });
    let router = |request: ServerRequest| {
        let name = request.server_name().unwrap_or("this server");
        Response::plaintext(format!("{name} speaks TLS: {}\n", request.is_secure()))
    };

    let socket = SocketServer::with_options("tls://127.0.0.1:8443", SocketOptions::new().tls(tls.clone()))?;
    socket.on("error", |error: &SocketError| eprintln!("{error}"));
    Loop::add_signal(Signal::HUP, move |_: Signal| {
        if let Err(error) = tls.reload() {
            eprintln!("the certificates stay: {error}");
        }
    })?;
    println!("listening on wss://localhost:8443");
    Ok(HttpServer::new((websocket, router)).listen(socket).await?)
}
