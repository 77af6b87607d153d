//! One runtime on each core, all listening on the same port (`SO_REUSEPORT`). The system gives each
//! connection to one runtime, and the connection stays on that core. All runtimes share the groups,
//! because a handle works on any thread.
//!
//! Run it with `cargo run --release --example per_core`, and connect a few clients to
//! ws://127.0.0.1:8000/. All clients get each message.

use std::num::NonZero;
use std::thread;

use react_websocket::{
    Error, GroupManager, HttpServer, Response, ServerRequest, SocketOptions, SocketServer, WebSocketConnection,
    WebSocketMiddleware,
};
use tokio::runtime;

/// The work of one core until the server has ended.
fn serve(websocket: WebSocketMiddleware) -> Result<(), Error> {
    let router = |_request: ServerRequest| Response::plaintext("This is a websocket server");
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let socket = SocketServer::with_options("127.0.0.1:8000", SocketOptions::new().reuse_port(true))?;
        HttpServer::new((websocket, router)).listen(socket).await
    })
}

fn main() -> Result<(), Error> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let websocket = WebSocketMiddleware::new().with_group_manager(GroupManager::new());
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| {
            // The message is encoded once, and written from here to the sockets of all cores.
            if let Some(everybody) = connection.group() {
                everybody.write_all(text);
            }
        });
        connection.set_group(Some("everybody"))
    });

    println!("listening on port 8000, on {cores} cores");
    let others: Vec<_> = (1..cores)
        .map(|core| {
            let websocket = websocket.clone();
            thread::Builder::new().name(format!("core {core}")).spawn(move || serve(websocket))
        })
        .collect::<Result<_, _>>()?;
    serve(websocket)?;
    for other in others {
        other.join().expect("a core's thread does not panic")?;
    }
    Ok(())
}
