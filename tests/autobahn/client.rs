//! The client of `tests/autobahn/run --client`, and of `tests/clients/run`: it echoes what the fuzzing server sends,
//! case by case. Its limits are high enough for messages of 16 MiB in 65,536 fragments.
//!
//! usage: autobahn_client PORT

use react_websocket::client::{ConnectError, Connector};
use react_websocket::options::ControlRate;
use react_websocket::{WebSocketConnection, WebSocketOptions};
use tokio::sync::oneshot;

const AGENT: &str = "react-websocket";

#[tokio::main]
async fn main() -> Result<(), ConnectError> {
    let server = format!("ws://127.0.0.1:{}", std::env::args().nth(1).unwrap_or_else(|| "9001".to_owned()));
    let options = WebSocketOptions::new()
        .max_message_size(64 << 20)
        .max_frame_size(64 << 20)
        .max_fragments(100_000)
        .write_buffer_hard_limit(64 << 20)
        .control_rate(ControlRate { burst: 10_000, per_second: 10_000 });
    #[cfg(feature = "deflate")]
    let options = options.compression(react_websocket::options::Compression::new().peer_window(32 * 1024));
    let connector = Connector::new().with_options(options);
    let count = last_text(&connector, format!("{server}/getCaseCount")).await?;
    let count: u32 = count.parse().expect("a number of cases");
    for case in 1..=count {
        last_text(&connector, format!("{server}/runCase?case={case}&agent={AGENT}")).await?;
    }
    last_text(&connector, format!("{server}/updateReports?agent={AGENT}")).await?;
    println!("{count} cases");
    Ok(())
}

/// Echoes until the server closes the connection. Returns the last text.
async fn last_text(connector: &Connector, url: String) -> Result<String, ConnectError> {
    let (tell, closed) = oneshot::channel();
    let echoes = url.contains("/runCase");
    let connecting = connector.connect(url, move |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| {
            connection.set(text.to_owned());
            if echoes {
                connection.write(text);
            }
        });
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        connection.once("close", move || {
            let text = connection.get::<String>();
            tell.send(text.map_or_else(String::new, |text| String::clone(&text))).is_ok()
        });
    });
    connecting.await?;
    Ok(closed.await.unwrap_or_default())
}
