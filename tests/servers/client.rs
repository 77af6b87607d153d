//! Our client against a server of others: `tests/servers/run` starts both.
//!
//! usage: servers_client PORT [CERTIFICATE]
//!
//! With a certificate, the client uses TLS and trusts this certificate.
//!
//! The server echoes, speaks the subprotocol `echo`, answers the text `ping me` with a ping, the text `close` with a
//! Close 4001 `bye`, and refuses the path `/refused` with 403.

use std::time::Duration;

use react_websocket::client::{ConnectError, Connector};
use react_websocket::tls::ClientTls;
use react_websocket::{Message, WebSocketConnection, WebSocketOptions};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// What a connection's listeners saw, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

struct Talk {
    connection: WebSocketConnection,
    seen: UnboundedReceiver<Seen>,
}

impl Talk {
    async fn open(connector: &Connector, url: &str) -> Result<Talk, ConnectError> {
        let (tell, seen) = unbounded_channel();
        let connecting = connector.connect(url, move |connection: WebSocketConnection| {
            let (message, ping, pong, close) = (tell.clone(), tell.clone(), tell.clone(), tell);
            connection.on("message", move |text: Message| message.send(Seen::Message(text)).is_ok());
            connection.on("ping", move |bytes: &[u8]| ping.send(Seen::Ping(bytes.to_vec())).is_ok());
            connection.on("pong", move |bytes: &[u8]| pong.send(Seen::Pong(bytes.to_vec())).is_ok());
            connection.on("close", move |code: u16, why: &str| close.send(Seen::Close(code, why.to_owned())).is_ok());
        });
        Ok(Talk { connection: connecting.await?, seen })
    }

    async fn next(&mut self) -> Seen {
        timeout(Duration::from_secs(20), self.seen.recv()).await.expect("an event in time").expect("an event")
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (port, certificate) = (arguments.next().expect("a port"), arguments.next());
    let scheme = if certificate.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://127.0.0.1:{port}");
    let options =
        WebSocketOptions::new().max_message_size(8 << 20).max_frame_size(8 << 20).write_buffer_hard_limit(64 << 20);
    let mut connector = Connector::new().with_options(options).subprotocols(["other", "echo"]);
    if let Some(certificate) = certificate {
        connector = connector.tls(ClientTls::new().root_file(certificate).expect("a certificate"));
    }

    let mut talk = Talk::open(&connector, &format!("{url}/path?query")).await.expect("a connection");
    assert_eq!(talk.connection.subprotocol().as_deref(), Some("echo"));
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000, 5_000_000] {
        let text = "ä".repeat(size / 2);
        talk.connection.write(&text);
        assert!(talk.next().await == Seen::Message(text.into()), "a text of {size}");
        let bytes: Vec<u8> = (0..=255).cycle().take(size).collect();
        talk.connection.write_binary(&bytes);
        assert!(talk.next().await == Seen::Message(bytes.into()), "{size} bytes");
    }
    let mut message = talk.connection.begin_text();
    for piece in ["in ", "several ", "", "frames"] {
        message.write(piece);
    }
    message.end();
    assert_eq!(talk.next().await, Seen::Message("in several frames".into()));
    talk.connection.ping("payload");
    assert_eq!(talk.next().await, Seen::Pong(b"payload".to_vec()));
    talk.connection.write("ping me");
    assert!(matches!(talk.next().await, Seen::Ping(_)));
    for number in 0..10_000 {
        talk.connection.send(number.to_string()).await.expect("it is open");
    }
    for number in 0..10_000 {
        assert_eq!(talk.next().await, Seen::Message(number.to_string().into()));
    }
    talk.connection.close_with(4000, "done");
    assert_eq!(talk.next().await, Seen::Close(4000, "done".into()));

    let mut talk = Talk::open(&connector, &url).await.expect("a connection");
    talk.connection.write("close");
    assert_eq!(talk.next().await, Seen::Close(4001, "bye".into()));

    match Talk::open(&connector, &format!("{url}/refused")).await {
        Err(error) => assert_eq!(error.status(), Some(403), "{error:?}"),
        Ok(_) => panic!("it is refused"),
    }
    connector.close().await;
    let stats = connector.stats();
    assert_eq!((stats.open, stats.closed.get("client"), stats.closed.get("peer")), (0, Some(&1), Some(&1)), "{stats:?}");
}
