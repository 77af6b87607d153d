//! A chat with rooms, in the browser: `cargo run --example chat [PORT]`.
//!
//! Open http://127.0.0.1:8000/ in two windows. `?room=` and `?name=` in the address choose the room
//! and your name. Stop the server and start it again: the pages reconnect by themselves. Ctrl-C or
//! SIGTERM ends the server gracefully: each client gets a Close frame with 1001.
//!
//! `chat.rs` has the server and describes its protocol, `history.rs` keeps messages. The page is in `index.html`,
//! `style.css` and `chat.js`.

mod chat;
mod history;

use react_websocket::errors::BoxError;
use react_websocket::{Loop, Signal, SocketServer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(8000), |port| port.parse())?;
    let listening = chat::server().listen(SocketServer::new(format!("127.0.0.1:{port}"))?);
    for signal in [Signal::INT, Signal::TERM] {
        let listening = listening.clone();
        Loop::add_signal(signal, move || listening.close())?;
    }
    println!("http://127.0.0.1:{port}/");
    // Returns when the last connection has ended.
    Ok(listening.await?)
}
