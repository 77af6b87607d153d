//! The closing handshake (RFC 6455 §7): what is still delivered and sent before it, who says how to close, and how the stream ends.

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use react_websocket::{Text, WebSocketConnection, WebSocketOptions};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// No pings, so that the deadlines of the end are alone.
fn quiet() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(None)
}

// ------------------------------------------------------------------------------------------------ unsent bytes are sent first

/// RFC 6455 §7.1.1 and §7.1.2: the Close frame is the last that is sent, and the time to answer it begins when it has left.
#[tokio::test(start_paused = true)]
async fn bytes_written_before_the_end_arrive_however_slowly_they_are_read() {
    let ends: [fn(WebSocketConnection); 4] = [
        |connection| connection.end(),
        |connection| connection.close_with(1000, ""),
        // The peer sends the first Close frame, and the server answers it: see below.
        |_| {},
        |connection| connection.close_with(1000, ""),
    ];
    for (case, end) in ends.into_iter().enumerate() {
        let Pair { connection, mut peer, log } = Pair::with_capacity(quiet(), 1_000).await;
        let message = "x".repeat(100_000);
        connection.write(&message);
        end(connection);
        if case >= 2 {
            peer.send(close(1000, "")).await;
        }
        // Two minutes, with a pause of 29 s in it.
        let mut received: Vec<u8> = Vec::new();
        let mut pause = seconds(29);
        while received.len() < 10 + message.len() + 4 {
            let mut piece = [0; 1_000];
            let count = timeout(seconds(1), peer.stream.read(&mut piece)).await.expect("there is more").unwrap();
            assert!(count > 0, "case {case}: closed after {} bytes: {:?}", received.len(), log.take());
            received.extend(&piece[..count]);
            sleep(std::mem::replace(&mut pause, seconds(1))).await;
        }
        assert_eq!(received[10..10 + message.len()], *message.as_bytes());
        assert_eq!(received[10 + message.len()..], *b"\x88\x02\x03\xe8", "case {case}");
        if case < 2 {
            // The time to answer has begun when the last bytes left, a moment before they were read.
            sleep(seconds(7)).await;
            assert!(log.take().iter().all(|entry| entry == "drain"), "case {case}");
            peer.send(close(1000, "")).await;
        }
        settle().await;
        let log = log.take();
        assert_eq!(log.last().map(String::as_str), Some("close 1000 "), "case {case}: {log:?}");
    }
}

/// The write timeout finds out that nothing is taken any more, and `error` tells that something did not arrive.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_none_of_the_last_bytes_is_cut_after_the_write_timeout() {
    let Pair { connection, peer: _peer, log } = Pair::with_capacity(quiet(), 1_000).await;
    connection.write("x".repeat(100_000));
    connection.end();
    sleep(seconds(30) - Duration::from_millis(2)).await;
    assert_eq!(log.take(), [""; 0]);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(log.take(), ["error 1006 nothing could be sent for 30s", "close 1006 nothing could be sent for 30s"]);
}

// ------------------------------------------------------------------------------------------------ received messages are delivered

/// A stream whose reader takes its time to leave: what was received can still be read when nothing can be written any more.
struct HalfBroken {
    stream: DuplexStream,
    writable: Arc<AtomicUsize>,
}

impl AsyncRead for HalfBroken {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for HalfBroken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writable.load(Ordering::Relaxed) == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// RFC 6455 §7.1.4: the connection is closed cleanly, since the peer's Close was received.
#[tokio::test(start_paused = true)]
async fn messages_that_have_arrived_are_delivered_though_nothing_can_be_written_any_more() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        let log = noted.clone();
        connection.on("text", move |text: Text| {
            let log = log.clone();
            async move {
                sleep(Duration::from_millis(150)).await;
                log.add(&text);
                connection.write(text);
            }
        });
        let log = noted.clone();
        connection.on("error", move |reason: Option<&str>| log.add(reason.unwrap()));
        let log = noted.clone();
        connection.on("close", move |code: u16, reason: &str| log.add(format_args!("close {code} {reason}")));
    });
    let writable = Arc::new(AtomicUsize::new(1));
    let (stream, ours) = tokio::io::duplex(1 << 20);
    let serving = http.serve(HalfBroken { stream, writable: writable.clone() });
    let mut peer = Peer::new(ours);
    peer.shake_hands().await;
    let texts: Vec<_> = (0..300).map(|number| text(number.to_string())).collect();
    peer.send([texts.concat(), close(1000, "bye")].concat()).await;
    settle().await;
    writable.store(0, Ordering::Relaxed);
    timeout(seconds(120), serving).await.expect("it ends");
    let mut expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    expected.push("close 1000 bye".to_owned());
    assert_eq!(log.take(), expected);
}

/// On a socket that the peer has reset, messages that arrived before the reset are delivered.
#[tokio::test]
async fn messages_that_have_arrived_are_delivered_though_the_peer_has_left() {
    let Pair { connection, mut peer, log } = Pair::over_tcp(quiet()).await;
    let group = Log::default();
    let noted = group.clone();
    connection.on("text", move |text: Text| {
        let log = noted.clone();
        async move {
            sleep(Duration::from_millis(2)).await;
            log.add(&text);
            connection.write("x".repeat(100_000));
        }
    });
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    connection.on("close", move |code: u16| tell.lock().unwrap().take().map(|tell| tell.send(code)).is_some());
    let texts: Vec<_> = (0..500).map(|number| text(number.to_string())).collect();
    peer.send([texts.concat(), close(1000, "bye")].concat()).await;
    // What the server has answered is unread, so that this is a reset.
    sleep(Duration::from_millis(20)).await;
    drop(peer);
    let code = timeout(seconds(30), told).await.expect("it closes").unwrap();
    let expected: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(group.take(), expected);
    assert_eq!(code, 1000, "{:?}", log.take());
}

/// A peer that has closed and an app that never resumes: the connection ends all the same.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_paused_for_ever_ends_a_minute_after_its_peer_has_left() {
    let Pair { connection, mut peer, log } = Pair::in_memory(quiet()).await;
    connection.on("text", move |text: &str| {
        if text == "stop" {
            connection.pause()
        }
    });
    peer.send([text("stop"), text("more")].concat()).await;
    settle().await;
    drop(peer);
    connection.end();
    sleep(seconds(60)).await;
    assert_eq!(log.take(), ["text stop"], "it may resume");
    sleep(seconds(20)).await;
    assert_eq!(log.take(), ["close 1006 "]);
}

// ------------------------------------------------------------------------------------------------ how to close after an error

/// Ratchet's `onError($conn, $e)`: it may send something, and close with a code of its own.
#[tokio::test(start_paused = true)]
async fn a_listener_of_error_decides_how_to_close_after_a_listener_has_failed() {
    let Pair { connection, mut peer, log } = Pair::in_memory(quiet()).await;
    connection.on("text", |_: &str| Err::<(), _>("no such command"));
    connection.on("error", move |reason: Option<&str>| {
        assert!(connection.is_writable());
        connection.write(format!("sorry: {}", reason.unwrap()));
        connection.close_with(4000, "bad command");
    });
    peer.send([text("x"), text("dropped")].concat()).await;
    assert_eq!(peer.text().await, "sorry: a listener failed: no such command");
    assert_eq!(peer.closed().await, (Some(4000), "bad command".into()));
    peer.send(close(4000, "")).await;
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["text x", "error 1011 a listener failed: no such command", "close 4000 bad command"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_error_that_ends_nothing_leaves_1011() {
    for slow in [false, true] {
        let Pair { connection, mut peer, log } = Pair::in_memory(quiet()).await;
        connection.on("text", |_: &str| panic!("oops"));
        connection.on("error", async move || {
            if slow {
                // Longer than it may.
                sleep(seconds(600)).await;
            }
        });
        peer.send(text("x")).await;
        let begun = Instant::now();
        assert_eq!(peer.closed().await, (Some(1011), "internal error".into()));
        assert!(begun.elapsed() < if slow { seconds(11) } else { seconds(1) }, "{:?}", begun.elapsed());
        drop(peer);
        settle().await;
        assert_eq!(
            log.take(),
            ["text x", "error 1011 a listener failed: oops", "close 1011 a listener failed: oops"],
            "slow: {slow}"
        );
    }
}

/// A fault of the peer's has its code.
#[tokio::test(start_paused = true)]
async fn a_listener_of_error_does_not_decide_about_protocol_errors() {
    let Pair { connection, mut peer, log } = Pair::in_memory(quiet()).await;
    connection.on("error", move || connection.close_with(4000, "mine"));
    peer.send(b"\x81\x01x").await;
    assert_eq!(peer.closed().await, (Some(1002), "unmasked frame".into()));
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["error 1002 unmasked frame", "close 1002 unmasked frame"]);
}

// ------------------------------------------------------------------------------------------------ the reason is echoed (section 5.5.1)

/// RFC 6455 §5.5.1: the code of the peer's Close is echoed, and as PHP's servers do, its reason too.
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_close_has_its_code_and_reason() {
    for (code, reason) in [(1000, "bye"), (4999, ""), (3000, &*"é".repeat(61))] {
        let mut pair = Pair::in_memory(quiet()).await;
        pair.peer.send(close(code, reason)).await;
        assert_eq!(pair.peer.closed().await, (Some(code), reason.to_owned()));
        assert!(pair.peer.ended().await);
    }
    let mut pair = Pair::in_memory(quiet()).await;
    pair.peer.send(frame(0x88, "")).await;
    assert_eq!(pair.peer.closed().await, (None, String::new()));
}

// ------------------------------------------------------------------------------------------------ streams that end in order

/// Counts how often it is shut down, which takes TLS a write: its close_notify.
struct Counting {
    stream: DuplexStream,
    shut_down: Arc<AtomicUsize>,
    /// It takes one poll more.
    is_slow: bool,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.is_slow) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.shut_down.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// RFC 8446 §6.1: each side sends a close_notify before it closes; without it the other side reports a truncation.
#[tokio::test(start_paused = true)]
async fn a_stream_is_shut_down_before_it_is_dropped() {
    type End = fn(WebSocketConnection);
    let ends: [(&str, End, &[&[u8]]); 5] = [
        ("the peer closes", |_| {}, &[&close(1000, "")]),
        ("we close", |connection| connection.close(), &[&close(1000, "")]),
        ("the peer ends its side", |_| {}, &[]),
        ("a protocol error", |_| {}, &[b"\x81\x01x"]),
        ("a listener fails", |_| {}, &[&text("fail")]),
    ];
    for (case, end, bytes) in ends {
        for is_slow in [false, true] {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let http = websockets(move |connection| {
                connection.on("text", |_: &str| Err::<(), _>("told to"));
                let _ = tell.send(connection);
            });
            let shut_down = Arc::new(AtomicUsize::new(0));
            let (stream, ours) = tokio::io::duplex(1 << 16);
            let serving = http.serve(Counting { stream, shut_down: shut_down.clone(), is_slow });
            let mut peer = Peer::new(ours);
            peer.shake_hands().await;
            let connection = told.recv().await.unwrap();
            end(connection);
            for bytes in bytes {
                peer.send(bytes).await;
            }
            settle().await;
            let _ = peer.stream.shutdown().await;
            timeout(seconds(5), serving).await.unwrap_or_else(|_| panic!("{case}: it does not end"));
            assert_eq!(shut_down.load(Ordering::Relaxed), 1, "{case}, slow: {is_slow}");
            assert!(peer.rest().await.len() < 100);
        }
    }
}
