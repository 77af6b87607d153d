//! A client that speaks raw bytes, and can be wrong on purpose.
#![allow(dead_code, reason = "each test file uses another part of it")]

pub mod bombs;
#[cfg(feature = "client")]
pub mod client;
pub mod groups;
pub mod handshake;
pub mod http;
pub mod streams;
pub mod timeouts;
#[cfg(feature = "__tls")]
pub mod tls;
pub mod wire;

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};

use react_websocket::handlers::IntoChain;
use react_websocket::shutdown::Serving;
use react_websocket::{
    HttpServer, Listening, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

/// A handshake that is in order.
pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The other end of a connection.
pub struct Peer<S> {
    pub stream: S,
    received: Vec<u8>,
}

/// A frame as a server sends it.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { fin, opcode, payload } = self;
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(60)]);
        write!(f, "Frame(fin {fin}, opcode {opcode}, {} bytes {shown:?})", payload.len())
    }
}

/// A response with its body.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Header names in their order and spelling.
    pub fn header_names(&self) -> Vec<&str> {
        self.head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// A frame as a client sends it: `first` is its first byte.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let key = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = frame_head(first, 0x80, payload.len());
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A frame as a server sends it.
pub fn server_frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [&frame_head(first, 0, payload.len()), payload].concat()
}

/// The first bytes of a frame up to its length (RFC 6455 §5.2). `mask`: the bit that says that a key follows.
fn frame_head(first: u8, mask: u8, length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![first, mask | length as u8],
        126..=0xFFFF => [&[first, mask | 126], &(length as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, mask | 127], &(length as u64).to_be_bytes()[..]].concat(),
    }
}

pub fn text(text: impl AsRef<str>) -> Vec<u8> {
    frame(0x81, text.as_ref())
}

pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A server on a port of its own.
pub fn listen<M>(handlers: impl IntoChain<M>) -> (SocketAddr, Listening) {
    listen_with(HttpServer::new(handlers))
}

pub fn listen_with(http: HttpServer) -> (SocketAddr, Listening) {
    let socket = SocketServer::new("127.0.0.1:0").expect("a port");
    let address = socket.local_address().expect("an address");
    (address, http.listen(socket))
}

/// A router that says which path it was asked for.
pub fn router(request: ServerRequest) -> Response {
    Response::plaintext(format!("router {}", request.path()))
}

/// A server of WebSockets whose connections are set up by `each`.
pub fn websockets(each: impl Fn(WebSocketConnection) + Send + Sync + 'static) -> HttpServer {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", each);
    HttpServer::new((websocket, router))
}

impl Peer<TcpStream> {
    pub async fn connect(address: SocketAddr) -> Peer<TcpStream> {
        Peer::new(TcpStream::connect(address).await.expect("a connection"))
    }

    /// Connects and shakes hands.
    pub async fn open(address: SocketAddr) -> Peer<TcpStream> {
        let mut peer = Peer::connect(address).await;
        peer.shake_hands().await;
        peer
    }
}

impl Peer<DuplexStream> {
    /// A connection in memory, of which so many bytes are in flight at most.
    pub fn serve_with_capacity(http: &HttpServer, capacity: usize) -> (Peer<DuplexStream>, Serving) {
        let (ours, theirs) = tokio::io::duplex(capacity);
        (Peer::new(ours), http.serve(theirs))
    }

    pub fn serve(http: &HttpServer) -> (Peer<DuplexStream>, Serving) {
        Peer::serve_with_capacity(http, 1 << 20)
    }

    /// Connects in memory and shakes hands.
    pub async fn open_in_memory(http: &HttpServer) -> (Peer<DuplexStream>, Serving) {
        let (mut peer, serving) = Peer::serve(http);
        peer.shake_hands().await;
        (peer, serving)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Peer<S> {
        Peer { stream, received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the server reads");
    }

    pub async fn shake_hands(&mut self) {
        self.send(HANDSHAKE).await;
        let answer = self.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    }

    /// Sends bytes and reads one response.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// Reads a response head, without its empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.received.drain(..end + 4).take(end).collect();
                return String::from_utf8(head).expect("a head of text");
            }
            assert!(self.read().await > 0, "the end in a head: {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Reads a response to a GET.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = Answer { head: self.head().await, body: Vec::new() };
        if let Some(length) = answer.header("Content-Length") {
            answer.body = self.exactly(length.parse().expect("a length")).await;
        } else if answer.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let size = self.line().await;
                let size = usize::from_str_radix(&size, 16).expect("a size");
                let chunk = self.exactly(size).await;
                assert_eq!(self.line().await, "");
                if size == 0 {
                    break;
                }
                answer.body.extend(chunk);
            }
        }
        answer
    }

    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).expect("a line of text");
            }
            assert!(self.read().await > 0, "the end in a line");
        }
    }

    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            assert!(self.read().await > 0, "the end after {} of {count} bytes", self.received.len());
        }
        self.received.drain(..count).collect()
    }

    /// Reads a frame; `None` at the end of the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        while self.received.is_empty() {
            if self.read().await == 0 {
                return None;
            }
        }
        let head = self.exactly(2).await;
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.exactly(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.exactly(8).await.try_into().unwrap()),
            length => length.into(),
        };
        let payload = self.exactly(length as usize).await;
        Some(Frame { fin: head[0] & 0x80 != 0, opcode: head[0] & 0x7F, payload })
    }

    /// Reads a text message.
    pub async fn text(&mut self) -> String {
        let frame = self.frame().await.expect("a message");
        assert_eq!((frame.fin, frame.opcode), (true, 1), "{frame:?}");
        String::from_utf8(frame.payload).expect("text")
    }

    /// Reads a Close: its code, or none, and its reason.
    pub async fn closed(&mut self) -> (Option<u16>, String) {
        let frame = self.frame().await.expect("a Close");
        assert_eq!((frame.fin, frame.opcode), (true, 8), "{frame:?}");
        if frame.payload.is_empty() {
            return (None, String::new());
        }
        let (code, reason) = frame.payload.split_at(2);
        (Some(u16::from_be_bytes(code.try_into().unwrap())), String::from_utf8(reason.to_vec()).expect("text"))
    }

    /// Whether the server has ended the connection, nothing more having come. A reset is an end too.
    pub async fn ended(&mut self) -> bool {
        self.received.is_empty() && self.read().await == 0
    }

    /// What comes until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.read().await > 0 {}
        std::mem::take(&mut self.received)
    }

    async fn read(&mut self) -> usize {
        self.stream.read_buf(&mut self.received).await.unwrap_or(0)
    }
}

/// A log of events, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn add(&self, entry: impl fmt::Display) {
        self.0.lock().unwrap().push(entry.to_string());
    }

    /// Everything so far, and forgets it.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Notes all events of a connection.
    pub fn watch(&self, connection: WebSocketConnection) {
        let log = || self.clone();
        connection.on("text", {
            let log = log();
            move |text: &str| log.add(format_args!("text {text}"))
        });
        connection.on("binary", {
            let log = log();
            move |bytes: &[u8]| log.add(format_args!("binary {}", bytes.len()))
        });
        connection.on("ping", {
            let log = log();
            move |bytes: &[u8]| log.add(format_args!("ping {}", bytes.len()))
        });
        connection.on("pong", {
            let log = log();
            move |bytes: &[u8]| log.add(format_args!("pong {}", bytes.len()))
        });
        connection.on("drain", {
            let log = log();
            move || log.add("drain")
        });
        connection.on("end", {
            let log = log();
            move || log.add("end")
        });
        connection.on("error", {
            let log = log();
            move |reason: Option<&str>, code: Option<u16>| {
                log.add(format_args!("error {} {}", code.unwrap(), reason.unwrap()))
            }
        });
        connection.on("close", {
            let log = log();
            move |code: u16, reason: &str| log.add(format_args!("close {code} {reason}"))
        });
    }
}

/// Both ends of a connection: the server's handle, all of its events being noted, and the peer.
pub struct Pair<S> {
    pub connection: WebSocketConnection,
    pub peer: Peer<S>,
    pub log: Log,
}

impl Pair<DuplexStream> {
    pub async fn in_memory(options: WebSocketOptions) -> Pair<DuplexStream> {
        Pair::with_capacity(options, 1 << 20).await
    }

    /// A connection of which so many bytes are in flight at most.
    pub async fn with_capacity(options: WebSocketOptions, capacity: usize) -> Pair<DuplexStream> {
        let (http, log, opened) = Pair::<DuplexStream>::server(options);
        let (mut peer, _) = Peer::serve_with_capacity(&http, capacity);
        peer.shake_hands().await;
        Pair { connection: opened.try_recv().expect("a connection"), peer, log }
    }
}

impl Pair<TcpStream> {
    pub async fn over_tcp(options: WebSocketOptions) -> Pair<TcpStream> {
        let (http, log, opened) = Pair::<TcpStream>::server(options);
        let (address, _) = listen_with(http);
        let peer = Peer::open(address).await;
        Pair { connection: opened.try_recv().expect("a connection"), peer, log }
    }
}

impl<S> Pair<S> {
    fn server(options: WebSocketOptions) -> (HttpServer, Log, std::sync::mpsc::Receiver<WebSocketConnection>) {
        let (log, (open, opened)) = (Log::default(), std::sync::mpsc::channel());
        let (watched, websocket) = (log.clone(), WebSocketMiddleware::new().with_options(options));
        websocket.on("connection", move |connection: WebSocketConnection| {
            watched.watch(connection);
            open.send(connection).is_ok()
        });
        (HttpServer::new((websocket, router)), log, opened)
    }
}

/// For tests in paused time: everything that can run has run when this is ready, a millisecond later.
pub async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

/// For tests in paused time, which passes when all tasks wait for it: fails where one never does, and the test would hang.
pub async fn while_time_passes<T>(test: impl Future<Output = T>) -> T {
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let (alarm, rung) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        if is_over.recv_timeout(std::time::Duration::from_secs(30)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = alarm.send(());
        }
    });
    tokio::select! {
        result = test => {
            drop(over);
            result
        }
        Ok(()) = rung => panic!("time stands still: a task never waits"),
    }
}

/// Stops time except for [`advance`](tokio::time::advance). An idle runtime in paused time advances
/// to its next timer, even while sockets have pending data. A task that always runs keeps the
/// runtime busy.
pub struct Frozen(tokio::task::JoinHandle<()>);

impl Frozen {
    pub fn new() -> Frozen {
        Frozen(tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        }))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Everybody has had a turn, and the system has been asked.
pub async fn let_all_run() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// A client whose system has little room for what it does not read.
pub async fn connect_with_little_room(address: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// From now on panics are counted, in each thread those of its own. For runtimes of one thread, which keep the panics of their
/// tasks to themselves.
pub fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            report(panic);
        }));
    });
}

/// The panics of this thread since.
pub fn panics() -> usize {
    PANICS.get()
}
