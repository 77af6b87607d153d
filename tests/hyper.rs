//! A `WebSocketMiddleware` as a tower service, in a server of hyper.
#![cfg(feature = "hyper")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use react_websocket::errors::{BoxError, report};
use react_websocket::hyper::{ResponseBody, WebSocketService};
use react_websocket::{
    BodyStream, GroupManager, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::handshake::{CONNECTION, KEY, NEEDED, UPGRADE, get, note_refusals, observed, request, with, with_instead};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tower_service::Service;

/// Serves one connection by hyper.
async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, service: WebSocketService) {
    let service = TowerToHyperService::new(service);
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// A client in memory, whose server is hyper.
fn connect(service: &WebSocketService) -> Peer<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    tokio::spawn(serve(theirs, service.clone()));
    Peer::new(ours)
}

/// A server of hyper on a port of its own.
async fn listen(service: WebSocketService) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, service.clone()));
        }
    });
    address
}

fn echo() -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    websocket
}

/// A middleware whose events are noted.
fn noted(options: WebSocketOptions) -> (WebSocketMiddleware, Log) {
    let (websocket, log) = (WebSocketMiddleware::new().with_options(options), Log::default());
    let _ = observed(&websocket, &log);
    (websocket, log)
}

// Handshakes (RFC 6455 section 4.2).

#[tokio::test]
async fn a_text_comes_back_over_tcp() {
    let websocket = echo();
    let address = listen(websocket.clone().into_service()).await;
    let mut peer = Peer::connect(address).await;
    let head = peer.ask(with(&[])).await;
    assert_eq!(head.status(), 101);
    assert_eq!(head.header("Upgrade"), Some("websocket"));
    assert_eq!(head.header("Connection"), Some("upgrade"));
    assert_eq!(head.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for word in ["hello", "again"] {
        peer.send(text(word)).await;
        assert_eq!(peer.text().await, word);
    }
    peer.send(close(1000, "")).await;
    assert_eq!(peer.closed().await.0, Some(1000));
    assert!(peer.ended().await);
    let stats = websocket.stats();
    assert_eq!((stats.accepted, stats.messages_in, stats.messages_out), (1, 2, 2));
}

/// hyper reads behind the handshake, and hands these bytes over with the connection.
#[tokio::test(start_paused = true)]
async fn bytes_in_the_packet_of_the_handshake_are_delivered() {
    let mut peer = connect(&echo().into_service());
    peer.send([with(&[]).as_bytes(), &text("one"), &text("two")[..3]].concat()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.text().await, "one");
    peer.send(&text("two")[3..]).await;
    assert_eq!(peer.text().await, "two");
}

/// The 101 does not fit into the stream at once, and neither does what follows it.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_gets_the_whole_101_first() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.write("welcome");
    });
    let (ours, theirs) = tokio::io::duplex(16);
    tokio::spawn(serve(theirs, websocket.into_service()));
    let mut peer = Peer::new(ours);
    peer.send(with(&[])).await;
    settle().await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.to_ascii_lowercase().contains("date: "), "{head}");
    assert_eq!(peer.text().await, "welcome");
}

#[tokio::test]
async fn bytes_in_the_packet_of_the_handshake_are_delivered_over_tcp() {
    let mut peer = Peer::connect(listen(echo().into_service()).await).await;
    peer.send([with(&[]).as_bytes(), &text("one")].concat()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.text().await, "one");
}

#[tokio::test(start_paused = true)]
async fn the_listener_runs_before_the_101_and_what_it_writes_follows_it() {
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let (gate, websocket) = (go_on.clone(), WebSocketMiddleware::new());
    websocket.on("connection", move |connection: WebSocketConnection| {
        let (gate, begun) = (gate.clone(), begun.clone());
        async move {
            connection.write("welcome");
            begun.send(()).unwrap();
            gate.notified().await;
        }
    });
    let mut peer = connect(&websocket.clone().into_service());
    peer.send(with(&[])).await;
    has_begun.recv().await;
    settle().await;
    assert_eq!((websocket.len(), websocket.stats().accepted), (0, 0));
    go_on.notify_one();
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.text().await, "welcome");
    assert_eq!(websocket.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listener_rejects_with_any_response() {
    let (websocket, log) = noted(WebSocketOptions::new());
    websocket.on("connection", |connection: WebSocketConnection| {
        let body = BodyStream::new();
        let writer = body.writer();
        tokio::spawn(async move {
            for _ in 0..20 {
                writer.send([b'x'; 10_000]).await;
            }
            writer.end();
        });
        connection.reject(Response::new(429).with_header("Retry-After", "7").with_body(body))
    });
    let mut peer = connect(&websocket.clone().into_service());
    let answer = peer.ask(with(&[])).await;
    assert_eq!((answer.status(), answer.header("Retry-After")), (429, Some("7")));
    assert!(answer.body.len() == 200_000 && answer.body.iter().all(|byte| *byte == b'x'));
    assert_eq!(log.take(), ["connection", "refused 429 Rejected 429"]);
    assert_eq!(websocket.stats().refused["rejected"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_body_of_a_rejection_does_not_look_complete() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        let body = BodyStream::new();
        let writer = body.writer();
        tokio::spawn(async move {
            writer.write("part");
            settle().await;
            writer.fail("the source is gone");
        });
        connection.reject(Response::new(403).with_body(body))
    });
    let mut peer = connect(&websocket.into_service());
    peer.send(with(&[])).await;
    let rest = String::from_utf8(peer.rest().await).unwrap();
    assert!(rest.starts_with("HTTP/1.1 403 ") && rest.ends_with("\r\n4\r\npart\r\n"), "no last chunk: {rest}");
}

#[tokio::test(start_paused = true)]
async fn verify_refuses_or_attaches_a_value() {
    let websocket = echo().with_verify(async |request: ServerRequest| {
        let name = request.query_params().get("name").map(str::to_owned);
        tokio::task::yield_now().await;
        name.ok_or_else(|| Response::plaintext("Log in first").with_status(401))
    });
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.write(&*connection.get::<String>().unwrap());
    });
    let service = websocket.into_service();
    let answer = connect(&service).ask(with(&[])).await;
    assert_eq!((answer.status(), answer.text()), (401, "Log in first"));
    let mut peer = connect(&service);
    peer.send(request("GET /?name=ann HTTP/1.1", &NEEDED)).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.text().await, "ann");
}

#[tokio::test(start_paused = true)]
async fn another_origin_is_refused() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.into_service();
    let answer = connect(&service).ask(with(&["Origin: https://evil.example"])).await;
    assert_eq!((answer.status(), answer.header("Connection")), (403, Some("close")));
    assert!(log.take()[0].starts_with("refused 403 Origin"));
    assert_eq!(connect(&service).ask(with(&["Origin: http://example.com"])).await.status(), 101);
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_is_agreed_on() {
    let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().subprotocols(["chat.v2", "chat.v1"]));
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.write(connection.subprotocol().map(|name| name.to_string()).unwrap_or_default());
    });
    let mut peer = connect(&websocket.into_service());
    let answer = peer.ask(with(&["Sec-WebSocket-Protocol: other, chat.v1"])).await;
    assert_eq!((answer.status(), answer.header("Sec-WebSocket-Protocol")), (101, Some("chat.v1")));
    assert_eq!(peer.text().await, "chat.v1");
}

#[tokio::test(start_paused = true)]
async fn a_failed_listener_is_a_500_and_an_undecided_one_a_503() {
    let (websocket, log) = noted(WebSocketOptions::new());
    websocket.on("connection", async |connection: WebSocketConnection| match connection.request().unwrap().path() {
        "/fails" => Err::<(), _>("broken"),
        _ => std::future::pending().await,
    });
    let service = websocket.into_service();
    let answer = connect(&service).ask(request("GET /fails HTTP/1.1", &NEEDED)).await;
    assert_eq!((answer.status(), answer.text()), (500, "Error 500: Internal Server Error"));
    let begun = Instant::now();
    assert_eq!(connect(&service).ask(with(&[])).await.status(), 503);
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(log.take(), ["connection", "refused 500 Listener broken", "connection", "refused 503 Timeout 10s"]);
}

/// RFC 6455 section 4.2.1 and 4.4.
#[tokio::test(start_paused = true)]
async fn a_malformed_handshake_gets_the_answer_of_our_own_server() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let (service, http) = (websocket.clone().into_service(), react_websocket::HttpServer::new(websocket));
    let body = "Content-Length: 2";
    for handshake in [
        with_instead(KEY, &["Sec-WebSocket-Key: short"]),
        with_instead(UPGRADE, &[]),
        with_instead("Sec-WebSocket-Version: 13", &["Sec-WebSocket-Version: 8"]),
        with(&[body]) + "hi",
    ] {
        let answer = connect(&service).ask(&handshake).await;
        let refused = log.take();
        let ours = Peer::serve(&http).0.ask(&handshake).await;
        assert_eq!((answer.status(), answer.text()), (ours.status(), ours.text()), "{handshake}");
        for name in ["Connection", "Upgrade", "Sec-WebSocket-Version"] {
            assert_eq!(answer.header(name), ours.header(name), "{name} of {handshake}");
        }
        assert_eq!(refused, log.take());
    }
}

// Other requests.

/// RFC 9110 section 15.5.22: a 426 says what to upgrade to.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_no_handshake_gets_a_426() {
    let websocket = echo();
    let mut peer = connect(&websocket.clone().into_service());
    for plain in [get(&[]), request("POST / HTTP/1.1", &["Content-Length: 0"]), with_instead(CONNECTION, &[])] {
        let answer = peer.ask(plain).await;
        assert_eq!((answer.status(), answer.text()), (426, "Error 426: Upgrade Required"));
        assert_eq!((answer.header("Upgrade"), answer.header("Connection")), (Some("websocket"), Some("upgrade")));
    }
    assert_eq!(websocket.stats().not_upgraded["connection_header"], 1);
    peer.shake_hands().await;
    peer.send(text("on the same connection")).await;
    assert_eq!(peer.text().await, "on the same connection");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_another_path_gets_a_404() {
    let service = echo().with_path("/chat").into_service();
    assert_eq!(connect(&service).ask(with(&[])).await.status(), 404);
    assert_eq!(connect(&service).ask(request("GET /chat HTTP/1.1", &[])).await.status(), 426);
    assert_eq!(connect(&service).ask(request("GET /chat HTTP/1.1", &NEEDED)).await.status(), 101);
}

/// Calls the service without a server.
async fn call(service: &WebSocketService, request: ::http::Request<String>) -> ::http::Response<ResponseBody> {
    service.clone().call(request).await.unwrap()
}

fn handshake_of(request: ::http::request::Builder) -> ::http::Request<String> {
    let request = request.header("Upgrade", "websocket").header("Connection", "Upgrade");
    let request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.body(String::new()).unwrap()
}

/// RFC 8441 is not supported; RFC 9220 section 3 has the status.
#[tokio::test]
async fn a_handshake_of_http_2_gets_a_501() {
    let request = ::http::Request::builder().method("CONNECT").uri("http://example.com/").version(::http::Version::HTTP_2);
    let response = call(&echo().into_service(), request.body(String::new()).unwrap()).await;
    assert_eq!(response.status(), 501);
    // RFC 9113 section 8.2.2: a message of HTTP/2 has neither.
    let request = ::http::Request::builder().version(::http::Version::HTTP_2).body(String::new()).unwrap();
    let response = call(&echo().into_service(), request).await;
    assert_eq!(response.status(), 426);
    assert!(!response.headers().contains_key("Upgrade") && !response.headers().contains_key("Connection"));
}

#[tokio::test]
async fn a_server_that_cannot_upgrade_gets_a_426_and_no_listener_is_called() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.clone().into_service();
    assert_eq!(call(&service, handshake_of(::http::Request::builder())).await.status(), 426);
    assert_eq!(websocket.stats().not_upgraded["server"], 1);
    assert_eq!(log.take(), [""; 0]);
}

// What a request has.

#[tokio::test(start_paused = true)]
async fn listeners_see_the_request_its_address_and_its_extensions() {
    #[derive(Clone)]
    struct Info(SocketAddr);
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        let request = connection.request().unwrap();
        let Info(address) = request.attribute::<::http::Extensions>().unwrap().get::<Info>().unwrap();
        let facts = (request.method(), request.target(), request.version(), request.header("X-Test"), request.host());
        connection.write(format!("{facts:?} {address}"));
        assert_eq!(request.remote_address(), connection.remote_address());
        connection.write(format!("{:?}", connection.remote_address()));
    });
    let service =
        websocket.into_service().remote_address(|request| request.extensions.get::<Info>().map(|Info(address)| *address));
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let with_info = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Info("[::ffff:192.0.2.1]:7".parse().unwrap()));
        service.clone().call(request)
    });
    tokio::spawn(async move {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(theirs), with_info).with_upgrades().await;
    });
    let mut peer = Peer::new(ours);
    peer.send(request("GET /a?b=c HTTP/1.1", &[&NEEDED[..], &["X-Test: yes"]].concat())).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    let facts = r#"(GET, "/a?b=c", HTTP/1.1, Some("yes"), Some("example.com")) [::ffff:192.0.2.1]:7"#;
    assert_eq!(peer.text().await, facts);
    assert_eq!(peer.text().await, "Some(192.0.2.1:7)", "an IPv4 client has an IPv4 address");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_closure_for_addresses_is_a_500_and_an_error() {
    let service = echo().into_service().remote_address(|_| panic!("no address"));
    let log = Log::default();
    let noted = log.clone();
    service.on("error", move |error| noted.add(report(error)));
    let mut peer = connect(&service);
    assert_eq!(peer.ask(with(&[])).await.status(), 500);
    assert_eq!(peer.ask(with(&[])).await.status(), 500, "the connection goes on");
    assert_eq!(log.take(), ["the request handler failed: no address"; 2]);
}

#[tokio::test(start_paused = true)]
async fn connections_join_groups() {
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
    websocket.on("connection", |connection: WebSocketConnection| connection.set_group(Some("all")));
    let service = websocket.into_service();
    let (mut one, mut two) = (connect(&service), connect(&service));
    one.shake_hands().await;
    two.shake_hands().await;
    groups.write("all", "to all");
    assert_eq!((one.text().await, two.text().await), ("to all".into(), "to all".into()));
}

// Endings before the upgrade.

/// The 101 cannot be sent, as when a client of our own server leaves: `close` fires for each `connection`.
#[tokio::test(start_paused = true)]
async fn a_server_without_upgrades_closes_the_connection_with_1006() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = TowerToHyperService::new(websocket.clone().into_service());
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(theirs), service).await;
    });
    let mut peer = Peer::new(ours);
    peer.send(with(&[])).await;
    settle().await;
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    assert_eq!(websocket.len(), 0);
    peer.rest().await;
}

/// A layer replaces the 101, so hyper never upgrades. The accepted connection ends after `handshake_timeout`.
#[tokio::test(start_paused = true)]
async fn a_replaced_101_closes_the_connection_with_1006_after_the_time_of_a_handshake() {
    let (websocket, log) = noted(WebSocketOptions::new().handshake_timeout(Duration::from_secs(3)));
    let service = websocket.clone().into_service();
    let closing = service.clone();
    let replaced = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut service = service.clone();
        async move {
            let response = service.call(request).await?;
            assert_eq!(response.status(), 101);
            Ok::<_, Infallible>(hyper::Response::new(String::from("instead")))
        }
    });
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let serving = tokio::spawn(async move {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(theirs), replaced).with_upgrades().await;
    });
    let mut peer = Peer::new(ours);
    let begun = Instant::now();
    assert_eq!(peer.ask(with(&[])).await.text(), "instead");
    while_time_passes(async {
        while log.take().last().is_none_or(|last| !last.starts_with("close 1006")) {
            settle().await;
        }
    })
    .await;
    assert!(begun.elapsed() <= Duration::from_millis(3_010), "{:?}", begun.elapsed());
    closing.close().await;
    drop(peer);
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_the_101_has_the_time_of_a_handshake() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.clone().into_service();
    let (ours, theirs) = tokio::io::duplex(16);
    tokio::spawn(serve(theirs, service.clone()));
    let mut peer = Peer::new(ours);
    peer.send(with(&[])).await;
    tokio::time::sleep(Duration::from_millis(9_990)).await;
    assert_eq!(log.take(), ["connection"]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(log.take(), ["close 1006 "]);
    while_time_passes(service.close()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_a_listener_decides_is_refused_as_gone() {
    let (websocket, log) = noted(WebSocketOptions::new());
    websocket.on("connection", |_: WebSocketConnection| std::future::pending::<()>());
    let service = websocket.clone().into_service();
    let mut peer = connect(&service);
    peer.send(with(&[])).await;
    settle().await;
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["connection", "refused 499 Gone"]);
    while_time_passes(service.close()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_behind_its_handshake_closes_the_connection_with_1006() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.clone().into_service();
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    ours.write_all(with(&[]).as_bytes()).await.unwrap();
    let client = Mutex::new(Some(ours));
    websocket.on("connection", move |_: WebSocketConnection| drop(client.lock().unwrap().take()));
    serve(theirs, service.clone()).await;
    while_time_passes(service.close()).await;
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    assert_eq!((websocket.len(), websocket.stats().accepted), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_a_fin_behind_its_handshake_closes_the_connection_with_1006() {
    let (websocket, log) = noted(WebSocketOptions::new());
    websocket.on("connection", |_: WebSocketConnection| settle());
    let service = websocket.clone().into_service();
    let mut peer = connect(&service);
    peer.shake_hands().await;
    peer.stream.shutdown().await.unwrap();
    settle().await;
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    while_time_passes(service.close()).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_a_400() {
    let service = echo().into_service();
    let mut peer = connect(&service);
    let begun = Instant::now();
    assert_eq!(peer.ask(with(&["Content-Length: 2"])).await.status(), 400);
    assert_eq!(begun.elapsed().as_secs(), 10);
}

// Shutdown.

/// RFC 6455 section 7.4.1: 1001, a server goes away.
#[tokio::test(start_paused = true)]
async fn close_closes_all_connections_with_1001_and_refuses_new_ones() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.clone().into_service();
    let mut peer = connect(&service);
    let mut idle = connect(&service);
    assert_eq!(idle.ask(get(&[])).await.status(), 426);
    peer.shake_hands().await;
    let other = websocket.into_service();
    let mut unconcerned = connect(&other);
    unconcerned.shake_hands().await;
    log.take();
    let closing = service.close();
    assert_eq!(peer.closed().await, (Some(1001), String::from("server shutdown")));
    peer.send(close(1001, "")).await;
    closing.await;
    assert_eq!(log.take(), ["close 1001 server shutdown"]);
    let answer = idle.ask(with(&[])).await;
    assert_eq!((answer.status(), answer.header("Connection")), (503, Some("close")));
    assert_eq!(log.take(), [""; 0]);
    unconcerned.send(text("still here")).await;
    settle().await;
    assert_eq!(log.take(), ["text still here"]);
}

#[tokio::test(start_paused = true)]
async fn the_grace_ends_connections_that_do_not_answer() {
    let (websocket, log) = noted(WebSocketOptions::new().close_timeout(Duration::from_secs(60)));
    let service = websocket.into_service().shutdown_grace(Duration::from_secs(2));
    let mut peer = connect(&service);
    peer.shake_hands().await;
    let begun = Instant::now();
    while_time_passes(service.close()).await;
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert_eq!(log.take(), ["connection", "close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn the_close_frames_can_be_spread() {
    let service = echo().into_service().shutdown_spread(Duration::from_secs(8));
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut peer = connect(&service);
        peer.shake_hands().await;
        peers.push(peer);
    }
    let begun = Instant::now();
    let closed = Arc::new(Mutex::new(Vec::new()));
    for mut peer in peers {
        let closed = closed.clone();
        tokio::spawn(async move {
            assert_eq!(peer.closed().await.0, Some(1001));
            closed.lock().unwrap().push(begun.elapsed().as_secs());
            peer.send(close(1001, "")).await;
        });
    }
    while_time_passes(service.close()).await;
    assert_eq!(*closed.lock().unwrap(), [0, 2, 4, 6]);
}

#[tokio::test(start_paused = true)]
async fn terminate_drops_connections_at_once_and_ends_a_grace() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.into_service();
    let mut peer = connect(&service);
    peer.shake_hands().await;
    let (begun, closing) = (Instant::now(), service.close());
    settle().await;
    while_time_passes(service.terminate()).await;
    while_time_passes(closing).await;
    assert!(begun.elapsed().as_secs() < 1);
    assert_eq!(log.take(), ["connection", "close 1006 "]);
}

/// A connection that is being decided does not exist yet, so its `close` does not fire.
#[tokio::test(start_paused = true)]
async fn terminate_refuses_a_handshake_that_is_being_decided() {
    let (websocket, log) = noted(WebSocketOptions::new().handshake_timeout(None));
    websocket.on("connection", |_: WebSocketConnection| std::future::pending::<()>());
    let service = websocket.into_service();
    let mut peer = connect(&service);
    peer.send(with(&[])).await;
    settle().await;
    while_time_passes(service.terminate()).await;
    assert_eq!(peer.answer().await.status(), 503);
    assert_eq!(log.take(), ["connection", "refused 499 Gone"]);
}

/// The shutdown waits for a handshake that is being decided. The connection is accepted, and closed with 1001.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_being_decided_is_closed_when_it_is_accepted() {
    let (websocket, log) = noted(WebSocketOptions::new());
    websocket.on("connection", |_: WebSocketConnection| tokio::time::sleep(Duration::from_secs(1)));
    let service = websocket.into_service();
    let mut peer = connect(&service);
    peer.send(with(&[])).await;
    settle().await;
    let closing = service.close();
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(peer.closed().await.0, Some(1001));
    peer.send(close(1001, "")).await;
    while_time_passes(closing).await;
    assert_eq!(log.take(), ["connection", "close 1001 server shutdown"]);
}

#[tokio::test]
async fn close_waits_for_connections_over_tcp_too() {
    let (websocket, log) = noted(WebSocketOptions::new());
    let service = websocket.into_service();
    let mut peer = Peer::open(listen(service.clone()).await).await;
    peer.send(text("a")).await;
    while log.take() != ["text a"] {
        tokio::task::yield_now().await;
    }
    let closing = service.close();
    assert_eq!(peer.closed().await.0, Some(1001));
    peer.send(close(1001, "")).await;
    closing.await;
    assert_eq!(log.take(), ["close 1001 server shutdown"]);
}

/// Handshakes on several threads, during which the service is closed. Each is accepted and closed with 1001, or refused with 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_close_amid_handshakes_leaves_no_connection() {
    for _ in 0..10 {
        let websocket = echo();
        let service = websocket.clone().into_service();
        let address = listen(service.clone()).await;
        let clients: Vec<_> = (0..64)
            .map(|_| {
                tokio::spawn(async move {
                    let mut peer = Peer::connect(address).await;
                    let answer = peer.ask(with(&[])).await;
                    if answer.status() == 101 {
                        peer.send(text("hello")).await;
                        let mut frame = peer.frame().await.unwrap();
                        if frame.opcode == 1 {
                            frame = peer.frame().await.unwrap();
                        }
                        assert_eq!((frame.opcode, &frame.payload[..2]), (8, &1001u16.to_be_bytes()[..]));
                        peer.send(close(1001, "")).await;
                        assert_eq!(peer.rest().await, b"");
                    }
                    answer.status()
                })
            })
            .collect();
        while websocket.stats().accepted < 5 {
            tokio::task::yield_now().await;
        }
        service.close().await;
        assert_eq!(websocket.len(), 0);
        let mut accepted = 0;
        for client in clients {
            match client.await.unwrap() {
                101 => accepted += 1,
                status => assert_eq!(status, 503),
            }
        }
        let stats = websocket.stats();
        assert_eq!((stats.accepted, stats.closed.values().sum::<u64>(), stats.open), (accepted, accepted, 0));
    }
}

#[test]
fn a_service_fits_tower_and_axum() {
    fn fits<S>(_: S)
    where
        S: Service<::http::Request<String>, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
    {
    }
    fn is_body<B: http_body::Body<Data = react_websocket::Bytes, Error: Into<BoxError>> + Send + 'static>() {}
    fits(WebSocketMiddleware::new().into_service());
    is_body::<ResponseBody>();
}

#[tokio::test(start_paused = true)]
async fn refusals_reach_the_error_event_and_no_connection_is_left() {
    let (websocket, log) = (echo().with_verify(|_: ServerRequest| false), Log::default());
    note_refusals(&websocket, &log);
    let service = websocket.clone().into_service();
    assert_eq!(connect(&service).ask(with(&[])).await.status(), 403);
    assert!(log.take()[0].starts_with("refused 403"));
    while_time_passes(service.close()).await;
    let mut late = connect(&service);
    late.stream.write_all(with(&[]).as_bytes()).await.unwrap();
    assert_eq!(late.answer().await.status(), 503);
}
