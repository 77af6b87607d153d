//! Endings: `close` fires exactly once and last, as soon as possible, whatever is still in progress
//! when a connection ends. Messages that were accepted for the peer reach it.

mod support;

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, mpsc as blocking};
use std::task::{Context, Poll};
use std::time::Duration;

use react_websocket::{GroupManager, Text, WebSocketConnection, WebSocketOptions, cork};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, DuplexStream, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

/// Tells of each `close` of a connection.
fn closes(connection: WebSocketConnection) -> mpsc::UnboundedReceiver<u16> {
    let (tell, told) = mpsc::unbounded_channel();
    connection.on("close", move |code: u16| tell.send(code).is_ok());
    told
}

/// The entries of a log that begin with a word.
fn entries_of(log: &[String], word: &str) -> Vec<String> {
    log.iter().filter(|entry| entry.starts_with(word)).cloned().collect()
}

#[tokio::test]
async fn a_fin_ends_a_connection_though_a_thread_has_written_to_it_and_not_flushed() {
    let Pair { connection, mut peer, log } = Pair::over_tcp(WebSocketOptions::new()).await;
    let mut closed = closes(connection);
    let (wrote, has_written) = tokio::sync::oneshot::channel();
    let (go_on, gate) = blocking::channel::<()>();
    let writer = std::thread::spawn(move || {
        cork(|| {
            connection.write("x");
            let _ = wrote.send(());
            let _ = gate.recv_timeout(Duration::from_secs(30));
        });
    });
    has_written.await.expect("it writes");
    peer.stream.shutdown().await.unwrap();
    let told = timeout(Duration::from_secs(5), closed.recv()).await;
    assert_eq!(told.expect("sooner than the close timeout"), Some(1006));
    assert_eq!(timeout(Duration::from_secs(5), peer.text()).await.expect("it is flushed"), "x");
    drop(go_on);
    writer.join().unwrap();
    assert_eq!(log.take(), ["close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_after_terminate_holds_up_close_no_longer_than_it_runs() {
    for panics in [false, true] {
        let Pair { connection, mut peer, log } = Pair::in_memory(WebSocketOptions::new()).await;
        let (mut closed, gate) = (closes(connection), Arc::new(Notify::new()));
        let waiting = gate.clone();
        connection.on("text", async move || {
            waiting.notified().await;
            if panics { panic!("no") } else { Err::<(), _>("no") }
        });
        peer.send(text("x")).await;
        settle().await;
        connection.terminate();
        settle().await;
        assert_eq!(log.take(), ["text x"], "the listener runs");
        let notified = Instant::now();
        gate.notify_one();
        let told = timeout(Duration::from_secs(60), closed.recv()).await;
        assert_eq!(told, Ok(Some(1006)), "panics: {panics}");
        assert_eq!(notified.elapsed(), Duration::ZERO, "panics: {panics}");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(entries_of(&log.take(), "close"), ["close 1006 "], "panics: {panics}");
    }
}

/// The listener is dropped when the time for the answer is over, and the answer was there (RFC 6455 §7.1.5). After `end` what the
/// peer had sent before is delivered too.
#[tokio::test(start_paused = true)]
async fn the_answer_to_our_close_counts_though_it_waits_behind_a_listener() {
    type End = fn(WebSocketConnection);
    let close_with: End = |connection| connection.close_with(4000, "bye");
    for (end, answer, told) in [
        (close_with, close(4000, ""), &["close 4000 bye"][..]),
        (|connection| connection.end(), close(1000, ""), &["text two", "end", "close 1000 "]),
        // Another message is no answer.
        (close_with, text("more"), &["close 1006 "]),
    ] {
        let Pair { connection, mut peer, log } = Pair::in_memory(WebSocketOptions::new()).await;
        let mut closed = closes(connection);
        connection.on("text", async || sleep(Duration::from_secs(600)).await);
        peer.send([text("one"), text("two")].concat()).await;
        settle().await;
        end(connection);
        peer.send(answer).await;
        let begun = Instant::now();
        timeout(Duration::from_secs(60), closed.recv()).await.expect("it closes");
        assert!(begun.elapsed() >= Duration::from_secs(10), "the listener has had its time");
        assert_eq!(log.take(), [&["text one"], told].concat());
    }
}

/// Each message has the time that the last one would have.
#[tokio::test(start_paused = true)]
async fn messages_of_a_peer_that_left_are_delivered_however_long_it_takes() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        let log = noted.clone();
        connection.on("text", move |text: Text| {
            let log = log.clone();
            async move {
                sleep(Duration::from_secs(4)).await;
                log.add(text);
            }
        });
        let log = noted.clone();
        connection.on("close", move |code: u16, reason: &str| log.add(format_args!("close {code} {reason}")));
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    let texts: Vec<_> = (0..5).map(|number| text(number.to_string())).collect();
    peer.send([texts.concat(), close(1000, "bye")].concat()).await;
    settle().await;
    drop(peer);
    timeout(Duration::from_secs(60), serving).await.expect("it ends");
    assert_eq!(log.take(), ["0", "1", "2", "3", "4", "close 1000 bye"]);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom");
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_panics_when_it_is_dropped_keeps_nothing_from_ending() {
    count_panics();
    let Pair { connection, mut peer, log } = Pair::in_memory(WebSocketOptions::new()).await;
    connection.set(Bomb);
    connection.set((Bomb, 1));
    peer.send(close(1000, "")).await;
    settle().await;
    assert_eq!(log.take(), ["end", "close 1000 "]);
    assert_eq!(panics(), 2);
}

/// A stream of an app's whose end panics.
struct Fragile(DuplexStream, Bomb);

impl AsyncRead for Fragile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn close_fires_though_a_stream_panics_when_its_runtime_ends() {
    count_panics();
    let (log, runtime) = (Log::default(), tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let watched = log.clone();
    let http = websockets(move |connection| watched.watch(connection));
    let peer = runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        http.serve(Fragile(theirs, Bomb));
        let mut peer = Peer::new(ours);
        peer.shake_hands().await;
        peer
    });
    drop(runtime);
    drop(peer);
    assert_eq!(log.take(), ["close 1006 "]);
    assert_eq!(panics(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_fires_once_and_last_though_an_error_occurs_while_an_end_listener_delays_it() {
    let (log, groups, gate) = (Log::default(), GroupManager::new(), Arc::new(Notify::new()));
    groups.on("create", |group| {
        group.on("leave", |_| Err::<(), _>("no"));
    });
    let (noted, joined, waiting) = (log.clone(), groups.clone(), gate.clone());
    let http = websockets(move |connection| {
        noted.watch(connection);
        joined.join("a", connection).unwrap();
        let (groups, gate) = (joined.clone(), waiting.clone());
        connection.on("end", async move || {
            gate.notified().await;
            groups.leave("a", connection);
        });
        connection.on("close", async || sleep(Duration::from_secs(1)).await);
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send(close(1000, "")).await;
    settle().await;
    assert_eq!(log.take(), ["end"]);
    gate.notify_one();
    timeout(Duration::from_secs(60), serving).await.expect("it ends");
    assert!(groups.is_empty());
    let told = log.take();
    assert_eq!(entries_of(&told, "close").len(), 1, "{told:?}");
    assert!(told.last().is_some_and(|last| last.starts_with("close ")), "{told:?}");
    assert!(entries_of(&told, "error").len() <= 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn through_a_stream_that_buffers_all_that_was_written_and_our_close_reach_a_peer_that_reads_after_its_own() {
    let http = websockets(|connection| {
        connection.on("text", move || connection.write("x".repeat(500)));
    });
    let (near, far) = tokio::io::duplex(64);
    let serving = http.serve(BufWriter::new(near));
    let mut peer = Peer::new(far);
    peer.shake_hands().await;
    peer.send(text("go")).await;
    settle().await;
    peer.send(close(1000, "")).await;
    settle().await;
    assert_eq!(peer.text().await, "x".repeat(500));
    assert_eq!(peer.closed().await, (Some(1000), String::new()));
    assert!(peer.ended().await);
    timeout(Duration::from_secs(1), serving).await.expect("it ends");
}

/// An error that cannot be put in words.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_put_in_words_closes_with_1011_like_any_other() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        connection.on("text", || Err::<(), _>(Unspeakable));
        let log = noted.clone();
        connection.on("close", move |code: u16| log.add(format_args!("close {code}")));
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send(text("x")).await;
    assert_eq!(peer.closed().await, (Some(1011), "internal error".into()));
    drop(peer);
    let ended = timeout(Duration::from_secs(1), serving).await;
    assert_eq!((log.take(), ended.is_ok()), (vec!["close 1011".to_owned()], true));
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn close_fires_though_a_removed_listener_panics_when_it_is_dropped() {
    let Pair { connection, mut peer, log } = Pair::in_memory(WebSocketOptions::new()).await;
    let (groups, left) = (GroupManager::new(), log.clone());
    groups.on("create", move |group| {
        let left = left.clone();
        group.on("leave", move |_| left.add("leave"));
    });
    groups.join("a", connection).unwrap();
    let captured = PanicsWhenDropped;
    let id = connection.on("pong", move || _ = &captured);
    // The task takes over the listeners.
    peer.send(text("x")).await;
    settle().await;
    assert_eq!(log.take(), ["text x"]);
    connection.remove_listener(id);
    connection.terminate();
    sleep(Duration::from_secs(60)).await;
    let told = log.take();
    assert_eq!(entries_of(&told, "close").len(), 1, "{told:?}");
    assert_eq!(entries_of(&told, "leave").len(), 1, "{told:?}");
    assert!(groups.is_empty());
}

/// An error that asks its connection something when it is dropped.
#[derive(Debug)]
struct AsksWhenDropped(WebSocketConnection);

impl fmt::Display for AsksWhenDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no")
    }
}

impl Error for AsksWhenDropped {}

impl Drop for AsksWhenDropped {
    fn drop(&mut self) {
        self.0.buffered_amount();
    }
}

/// In a thread of its own, which would take the test with it if it hung.
#[test]
fn an_error_that_is_dropped_as_too_late_may_use_its_connection() {
    let (tell, told) = blocking::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Pair { connection, mut peer, .. } = Pair::in_memory(WebSocketOptions::new()).await;
            connection.on("text", move || {
                connection.terminate();
                Err::<(), _>(AsksWhenDropped(connection))
            });
            connection.on("close", move |code: u16| tell.send(code).is_ok());
            peer.send(text("x")).await;
            peer.rest().await;
        });
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(1006));
}

/// A stream that fails with an error of its own, which asks the connection something when it is put in words.
#[derive(Clone, Debug, Default)]
struct Failing(Arc<OnceLock<WebSocketConnection>>);

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unsent", self.0.get().map_or(0, |connection| connection.buffered_amount()))
    }
}

impl Error for Failing {}

impl AsyncRead for Failing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other(self.clone())))
    }
}

#[test]
fn an_error_of_an_apps_stream_may_use_its_connection_when_it_is_put_in_words() {
    let (tell, told) = blocking::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let failing = Failing::default();
            let opened = failing.clone();
            let http = websockets(move |connection| {
                let tell = tell.clone();
                connection.on("close", move |code: u16, reason: &str| tell.send((code, reason.to_owned())).is_ok());
                let _ = opened.0.set(connection);
            });
            let stream = tokio::io::join(HANDSHAKE.as_bytes().chain(failing), tokio::io::sink());
            http.serve(stream).await;
        });
    });
    let closed = told.recv_timeout(Duration::from_secs(5));
    assert_eq!(closed, Ok((1006, "the connection failed: 0 unsent".to_owned())));
}
