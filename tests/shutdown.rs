//! How servers end: what may still happen, what is cut and when, and that nothing is left.

mod support;

use std::future::Future;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::body::BodyWriter;
use react_websocket::shutdown::Serving;
use react_websocket::{
    BodyStream, HttpOptions, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::*;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

const GET: &str = "GET /hello HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// A grace that tells from all other times: the close timeout is 10 s, and an ended connection lingers for 5 s.
const GRACE: Duration = Duration::from_secs(4);

/// How late a deadline may ring.
const LATE: Duration = Duration::from_millis(60);

/// A net under tests over sockets, which would hang otherwise.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(30), future).await.expect("in time")
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn with_grace(http: HttpServer) -> HttpServer {
    http.with_options(HttpOptions::new().shutdown_grace(GRACE))
}

/// Lets all tasks run until each of them waits: the paused clock moves only then.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// Closes and says how long it took.
async fn close_and_time(serving: &Serving) -> Duration {
    let start = Instant::now();
    serving.close().await;
    start.elapsed()
}

/// A WebSocket in memory of a server that notes its events.
async fn noted(log: &Log, options: WebSocketOptions) -> (Peer<DuplexStream>, Serving) {
    let websocket = WebSocketMiddleware::new().with_options(options.ping_interval(None));
    let log = log.clone();
    websocket.on("connection", move |connection| log.watch(connection));
    let http = with_grace(HttpServer::new((websocket, router)));
    Peer::open_in_memory(&http).await
}

/// A router that answers when it is told to.
fn waiting_router() -> (HttpServer, Arc<Notify>, Arc<()>) {
    let (answer, held) = (Arc::new(Notify::new()), Arc::new(()));
    let (told, kept) = (answer.clone(), held.clone());
    let http = HttpServer::new(move |request: ServerRequest| {
        let (told, kept) = (told.clone(), kept.clone());
        async move {
            told.notified().await;
            drop(kept);
            router(request)
        }
    });
    (with_grace(http), answer, held)
}

// HTTP.

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_end_at_once() {
    for has_asked in [false, true] {
        let (mut peer, serving) = Peer::serve(&with_grace(HttpServer::new(router)));
        if has_asked {
            assert_eq!(peer.ask(GET).await.header("Connection"), None);
        }
        settle().await;
        assert_eq!(close_and_time(&serving).await, Duration::ZERO);
        assert!(peer.ended().await, "nothing is said");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_answered_with_connection_close_and_nothing_after_it() {
    let post = "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo";
    for (what, before, after) in [
        ("in the router", GET, ""),
        ("just arrived", GET, ""),
        ("in its head", &GET[..20], &GET[20..]),
        ("in its body", post, "dy"),
        ("with another one behind it", GET, GET),
    ] {
        let (http, answer, _) = waiting_router();
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(before).await;
        if what != "just arrived" {
            settle().await;
        }
        let mut closing = serving.close();
        peer.send(after).await;
        assert!(timeout(Duration::from_secs(2), &mut closing).await.is_err(), "{what}: it waits for the answer");
        answer.notify_one();
        let answer = peer.answer().await;
        assert_eq!((answer.status(), answer.header("Connection")), (200, Some("close")), "{what}");
        assert_eq!(answer.text(), "router /hello", "{what}");
        assert!(peer.ended().await, "{what}");
        drop(peer);
        closing.await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_within_the_grace_is_cut_and_its_future_dropped() {
    let (http, _answer, held) = waiting_router();
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    let captured = Arc::strong_count(&held);
    let took = close_and_time(&serving).await;
    assert!(took >= GRACE && took < GRACE + LATE, "{took:?}");
    assert!(peer.ended().await, "without an answer");
    assert_eq!(Arc::strong_count(&held), captured - 1);
}

/// A server that streams once, who writes that, and a notice when the stream is closed.
fn streaming() -> (HttpServer, BodyWriter, mpsc::UnboundedReceiver<()>) {
    let (body, (tell, closed)) = (BodyStream::new(), mpsc::unbounded_channel());
    body.on("close", move || {
        let _ = tell.send(());
    });
    let (writer, body) = (body.writer(), Mutex::new(Some(body)));
    let http = HttpServer::new(move |_: ServerRequest| Response::new(200).with_body(body.lock().unwrap().take().unwrap()));
    (with_grace(http), writer, closed)
}

#[tokio::test(start_paused = true)]
async fn a_streaming_response_may_be_finished_within_the_grace() {
    let (http, body, mut closed) = streaming();
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    body.write("before ");
    settle().await;
    let mut closing = serving.close();
    assert!(timeout(GRACE - Duration::from_secs(1), &mut closing).await.is_err());
    assert!(body.is_writable());
    body.write("during ");
    body.end_with("the end");
    assert_eq!(peer.answer().await.text(), "before during the end");
    assert!(peer.ended().await);
    closing.await;
    assert_eq!(closed.recv().await, Some(()));
}

#[tokio::test(start_paused = true)]
async fn a_streaming_response_that_is_not_finished_within_the_grace_is_cut_and_closed() {
    let (http, body, mut closed) = streaming();
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    body.write("before");
    let took = close_and_time(&serving).await;
    assert!(took >= GRACE && took < GRACE + LATE, "{took:?}");
    assert!(!body.is_writable());
    assert_eq!(closed.recv().await, Some(()));
    assert!(peer.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(peer.rest().await, b"6\r\nbefore\r\n", "the client sees that the end is missing");
}

// WebSockets.

#[tokio::test(start_paused = true)]
async fn a_websocket_gets_what_is_queued_then_1001_and_may_close_in_order() {
    let log = Log::default();
    let (mut peer, serving) = noted(&log, WebSocketOptions::new()).await;
    let closing = serving.close();
    assert_eq!(peer.closed().await, (Some(1001), "server shutdown".into()));
    // What comes now is not delivered any more.
    peer.send([text("too late"), close(1001, "")].concat()).await;
    assert!(peer.ended().await);
    let start = Instant::now();
    closing.await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(log.take(), ["close 1001 server shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn writes_of_listeners_are_sent_before_the_close_of_a_shutdown() {
    let (open, mut opened) = mpsc::unbounded_channel();
    let http = websockets(move |connection| {
        let _ = open.send(connection);
    });
    // So little is in flight that most of it waits when the end begins.
    let (mut peer, serving) = Peer::serve_with_capacity(&with_grace(http), 256);
    peer.shake_hands().await;
    let connection = opened.recv().await.unwrap();
    for n in 0..20 {
        connection.write(format!("{n:0>100}"));
    }
    let closing = serving.close();
    settle().await;
    assert!(!connection.is_writable());
    for n in 0..20 {
        assert_eq!(peer.text().await.parse::<usize>().unwrap(), n);
    }
    assert_eq!(peer.closed().await.0, Some(1001));
    drop(peer);
    closing.await;
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_does_not_close_is_cut_when_the_grace_is_over() {
    for (close_timeout, expected) in [(10, GRACE), (3600, GRACE), (2, Duration::from_secs(2))] {
        let log = Log::default();
        let options = WebSocketOptions::new().close_timeout(Duration::from_secs(close_timeout));
        let (mut peer, serving) = noted(&log, options).await;
        let took = close_and_time(&serving).await;
        assert!(took >= expected && took < expected + LATE, "close timeout {close_timeout}: {took:?}");
        assert_eq!(log.take(), ["close 1006 "]);
        assert_eq!(peer.closed().await.0, Some(1001));
        assert!(peer.ended().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_does_not_read_is_cut_when_the_grace_is_over() {
    let log = Log::default();
    let (noting, (open, mut opened)) = (log.clone(), mpsc::unbounded_channel());
    let http = websockets(move |connection| {
        noting.watch(connection);
        let _ = open.send(connection);
    });
    let (mut peer, serving) = Peer::serve_with_capacity(&with_grace(http), 256);
    peer.shake_hands().await;
    opened.recv().await.unwrap().write("x".repeat(10_000));
    let took = close_and_time(&serving).await;
    assert!(took >= GRACE && took < GRACE + LATE, "{took:?}");
    assert_eq!(log.take(), ["close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_is_closing_already_keeps_its_code() {
    let log = Log::default();
    let (noting, (open, mut opened)) = (log.clone(), mpsc::unbounded_channel());
    let http = websockets(move |connection: WebSocketConnection| {
        noting.watch(connection);
        let _ = open.send(connection);
    });
    let (mut peer, serving) = Peer::open_in_memory(&with_grace(http)).await;
    opened.recv().await.unwrap().close_with(4000, "mine");
    let closing = serving.close();
    assert_eq!(peer.closed().await, (Some(4000), "mine".into()));
    peer.send(close(4000, "")).await;
    assert!(peer.ended().await, "one Close only");
    closing.await;
    assert_eq!(log.take(), ["close 4000 mine"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_running_may_end_within_the_grace_and_close_follows_it() {
    let log = Log::default();
    let noting = log.clone();
    let http = websockets(move |connection| {
        noting.watch(connection);
        let log = noting.clone();
        connection.on("text", move || {
            let log = log.clone();
            async move {
                sleep(Duration::from_secs(3)).await;
                log.add("done");
            }
        });
    });
    let (mut peer, serving) = Peer::open_in_memory(&with_grace(http)).await;
    peer.send(text("begin")).await;
    settle().await;
    let closing = serving.close();
    assert_eq!(peer.closed().await.0, Some(1001));
    peer.send(close(1001, "")).await;
    let start = Instant::now();
    closing.await;
    assert!(start.elapsed() < Duration::from_secs(3) + LATE);
    assert_eq!(log.take(), ["text begin", "done", "close 1001 server shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_end_does_not_hold_up_the_end_beyond_the_grace() {
    let mut late = Vec::new();
    for (event, peer_answers) in [("text", true), ("text", false), ("close", true)] {
        let (log, before) = (Log::default(), alive_tasks());
        let noting = log.clone();
        let http = websockets(move |connection| {
            noting.watch(connection);
            connection.on(event, std::future::pending::<()>);
        });
        let (mut peer, serving) = Peer::open_in_memory(&with_grace(http)).await;
        peer.send(text("begin")).await;
        settle().await;
        if peer_answers {
            peer.send(close(1001, "")).await;
        }
        let took = close_and_time(&serving).await;
        assert_eq!(alive_tasks(), before);
        assert_eq!(log.take().iter().filter(|entry| entry.starts_with("close ")).count(), 1);
        if took >= GRACE + LATE {
            late.push((event, peer_answers, took));
        }
    }
    assert!(late.is_empty(), "the grace is {GRACE:?}, but it took, by listener and whether the peer answers: {late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_close_its_own_server() {
    let kept: Arc<Mutex<Option<Serving>>> = Arc::default();
    let server = kept.clone();
    let http = websockets(move |connection| {
        let server = server.clone();
        connection.on("text", move || {
            connection.write("closing");
            drop(server.lock().unwrap().as_ref().unwrap().close());
            connection.write("and still writing");
        });
    });
    let (mut peer, serving) = Peer::open_in_memory(&with_grace(http)).await;
    *kept.lock().unwrap() = Some(serving);
    peer.send(text("close")).await;
    assert_eq!((peer.text().await, peer.text().await), ("closing".into(), "and still writing".into()));
    assert_eq!(peer.closed().await.0, Some(1001));
    peer.send(close(1001, "")).await;
    assert!(peer.ended().await);
    let serving = kept.lock().unwrap().take().unwrap();
    serving.await;
}

// Handshakes.

/// A server whose `connection` listener waits until it is told what to do.
fn undecided(log: &Log) -> (HttpServer, Arc<Notify>) {
    let (decide, log) = (Arc::new(Notify::new()), log.clone());
    let decided = decide.clone();
    let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().handshake_timeout(None));
    websocket.on("connection", move |connection: WebSocketConnection| {
        log.watch(connection);
        let decided = decided.clone();
        async move {
            decided.notified().await;
            if connection.request().is_some_and(|request| request.path() == "/reject") {
                connection.reject(Response::plaintext("no").with_status(403));
            }
        }
    });
    (with_grace(HttpServer::new((websocket, router))), decide)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_decided_within_the_grace_is_answered_and_followed_by_1001() {
    let log = Log::default();
    let (http, decide) = undecided(&log);
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(HANDSHAKE).await;
    settle().await;
    let closing = serving.close();
    settle().await;
    decide.notify_one();
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.closed().await, (Some(1001), "server shutdown".into()));
    peer.send(close(1001, "")).await;
    assert!(peer.ended().await);
    closing.await;
    assert_eq!(log.take(), ["close 1001 server shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_refused_within_the_grace_is_answered_with_connection_close() {
    let log = Log::default();
    let (http, decide) = undecided(&log);
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(HANDSHAKE.replace("GET / ", "GET /reject ")).await;
    settle().await;
    let closing = serving.close();
    decide.notify_one();
    let answer = peer.answer().await;
    assert_eq!((answer.status(), answer.header("Connection"), answer.text()), (403, Some("close"), "no"));
    assert!(peer.ended().await);
    drop(peer);
    closing.await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_decided_within_the_grace_never_was() {
    let (log, before) = (Log::default(), alive_tasks());
    let (http, _decide) = undecided(&log);
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(HANDSHAKE).await;
    settle().await;
    let took = close_and_time(&serving).await;
    assert!(took >= GRACE && took < GRACE + LATE, "{took:?}");
    assert!(peer.ended().await, "without an answer");
    assert_eq!((log.take(), alive_tasks()), (vec![], before));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_whose_head_comes_during_the_end_is_answered_and_followed_by_1001() {
    let log = Log::default();
    let noting = log.clone();
    let (mut peer, serving) = Peer::serve(&with_grace(websockets(move |connection| noting.watch(connection))));
    peer.send(&HANDSHAKE[..30]).await;
    settle().await;
    let closing = serving.close();
    settle().await;
    peer.send(&HANDSHAKE[30..]).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.closed().await.0, Some(1001));
    peer.send(close(1001, "")).await;
    closing.await;
    assert_eq!(log.take(), ["close 1001 server shutdown"]);
}

// One connection.

#[tokio::test(start_paused = true)]
async fn a_serving_is_ready_when_its_connection_has_ended_and_dropping_it_stops_nothing() {
    let http = websockets(|connection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    let (mut first, serving) = Peer::open_in_memory(&http).await;
    let (mut second, mut other) = Peer::open_in_memory(&http).await;
    drop(serving);
    first.send(text("a")).await;
    assert_eq!(first.text().await, "a");
    assert!(timeout(Duration::from_secs(1), &mut other).await.is_err());
    second.send(close(1000, "")).await;
    assert_eq!(second.closed().await.0, Some(1000));
    other.await;
    first.send(text("b")).await;
    assert_eq!(first.text().await, "b");
}

#[tokio::test(start_paused = true)]
async fn closing_one_connection_leaves_the_others_alone_and_continues_if_its_future_is_dropped() {
    let before = alive_tasks();
    let http = with_grace(websockets(|connection| {
        connection.on("text", move |text: &str| connection.write(text));
    }));
    let (mut first, serving) = Peer::open_in_memory(&http).await;
    let (mut second, other) = Peer::open_in_memory(&http).await;
    drop(serving.close());
    assert_eq!(first.closed().await.0, Some(1001));
    second.send(text("still there")).await;
    assert_eq!(second.text().await, "still there");
    first.send(close(1001, "")).await;
    serving.await;
    drop(second);
    other.close().await;
    // Again, and after the end.
    other.close().await;
    other.await;
    assert_eq!(alive_tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn without_a_grace_everything_is_cut_at_once() {
    let (http, _answer, _) = waiting_router();
    let before = alive_tasks();
    let http = http.with_options(HttpOptions::new().shutdown_grace(Duration::ZERO));
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    assert!(close_and_time(&serving).await < LATE);
    assert!(peer.ended().await);
    let http = websockets(|_| {}).with_options(HttpOptions::new().shutdown_grace(Duration::ZERO));
    let (_peer, serving) = Peer::open_in_memory(&http).await;
    assert!(close_and_time(&serving).await < LATE);
    assert_eq!(alive_tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn by_default_the_grace_is_ten_seconds() {
    let (http, _answer, _) = waiting_router();
    let (mut peer, serving) = Peer::serve(&http.with_options(HttpOptions::new()));
    peer.send(GET).await;
    settle().await;
    let took = close_and_time(&serving).await;
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(10) + LATE, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spread_does_not_delay_the_goodbye_to_the_only_connection() {
    let options = HttpOptions::new().shutdown_spread(Duration::from_secs(8));
    let (mut peer, serving) = Peer::open_in_memory(&websockets(|_| {}).with_options(options)).await;
    let (start, closing) = (Instant::now(), serving.close());
    assert_eq!(peer.closed().await.0, Some(1001));
    assert!(start.elapsed() < LATE);
    drop(peer);
    closing.await;
}

// Servers, over sockets.

/// Reads on until the end, and answers the Close. Returns the close code.
async fn leave_in_order(mut peer: Peer<TcpStream>) -> Option<u16> {
    let (code, _) = peer.closed().await;
    peer.send(close(1001, "")).await;
    assert!(peer.ended().await);
    code
}

#[tokio::test]
async fn after_the_end_no_connection_is_accepted_and_no_connection_or_task_is_left() {
    in_time(async {
        let before = alive_tasks();
        let websocket = WebSocketMiddleware::new();
        let (address, listening) = listen((websocket.clone(), router));
        let mut silent = Peer::connect(address).await;
        let mut idle = Peer::connect(address).await;
        idle.ask(GET).await;
        let (polite, rude) = (Peer::open(address).await, Peer::open(address).await);
        assert_eq!(websocket.len(), 2);
        assert!(alive_tasks() > before);
        let closing = listening.close();
        let peers = async {
            assert!(silent.ended().await);
            assert!(idle.ended().await);
            drop(rude);
            leave_in_order(polite).await
        };
        let ((), code) = tokio::join!(closing, peers);
        assert_eq!((code, alive_tasks(), websocket.len()), (Some(1001), before, 0));
        assert!(TcpStream::connect(address).await.is_err());
        listening.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn nothing_is_accepted_any_more_while_the_connections_end() {
    in_time(async {
        let (address, listening) = listen_with(websockets(|_| {}));
        let mut peer = Peer::open(address).await;
        let mut closing = listening.close();
        assert_eq!(peer.closed().await.0, Some(1001));
        assert!(TcpStream::connect(address).await.is_err());
        assert!(timeout(Duration::from_millis(1), &mut closing).await.is_err(), "the peer has not answered");
        peer.send(close(1001, "")).await;
        closing.await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_connections_close_in_order_long_before_the_grace_is_over() {
    in_time(async {
        let websocket = WebSocketMiddleware::new();
        let (tell, mut told) = mpsc::unbounded_channel();
        websocket.on("connection", move |connection: WebSocketConnection| {
            let tell = tell.clone();
            connection.on("close", move |code: u16| {
                let _ = tell.send(code);
            });
        });
        let http =
            HttpServer::new((websocket, router)).with_options(HttpOptions::new().shutdown_grace(Duration::from_secs(3600)));
        let (address, listening) = listen_with(http);
        let mut peers = Vec::new();
        for _ in 0..200 {
            peers.push(tokio::spawn(leave_in_order(Peer::open(address).await)));
        }
        listening.close().await;
        for peer in peers {
            assert_eq!((peer.await.unwrap(), told.recv().await), (Some(1001), Some(1001)));
        }
    })
    .await;
}

#[tokio::test]
async fn closes_of_a_shutdown_are_spread_evenly_and_other_connections_are_served_meanwhile() {
    in_time(async {
        const SPREAD: Duration = Duration::from_millis(1200);
        let http = websockets(|connection| {
            connection.on("text", move |text: &str| connection.write(text));
        });
        let (address, listening) = listen_with(http.with_options(HttpOptions::new().shutdown_spread(SPREAD)));
        let (mut peers, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            peers.push(Peer::open(address).await);
        }
        let (start, closing) = (Instant::now(), listening.close());
        for mut peer in peers {
            tasks.push(tokio::spawn(async move {
                let mut echoes = 0;
                loop {
                    peer.send(text("there?")).await;
                    let frame = peer.frame().await.unwrap();
                    if frame.opcode == 8 {
                        break;
                    }
                    echoes += 1;
                    sleep(Duration::from_millis(10)).await;
                }
                (start.elapsed(), echoes)
            }));
        }
        let mut told = Vec::new();
        for task in tasks {
            told.push(task.await.unwrap());
        }
        told.sort();
        for (place, (when, echoes)) in told.into_iter().enumerate() {
            // Never early; how late depends on the machine.
            assert!(when >= SPREAD / 4 * place as u32, "{place}: {when:?}");
            assert!(echoes > 0 || place == 0, "{place}");
        }
        closing.await;
        assert!(start.elapsed() < Duration::from_secs(10));
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_a_close_frame_at_the_end_of_the_grace_is_cut() {
    in_time(async {
        let options =
            HttpOptions::new().shutdown_grace(Duration::from_millis(300)).shutdown_spread(Duration::from_secs(3600));
        let (address, listening) = listen_with(websockets(|_| {}).with_options(options));
        let mut peers = Vec::new();
        for _ in 0..3 {
            peers.push(Peer::open(address).await);
        }
        listening.close().await;
        let mut goodbyes = 0;
        for mut peer in peers {
            goodbyes += usize::from(!peer.rest().await.is_empty());
        }
        assert_eq!(goodbyes, 1);
    })
    .await;
}

#[tokio::test]
async fn closing_twice_is_harmless_and_all_waiting_futures_complete() {
    in_time(async {
        let before = alive_tasks();
        let (address, listening) = listen_with(websockets(|_| {}));
        let peer = Peer::open(address).await;
        let clone = listening.clone();
        let (first, second) = (listening.close(), clone.close());
        let (.., code) = tokio::join!(first, second, leave_in_order(peer));
        assert_eq!(code, Some(1001));
        listening.close().await;
        clone.close().await;
        clone.await.unwrap();
        listening.await.unwrap();
        assert_eq!(alive_tasks(), before);
    })
    .await;
}

#[tokio::test]
async fn dropping_a_listening_or_the_future_of_its_close_stops_nothing() {
    in_time(async {
        let (address, listening) = listen(router);
        drop(listening);
        assert_eq!(Peer::connect(address).await.ask(GET).await.text(), "router /hello");
        let (address, listening) = listen_with(websockets(|_| {}));
        let peer = Peer::open(address).await;
        drop(listening.close());
        assert_eq!(leave_in_order(peer).await, Some(1001));
        listening.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn awaiting_a_listening_lasts_until_it_is_closed_and_over() {
    in_time(async {
        let (address, listening) = listen_with(websockets(|_| {}));
        let mut peer = Peer::open(address).await;
        let mut waiting = listening.clone().into_future();
        assert!(timeout(Duration::from_millis(10), &mut waiting).await.is_err());
        drop(listening.close());
        assert_eq!(peer.closed().await.0, Some(1001));
        assert!(timeout(Duration::from_millis(10), &mut waiting).await.is_err(), "a connection is still there");
        drop(peer);
        waiting.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn another_thread_may_close_a_server_and_wait_for_its_end_on_a_runtime_of_its_own() {
    in_time(async {
        let before = alive_tasks();
        let (address, listening) = listen_with(websockets(|_| {}));
        let peer = Peer::open(address).await;
        let (done, is_done) = oneshot::channel();
        std::thread::spawn(move || {
            let closing = listening.close();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(closing);
            let _ = done.send(listening);
        });
        assert_eq!(leave_in_order(peer).await, Some(1001));
        is_done.await.unwrap().await.unwrap();
        assert_eq!(alive_tasks(), before);
    })
    .await;
}

#[tokio::test]
async fn closing_one_of_two_servers_leaves_the_connections_of_the_other_alone() {
    in_time(async {
        let websocket = WebSocketMiddleware::new();
        websocket.on("connection", |connection: WebSocketConnection| {
            connection.on("text", move |text: &str| connection.write(text));
        });
        let (one, two) = (HttpServer::new((websocket.clone(), router)), HttpServer::new((websocket.clone(), router)));
        // One server may also listen twice.
        let servers = [listen_with(one.clone()), listen_with(one), listen_with(two)];
        let mut peers = Vec::new();
        for (address, _) in &servers {
            peers.push(Peer::open(*address).await);
        }
        for (address, listening) in servers {
            let peer = peers.remove(0);
            let ((), code) = tokio::join!(listening.close(), leave_in_order(peer));
            assert_eq!(code, Some(1001));
            assert!(TcpStream::connect(address).await.is_err());
            assert_eq!(websocket.len(), peers.len());
            for peer in &mut peers {
                peer.send(text("still there")).await;
                assert_eq!(peer.text().await, "still there");
            }
            websocket.write_all("to those who are left");
            for peer in &mut peers {
                assert_eq!(peer.text().await, "to those who are left");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_over_a_socket_is_answered_although_the_client_sends_nothing_more() {
    in_time(async {
        let (answer, (arrive, mut arrived)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
        let told = answer.clone();
        let (address, listening) = listen(move |request: ServerRequest| {
            let (told, arrive) = (told.clone(), arrive.clone());
            async move {
                let _ = arrive.send(());
                told.notified().await;
                router(request)
            }
        });
        let mut peer = Peer::connect(address).await;
        peer.send(GET).await;
        peer.stream.shutdown().await.unwrap();
        arrived.recv().await.unwrap();
        let closing = listening.close();
        answer.notify_one();
        let answer = peer.answer().await;
        assert_eq!((answer.text(), answer.header("Connection")), ("router /hello", Some("close")));
        closing.await;
    })
    .await;
}

#[test]
fn a_runtime_that_is_dropped_while_its_server_ends_ends_the_connections() {
    let (log, runtime) = (Log::default(), tokio::runtime::Runtime::new().unwrap());
    let peer = runtime.block_on(in_time(async {
        let noting = log.clone();
        let (address, listening) = listen_with(websockets(move |connection| noting.watch(connection)));
        let mut peer = Peer::open(address).await;
        drop(listening.close());
        assert_eq!(peer.closed().await.0, Some(1001));
        peer
    }));
    drop(runtime);
    assert_eq!(log.take(), ["close 1006 "]);
    drop(peer);
}

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use react_websocket::errors::SocketError;
    use react_websocket::{Error, SocketServer};
    use tokio::net::UnixStream;

    use super::*;

    /// A socket that cannot be served: its descriptor is a file.
    fn broken_socket() -> SocketServer {
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        SocketServer::from(std::net::TcpListener::from(OwnedFd::from(file)))
    }

    #[tokio::test]
    async fn a_listening_whose_socket_cannot_be_served_resolves_to_its_error_and_serves_none_of_the_others() {
        in_time(async {
            let before = alive_tasks();
            let good = SocketServer::new("127.0.0.1:0").unwrap();
            let address = good.local_address().unwrap();
            let listening = HttpServer::new(router).listen([good, broken_socket()]);
            let error = listening.clone().await.unwrap_err();
            assert!(matches!(&error, Error::Socket(SocketError::Listen { .. })), "{error:?}");
            assert!(error.to_string().starts_with("cannot listen on "), "{error}");
            assert!(TcpStream::connect(address).await.is_err());
            listening.close().await;
            assert_eq!(alive_tasks(), before);
        })
        .await;
    }

    #[tokio::test]
    async fn every_clone_of_a_failed_listening_returns_the_error() {
        in_time(async {
            let listening = HttpServer::new(router).listen(broken_socket());
            let results = [listening.clone().await.is_err(), listening.clone().await.is_err(), listening.await.is_err()];
            assert_eq!(results, [true; 3]);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn when_close_is_over_the_address_and_the_file_are_free() {
        in_time(async {
            let path = std::env::temp_dir().join(format!("rws-shutdown-{}", std::process::id()));
            let (mut held, mut left) = (0, 0);
            let mut address = "127.0.0.1:0".to_owned();
            for _ in 0..1500 {
                let unix = SocketServer::new(format!("unix://{}", path.display())).unwrap();
                let tcp = SocketServer::new(&address).unwrap();
                address = tcp.local_address().unwrap().to_string();
                HttpServer::new(router).listen([unix, tcp]).close().await;
                left += usize::from(path.exists());
                held += usize::from(std::net::TcpListener::bind(&address).is_err());
                while path.exists() || std::net::TcpListener::bind(&address).is_err() {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!((held, left), (0, 0), "of 1,500 times: addresses in use, files left");
        })
        .await;
    }

    #[tokio::test]
    async fn the_file_of_a_unix_socket_is_removed_and_its_websockets_are_closed() {
        in_time(async {
            let path = std::env::temp_dir().join(format!("rws-goodbye-{}", std::process::id()));
            let socket = SocketServer::new(format!("unix://{}", path.display())).unwrap();
            let listening = websockets(|_| {}).listen(socket);
            let mut peer = Peer::new(UnixStream::connect(&path).await.unwrap());
            peer.shake_hands().await;
            let closing = listening.close();
            assert_eq!(peer.closed().await.0, Some(1001));
            peer.send(close(1001, "")).await;
            assert!(peer.ended().await);
            closing.await;
            assert!(!path.exists());
        })
        .await;
    }
}

// Races with the end, and ends before it.

/// It has arrived in the system, of which the server knows nothing yet.
#[tokio::test]
async fn a_request_that_is_there_when_the_end_begins_is_answered() {
    let (address, listening) = listen_with(HttpServer::new(router));
    let mut client = std::net::TcpStream::connect(address).unwrap();
    let mut answer = [0; 1024];
    for last in [false, true] {
        client.write_all(GET.as_bytes()).unwrap();
        if last {
            // Nobody else has had a turn.
            listening.close().await;
        } else {
            sleep(Duration::from_millis(100)).await;
        }
        let read = client.read(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(answer.contains("Connection: close"), last, "{answer}");
    }
}

/// Long before its peer's time to answer the Close is over.
#[test]
fn a_connection_that_is_upgraded_when_the_grace_ends_is_cut_like_any_other() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for round in 0..100 {
        runtime.block_on(async {
            let options = WebSocketOptions::new().close_timeout(Duration::from_secs(20));
            let websocket = WebSocketMiddleware::new().with_options(options);
            websocket.on("connection", |_: WebSocketConnection| {});
            let http = HttpServer::new((websocket.clone(), router));
            let (address, listening) = listen_with(http.with_options(HttpOptions::new().shutdown_grace(Duration::ZERO)));
            let peers: Vec<_> = (0..32)
                .map(|_| {
                    tokio::spawn(async move {
                        let mut stream = TcpStream::connect(address).await?;
                        stream.write_all(HANDSHAKE.as_bytes()).await?;
                        // It says nothing more, and keeps its side open.
                        std::future::pending::<std::io::Result<()>>().await
                    })
                })
                .collect();
            while websocket.len() < 10 {
                tokio::task::yield_now().await;
            }
            let closed = timeout(Duration::from_secs(10), listening.close()).await;
            assert!(closed.is_ok(), "round {round}");
            peers.iter().for_each(|peer| peer.abort());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_pending_refusal_is_cut_when_the_grace_ends() {
    let grace = Duration::from_millis(500);
    let options = HttpOptions::new().max_connections(0).shutdown_grace(grace);
    let (mut peer, serving) = Peer::serve(&HttpServer::new(router).with_options(options));
    assert_eq!(peer.answer().await.status(), 503);
    assert_eq!(close_and_time(&serving).await, grace);
}

#[tokio::test(start_paused = true)]
async fn a_spread_without_end_is_ended_by_the_grace() {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    let noted = log.clone();
    websocket.on("connection", move |connection| noted.watch(connection));
    let options = HttpOptions::new().shutdown_grace(GRACE).shutdown_spread(Duration::MAX);
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let address = socket.local_address().unwrap();
    let listening = HttpServer::new((websocket, router)).with_options(options).listen(socket);
    let _peers = [Peer::open(address).await, Peer::open(address).await];
    let start = Instant::now();
    listening.close().await;
    assert!(start.elapsed() <= GRACE + LATE, "{:?}", start.elapsed());
    assert_eq!(log.take(), ["close 1006 ", "close 1006 "]);
}

/// The runtime has dropped the server's tasks, so no connection is left.
#[test]
fn a_server_whose_runtime_has_ended_is_over() {
    for closes_before in [false, true] {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let first = runtime();
        let (listening, _peer) = first.block_on(async {
            let (http, _, _) = waiting_router();
            let (address, listening) = listen_with(http);
            let mut peer = Peer::connect(address).await;
            peer.send(GET).await;
            (listening, peer)
        });
        let before = closes_before.then(|| listening.close());
        drop(first);
        let closing = before.unwrap_or_else(|| listening.close());
        runtime().block_on(in_time(closing));
    }
}
