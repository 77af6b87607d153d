//! A client that reconnects: after each end it waits for a random time, connects again, and joins its room again.
//!
//! ```sh
//! cargo run --example chat &
//! cargo run --features client --example reconnect lobby
//! ```
//!
//! Stop the server and start it again. Each time the client joins its room again, and gets the messages that it has
//! missed. The file `chat/chat.rs` describes the protocol.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use react_websocket::WebSocketConnection;
use react_websocket::client::{ConnectError, Connector};
use react_websocket::protocol::close_code;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// The longest wait after the first failure. It doubles with each further failure.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait of all.
const LONGEST: Duration = Duration::from_secs(30);

/// After a connection that was open for this time, the waits begin at [`FIRST`] again.
const GOOD: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), ConnectError> {
    let room = std::env::args().nth(1).unwrap_or_else(|| "lobby".to_owned());
    let (connector, position) = (Connector::new(), Position::default());
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        match visit(&connector, &room, &position).await {
            Ok(code) if is_final(code) => return Ok(()),
            Ok(_) if begun.elapsed() >= GOOD => failures = 0,
            Ok(_) => {}
            // The request is malformed or not allowed, so another attempt would fail too.
            Err(error) if error.status().is_some_and(|status| (400..500).contains(&status)) => return Err(error),
            Err(error) => println!("{error}"),
        }
        let wait = wait(failures);
        failures += 1;
        println!("next attempt in {wait:.1?}");
        sleep(wait).await;
    }
}

/// Full jitter: a random time up to a limit that doubles. So clients that lost their server at the same moment do not
/// reconnect at the same moment.
fn wait(failures: u32) -> Duration {
    let limit = FIRST.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST);
    limit.mul_f64(fastrand::f64())
}

/// Returns whether the code means that this client has made an error (RFC 6455 section 7.4.1).
fn is_final(code: u16) -> bool {
    [close_code::PROTOCOL, close_code::INVALID_PAYLOAD, close_code::POLICY].contains(&code)
}

/// The position in the history of the room: null, or the id of the history and the number of the last message.
type Position = Arc<Mutex<Value>>;

/// One connection, until its end. Returns the close code.
async fn visit(connector: &Connector, room: &str, position: &Position) -> Result<u16, ConnectError> {
    let (tell, closed) = oneshot::channel();
    let connecting = connector.connect("ws://127.0.0.1:8000/chat", |connection: WebSocketConnection| {
        let join = json!({"type": "join", "room": room, "name": "Robin", "since": *lock(position)});
        connection.write(join.to_string());
        let position = position.clone();
        connection.on("text", move |text: &str| receive(text, &position));
        connection.once("close", move |code: u16, reason: &str| {
            println!("closed: {code} {reason}");
            tell.send(code).is_ok()
        });
    });
    connecting.await?;
    Ok(closed.await.unwrap_or(close_code::ABNORMAL))
}

fn receive(text: &str, position: &Position) -> Result<(), serde_json::Error> {
    let message: Value = serde_json::from_str(text)?;
    let print = |message: &Value| {
        println!("{}: {}", message["name"].as_str().unwrap_or_default(), message["text"].as_str().unwrap_or_default());
    };
    match message["type"].as_str() {
        Some("joined") => {
            message["messages"].as_array().into_iter().flatten().for_each(print);
            *lock(position) = json!({"history": message["history"], "number": message["number"]});
        }
        Some("message") => {
            print(&message);
            lock(position)["number"] = message["number"].clone();
        }
        Some("error") => println!("refused: {}", message["text"]),
        _ => {}
    }
    Ok(())
}

fn lock(position: &Position) -> std::sync::MutexGuard<'_, Value> {
    position.lock().unwrap_or_else(PoisonError::into_inner)
}
