//! How an app decides an opening handshake: the `connection` listener, `reject` and `verify`.

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::handlers::Next;
use react_websocket::listeners::IntoVerifier;
use react_websocket::{HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware};
use support::handshake::{
    KEY, NEEDED, Noted, ask, assert_dead, get, note_refusals, observed, refusal, request, with, with_instead,
};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

// The `connection` listener.

#[tokio::test]
async fn a_listener_sees_the_request_and_the_addresses_before_the_101_leaves() {
    let log = Log::default();
    let noted = log.clone();
    let facts = |connection: &WebSocketConnection| {
        format!("{} {}", connection.remote_address().unwrap(), connection.local_address().unwrap())
    };
    let (address, listening) = listen_with(websockets(move |connection| {
        let request = connection.request().unwrap();
        noted.add(format_args!("{} {:?}", request.uri(), request.header("user-agent")));
        noted.add(facts(&connection));
        for event in ["text", "close"] {
            let noted = noted.clone();
            connection.on(event, move |connection: &WebSocketConnection| noted.add(facts(connection)));
        }
    }));
    let mut peer = Peer::connect(address).await;
    let ours = peer.stream.local_addr().unwrap();
    let request = request("GET /chat?room=1 HTTP/1.1", &[&NEEDED[..], &["User-Agent: me"]].concat());
    assert_eq!(peer.ask(request).await.status(), 101);
    let addresses = format!("{ours} {address}");
    assert_eq!(log.take(), ["/chat?room=1 Some(\"me\")", &addresses], "before the 101");
    peer.send([text("hi"), close(1000, "")].concat()).await;
    peer.closed().await;
    listening.close().await;
    assert_eq!(log.take(), [&addresses[..], &addresses], "as long as the connection lives");
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_addresses_that_it_was_served_with() {
    let addresses: (SocketAddr, SocketAddr) = ("192.0.2.1:1234".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
    for given in [Some(addresses), None] {
        let log = Log::default();
        let noted = log.clone();
        let http = websockets(move |connection| {
            noted.add(format_args!("{:?} {:?}", connection.remote_address(), connection.local_address()));
            let noted = noted.clone();
            connection.on("text", move || {
                noted.add(format_args!("{:?} {:?}", connection.remote_address(), connection.local_address()));
            });
        });
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let _serving = http.serve_with_addresses(theirs, given.map(|given| given.0), given.map(|given| given.1));
        let mut peer = Peer::new(ours);
        peer.shake_hands().await;
        peer.send(text("hi")).await;
        settle().await;
        let expected = format!("{:?} {:?}", given.map(|given| given.0), given.map(|given| given.1));
        assert_eq!(log.take(), [&expected[..], &expected]);
    }
}

#[tokio::test]
async fn writes_of_a_connection_listener_are_sent_after_the_101_in_order() {
    let written = "x".repeat(100_000);
    let log = Log::default();
    let http = websockets({
        let (written, log) = (written.clone(), log.clone());
        move |connection| {
            log.watch(connection);
            assert!(connection.write("first") && connection.write_binary([1, 2, 3]) && connection.ping("p"));
            assert!(!connection.write(&written), "64 KiB and more are unsent");
        }
    });
    let (address, listening) = listen_with(http.clone());
    async fn check<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut peer: Peer<S>, written: &str) {
        peer.shake_hands().await;
        assert_eq!(peer.text().await, "first");
        assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 2, payload: vec![1, 2, 3] }));
        assert_eq!(peer.frame().await, Some(Frame { fin: true, opcode: 9, payload: b"p".to_vec() }));
        assert!(peer.text().await == *written);
        peer.send(close(1000, "")).await;
        assert_eq!(peer.closed().await.0, Some(1000));
    }
    check(Peer::connect(address).await, &written).await;
    listening.close().await;
    assert_eq!(log.take(), ["drain", "end", "close 1000 "]);
    let (peer, serving) = Peer::serve(&http);
    check(peer, &written).await;
    serving.await;
    assert_eq!(log.take(), ["drain", "end", "close 1000 "]);
}

/// A client has to wait for the response (RFC 6455 section 4.1). Frames that arrive earlier are kept.
#[tokio::test(start_paused = true)]
async fn frames_behind_the_handshake_are_delivered_however_the_bytes_are_cut() {
    for waits in [false, true] {
        let log = Log::default();
        let websocket = WebSocketMiddleware::new();
        websocket.on("connection", {
            let log = log.clone();
            move |connection: WebSocketConnection| {
                let log = log.clone();
                async move {
                    if waits {
                        sleep(Duration::from_secs(1)).await;
                    }
                    log.add("connection");
                    log.watch(connection);
                    connection.on("text", move |text: &str| connection.write(text));
                }
            }
        });
        let http = HttpServer::new((websocket, router));
        let bytes = [HANDSHAKE.as_bytes(), &text("a"), &frame(0x01, "b"), &frame(0x80, "c"), &close(1000, "")].concat();
        let cuts = (1..=bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]);
        for pieces in cuts.chain([bytes.chunks(1).collect()]) {
            let (mut peer, serving) = Peer::serve(&http);
            for piece in &pieces {
                peer.send(piece).await;
                settle().await;
            }
            assert_eq!(peer.answer().await.status(), 101);
            assert_eq!((peer.text().await, peer.text().await), ("a".into(), "bc".into()));
            assert_eq!(peer.closed().await, (Some(1000), String::new()));
            assert!(peer.ended().await);
            serving.await;
            let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
            assert_eq!(log.take(), ["connection", "text a", "text bc", "end", "close 1000 "], "cut into {lengths:?}");
        }
    }
}

#[tokio::test]
async fn frames_in_the_segment_of_the_handshake_are_delivered_over_a_socket_too() {
    let log = Log::default();
    let noted = log.clone();
    let (address, listening) = listen_with(websockets(move |connection| {
        noted.watch(connection);
        connection.on("text", move |text: &str| connection.write(text));
    }));
    let mut peer = Peer::connect(address).await;
    peer.send([HANDSHAKE.as_bytes(), &text("a"), &text("b"), &close(1000, "")].concat()).await;
    assert_eq!(peer.answer().await.status(), 101);
    assert_eq!((peer.text().await, peer.text().await), ("a".into(), "b".into()));
    assert_eq!(peer.closed().await.0, Some(1000));
    listening.close().await;
    assert_eq!(log.take(), ["text a", "text b", "end", "close 1000 "]);
}

#[tokio::test(start_paused = true)]
async fn more_than_is_read_ahead_may_come_behind_a_handshake_that_waits() {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            let log = log.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                log.watch(connection);
            }
        }
    });
    let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
    let bytes = [HANDSHAKE.as_bytes(), &frame(0x82, vec![1; 10_000]).repeat(20), &close(1000, "")].concat();
    peer.send(bytes).await;
    assert_eq!(peer.answer().await.status(), 101);
    serving.await;
    assert_eq!(log.take(), [vec!["binary 10000"; 20], vec!["end", "close 1000 "]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_receives_its_101_and_its_frames_are_delivered() {
    for waits in [false, true] {
        let log = Log::default();
        let websocket = WebSocketMiddleware::new();
        websocket.on("connection", {
            let log = log.clone();
            move |connection: WebSocketConnection| {
                log.watch(connection);
                connection.write("hello");
                async move {
                    if waits {
                        sleep(Duration::from_millis(500)).await;
                    }
                }
            }
        });
        let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
        peer.send([HANDSHAKE.as_bytes(), &text("a")].concat()).await;
        peer.stream.shutdown().await.unwrap();
        assert_eq!(peer.answer().await.status(), 101);
        assert_eq!(peer.text().await, "hello");
        assert!(peer.ended().await);
        serving.await;
        assert_eq!(log.take(), ["text a", "close 1006 "]);
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_run_in_order_those_for_once_last() {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    let add = |name: &'static str, wait: u64| {
        let log = log.clone();
        move |_: WebSocketConnection| {
            let log = log.clone();
            async move {
                sleep(Duration::from_secs(wait)).await;
                log.add(name);
            }
        }
    };
    websocket.on("connection", add("a", 3));
    websocket.once("connection", add("once", 0));
    // The other name of the same event.
    websocket.on("connect", add("b", 0));
    websocket.once("connect", add("once too", 1));
    let removed = websocket.on("connection", add("removed", 0));
    websocket.on("connection", {
        let log = log.clone();
        move |_: WebSocketConnection| log.add("c")
    });
    websocket.remove_listener(removed);
    assert_eq!((websocket.listener_count("connection"), websocket.listener_count("connect")), (5, 5));
    let http = HttpServer::new((websocket.clone(), router));
    assert_eq!(ask(&http, with(&[])).await.status(), 101);
    assert_eq!(log.take(), ["a", "b", "c", "once", "once too"]);
    assert_eq!(ask(&http, with(&[])).await.status(), 101);
    assert_eq!(log.take(), ["a", "b", "c"]);
    websocket.remove_all_listeners(Some("connect"));
    assert_eq!(ask(&http, with(&[])).await.status(), 101);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn handshakes_do_not_wait_for_each_other() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| async move {
        let is_slow = connection.request().unwrap().path() == "/slow";
        sleep(Duration::from_secs(if is_slow { 5 } else { 0 })).await;
    });
    let http = HttpServer::new((websocket, router));
    let start = Instant::now();
    let (mut slow, _serving) = Peer::serve(&http);
    slow.send(request("GET /slow HTTP/1.1", &NEEDED)).await;
    settle().await;
    let (mut quick, _serving) = Peer::serve(&http);
    quick.shake_hands().await;
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(slow.answer().await.status(), 101);
    assert!(start.elapsed() >= Duration::from_secs(5));
}

// Refusing.

type Decide = Box<dyn Fn(WebSocketConnection) -> Result<(), &'static str> + Send + Sync>;

/// How a listener may refuse: what it does, the status, what is told.
fn refusals() -> Vec<(Decide, u16, &'static str, &'static str)> {
    let no = || Response::plaintext("no").with_status(401).with_header("X-Why", "token");
    let reject: Decide = Box::new(move |connection| {
        connection.write("never sent");
        assert!(connection.reject(Response::new(404)));
        assert!(connection.reject(no()), "the last word counts");
        assert!(!connection.write("never sent") && !connection.is_writable(), "nothing follows it");
        Ok(())
    });
    let reject_and_close: Decide = Box::new(move |connection| {
        connection.reject(no());
        connection.close();
        Ok(())
    });
    vec![
        (reject, 401, "no", "refused 401 Rejected 401"),
        (reject_and_close, 401, "no", "refused 401 Rejected 401"),
        (Box::new(|_| Err("secret")), 500, "Error 500: Internal Server Error", "refused 500 Listener secret"),
        (Box::new(|_| panic!("secret")), 500, "Error 500: Internal Server Error", "refused 500 Listener"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_listener_refuses_by_reject_err_or_panic_and_the_connection_was_never_there() {
    for waits in [false, true] {
        for (decide, status, page, told) in refusals() {
            let decide = Arc::new(decide);
            let log = Log::default();
            let seen = Arc::new(Mutex::new(None));
            let websocket = WebSocketMiddleware::new();
            note_refusals(&websocket, &log);
            websocket.on("connection", {
                let (log, seen) = (log.clone(), seen.clone());
                move |connection: WebSocketConnection| {
                    log.watch(connection);
                    let noted = log.clone();
                    connection.on("close", move || noted.add("closed"));
                    *seen.lock().unwrap() = Some(connection);
                }
            });
            if waits {
                websocket.on("connection", move |connection: WebSocketConnection| {
                    let decide = decide.clone();
                    async move {
                        sleep(Duration::from_secs(1)).await;
                        decide(connection)
                    }
                });
            } else {
                websocket.on("connection", move |connection: WebSocketConnection| decide(connection));
            }
            websocket.on("connection", |_: WebSocketConnection| panic!("nobody is asked after a refusal"));
            let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket.clone(), router)));
            let answer = peer.ask(with(&[])).await;
            assert_eq!((answer.status(), answer.text()), (status, page));
            assert_eq!(answer.header("X-Why"), (status == 401).then_some("token"));
            assert_eq!(answer.header("Sec-WebSocket-Accept"), None);
            let events = log.take();
            assert!(events.len() == 1 && events[0].starts_with(told), "{events:?}");
            assert_dead(seen.lock().unwrap().take().unwrap());
            assert!(websocket.is_empty());
            drop(peer);
            serving.await;
            assert_eq!(log.take(), [""; 0], "not even close");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_client_may_ask_again_on_the_same_connection() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        if connection.request().unwrap().header("Authorization").is_none() {
            connection.reject(Response::new(401).with_header("WWW-Authenticate", "Basic"));
        }
    });
    let (mut peer, _serving) = Peer::serve(&HttpServer::new((websocket, router)));
    assert_eq!(peer.ask(with(&[])).await.status(), 401);
    assert_eq!(peer.ask(with(&["Authorization: Basic YTpi"])).await.status(), 101);
}

#[tokio::test(start_paused = true)]
async fn it_is_too_late_to_reject_when_the_101_has_left() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        let noted = noted.clone();
        connection.on("text", move || noted.add(connection.reject(Response::new(403))));
    });
    let (mut peer, _serving) = Peer::open_in_memory(&http).await;
    peer.send(text("hi")).await;
    settle().await;
    assert_eq!(log.take(), ["false"]);
}

/// It is from when the listeners have decided, though the 101 has not left.
#[tokio::test(start_paused = true)]
async fn it_is_too_late_to_reject_when_all_have_decided() {
    let (opened, log) = (Arc::new(Mutex::new(None)), Log::default());
    let (websocket, handle) = (WebSocketMiddleware::new(), opened.clone());
    websocket.on("connection", move |connection: WebSocketConnection| *handle.lock().unwrap() = Some(connection));
    let noted = log.clone();
    let outer = move |request: ServerRequest, next: Next| {
        let (opened, noted) = (opened.clone(), noted.clone());
        async move {
            let response = next.run(request).await;
            let connection: WebSocketConnection = opened.lock().unwrap().expect("a connection");
            noted.add(connection.reject(Response::new(403)));
            response
        }
    };
    assert_eq!(ask(&HttpServer::new((outer, websocket, router)), with(&[])).await.status(), 101);
    assert_eq!(log.take(), ["false"]);
}

#[tokio::test(start_paused = true)]
async fn a_101_is_no_rejection() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| connection.reject(Response::new(101)));
    assert_eq!(ask(&HttpServer::new((websocket.clone(), router)), with(&[])).await.status(), 500);
    assert!(websocket.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_all_error_listeners_whatever_they_do() {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    websocket.on("error", |_: WebSocketConnection| panic!("a listener of error"));
    websocket.on("error", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            let log = log.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                log.add(refusal(connection));
            }
        }
    });
    note_refusals(&websocket, &log);
    let http = HttpServer::new((websocket, router));
    assert_eq!(ask(&http, with_instead(KEY, &[])).await.status(), 400);
    assert_eq!(log.take(), ["refused 400 Key", "refused 400 Key"]);
}

// Verifying, before there is a connection.

/// A server whose middleware is asked first. Connections and refusals are noted.
fn verified<M>(verify: impl IntoVerifier<M>) -> (HttpServer, Log) {
    let log = Log::default();
    (observed(&WebSocketMiddleware::new().with_verify(verify), &log), log)
}

#[tokio::test(start_paused = true)]
async fn a_verified_client_gets_a_connection() {
    for (http, log) in [
        verified(|_: ServerRequest| true),
        verified(|_: ServerRequest| Ok::<(), Response>(())),
        verified(|_: ServerRequest| Ok::<(), &str>(())),
        verified(|_: ServerRequest| Ok::<bool, &str>(true)),
        verified(|_: ServerRequest| async { true }),
        verified(|_: ServerRequest| async { Ok::<(), Response>(()) }),
        verified(async |_: ServerRequest| Ok::<(), &str>(())),
        verified(async |_: ServerRequest| {
            sleep(Duration::from_secs(1)).await;
            Ok::<bool, &str>(true)
        }),
    ] {
        assert_eq!(ask(&http, with(&[])).await.status(), 101);
        assert_eq!(log.take(), ["connection", "close 1006 "]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_verified_is_refused_and_emits_error() {
    let no = || Response::plaintext("no").with_status(401).with_header("X-Why", "token");
    let forbidden = (403, "Error 403: Forbidden", "refused 403 Rejected 403");
    let rejected = (401, "no", "refused 401 Rejected 401");
    let failed = (500, "Error 500: Internal Server Error", "refused 500 Listener secret");
    for ((http, log), (status, page, told)) in [
        (verified(|_: ServerRequest| false), forbidden),
        (verified(|_: ServerRequest| Ok::<bool, &str>(false)), forbidden),
        (verified(move |_: ServerRequest| Err::<(), _>(no())), rejected),
        (verified(|_: ServerRequest| Err::<(), &str>("secret")), failed),
        (verified(|_: ServerRequest| Err::<bool, &str>("secret")), failed),
        (verified(|_: ServerRequest| -> bool { panic!("secret") }), failed),
        (verified(|_: ServerRequest| async { false }), forbidden),
        (verified(|_: ServerRequest| async { Ok::<bool, &str>(false) }), forbidden),
        (verified(move |_: ServerRequest| async move { Err::<(), _>(no()) }), rejected),
        (verified(|_: ServerRequest| async { Err::<(), &str>("secret") }), failed),
        (verified(|_: ServerRequest| async { Err::<bool, &str>("secret") }), failed),
        (verified(async |_: ServerRequest| -> bool { panic!("secret") }), failed),
    ] {
        let answer = ask(&http, with(&[])).await;
        assert_eq!((answer.status(), answer.text()), (status, page));
        assert_eq!(answer.header("X-Why"), (status == 401).then_some("token"));
        assert_eq!(log.take(), [told], "neither connection nor close");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_handshake_that_is_in_order_is_verified_and_only_once() {
    let log = Log::default();
    let noted = log.clone();
    let websocket =
        WebSocketMiddleware::new().with_path("/").with_verify(|_: ServerRequest| -> bool { panic!("replaced") });
    let websocket = websocket.with_verify(move |request: ServerRequest| {
        noted.add(format_args!("verify {} {:?}", request.target(), request.header("Cookie")));
        request.query_params().get("token") == Some("secret")
    });
    let http = observed(&websocket, &log);
    for (request, status, told) in [
        (get(&[]), 200, &[][..]),
        (request("GET /other HTTP/1.1", &NEEDED), 200, &[]),
        (with_instead(KEY, &[]), 400, &["refused 400 Key"]),
        (with(&["Origin: http://evil.org"]), 403, &["refused 403 Origin http://evil.org"]),
        (with(&["Cookie: a=b"]), 403, &["verify / Some(\"a=b\")", "refused 403 Rejected 403"]),
        (
            request("GET /?token=secret HTTP/1.1", &NEEDED),
            101,
            &["verify /?token=secret None", "connection", "close 1006 "],
        ),
    ] {
        assert_eq!(ask(&http, &request).await.status(), status, "{request}");
        assert_eq!(log.take(), told, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_verified_may_ask_again_on_the_same_connection() {
    let (http, _) = verified(|request: ServerRequest| request.header("Cookie") == Some("session=1"));
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(with(&[])).await.status(), 403);
    assert_eq!(peer.ask(with(&["Cookie: session=1"])).await.status(), 101);
}

#[tokio::test(start_paused = true)]
async fn verifying_and_listeners_have_ten_seconds_together() {
    for (verifying, listening, status, told) in [
        (4_900, 5_000, 101, &["dropped", "connection", "close 1006 "][..]),
        (5_100, 5_000, 503, &["dropped", "connection", "refused 503 Timeout 10s"]),
        (10_100, 0, 503, &["dropped", "refused 503 Timeout 10s"]),
    ] {
        let log = Log::default();
        let noted = log.clone();
        let websocket = WebSocketMiddleware::new().with_verify(move |_: ServerRequest| {
            let noted = Noted(noted.clone());
            async move {
                let _noted = noted;
                sleep(Duration::from_millis(verifying)).await;
                true
            }
        });
        let http = observed(&websocket, &log);
        websocket.on("connection", move |_: WebSocketConnection| sleep(Duration::from_millis(listening)));
        let start = Instant::now();
        assert_eq!(ask(&http, with(&[])).await.status(), status);
        let took = start.elapsed().as_millis();
        assert!((9_900..10_100).contains(&took), "{took}");
        assert_eq!(log.take(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_drops_the_future_that_verifies_it() {
    let log = Log::default();
    let noted = log.clone();
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let websocket = WebSocketMiddleware::new().with_verify(move |_: ServerRequest| {
        let noted = Noted(noted.clone());
        begun.send(()).unwrap();
        async move {
            let _noted = noted;
            std::future::pending::<bool>().await
        }
    });
    let http = observed(&websocket, &log);
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(with(&[])).await;
    timeout(Duration::from_secs(5), has_begun.recv()).await.expect("it is asked").unwrap();
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["dropped", "refused 499 Gone"]);
}
