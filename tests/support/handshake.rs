//! Helpers of the tests of the opening handshake: requests, and servers that log their events.

use super::{Answer, Log, Peer, router};
use react_websocket::errors::{ConnectionError, HandshakeError};
use react_websocket::{HttpServer, Response, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};

pub const UPGRADE: &str = "Upgrade: websocket";
pub const CONNECTION: &str = "Connection: Upgrade";
pub const VERSION: &str = "Sec-WebSocket-Version: 13";
pub const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// The lines that a handshake needs, besides `Host`.
pub const NEEDED: [&str; 4] = [UPGRADE, CONNECTION, VERSION, KEY];

pub fn request(line: &str, lines: &[&str]) -> String {
    format!("{line}\r\nHost: example.com\r\n{}\r\n\r\n", lines.join("\r\n"))
}

pub fn get(lines: &[&str]) -> String {
    request("GET / HTTP/1.1", lines)
}

/// A handshake that is in order, and asks for more.
pub fn with(more: &[&str]) -> String {
    get(&[&NEEDED[..], more].concat())
}

/// A handshake in which one of the needed lines is another one, or none at all.
pub fn with_instead(line: &str, other: &[&str]) -> String {
    let lines = NEEDED.into_iter().flat_map(|needed| if needed == line { other.to_vec() } else { vec![needed] });
    get(&lines.collect::<Vec<_>>())
}

/// Has a log note connections, what they emit, and refusals; and makes a server with a router behind.
pub fn observed(websocket: &WebSocketMiddleware, log: &Log) -> HttpServer {
    websocket.on("connection", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            log.add("connection");
            log.watch(connection);
        }
    });
    note_refusals(websocket, log);
    HttpServer::new((websocket.clone(), router))
}

pub fn note_refusals(websocket: &WebSocketMiddleware, log: &Log) {
    let log = log.clone();
    websocket.on("error", move |connection: WebSocketConnection| log.add(refusal(connection)));
}

/// The kind of refusal that the middleware's `error` event reports.
pub fn refusal(connection: WebSocketConnection) -> String {
    let Some(ConnectionError::Handshake(error)) = connection.error() else {
        return format!("no refusal: {:?}", connection.error());
    };
    let kind = match &error {
        HandshakeError::Upgrade => "Upgrade",
        HandshakeError::Key => "Key",
        HandshakeError::Version => "Version",
        HandshakeError::Body => "Body",
        HandshakeError::Origin { origin, .. } => &format!("Origin {origin}"),
        HandshakeError::Subprotocol => "Subprotocol",
        HandshakeError::Rejected { status } => &format!("Rejected {status}"),
        HandshakeError::Listener(error) => &format!("Listener {error}"),
        HandshakeError::Timeout { limit } => &format!("Timeout {limit:?}"),
        HandshakeError::Gone => "Gone",
        error => &format!("{error:?}"),
    };
    format!("refused {} {kind}", error.status())
}

pub fn server(options: WebSocketOptions) -> (HttpServer, Log) {
    let log = Log::default();
    let http = observed(&WebSocketMiddleware::new().with_options(options), &log);
    (http, log)
}

/// Asks on a connection of its own, which is over when this returns.
pub async fn ask(http: &HttpServer, request: impl AsRef<[u8]>) -> Answer {
    let (mut peer, serving) = Peer::serve(http);
    let answer = peer.ask(request).await;
    drop(peer);
    serving.await;
    answer
}

/// A handle of a connection that is not there reaches nothing.
pub fn assert_dead(connection: WebSocketConnection) {
    assert!(!connection.is_writable() && !connection.is_readable());
    assert!(!connection.write("") && !connection.ping("") && !connection.reject(Response::new(200)) && !connection.set(1));
    assert!(connection.request().is_none() && connection.error().is_none() && connection.subprotocol().is_none());
    assert_eq!((connection.remote_address(), connection.local_address()), (None, None));
    connection.on("close", || panic!("it has no events any more"));
    connection.close();
    assert_eq!(connection.listener_count("close"), 0);
}

/// Says when it is dropped.
pub struct Noted(pub Log);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}
