//! Our own servers, as a user would write them.
//!
//! usage: ours PORT [--mode captured|argument|async|broadcast|scale] [--workers N]
#![forbid(unsafe_code)]

use react_websocket::{
    Error, GroupManager, HttpOptions, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection,
    WebSocketMiddleware,
};
use react_websocket_bench::{Arguments, Trigger, block_on};

fn main() -> Result<(), Error> {
    let arguments = Arguments::of(&["mode", "workers"]);
    block_on(arguments.value("workers", 1), async {
        let websocket = match arguments.word("mode").unwrap_or("captured") {
            "captured" => captured(),
            "argument" => argument(),
            "async" => asynchronous(),
            "broadcast" => broadcast(),
            "scale" => scale(),
            other => panic!("there is no mode {other}"),
        };
        let router = |_request: ServerRequest| Response::plaintext("This is a websocket server");
        // No peer limits the requests of a connection.
        let options = HttpOptions::new().max_keep_alive_requests(u32::MAX);
        HttpServer::new((websocket, router))
            .with_options(options)
            .listen(SocketServer::new(arguments.address().to_string())?)
            .await
    })
}

/// The listener has captured the connection.
fn captured() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    });
    websocket
}

/// The listener gets the connection.
fn argument() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", |connection: &WebSocketConnection, text: &str| connection.write(text));
        connection.on("binary", |connection: &WebSocketConnection, bytes: &[u8]| connection.write_binary(bytes));
    });
    websocket
}

/// The listener is asynchronous, and never waits.
fn asynchronous() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", async move |text: &str| connection.write(text));
        connection.on("binary", async move |bytes: &[u8]| connection.write_binary(bytes));
    });
    websocket
}

/// All connections are in one group, and each receives the messages that any of them requests.
fn broadcast() -> WebSocketMiddleware {
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups);
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

/// All connections are in one group. A request for a broadcast is answered to all of them. Any
/// other message is echoed.
fn scale() -> WebSocketMiddleware {
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups);
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| match (connection.group(), Trigger::read(text)) {
            (Some(group), Some(trigger)) => {
                let payload = trigger.payload();
                for _ in 0..trigger.count {
                    group.write(&payload);
                }
            }
            _ => {
                connection.write(text);
            }
        });
        connection.set_group(Some("everybody"))
    });
    websocket
}
