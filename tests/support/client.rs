//! The server's end of a client's connection, as raw bytes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use react_websocket::client::{ConnectError, Connector};
use react_websocket::protocol::handshake::accept_key;
use react_websocket::{WebSocketConnection, WebSocketOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::Log;

/// A server that speaks raw bytes, and can be wrong on purpose.
pub struct RawServer<S> {
    pub stream: S,
    received: Vec<u8>,
}

/// A frame as a client sends it, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// The first byte: FIN, reserved bits and opcode.
    pub first: u8,
    pub key: [u8; 4],
    pub payload: Vec<u8>,
}

impl ClientFrame {
    pub fn text(&self) -> &str {
        assert_eq!(self.first, 0x81, "{self:?}");
        std::str::from_utf8(&self.payload).expect("text")
    }
}

/// The bytes of a correct 101 to this key, with more lines.
pub fn switching(key: &str, more: &str) -> Vec<u8> {
    let accept = accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// The value of a header in a request's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (other, value) = line.split_once(": ")?;
        other.eq_ignore_ascii_case(name).then_some(value)
    })
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawServer<S> {
    pub fn new(stream: S) -> RawServer<S> {
        RawServer { stream, received: Vec::new() }
    }

    /// Reads a request's head, without the empty line.
    pub async fn request(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.received.drain(..end + 4).take(end).collect();
                return String::from_utf8(head).expect("a head of text");
            }
            assert!(self.stream.read_buf(&mut self.received).await.unwrap() > 0, "the end in a head");
        }
    }

    /// Answers the handshake, with more lines in the 101 and bytes behind it, all in one write.
    pub async fn accept_with(&mut self, more: &str, behind: &[u8]) -> String {
        let head = self.request().await;
        let key = header(&head, "Sec-WebSocket-Key").expect("a key");
        let bytes = [switching(key, more), behind.to_vec()].concat();
        self.send(&bytes).await;
        head
    }

    pub async fn accept(&mut self) -> String {
        self.accept_with("", b"").await
    }

    /// Like [`accept_with`](RawServer::accept_with), if the client gets so far. Returns whether the request came.
    pub async fn try_accept(&mut self, behind: &[u8]) -> bool {
        while !self.received.ends_with(b"\r\n\r\n") {
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        let head = self.request().await;
        let bytes = [switching(header(&head, "Sec-WebSocket-Key").expect("a key"), ""), behind.to_vec()].concat();
        self.stream.write_all(&bytes).await.is_ok()
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads a frame; `None` at the end of the connection.
    pub async fn frame(&mut self) -> Option<ClientFrame> {
        let head = self.exactly(2).await?;
        assert_ne!(head[1] & 0x80, 0, "a client masks: {head:x?}");
        let length = match head[1] & 0x7F {
            126 => u16::from_be_bytes(self.exactly(2).await?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.exactly(8).await?.try_into().unwrap()) as usize,
            length => length.into(),
        };
        let key: [u8; 4] = self.exactly(4).await?.try_into().unwrap();
        let mut payload = self.exactly(length).await?;
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Some(ClientFrame { first: head[0], key, payload })
    }

    pub async fn text(&mut self) -> String {
        self.frame().await.expect("a message").text().to_owned()
    }

    /// Reads a Close: its code, or none, and its reason.
    pub async fn closed(&mut self) -> (Option<u16>, String) {
        let frame = self.frame().await.expect("a Close");
        assert_eq!(frame.first, 0x88, "{frame:?}");
        if frame.payload.is_empty() {
            return (None, String::new());
        }
        let (code, reason) = frame.payload.split_at(2);
        (Some(u16::from_be_bytes(code.try_into().unwrap())), String::from_utf8(reason.to_vec()).expect("text"))
    }

    /// Whether the client has ended the connection, nothing more having come. A reset is an end too.
    pub async fn ended(&mut self) -> bool {
        self.received.is_empty() && self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
        Some(self.received.drain(..count).collect())
    }
}

/// A client in memory, whose events are noted, and the raw server that it is connected to.
pub async fn in_memory(options: WebSocketOptions) -> (WebSocketConnection, RawServer<DuplexStream>, Log) {
    let (ours, theirs) = duplex(1 << 20);
    let (mut server, log) = (RawServer::new(theirs), Log::default());
    let watched = log.clone();
    let connector = Connector::new().with_options(options);
    let connecting = connector.connect_on(ours, "ws://example.com/", move |connection: WebSocketConnection| {
        watched.watch(connection);
    });
    let (connection, _) = tokio::join!(connecting, server.accept());
    (connection.unwrap(), server, log)
}

/// What a client makes of these bytes of a server, which come in pieces of `size` and may contain `{accept}`.
pub async fn answered(
    connector: &Connector,
    url: &str,
    answer: &str,
    size: usize,
) -> Result<WebSocketConnection, ConnectError> {
    let (ours, theirs) = duplex(1 << 20);
    let mut server = RawServer::new(theirs);
    let answering = async {
        let head = server.request().await;
        let accept = accept_key(header(&head, "Sec-WebSocket-Key").unwrap_or_default().as_bytes());
        for piece in answer.replace("{accept}", &accept).as_bytes().chunks(size) {
            if server.stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // The end of the stream.
        drop(server);
    };
    tokio::join!(connector.connect_on(ours, url, |_: WebSocketConnection| {}), answering).0
}

/// A stream that fails after so many bytes read or written.
pub struct Failing<S> {
    stream: S,
    reads: usize,
    writes: usize,
}

impl<S> Failing<S> {
    pub fn after(stream: S, reads: usize, writes: usize) -> Failing<S> {
        Failing { stream, reads, writes }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Failing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.reads == 0 {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let mut bytes = vec![0; self.reads.min(buf.remaining())];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        self.reads -= part.filled().len();
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Failing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes == 0 {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let count = self.writes.min(bytes.len());
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..count]))?;
        self.writes -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// RFC 9110 section 9.3.6: a proxy that joins two sockets after its 200.
pub async fn proxy(answer: &'static str) -> (SocketAddr, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, requests) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut client = RawServer::new(listener.accept().await.unwrap().0);
            let tell = tell.clone();
            tokio::spawn(async move {
                let head = client.request().await;
                let destination = head.split(' ').nth(1).unwrap().to_owned();
                tell.send(head).unwrap();
                client.send(answer.as_bytes()).await;
                if answer.starts_with("HTTP/1.1 2") {
                    let mut server = TcpStream::connect(destination).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client.stream, &mut server).await;
                }
            });
        }
    });
    (address, requests)
}
