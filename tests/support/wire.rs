//! Helpers of the tests of frames: conversations of bytes, and what a peer and the app received.

use super::{Log, Peer, frame, router, settle};
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// All at once, and in pieces of so many bytes.
pub const SIZES: [usize; 4] = [usize::MAX, 1, 2, 7];

/// What a peer got and what the app saw.
#[derive(Debug)]
pub struct Transcript {
    pub frames: Vec<String>,
    /// Whether the server had ended its side before the peer ended the other.
    pub ended: bool,
    pub events: Vec<String>,
}

impl Transcript {
    /// A violation of the protocol: the peer receives one Close frame, the app receives one
    /// `error`, and nothing follows (RFC 6455 section 7.1.7).
    #[track_caller]
    pub fn assert_failed(&self, code: u16, frames: &[&str], events: &[&str], case: &str) {
        let told = self.frames.last().and_then(|close| close.strip_prefix(&format!("Close {code} ")));
        let reason = told.unwrap_or_else(|| panic!("{case}: no Close {code} with a reason: {self:?}"));
        assert_eq!(self.frames[..self.frames.len() - 1], *frames, "{case}");
        assert!(self.ended, "{case}: the server waits");
        let (error, close) = (format!("error {code} {reason}"), format!("close {code} {reason}"));
        assert_eq!(self.events, [events, &[&error, &close]].concat(), "{case}");
    }

    /// Nothing was wrong, and the connection stayed open until the peer left.
    #[track_caller]
    pub fn assert_open(&self, frames: &[&str], events: &[&str], case: &str) {
        assert_eq!(self.frames, frames, "{case}");
        assert!(!self.ended, "{case}: it should have stayed open");
        assert_eq!(self.events, [events, &["close 1006 "]].concat(), "{case}");
    }
}

/// A server that echoes and does what it is told to, and notes all events.
pub fn server(options: WebSocketOptions) -> (HttpServer, Log) {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            log.watch(connection);
            connection.on("text", obey);
            connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        }
    });
    (HttpServer::new((websocket, router)), log)
}

pub fn obey(connection: &WebSocketConnection, text: &str) {
    match *text.split(' ').collect::<Vec<_>>() {
        ["close"] => connection.close(),
        ["close", code, reason] => connection.close_with(code.parse().unwrap(), reason),
        ["end"] => connection.end(),
        ["end", last] => connection.end_with(last),
        ["terminate"] => connection.terminate(),
        _ => drop(connection.write(text)),
    }
}

/// Opens a connection, sends bytes in pieces of `size`, each when the one before has been used up, and then a FIN.
pub async fn exchange_with(options: WebSocketOptions, bytes: &[u8], size: usize) -> Transcript {
    let (http, log) = server(options);
    let (peer, serving) = Peer::open_in_memory(&http).await;
    let (mut read, mut write) = tokio::io::split(peer.stream);
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        received
    });
    for piece in bytes.chunks(size) {
        // The server may have gone: what follows its Close, or the peer's, is sent all the same.
        let _ = write.write_all(piece).await;
        settle().await;
    }
    let ended = reading.is_finished();
    let _ = write.shutdown().await;
    let received = reading.await.unwrap();
    drop(write);
    serving.await;
    let events = log.take();
    let is_close = |event: &String| event.starts_with("close ");
    assert!(events.iter().position(is_close) == Some(events.len() - 1), "close is once and last: {events:?}");
    Transcript { frames: describe(&received), ended, events }
}

pub async fn exchange(bytes: impl AsRef<[u8]>, size: usize) -> Transcript {
    exchange_with(WebSocketOptions::new(), bytes.as_ref(), size).await
}

/// The frames of a server, which are whole, unmasked, and have lengths in their shortest form.
pub fn describe(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (u16::from_be_bytes([*a, *b]).into(), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest),
            (second, rest) => (u64::from(*second), rest),
        };
        let shortest = if length < 126 { length as u8 } else { 126 + u8::from(length > 0xFFFF) };
        assert_eq!(*second, shortest, "a length of {length}, unmasked");
        let (payload, rest) = rest.split_at(length as usize);
        let shown = || match payload.len() {
            0..=125 => String::from_utf8(payload.to_vec()).expect("text"),
            length => format!("of {length} bytes"),
        };
        frames.push(match (first, payload) {
            (0x81, _) => format!("text {}", shown()),
            (0x82, _) => format!("binary {length}"),
            (0x88, []) => "Close".to_owned(),
            (0x88, [a, b]) => format!("Close {}", u16::from_be_bytes([*a, *b])),
            (0x88, [a, b, reason @ ..]) => {
                format!("Close {} {}", u16::from_be_bytes([*a, *b]), std::str::from_utf8(reason).expect("text"))
            }
            (0x89, _) => format!("ping {}", shown()),
            (0x8A, _) => format!("pong {}", shown()),
            (first, _) => panic!("a frame that begins with {first:#x}"),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame: {bytes:x?}");
    frames
}

/// The header of a client's frame, with the longest form of the length that it needs.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xFFFF => header.extend([&[0xFE], &(length as u16).to_be_bytes()[..]].concat()),
        _ => header.extend([&[0xFF], &length.to_be_bytes()[..]].concat()),
    }
    header.extend([0x12, 0x34, 0x56, 0x78]);
    header
}

/// The beginning of a frame that announces `length` bytes of payload and has brought only these.
pub fn beginning(first: u8, length: usize, payload: &[u8]) -> Vec<u8> {
    let mut all = payload.to_vec();
    all.resize(length, b' ');
    let mut frame = frame(first, all);
    frame.truncate(header(first, length as u64).len() + payload.len());
    frame
}
