//! Clients that echo what the server sends, as a user would write them. Ends when the server has closed all of them.
//!
//! usage: client_echo PORT [--connections N]
#![forbid(unsafe_code)]

use react_websocket::WebSocketConnection;
use react_websocket::client::{ConnectError, Connector};
use react_websocket_bench::{Arguments, block_on};
use tokio::sync::mpsc;

fn main() -> Result<(), ConnectError> {
    let arguments = Arguments::of(&["connections"]);
    block_on(1, async {
        let (url, connector) = (format!("ws://{}/", arguments.address()), Connector::new());
        let (open, mut closed) = mpsc::channel::<()>(1);
        for _ in 0..arguments.value("connections", 1) {
            let open = open.clone();
            let connecting = connector.connect(&url, |connection: WebSocketConnection| {
                connection.on("text", move |text: &str| connection.write(text));
                connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
                connection.on("close", move || _ = &open);
            });
            connecting.await?;
        }
        drop(open);
        // It is closed when the last listener of `close` is gone.
        closed.recv().await;
        Ok(())
    })
}
