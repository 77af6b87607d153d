//! Our server over TLS, with the plain one in the same build beside it.
//!
//! usage: ours_tls PORT [--provider none|aws-lc|ring] [--mode echo|broadcast] [--workers N]
#![forbid(unsafe_code)]

use react_websocket::tls::Tls;
use react_websocket::{
    Error, GroupManager, HttpServer, Response, ServerRequest, SocketOptions, SocketServer, WebSocketConnection,
    WebSocketMiddleware,
};
use react_websocket_bench::{Arguments, Trigger, block_on, tls};

fn main() -> Result<(), Error> {
    let arguments = Arguments::of(&["mode", "provider", "workers"]);
    block_on(arguments.value("workers", 1), async {
        let websocket = if arguments.is_broadcast() { broadcast() } else { echo() };
        let router = |_request: ServerRequest| Response::plaintext("This is a websocket server");
        let socket = match arguments.word("provider").unwrap_or("none") {
            "none" => SocketServer::new(arguments.address().to_string())?,
            provider => {
                let options = SocketOptions::new().tls(Tls::from_config(tls::config(provider)));
                SocketServer::with_options(format!("tls://{}", arguments.address()), options)?
            }
        };
        HttpServer::new((websocket, router)).listen(socket).await
    })
}

fn echo() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    });
    websocket
}

/// All connections are in one group, and each receives the messages that any of them requests.
fn broadcast() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new().with_group_manager(GroupManager::new());
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| {
            let (Some(group), Some(trigger)) = (connection.group(), Trigger::read(text)) else { return };
            let payload = trigger.payload();
            for _ in 0..trigger.count {
                group.write(&payload);
            }
        });
        connection.set_group(Some("everybody"))
    });
    websocket
}
