//! The default options cut no healthy peer, however slow it is.
//!
//! In memory and in paused time. `tests/slow/run` has the same over real links.

mod support;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use react_websocket::shutdown::Serving;
use react_websocket::{
    BodyStream, Bytes, GroupManager, HttpOptions, HttpServer, Response, ServerRequest, Text, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

const PING: u8 = 9;

/// How late a deadline may be met. The runtime's own timers round up to a whole millisecond.
const LATE: Duration = Duration::from_millis(50 + 1);

/// Bytes on the way to a peer. What the stream has accepted, the peer has nearly taken.
const IN_FLIGHT: usize = 1000;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A stream of which so many bytes are read in each interval.
struct Slow {
    inner: DuplexStream,
    size: usize,
    interval: Interval,
    left: usize,
}

impl Slow {
    fn new(inner: DuplexStream, size: usize, every: Duration) -> Slow {
        let mut interval = interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Slow { inner, size, interval, left: 0 }
    }
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.left == 0 {
            ready!(self.interval.poll_tick(cx));
            self.left = self.size;
        }
        let mut bytes = [0; 4096];
        let room = bytes.len().min(self.left).min(buf.remaining());
        let mut read = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut read))?;
        self.left -= read.filled().len();
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn serve_slow(http: &HttpServer, size: usize, every: Duration) -> (Peer<Slow>, Serving) {
    let (ours, theirs) = tokio::io::duplex(IN_FLIGHT);
    (Peer::new(Slow::new(ours, size, every)), http.serve(theirs))
}

/// A WebSocket whose peer is slow, and all of its events.
struct SlowPair {
    connection: WebSocketConnection,
    peer: Peer<Slow>,
    log: Log,
    serving: Serving,
}

async fn open(size: usize, every: Duration) -> SlowPair {
    open_with(HttpOptions::new(), size, every).await
}

async fn open_with(options: HttpOptions, size: usize, every: Duration) -> SlowPair {
    let (log, (open, mut opened)) = (Log::default(), mpsc::unbounded_channel());
    let watched = log.clone();
    let http = websockets(move |connection| {
        watched.watch(connection);
        open.send(connection).unwrap();
    });
    let (mut peer, serving) = serve_slow(&http.with_options(options), size, every);
    peer.shake_hands().await;
    SlowPair { connection: opened.recv().await.unwrap(), peer, log, serving }
}

impl SlowPair {
    /// The next frame. Pings that come before it are answered.
    async fn next(&mut self) -> Frame {
        loop {
            let next = self.peer.frame().await.unwrap_or_else(|| panic!("the end: {:?}", self.log.take()));
            if next.opcode != PING {
                return next;
            }
            self.peer.send(frame(0x8A, next.payload)).await;
        }
    }

    async fn assert_text(&mut self, expected: &str) {
        let next = self.next().await;
        assert!(next == Frame { fin: true, opcode: 1, payload: expected.into() }, "{next:?}");
    }

    /// Expects the server's Close frame, answers it, and checks that no other event reports the
    /// end.
    async fn assert_closed(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        assert_eq!(self.next().await, Frame { fin: true, opcode: 8, payload });
        self.peer.send(close(code, "")).await;
        assert!(self.peer.ended().await);
        settle().await;
        assert_eq!(self.ends(), [format!("close {code} {reason}")]);
    }

    /// Sends the peer's Close frame, and checks that no other event reports the end.
    async fn leave(&mut self) {
        self.peer.send(close(1000, "bye")).await;
        assert_eq!(self.next().await.opcode, 8);
        assert!(self.peer.ended().await);
        settle().await;
        assert_eq!(self.ends(), ["close 1000 bye"]);
    }

    /// The `error` and `close` events so far.
    fn ends(&self) -> Vec<String> {
        let is_end = |event: &String| event.starts_with("error") || event.starts_with("close");
        self.log.take().into_iter().filter(is_end).collect()
    }
}

// ------------------------------------------------------------------------------------------------ write_timeout

/// The default of `write_timeout` is 30 s, and whatever the peer takes restarts it. The peer also has
/// to read its pings in time.
#[tokio::test(start_paused = true)]
async fn a_websocket_that_takes_little_at_a_time_is_not_cut() {
    while_time_passes(async {
        let mut pair = open(IN_FLIGHT, seconds(15)).await;
        let message = "x".repeat(100 * IN_FLIGHT);
        pair.connection.write(&message);
        pair.assert_text(&message).await;
        pair.leave().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_waits_for_room_is_served_at_the_pace_of_its_peer() {
    while_time_passes(async {
        for waits_for_drain in [false, true] {
            let mut pair = open(1_000, seconds(1)).await;
            let connection = pair.connection;
            let (drain, mut drained) = mpsc::unbounded_channel();
            connection.on("drain", move || drain.send(()).is_ok());
            let sending = tokio::spawn(async move {
                for n in 0..60 {
                    let message = format!("{n} {}", "x".repeat(10_000));
                    if !waits_for_drain {
                        connection.send(message).await.unwrap();
                    } else if !connection.write(message) {
                        drained.recv().await.unwrap();
                    }
                }
            });
            for n in 0..60 {
                pair.assert_text(&format!("{n} {}", "x".repeat(10_000))).await;
            }
            sending.await.unwrap();
            pair.leave().await;
        }
    })
    .await;
}

// ------------------------------------------------------------------------------------------------ pong_timeout

/// Reads this number of bytes, `IN_FLIGHT` of them every 25 s. The bytes behind them are sent
/// during the last read.
async fn read_slowly(peer: &mut Peer<DuplexStream>, bytes: usize) {
    let mut left = bytes;
    while left > IN_FLIGHT {
        sleep(seconds(25)).await;
        peer.stream.read_exact(&mut [0; IN_FLIGHT]).await.expect("the connection lives");
        left -= IN_FLIGHT;
    }
    peer.stream.read_exact(&mut vec![0; left]).await.expect("the connection lives");
}

/// A connection that was pinged behind a large message, of which the peer has read all but the ping.
async fn pinged_behind_a_message() -> Pair<DuplexStream> {
    let mut pair = Pair::with_capacity(WebSocketOptions::new(), IN_FLIGHT).await;
    pair.connection.write("x".repeat(9 * IN_FLIGHT));
    // The header of the message has four bytes.
    read_slowly(&mut pair.peer, 9 * IN_FLIGHT + 4).await;
    assert_eq!(pair.peer.frame().await.expect("a ping").opcode, PING);
    pair
}

/// The default of `pong_timeout` is 20 s, counted from when the ping has left.
#[tokio::test(start_paused = true)]
async fn the_pong_timeout_starts_when_the_ping_has_left() {
    while_time_passes(async {
        let mut pair = pinged_behind_a_message().await;
        let pinged = Instant::now();
        assert!(timeout(seconds(60), pair.peer.rest()).await.is_ok(), "a silent peer is found");
        let silent = pinged.elapsed();
        assert!(silent >= seconds(20) && silent <= seconds(20) + LATE, "{silent:?}");
        settle().await;
        assert_eq!(pair.log.take()[0], "error 1006 no pong within 20s");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pong_within_the_timeout_after_the_ping_has_left_is_in_time() {
    while_time_passes(async {
        let mut pair = pinged_behind_a_message().await;
        sleep(seconds(20) - millis(10)).await;
        pair.peer.send(frame(0x8A, "")).await;
        sleep(seconds(15)).await;
        assert!(pair.connection.is_writable(), "{:?}", pair.log.take());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pings_that_are_answered_15_s_late_are_answered() {
    let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
    for _ in 0..20 {
        assert_eq!(pair.peer.frame().await.expect("a ping").opcode, PING);
        sleep(seconds(15)).await;
        pair.peer.send(frame(0x8A, "")).await;
    }
    settle().await;
    assert_eq!(pair.log.take(), vec!["pong 0"; 20]);
}

/// Only a peer that is there takes bytes.
#[tokio::test(start_paused = true)]
async fn a_peer_that_owes_a_pong_lives_while_it_takes_bytes() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new(), IN_FLIGHT).await;
        assert_eq!(pair.peer.frame().await.expect("a ping").opcode, PING);
        pair.connection.write("x".repeat(100 * IN_FLIGHT));
        for n in 0..50 {
            pair.peer.stream.read_exact(&mut [0; IN_FLIGHT]).await.expect("the connection lives");
            settle().await;
            assert!(pair.connection.is_writable(), "after {n} s: {:?}", pair.log.take());
            sleep(seconds(1)).await;
        }
        let taken = Instant::now();
        while pair.connection.is_writable() {
            sleep(millis(50)).await;
        }
        let silent = taken.elapsed();
        assert!(silent >= seconds(19) && silent <= seconds(30) + LATE, "{silent:?}");
    })
    .await;
}

// ------------------------------------------------------------------------------------------------ the end

/// As in reactphp/stream, where `end` first sends what is buffered.
#[tokio::test(start_paused = true)]
async fn each_way_to_end_waits_for_queued_bytes() {
    type End = fn(WebSocketConnection);
    let rows: [(&str, End, u16, &str, &[&str]); 4] = [
        ("end", |connection| connection.end(), 1000, "", &[]),
        ("close", |connection| connection.close(), 1000, "", &[]),
        ("close_with", |connection| connection.close_with(4001, "over"), 4001, "over", &[]),
        ("end_with", |connection| connection.end_with("last words"), 1000, "", &["last words"]),
    ];
    while_time_passes(async {
        for (name, end, code, reason, more) in rows {
            let mut pair = open(1_000, seconds(5)).await;
            let message = format!("{name} {}", "x".repeat(50_000));
            pair.connection.write(&message);
            end(pair.connection);
            pair.assert_text(&message).await;
            for text in more {
                pair.assert_text(text).await;
            }
            pair.assert_closed(code, reason).await;
        }
    })
    .await;
}

/// The default of `close_timeout` is 10 s, counted from when the Close has left.
#[tokio::test(start_paused = true)]
async fn the_close_timeout_starts_when_the_close_has_left() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new(), IN_FLIGHT).await;
        pair.connection.write("x".repeat(9 * IN_FLIGHT));
        pair.connection.close_with(4001, "over");
        read_slowly(&mut pair.peer, 9 * IN_FLIGHT + 4).await;
        assert_eq!(pair.peer.closed().await, (Some(4001), "over".into()));
        let closed = Instant::now();
        assert_eq!(pair.log.take(), [""; 0]);
        assert!(timeout(seconds(60), pair.peer.ended()).await.expect("the end"));
        let waited = closed.elapsed();
        assert!(waited >= seconds(10) && waited <= seconds(10) + LATE, "{waited:?}");
        settle().await;
        assert_eq!(pair.log.take(), ["close 1006 "]);
    })
    .await;
}

/// While something is before the Close, the write timeout applies. The close timeout may follow.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_before_our_close_is_detected() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(WebSocketOptions::new(), IN_FLIGHT).await;
        pair.connection.write("x".repeat(9 * IN_FLIGHT));
        pair.connection.close();
        for _ in 0..5 {
            sleep(seconds(25)).await;
            pair.peer.stream.read_exact(&mut [0; IN_FLIGHT]).await.expect("the connection lives");
        }
        settle().await;
        sleep(seconds(30) - millis(10)).await;
        assert_eq!(pair.log.take(), [""; 0], "it has its time");
        sleep(seconds(10) + LATE).await;
        let events = pair.log.take();
        assert!(events.last().is_some_and(|last| last.starts_with("close 1006")), "{events:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_within_its_grace_waits_for_what_is_queued() {
    while_time_passes(async {
        let mut pair = open_with(HttpOptions::new().shutdown_grace(seconds(600)), 1_000, seconds(5)).await;
        let message = "x".repeat(50_000);
        pair.connection.write(&message);
        let closing = pair.serving.close();
        pair.assert_text(&message).await;
        pair.assert_closed(1001, "server shutdown").await;
        timeout(seconds(1), closing).await.expect("it is over");
    })
    .await;
}

// ------------------------------------------------------------------------------------------------ delivery

/// The peer sends so many messages and leaves. The listener takes 150 ms for each, and writes then.
async fn assert_delivered(
    count: usize,
    says_close: bool,
    write: impl Fn(WebSocketConnection, Text) + Clone + Send + Sync + 'static,
) {
    let (log, groups) = (Log::default(), GroupManager::new());
    let watched = log.clone();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups);
    websocket.on("connection", move |connection: WebSocketConnection| {
        connection.set_group(Some("room")).unwrap();
        let (log, write) = (watched.clone(), write.clone());
        connection.on("text", move |text: Text| {
            let (log, write) = (log.clone(), write.clone());
            async move {
                sleep(millis(150)).await;
                log.add(&text);
                write(connection, text);
            }
        });
        let log = watched.clone();
        connection.on("close", move |code: u16, reason: &str| log.add(format_args!("close {code} {reason}")));
    });
    let (mut peer, serving) = Peer::open_in_memory(&HttpServer::new((websocket, router))).await;
    for n in 0..count {
        peer.send(text(n.to_string())).await;
    }
    if says_close {
        peer.send(close(1000, "bye")).await;
    }
    // From now on each write fails.
    drop(peer);
    timeout(seconds(600), serving).await.expect("it ends");
    let end = if says_close { "close 1000 bye" } else { "close 1006 " };
    let expected: Vec<String> = (0..count).map(|n| n.to_string()).chain([end.to_owned()]).collect();
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn messages_that_have_arrived_are_delivered_though_their_echo_cannot_be_sent() {
    for says_close in [true, false] {
        assert_delivered(100, says_close, |connection, text| _ = connection.write(text)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_have_arrived_are_delivered_though_a_broadcast_cannot_be_sent() {
    for says_close in [true, false] {
        assert_delivered(100, says_close, |connection, text| {
            if let Some(group) = connection.group() {
                group.write_all(text);
            }
        })
        .await;
    }
}

/// The listeners take longer than the interval of pings.
#[tokio::test(start_paused = true)]
async fn messages_that_have_arrived_are_delivered_though_a_ping_cannot_be_sent() {
    for says_close in [true, false] {
        assert_delivered(500, says_close, |_, _| {}).await;
    }
}

// ------------------------------------------------------------------------------------------------ responses

const SIZE: usize = 50_000;

/// The whole body at once, or streamed in one of two ways.
fn body(request: ServerRequest) -> Response {
    let stream = BodyStream::new();
    let (drain, mut drained) = mpsc::unbounded_channel();
    stream.on("drain", move || drain.send(()).is_ok());
    let writer = stream.clone();
    let piece = Bytes::from(vec![b'x'; SIZE / 2]);
    match request.path() {
        "/send" => {
            tokio::spawn(async move {
                for _ in 0..8 {
                    assert!(writer.send(&piece).await);
                }
                writer.end();
            });
        }
        "/drain" => {
            tokio::spawn(async move {
                for _ in 0..8 {
                    if !writer.write(&piece) {
                        drained.recv().await.unwrap();
                    }
                }
                writer.end();
            });
        }
        _ => return Response::new(200).with_body(vec![b'x'; 4 * SIZE]),
    }
    Response::new(200).with_body(stream)
}

/// The default of `write_timeout` is 30 s, and whatever the client takes restarts it.
#[tokio::test(start_paused = true)]
async fn a_response_is_sent_at_the_pace_of_its_client_and_another_may_follow() {
    while_time_passes(async {
        let http = HttpServer::new((body,));
        for path in ["/bytes", "/send", "/drain"] {
            let (mut client, _serving) = serve_slow(&http, 1_000, seconds(29));
            for connection in ["keep-alive", "close"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
                let answer = client.ask(request).await;
                assert!(answer.body == vec![b'x'; 4 * SIZE], "{path}: {} bytes", answer.body.len());
            }
            assert!(client.ended().await);
        }
    })
    .await;
}

/// RFC 9112 section 6.3: such a body ends with its connection.
#[tokio::test(start_paused = true)]
async fn a_body_that_ends_with_its_connection_is_sent_at_the_pace_of_its_client() {
    while_time_passes(async {
        let http = HttpServer::new((body,));
        let (mut client, _serving) = serve_slow(&http, 1_000, seconds(29));
        client.send("GET /send HTTP/1.0\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert!(client.rest().await == vec![b'x'; 4 * SIZE]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_within_its_grace_waits_for_a_response() {
    while_time_passes(async {
        let http = HttpServer::new((body,)).with_options(HttpOptions::new().shutdown_grace(seconds(600)));
        for path in ["/bytes", "/send", "/drain"] {
            let (mut client, serving) = serve_slow(&http, 1_000, seconds(1));
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            settle().await;
            let closing = serving.close();
            assert!(client.answer().await.body == vec![b'x'; 4 * SIZE], "{path}");
            assert!(client.ended().await);
            timeout(seconds(5), closing).await.expect("it is over");
        }
    })
    .await;
}

// ------------------------------------------------------------------------------------------------ uploads

fn length(request: ServerRequest) -> Response {
    Response::plaintext(request.body().len().to_string())
}

/// 8 KB a second for ten minutes, in small pieces.
#[tokio::test(start_paused = true)]
async fn a_request_body_is_taken_at_the_pace_of_its_client() {
    while_time_passes(async {
        let http = HttpServer::new((length,)).with_options(HttpOptions::new().max_body_size(10_000_000));
        for (head, before, after, last) in
            [("Content-Length: 4800000", "", "", ""), ("Transfer-Encoding: chunked", "320\r\n", "\r\n", "0\r\n\r\n")]
        {
            let (mut client, _serving) = Peer::serve(&http);
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await;
            for _ in 0..6_000 {
                client.send([before.as_bytes(), &[b'x'; 800], after.as_bytes()].concat()).await;
                sleep(millis(100)).await;
            }
            client.send(last).await;
            let answer = client.answer().await;
            assert_eq!((answer.status(), answer.text()), (200, "4800000"));
            assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "0");
        }
    })
    .await;
}

/// RFC 9110 section 15.5.14. Many clients do not read before they have sent all.
#[tokio::test(start_paused = true)]
async fn a_413_reaches_a_client_that_sends_its_body_first() {
    while_time_passes(async {
        let http = HttpServer::new((length,));
        for pause in [millis(0), millis(100), millis(500)] {
            let (mut client, _serving) = Peer::serve_with_capacity(&http, 50_000);
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n").await;
            for n in 0..100 {
                let sent = client.stream.write_all(&[b'x'; 50_000]).await;
                assert!(sent.is_ok(), "not taken after {n} × 50 KB, one each {pause:?}");
                sleep(pause).await;
            }
            assert_eq!(client.answer().await.status(), 413);
            assert!(client.ended().await);
        }
    })
    .await;
}
