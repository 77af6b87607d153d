//! The life of a `BodyStream`: whatever becomes of it, `close` fires exactly once, and its listeners are dropped.

mod support;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::body::BodyWriter;
use react_websocket::errors::report;
use react_websocket::handlers::Next;
use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest};
use support::*;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A stream whose events are noted.
fn watched(log: &Log) -> BodyStream {
    let stream = BodyStream::new();
    for event in ["drain", "shutdown", "close"] {
        let log = log.clone();
        stream.on(event, move || log.add(event));
    }
    stream
}

/// Somebody who writes to a stream until it is closed, as a timer does: it holds a writer all the time.
fn write_until_closed(stream: &BodyStream, log: &Log) {
    let (writer, log) = (stream.writer(), log.clone());
    tokio::spawn(async move {
        while writer.is_writable() {
            sleep(Duration::from_millis(100)).await;
        }
        log.add("the writer ends");
    });
}

fn errors(http: &HttpServer, log: &Log) {
    let log = log.clone();
    http.on("error", move |error| log.add(report(error)));
}

// A stream that never becomes a body.

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_used_is_closed_when_its_maker_drops_it() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        write_until_closed(&stream, &noting);
        Response::new(404)
    });
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 404);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.take(), ["close", "the writer ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_router_is_dropped_is_closed() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let noting = noting.clone();
        async move {
            let stream = watched(&noting);
            write_until_closed(&stream, &noting);
            // It asks a database, for one.
            pending::<()>().await;
            Response::new(200).with_body(stream)
        }
    });
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    drop(peer);
    while_time_passes(serving).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.take(), ["close", "the writer ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_response_is_dropped_is_closed() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new((
        |request: ServerRequest, next: Next| async {
            drop(next.run(request).await);
            Response::plaintext("another")
        },
        move |_: ServerRequest| {
            let stream = watched(&noting);
            write_until_closed(&stream, &noting);
            Response::new(200).with_body(stream)
        },
    ));
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.text(), "another");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.take(), ["close", "the writer ends"]);
}

#[test]
fn outside_of_a_server_too() {
    let log = Log::default();
    let stream = watched(&log);
    let writer = stream.writer();
    assert!(writer.write("for nobody"));
    drop(stream);
    assert_eq!(log.take(), ["close"]);
    assert!(!writer.write("more") && !writer.is_writable());
    drop(writer);
    assert_eq!(log.take(), [""; 0]);
}

// Streams without a writer.

/// A server whose responses are streams, which come with each request; their events and its errors are noted.
fn streaming() -> (HttpServer, mpsc::UnboundedReceiver<BodyWriter>, Log) {
    let log = Log::default();
    let noting = log.clone();
    let (tell, streams) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        tell.send(stream.writer()).unwrap();
        Response::new(200).with_body(stream)
    });
    errors(&http, &log);
    (http, streams, log)
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_writers_are_dropped_before_its_end_is_cut() {
    let (http, mut streams, log) = streaming();
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    let writer = streams.recv().await.unwrap();
    let another = writer.clone();
    writer.write("half");
    assert_eq!(peer.exactly(9).await, b"4\r\nhalf\r\n");
    drop(writer);
    settle().await;
    assert_eq!(log.take(), [""; 0], "there is another");
    drop(another);
    assert_eq!(log.take(), ["close"], "at once");
    assert_eq!(peer.rest().await, b"", "without the last chunk");
    let told = "the request handler failed: the last writer of a body stream was dropped without `end()`";
    assert_eq!(log.take(), [told]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_panics_cuts_its_stream() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        // It is called while the producer's stack unwinds.
        stream.on("close", || panic!("a listener"));
        let writer = stream.writer();
        tokio::spawn(async move {
            writer.send("half").await;
            sleep(Duration::from_secs(1)).await;
            if writer.is_writable() {
                panic!("the producer");
            }
        });
        Response::new(200).with_body(stream)
    });
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    assert_eq!(peer.rest().await, b"4\r\nhalf\r\n");
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_ended_needs_no_writer_any_more() {
    let (http, mut streams, log) = streaming();
    let (mut peer, _serving) = Peer::serve_with_capacity(&http, 100);
    peer.send(GET).await;
    let writer = streams.recv().await.unwrap();
    writer.write("x".repeat(10_000));
    writer.end();
    drop(writer);
    assert_eq!(peer.answer().await.body.len(), 10_000);
    settle().await;
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_writer_is_a_500() {
    let http = HttpServer::new(|_: ServerRequest| {
        let stream = BodyStream::new();
        stream.write("all there is, but its end");
        Response::new(200).with_body(stream)
    });
    let log = Log::default();
    errors(&http, &log);
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 500);
    let told = "the request handler failed: the last writer of a body stream was dropped without `end()`";
    assert_eq!(log.take(), [told]);
}

/// A listener that writes, as ReactPHP's apps do it, keeps the stream; one that is handed the writer does not.
#[tokio::test(start_paused = true)]
async fn a_writer_that_a_listener_has_captured_is_one_and_the_one_it_is_called_with_is_not() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        let (writer, mut left) = (stream.writer(), 3);
        stream.on("drain", move || {
            left -= 1;
            if left == 0 { writer.end() } else { _ = writer.write(vec![b'a'; 65_536]) }
        });
        stream.write(vec![b'a'; 65_536]);
        Response::new(200).with_body(stream)
    });
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(while_time_passes(peer.ask(GET)).await.body.len(), 3 * 65_536);
    settle().await;
    assert_eq!(log.take(), ["drain", "drain", "drain", "close"]);

    let (http, mut streams, log) = streaming();
    let (mut peer, _serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    let writer = streams.recv().await.unwrap();
    writer.on("shutdown", |stream: &BodyWriter| stream.end_with("goodbye"));
    drop(writer);
    assert_eq!(log.take(), ["close"]);
}

// Listeners.

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_registered_after_the_end_is_dropped_at_once() {
    let held = Arc::new(());
    let stream = BodyStream::new();
    let writer = stream.writer();
    let captured = held.clone();
    writer.on("close", move |writer: &BodyWriter| {
        // While `close` fires, it comes too late as well.
        let captured = captured.clone();
        writer.on("close", move || _ = &captured);
    });
    drop(stream);
    for event in ["drain", "shutdown", "close"] {
        let captured = (held.clone(), writer.clone());
        writer.on(event, move || _ = &captured);
        let captured = (held.clone(), writer.clone());
        writer.once(event, move || _ = &captured);
        assert_eq!(writer.listener_count(event), 0);
    }
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_buffered_after_close() {
    let (http, mut streams, _log) = streaming();
    let (mut peer, _serving) = Peer::serve_with_capacity(&http, 100);
    peer.send(GET).await;
    let writer = streams.recv().await.unwrap();
    writer.write(vec![b'a'; 100_000]);
    settle().await;
    // A part of it is on its way.
    writer.write(vec![b'a'; 1_000]);
    assert_eq!(writer.buffered_amount(), 101_000);
    writer.close();
    assert_eq!(writer.buffered_amount(), 0);
    settle().await;
    assert_eq!(writer.buffered_amount(), 0);
}

// The end of the server.

#[tokio::test(start_paused = true)]
async fn shutdown_fires_once_when_the_server_begins_to_end_while_the_stream_is_sent() {
    for is_stuck in [false, true] {
        let (http, mut streams, log) = streaming();
        let (mut peer, serving) = Peer::serve_with_capacity(&http, 100);
        peer.send(GET).await;
        let writer = streams.recv().await.unwrap();
        if is_stuck {
            // The client does not read at present.
            writer.write(vec![b'a'; 1_000]);
        }
        settle().await;
        let mut closing = serving.close();
        serving.close();
        settle().await;
        assert_eq!(log.take(), ["shutdown"], "{is_stuck}");
        assert!(timeout(Duration::from_secs(5), &mut closing).await.is_err(), "it may still write");
        writer.end_with("goodbye");
        assert!(peer.answer().await.text().ends_with("goodbye"));
        drop(peer);
        closing.await;
        assert_eq!(log.take(), ["close"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_that_ends_at_shutdown_does_not_hold_it_up() {
    let http = HttpServer::new(|_: ServerRequest| {
        let events = BodyStream::new();
        let writer = events.writer();
        tokio::spawn(async move {
            while writer.send("data: tick\n\n").await {
                sleep(Duration::from_secs(1)).await;
            }
        });
        events.on("shutdown", |events: &BodyWriter| events.end_with("data: goodbye\n\n"));
        Response::new(200).with_body(events)
    });
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    let closing = serving.close();
    assert_eq!(peer.answer().await.text(), "data: tick\n\ndata: goodbye\n\n");
    drop(peer);
    timeout(Duration::from_millis(1), closing).await.expect("at once");
}

#[tokio::test(start_paused = true)]
async fn shutdown_fires_too_where_the_stream_begins_to_be_sent_when_the_server_ends_already() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let noting = noting.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            let stream = watched(&noting);
            stream.on("shutdown", |stream: &BodyWriter| stream.end_with("goodbye"));
            std::mem::forget(stream.writer());
            Response::new(200).with_body(stream)
        }
    });
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    drop(serving.close());
    assert_eq!(peer.answer().await.text(), "goodbye");
    settle().await;
    assert_eq!(log.take(), ["shutdown", "close"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_being_sent_has_no_shutdown() {
    let log = Log::default();
    let kept: Arc<Mutex<Option<BodyStream>>> = Arc::default();
    let (noting, keep) = (log.clone(), kept.clone());
    let http = HttpServer::new(move |_: ServerRequest| {
        *keep.lock().unwrap() = Some(watched(&noting));
        async { pending::<Response>().await }
    });
    let http = http.with_options(HttpOptions::new().shutdown_grace(Duration::from_secs(1)));
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    serving.close().await;
    assert_eq!(log.take(), [""; 0]);
    kept.lock().unwrap().take();
    assert_eq!(log.take(), ["close"]);
}
