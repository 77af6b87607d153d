//! A WebSocket endpoint inside a tokio program that has other work. The server shuts down
//! gracefully on Ctrl-C or SIGTERM.
//!
//! Run it, connect to ws://127.0.0.1:8000/ with a few clients, and press Ctrl-C. All clients get a
//! Close frame with 1001. The program ends when all clients have answered, or after five seconds.

use react_websocket::{
    Error, HttpOptions, HttpServer, Loop, Response, ServerRequest, Signal, SocketServer, WebSocketConnection,
    WebSocketMiddleware,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The other work of the program.
    let work = Arc::new(AtomicU64::new(0));
    let worker = tokio::spawn({
        let work = work.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                work.fetch_add(1, Ordering::Relaxed);
            }
        }
    });

    // The endpoint: an asynchronous listener, which delays no other connection.
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let work = work.clone();
        connection.on("text", async move |text: &str| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            connection.write(format!("{text}: {} pieces of work done", work.load(Ordering::Relaxed)))
        });
    });
    let health = |request: ServerRequest| match request.path() {
        "/health" => Response::plaintext("ok"),
        _ => Response::new(404),
    };

    let options = HttpOptions::new().shutdown_grace(Duration::from_secs(5));
    let listening =
        HttpServer::new((websocket.clone(), health)).with_options(options).listen(SocketServer::new("127.0.0.1:8000")?);
    println!("listening on {:?}, Ctrl-C ends it", listening.local_addresses());

    for signal in [Signal::INT, Signal::TERM] {
        let (listening, websocket) = (listening.clone(), websocket.clone());
        Loop::add_signal(signal, move || {
            println!("saying goodbye to {} connections", websocket.len());
            listening.close();
        })?;
    }
    // Returns when the last connection has ended.
    listening.await?;
    worker.abort();
    println!("done");
    Ok(())
}
