//! Our middleware in a server of hyper, with our own server in the same build beside it.
//!
//! usage: ours_hyper PORT [--server hyper|ours] [--workers N]
#![forbid(unsafe_code)]

use std::io;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use react_websocket::{HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware};
use react_websocket_bench::{Arguments, block_on};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let arguments = Arguments::of(&["server", "workers"]);
    block_on(arguments.value("workers", 1), async {
        match arguments.word("server").unwrap_or("hyper") {
            "hyper" => by_hyper(&arguments).await,
            "ours" => by_ours(&arguments).await.map_err(io::Error::other),
            other => panic!("there is no server {other}"),
        }
    })
}

async fn by_hyper(arguments: &Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(arguments.address().to_string()).await?;
    let service = echo().into_service();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            // An error ends the connection and needs no report.
            let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

async fn by_ours(arguments: &Arguments) -> Result<(), react_websocket::Error> {
    let router = |_request: ServerRequest| Response::plaintext("This is a websocket server");
    HttpServer::new((echo(), router)).listen(SocketServer::new(arguments.address().to_string())?).await
}

fn echo() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    });
    websocket
}
