//! Opening handshakes that end early: timeouts, clients that leave, and closes around the 101 response.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::errors::HttpError;
use react_websocket::handlers::Next;
use react_websocket::{HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::handshake::{Noted, ask, assert_dead, note_refusals, observed, refusal, server, with};
use support::*;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

// Time, and clients that leave.

#[tokio::test(start_paused = true)]
async fn asynchronous_listeners_have_ten_seconds_together_and_then_it_is_a_503() {
    for (waits, status) in [(9_900, 101), (10_100, 503)] {
        let log = Log::default();
        let websocket = WebSocketMiddleware::new();
        note_refusals(&websocket, &log);
        let seen = Arc::new(Mutex::new(None));
        for part in 1..=2 {
            let (log, seen) = (log.clone(), seen.clone());
            websocket.on("connection", move |connection: WebSocketConnection| {
                let noted = Noted(log.clone());
                *seen.lock().unwrap() = Some(connection);
                log.watch(connection);
                async move {
                    sleep(Duration::from_millis(waits / 2)).await;
                    noted.0.add(format_args!("decided {part}"));
                }
            });
        }
        let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
        let start = Instant::now();
        let answer = peer.ask(with(&[])).await;
        assert_eq!(answer.status(), status);
        if status == 101 {
            assert_eq!(log.take(), ["decided 1", "dropped", "decided 2", "dropped"]);
        } else {
            let took = start.elapsed().as_millis();
            assert!((10_000..10_100).contains(&took), "{took}");
            assert_eq!(answer.text(), "Error 503: Service Unavailable");
            assert_eq!(answer.header("Connection"), Some("close"));
            assert_eq!(log.take(), ["decided 1", "dropped", "dropped", "refused 503 Timeout 10s"]);
            assert_dead(seen.lock().unwrap().unwrap());
            drop(peer);
            serving.await;
            assert_eq!(log.take(), [""; 0], "not even close");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_to_decide_is_an_option() {
    for (limit, waits, status) in [(Some(2), 1, 101), (Some(2), 3, 503), (None, 3_600, 101)] {
        let options = WebSocketOptions::new().handshake_timeout(limit.map(Duration::from_secs));
        let websocket = WebSocketMiddleware::new().with_options(options);
        websocket.on("connection", move |_: WebSocketConnection| sleep(Duration::from_secs(waits)));
        assert_eq!(ask(&HttpServer::new((websocket, router)), with(&[])).await.status(), status, "{limit:?}");
    }
}

/// A middleware whose listener never decides. It tells when it has begun, and when its future is dropped.
fn undecided(log: &Log) -> (WebSocketMiddleware, mpsc::UnboundedReceiver<WebSocketConnection>) {
    let (begun, has_begun) = mpsc::unbounded_channel();
    let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().handshake_timeout(None));
    let log = log.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        log.watch(connection);
        let noted = Noted(log.clone());
        begun.send(connection).unwrap();
        async move {
            let _noted = noted;
            std::future::pending::<()>().await;
        }
    });
    (websocket, has_begun)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_drops_the_future_of_the_listener() {
    let log = Log::default();
    let (websocket, mut begun) = undecided(&log);
    note_refusals(&websocket, &log);
    let http = HttpServer::new((websocket.clone(), router));
    http.on("error", {
        let log = log.clone();
        move |error: &HttpError| log.add(error)
    });
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(with(&[])).await;
    let connection = timeout(Duration::from_secs(5), begun.recv()).await.expect("a listener is called").unwrap();
    assert_eq!(log.take(), [""; 0]);
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["dropped", "refused 499 Gone", "the client left before the answer"]);
    assert_dead(connection);
    assert!(websocket.is_empty());
    assert_eq!(websocket.stats().refused, [("gone", 1)].into());
}

#[tokio::test(start_paused = true)]
async fn error_listeners_for_a_client_that_left_run_to_their_end() {
    let log = Log::default();
    let (websocket, mut begun) = undecided(&log);
    websocket.on("error", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            let log = log.clone();
            async move {
                sleep(Duration::from_secs(5)).await;
                let path = connection.request().map(|request| request.path().to_owned());
                log.add(format_args!("{} {path:?}", refusal(connection)));
            }
        }
    });
    let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
    peer.send(with(&[])).await;
    let connection = timeout(Duration::from_secs(5), begun.recv()).await.expect("a listener is called").unwrap();
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["dropped"]);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(log.take(), ["refused 499 Gone Some(\"/\")"]);
    assert_dead(connection);
}

#[tokio::test]
async fn a_client_that_resets_drops_the_future_of_the_listener() {
    let log = Log::default();
    let (websocket, mut begun) = undecided(&log);
    let http = HttpServer::new((websocket, router));
    let (left, mut has_left) = mpsc::unbounded_channel();
    http.on("error", move |error: &HttpError| left.send(error.to_string()).map_err(|_| "nobody waits"));
    let (address, _listening) = listen_with(http);
    let mut peer = Peer::connect(address).await;
    peer.send(with(&[])).await;
    let connection = timeout(Duration::from_secs(5), begun.recv()).await.expect("a listener is called").unwrap();
    socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let error = timeout(Duration::from_secs(5), has_left.recv()).await.expect("the server hears of it");
    assert_eq!(error.as_deref(), Some("the client left before the answer"));
    assert_eq!(log.take(), ["dropped"]);
    assert_dead(connection);
}

// Ends before and right after the 101.

#[tokio::test(start_paused = true)]
async fn a_listener_that_closes_has_the_101_sent_and_then_the_close() {
    type End = fn(WebSocketConnection);
    let closes: End = |connection| {
        connection.write("bye");
        connection.close_with(4001, "not today");
        assert!(!connection.write("too late") && !connection.reject(Response::new(403)));
    };
    let ends: End = |connection| connection.end_with("bye");
    for (end, code, reason, events) in [
        (closes, 4001, "not today", &["close 4001 not today"][..]),
        (ends, 1000, "", &["text still heard", "end", "close 1000 "]),
    ] {
        for waits in [false, true] {
            let log = Log::default();
            let websocket = WebSocketMiddleware::new();
            websocket.on("connection", {
                let log = log.clone();
                move |connection: WebSocketConnection| {
                    log.watch(connection);
                    async move {
                        sleep(Duration::from_secs(u64::from(waits))).await;
                        end(connection);
                    }
                }
            });
            let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
            // The frame comes with the handshake.
            peer.send([with(&[]).into_bytes(), text("still heard")].concat()).await;
            assert_eq!(peer.answer().await.status(), 101);
            assert_eq!(peer.text().await, "bye");
            assert_eq!(peer.closed().await, (Some(code), reason.to_owned()));
            peer.send(close(code, "")).await;
            assert!(peer.ended().await);
            serving.await;
            assert_eq!(log.take(), events);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_terminates_has_the_connection_cut_behind_the_101() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        noted.watch(connection);
        connection.write("not sent");
        connection.terminate();
    });
    let (mut peer, serving) = Peer::serve(&http);
    peer.send([with(&[]).into_bytes(), text("not heard")].concat()).await;
    assert_eq!(peer.answer().await.status(), 101);
    assert!(peer.ended().await);
    serving.await;
    assert_eq!(log.take(), ["close 1006 "]);
}

/// Middlewares that keep the 101 from leaving.
fn spoilers() -> Vec<(&'static str, HttpServer, WebSocketMiddleware, Log, u16)> {
    macro_rules! spoiler {
        ($name:expr, $status:expr, $outer:expr) => {{
            let (websocket, log) = (WebSocketMiddleware::new(), Log::default());
            observed(&websocket, &log);
            ($name, HttpServer::new(($outer, websocket.clone(), router)), websocket, log, $status)
        }};
    }
    vec![
        spoiler!("another answer", 503, |request: ServerRequest, next: Next| async move {
            let _ = next.run(request).await;
            Response::new(503)
        }),
        spoiler!("nobody waits for it", 503, |request: ServerRequest, next: Next| {
            drop(next.run(request));
            Response::new(503)
        }),
        spoiler!("another status", 200, |request: ServerRequest, next: Next| async move {
            next.run(request).await.with_status(200)
        }),
        spoiler!("a header that cannot be sent", 500, |request: ServerRequest, next: Next| async move {
            next.run(request).await.with_header("X-Bad", "\r\n")
        }),
        spoiler!("a panic", 500, |request: ServerRequest, next: Next| async move {
            let answer = next.run(request).await;
            assert_eq!(answer.status(), 200, "it is 101");
            answer
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_101_is_not_sent_emits_close_once() {
    for (name, http, websocket, log, status) in spoilers() {
        let seen = Arc::new(Mutex::new(None));
        websocket.on("connection", {
            let seen = seen.clone();
            move |connection: WebSocketConnection| *seen.lock().unwrap() = Some(connection)
        });
        let answer = ask(&http, with(&[])).await;
        assert_eq!((answer.status(), answer.header("Sec-WebSocket-Accept").is_some()), (status, name == "another status"));
        assert_eq!(log.take(), ["connection", "close 1006 "], "{name}");
        assert_dead(seen.lock().unwrap().unwrap());
        assert!(websocket.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_client_leaves_before_the_101_emits_close_once() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::serve(&http);
    peer.send([with(&[]).into_bytes(), text("never heard")].concat()).await;
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["connection", "close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_client_does_not_read_the_101_emits_close_once() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::serve_with_capacity(&http, 64);
    peer.send(with(&[])).await;
    let start = Instant::now();
    serving.await;
    assert!(start.elapsed() >= Duration::from_secs(30), "the write timeout");
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    // It got the beginning of it, and the end.
    let mut rest = Vec::new();
    peer.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 101 ") && !rest.ends_with(b"\r\n\r\n"));
}
