//! A live view of a server, in the browser: `cargo run --example dashboard [PORT]`.
//!
//! Open http://127.0.0.1:8000/ and let clients come: `cargo run --features client --example load`. Stop the server and
//! start it again: the page shows the gap and reconnects. Ctrl-C or SIGTERM ends the server gracefully.
//!
//! `feed.rs` is the part to copy: it sends the counters of a server to all pages. `work.rs` has the server that is
//! watched. The page is in `index.html`, `style.css`, and three scripts: `dashboard.js`, `measures.js`, `chart.js`.

mod feed;
mod work;

use react_websocket::errors::BoxError;
use react_websocket::{Loop, Signal, SocketServer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(8000), |port| port.parse())?;
    let listening = work::server().listen(SocketServer::new(format!("127.0.0.1:{port}"))?);
    for signal in [Signal::INT, Signal::TERM] {
        let listening = listening.clone();
        Loop::add_signal(signal, move || listening.close())?;
    }
    println!("http://127.0.0.1:{port}/");
    // Returns when the last connection has ended.
    Ok(listening.await?)
}
