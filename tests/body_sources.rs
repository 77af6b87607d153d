//! Bodies that are read from a reader or a stream, and a writer as an `AsyncWrite`.

mod support;

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_core::Stream;
use react_websocket::{BodyStream, HttpServer, Response, ServerRequest};
use support::http::{Guard, errors};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A stream of what is sent through a channel.
struct Received<T>(mpsc::UnboundedReceiver<T>, #[expect(dead_code, reason = "noted when it is dropped")] Guard);

impl<T> Stream for Received<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

type Pieces<E> = mpsc::UnboundedSender<Result<Bytes, E>>;

/// A server whose only response has the pieces that are sent through the channel.
fn streaming<E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static>() -> (HttpServer, Pieces<E>, Log) {
    let (pieces, receiver) = mpsc::unbounded_channel();
    let log = Log::default();
    let received = std::sync::Mutex::new(Some(Received(receiver, Guard(log.clone(), "dropped"))));
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = received.lock().unwrap().take().expect("one request");
        Response::new(200).with_body(BodyStream::from_stream(stream))
    });
    (http, pieces, log)
}

/// RFC 9112 section 7.1: the body ends with the last chunk.
#[tokio::test(start_paused = true)]
async fn a_body_from_a_stream_has_its_pieces_as_they_come_and_ends_with_it() {
    let (http, pieces, log) = streaming::<Infallible>();
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    assert!(peer.head().await.contains("Transfer-Encoding: chunked"));
    for piece in ["one", "three"] {
        pieces.send(Ok(piece.into())).unwrap();
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        assert_eq!(peer.exactly(chunk.len()).await, chunk.as_bytes());
    }
    drop(pieces);
    assert_eq!(peer.exactly(5).await, b"0\r\n\r\n");
    assert_eq!(log.take(), ["dropped"]);
}

/// RFC 9112 section 8: a body without its last chunk is incomplete.
#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_cuts_the_body_and_its_error_is_reported() {
    let (http, pieces, log) = streaming::<io::Error>();
    let reported = errors(&http);
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    pieces.send(Ok("half".into())).unwrap();
    assert_eq!(peer.exactly(9).await, b"4\r\nhalf\r\n");
    pieces.send(Err(io::Error::other("disk on fire"))).unwrap();
    assert_eq!(peer.rest().await, b"");
    assert_eq!(reported.take(), ["the request handler failed: disk on fire"]);
    assert_eq!(log.take(), ["dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_dropped_when_the_client_leaves_though_it_is_silent() {
    let (http, pieces, log) = streaming::<Infallible>();
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    drop(peer);
    while_time_passes(serving).await;
    settle().await;
    assert_eq!(log.take(), ["dropped"]);
    assert!(pieces.is_closed());
}

/// A reader without an end is read little more than 64 KiB ahead of the client, and not at all once
/// the client has left.
#[tokio::test(start_paused = true)]
async fn a_reader_is_read_as_fast_as_the_client_reads() {
    let log = Log::default();
    let noting = log.clone();
    let (tell, mut writers) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        let body = BodyStream::from_reader(tokio::io::repeat(b'a'));
        let noting = noting.clone();
        body.on("close", move || noting.add("close"));
        tell.send(body.writer()).unwrap();
        Response::new(200).with_body(body)
    });
    let (mut peer, serving) = Peer::serve_with_capacity(&http, 1024);
    peer.send(GET).await;
    peer.head().await;
    let writer = writers.recv().await.unwrap();
    for _ in 0..100 {
        peer.exactly(10_000).await;
        settle().await;
        assert!((64 * 1024..80 * 1024).contains(&writer.buffered_amount()), "{}", writer.buffered_amount());
    }
    assert_eq!(log.take(), [""; 0]);
    drop(peer);
    while_time_passes(serving).await;
    assert_eq!(log.take(), ["close"]);
    assert_eq!(writer.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_from_a_reader_is_its_bytes() {
    let bytes: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    let served = bytes.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let body = BodyStream::from_reader(io::Cursor::new(served.clone()));
        Response::new(200).with_header("Content-Length", served.len().to_string()).with_body(body)
    });
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    assert!(peer.head().await.contains("Content-Length: 100000"));
    assert_eq!(peer.exactly(bytes.len()).await, bytes);
    // The connection goes on.
    peer.send(GET).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_writer_is_an_async_write() {
    let http = HttpServer::new(|_: ServerRequest| {
        let body = BodyStream::new();
        let mut writer = body.writer();
        tokio::spawn(async move {
            tokio::io::copy(&mut tokio::io::repeat(b'a').take(1_000_000), &mut writer).await.unwrap();
            writer.write_all(b"end").await.unwrap();
            writer.flush().await.unwrap();
            writer.shutdown().await.unwrap();
            assert_eq!(writer.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
        Response::new(200).with_header("Content-Length", "1000003").with_body(body)
    });
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    let body = peer.exactly(1_000_003).await;
    assert!(body[..1_000_000].iter().all(|byte| *byte == b'a'));
    assert_eq!(&body[1_000_000..], b"end");
}

/// A body that failed before its response is sent: nothing of it has been sent, so it is a 500.
#[tokio::test(start_paused = true)]
async fn a_body_that_has_failed_already_is_a_500() {
    let http = HttpServer::new(async |_: ServerRequest| {
        let body = BodyStream::new();
        body.fail("no such file");
        Response::new(200).with_body(body)
    });
    let reported = errors(&http);
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 500);
    assert_eq!(reported.take(), ["the request handler failed: no such file"]);
}

/// A task that gives up a write leaves nothing behind, however many there are.
#[test]
fn tasks_that_give_up_a_write_are_forgotten() {
    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    let body = BodyStream::new();
    let mut writer = body.writer();
    while writer.write([0; 10_000]) {}
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let task = Arc::new(Task);
            let kept = Arc::downgrade(&task);
            let waker = Waker::from(task);
            let write = Pin::new(&mut writer).poll_write(&mut Context::from_waker(&waker), b"more");
            assert!(write.is_pending());
            kept
        })
        .collect();
    let kept = tasks.iter().filter(|task| task.strong_count() > 0).count();
    assert_eq!(kept, 1, "of the writer's last task");
    assert_eq!(tasks[999].strong_count(), 1, "the last task still waits");
}
