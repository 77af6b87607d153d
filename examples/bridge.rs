//! A bridge: for each client that comes, it opens a connection to another server and passes on all messages, both
//! ways. A side that reads slowly slows the other side down.
//!
//! ```sh
//! cargo run --example echo &
//! cargo run --features client --example bridge ws://127.0.0.1:8000/
//! cargo run --features client --example client ws://127.0.0.1:8001/
//! ```

use react_websocket::client::Connector;
use react_websocket::{
    Error, HttpServer, Message, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let upstream = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8000/".to_owned());
    let (websocket, connector) = (WebSocketMiddleware::new(), Connector::new());
    websocket.on("connection", {
        let connector = connector.clone();
        // The client's messages wait until this has returned, so none is lost.
        async move |client: WebSocketConnection| {
            let connecting = connector.connect(&upstream, |server: WebSocketConnection| {
                pass_on(client, server);
                pass_on(server, client);
            });
            if let Err(error) = connecting.await {
                eprintln!("{error}");
                client.reject(Response::plaintext("no connection to the server behind this one").with_status(502));
            }
        }
    });
    let router = |_request: ServerRequest| Response::plaintext("This is a WebSocket bridge").with_status(426);
    HttpServer::new((websocket, router)).listen(SocketServer::new("127.0.0.1:8001")?).await?;
    connector.close().await;
    Ok(())
}

/// Passes on the messages of one connection, and its end.
fn pass_on(from: WebSocketConnection, to: WebSocketConnection) {
    from.on("message", move |message: Message| {
        // The message is accepted all the same, but the next one has to wait in the sender's own socket.
        if !to.write_message(&message) {
            from.pause();
        }
    });
    to.on("drain", move || from.resume());
    // A code that must not be sent, such as 1006, becomes one that may.
    from.on("close", move |code: u16, reason: &str| to.close_with(code, reason));
}
