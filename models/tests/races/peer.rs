//! Connections without their handshake, and what is at their other end.

use react_websocket::inside;
use react_websocket::{GroupManager, WebSocketConnection, WebSocketOptions};
use shuttle::future::{JoinHandle, block_on, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, pair};

use super::Notes;

/// What connections of one middleware share, without a server around it.
pub(super) struct Room {
    shared: inside::Shared,
    pub(super) groups: GroupManager,
}

/// A connection whose task runs.
pub(super) struct Open {
    pub(super) connection: WebSocketConnection,
    pub(super) task: JoinHandle<()>,
    pub(super) events: Notes<&'static str>,
}

/// The value that an app attaches to each connection.
pub(super) struct Attached;

/// What a connection runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A socket, which any thread writes to.
    Socket,
    /// A stream that only its task can write.
    Stream,
}

impl Room {
    pub(super) fn new() -> Room {
        Room::with(WebSocketOptions::new())
    }

    pub(super) fn with(options: WebSocketOptions) -> Room {
        let groups = GroupManager::new();
        Room { shared: inside::Shared::new(options.ping_interval(None), &groups), groups }
    }

    /// A connection on a socket that takes so many bytes until its peer reads.
    pub(super) fn open(&self, capacity: usize) -> (Open, TcpStream) {
        self.open_on(Kind::Socket, capacity, |_| {})
    }

    pub(super) fn open_on(
        &self,
        kind: Kind,
        capacity: usize,
        begin: impl FnOnce(WebSocketConnection),
    ) -> (Open, TcpStream) {
        let (peer, stream) = pair(capacity);
        let events = Notes::new();
        let begin = |connection: WebSocketConnection| {
            for event in ["text", "drain", "end", "error", "close"] {
                let events = events.clone();
                connection.on(event, move || events.note(event));
            }
            connection.set(Attached);
            begin(connection);
        };
        let (connection, task) = match kind {
            Kind::Socket => {
                let (connection, task) = self.shared.open(stream, begin);
                (connection, spawn(task))
            }
            Kind::Stream => {
                let (connection, task) = self.shared.open_stream(stream, begin);
                (connection, spawn(task))
            }
        };
        (Open { connection, task, events }, peer)
    }

    /// Nothing is left of any connection.
    pub(super) fn assert_empty(&self) {
        assert_eq!(self.shared.count(), (0, 0), "connections that are open, and that are listed");
        assert!(self.groups.is_empty(), "{:?}", self.groups);
    }
}

impl Open {
    /// Waits for the end of the task, and says what the listeners have heard: `close` last, and once, and at most one `error`.
    pub(super) fn ended(self) -> Vec<&'static str> {
        block_on(self.task).expect("its task ends by itself");
        let events = self.events.all();
        let count = |event| events.iter().filter(|other| **other == event).count();
        assert_eq!((count("close"), events.last()), (1, Some(&"close")), "{events:?}");
        assert!(count("error") <= 1 && count("end") <= 1, "{events:?}");
        assert!(!self.connection.is_writable() && !self.connection.is_readable() && !self.connection.write("late"));
        events
    }
}

/// A frame as a server sends it, of less than 126 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) first: u8,
    pub(super) payload: Vec<u8>,
}

/// First bytes.
pub(super) const TEXT: u8 = 0x81;
pub(super) const CLOSE: u8 = 0x88;

/// The next frame. `None` if the stream ends. An incomplete frame is discarded.
pub(super) async fn frame(peer: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 2];
    peer.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[1])];
    peer.read_exact(&mut payload).await.ok()?;
    Some(Frame { first: head[0], payload })
}

/// Sends a frame, masked with zeros. Nobody may be there any more.
pub(super) async fn send(peer: &mut TcpStream, first: u8, payload: &[u8]) {
    let length = 0x80 | u8::try_from(payload.len()).expect("a short one");
    let _ = peer.write_all(&[&[first, length, 0, 0, 0, 0], payload].concat()).await;
}

/// What a peer gets that reads to the end, and answers a Close: the texts, and the code of the Close.
pub(super) async fn read_to_end(mut peer: TcpStream) -> (Vec<String>, Option<u16>) {
    let (mut texts, mut code) = (Vec::new(), None);
    while let Some(Frame { first, payload }) = frame(&mut peer).await {
        assert_eq!(code, None, "{first:x} behind a Close");
        match first {
            TEXT => texts.push(String::from_utf8(payload).expect("text")),
            CLOSE => {
                code = Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
                send(&mut peer, CLOSE, &payload).await;
            }
            other => panic!("{other:x}"),
        }
    }
    (texts, code)
}

/// What a peer gets that reads so many texts. It leaves when it is dropped.
pub(super) async fn read_some(mut peer: TcpStream, count: usize) -> (Vec<String>, TcpStream) {
    let mut texts = Vec::new();
    while texts.len() < count {
        let frame = frame(&mut peer).await.expect("more texts");
        assert_eq!(frame.first, TEXT);
        texts.push(String::from_utf8(frame.payload).expect("text"));
    }
    (texts, peer)
}
