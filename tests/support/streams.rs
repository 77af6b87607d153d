//! Helpers of the tests of a connection as a stream: expected frames, and connections with unsent bytes.

use std::time::Duration;

use super::{Frame, Pair, Peer, settle};
use react_websocket::{WebSocketConnection, WebSocketOptions};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const SOFT: usize = 64 * 1024;
pub const HARD: usize = 4 << 20;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How late a deadline may be met.
pub const LATE: Duration = Duration::from_millis(50 + 1);

pub type InMemory = Pair<DuplexStream>;

/// The default limits, and nothing that happens by itself.
pub fn options() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(None).write_timeout(None)
}

pub fn limits(soft: usize, hard: usize) -> WebSocketOptions {
    options().write_buffer_soft_limit(soft).write_buffer_hard_limit(hard)
}

/// Fills the peer's 64 bytes with a message, and has so many bytes of another one wait.
pub async fn fill(connection: WebSocketConnection, unsent: usize) {
    assert!(connection.write(text_of_frame(64)));
    settle().await;
    assert_eq!(connection.buffered_amount(), 0);
    connection.write(text_of_frame(unsent));
    settle().await;
    assert_eq!(connection.buffered_amount(), unsent);
}

/// A text whose frame has so many bytes.
pub fn text_of_frame(bytes: usize) -> String {
    let header = [2, 4, 10][usize::from(bytes > 127) + usize::from(bytes > 65_539)];
    "x".repeat(bytes - header)
}

pub fn closing(code: u16, reason: &str) -> Frame {
    Frame { fin: true, opcode: CLOSE, payload: [&code.to_be_bytes(), reason.as_bytes()].concat() }
}

pub fn whole(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: true, opcode, payload: payload.as_ref().to_vec() }
}

/// The frames up to and with a Close, or up to the end.
pub async fn frames(peer: &mut Peer<DuplexStream>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = peer.frame().await {
        let is_last = frame.opcode == CLOSE;
        frames.push(frame);
        if is_last {
            break;
        }
    }
    frames
}

/// Every way to end a connection, and the Close that it sends.
pub type Ending = (&'static str, fn(WebSocketConnection), Option<(u16, &'static str)>);

pub const ENDINGS: [Ending; 5] = [
    ("end", |connection| connection.end(), Some((1000, ""))),
    ("end_with", |connection| connection.end_with("last"), Some((1000, ""))),
    ("close", |connection| connection.close(), Some((1000, ""))),
    ("close_with", |connection| connection.close_with(4001, "bye"), Some((4001, "bye"))),
    ("terminate", |connection| connection.terminate(), None),
];

pub const SIZES: [usize; 8] = [24 * 1024 - 1, 24 * 1024, 24 * 1024 + 1, 65_535, 65_536, 1 << 20, 5 << 20, 24 * 1024 - 1];

/// Bytes in which a piece that is missing, repeated or out of place shows.
pub fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Reads all that comes in small pieces, letting others run in between.
pub async fn read_slowly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let mut piece = [0; 3_001];
    while bytes.len() < length {
        let count = timeout(Duration::from_secs(30), stream.read(&mut piece)).await.expect("more").unwrap();
        assert!(count > 0, "the end after {} of {length} bytes", bytes.len());
        bytes.extend_from_slice(&piece[..count]);
        tokio::task::yield_now().await;
    }
    bytes
}
