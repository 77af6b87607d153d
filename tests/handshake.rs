//! The opening handshake (RFC 6455 §4), and what a `connection` listener may do before the 101 leaves.

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::{
    ConnectionError, HandshakeError, HttpError, HttpServer, IntoVerifier, Next, Origins, Response, ServerRequest,
    WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// The lines that a handshake needs, besides `Host`.
const NEEDED: [&str; 4] = [UPGRADE, CONNECTION, VERSION, KEY];

fn request(line: &str, lines: &[&str]) -> String {
    format!("{line}\r\nHost: example.com\r\n{}\r\n\r\n", lines.join("\r\n"))
}

fn get(lines: &[&str]) -> String {
    request("GET / HTTP/1.1", lines)
}

/// A handshake that is in order, and asks for more.
fn with(more: &[&str]) -> String {
    get(&[&NEEDED[..], more].concat())
}

/// A handshake in which one of the needed lines is another one, or none at all.
fn with_instead(line: &str, other: &[&str]) -> String {
    let lines = NEEDED.into_iter().flat_map(|needed| if needed == line { other.to_vec() } else { vec![needed] });
    get(&lines.collect::<Vec<_>>())
}

/// Has a log note connections, what they emit, and refusals; and makes a server with a router behind.
fn observed(websocket: &WebSocketMiddleware, log: &Log) -> HttpServer {
    websocket.on("connection", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            log.add("connection");
            log.watch(connection);
        }
    });
    note_refusals(websocket, log);
    HttpServer::new((websocket.clone(), router))
}

fn note_refusals(websocket: &WebSocketMiddleware, log: &Log) {
    let log = log.clone();
    websocket.on("error", move |connection: WebSocketConnection| log.add(refusal(connection)));
}

/// Which kind of refusal the middleware's `error` event tells of.
fn refusal(connection: WebSocketConnection) -> String {
    let Some(ConnectionError::Handshake(error)) = connection.error() else {
        return format!("no refusal: {:?}", connection.error());
    };
    let kind = match &error {
        HandshakeError::Upgrade => "Upgrade",
        HandshakeError::Key => "Key",
        HandshakeError::Version => "Version",
        HandshakeError::Body => "Body",
        HandshakeError::Origin { origin, .. } => &format!("Origin {origin}"),
        HandshakeError::Subprotocol => "Subprotocol",
        HandshakeError::Rejected { status } => &format!("Rejected {status}"),
        HandshakeError::Listener(error) => &format!("Listener {error}"),
        HandshakeError::Timeout { limit } => &format!("Timeout {limit:?}"),
        HandshakeError::Gone => "Gone",
        error => &format!("{error:?}"),
    };
    format!("refused {} {kind}", error.status())
}

fn server(options: WebSocketOptions) -> (HttpServer, Log) {
    let log = Log::default();
    let http = observed(&WebSocketMiddleware::new().with_options(options), &log);
    (http, log)
}

/// Asks on a connection of its own, which is over when this returns.
async fn ask(http: &HttpServer, request: impl AsRef<[u8]>) -> Answer {
    let (mut peer, serving) = Peer::serve(http);
    let answer = peer.ask(request).await;
    drop(peer);
    serving.await;
    answer
}

/// A handle of a connection that is not there reaches nothing.
fn assert_dead(connection: WebSocketConnection) {
    assert!(!connection.is_writable() && !connection.is_readable());
    assert!(!connection.write("") && !connection.ping("") && !connection.reject(Response::new(200)) && !connection.set(1));
    assert!(connection.request().is_none() && connection.error().is_none() && connection.subprotocol().is_none());
    assert_eq!((connection.remote_address(), connection.local_address()), (None, None));
    connection.on("close", || panic!("it has no events any more"));
    connection.close();
    assert_eq!(connection.listener_count("close"), 0);
}

/// Says when it is dropped.
struct Noted(Log);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

// What a handshake has to be.

#[tokio::test(start_paused = true)]
async fn a_good_handshake_is_answered_with_exactly_this_head() {
    let (http, log) = server(WebSocketOptions::new());
    let answer = ask(&http, with(&[])).await;
    let date = answer.header("Date").unwrap();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Server: react-websocket\r\nDate: {date}\r\nConnection: upgrade"
    );
    assert_eq!(answer.head, head);
    assert_eq!(log.take(), ["connection", "close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn the_accept_header_answers_the_key() {
    let (http, _) = server(WebSocketOptions::new());
    for (key, accept) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
    ] {
        let answer = ask(&http, with_instead(KEY, &[&format!("Sec-WebSocket-Key: {key}")])).await;
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some(accept));
    }
}

#[tokio::test(start_paused = true)]
async fn token_lists_may_have_any_case_and_several_lines() {
    let (http, log) = server(WebSocketOptions::new());
    for request in [
        with_instead(UPGRADE, &["Upgrade: WebSocket"]),
        with_instead(UPGRADE, &["UPGRADE: WEBSOCKET"]),
        with_instead(UPGRADE, &["Upgrade: websocket, h2c"]),
        with_instead(UPGRADE, &["Upgrade: h2c ,\twebsocket"]),
        with_instead(UPGRADE, &["Upgrade: h2c", "upgrade: websocket"]),
        with_instead(CONNECTION, &["Connection: keep-alive, Upgrade"]),
        with_instead(CONNECTION, &["Connection: upgrade,keep-alive"]),
        with_instead(CONNECTION, &["Connection: keep-alive", "CONNECTION: UPGRADE"]),
        with_instead(CONNECTION, &["Connection: , Upgrade ,"]),
        with_instead(CONNECTION, &["Connection: close, Upgrade"]),
        with_instead(VERSION, &["sec-websocket-version:13"]),
        with_instead(KEY, &["SEC-WEBSOCKET-KEY:   dGhlIHNhbXBsZSBub25jZQ==  "]),
        with(&["Content-Length: 0"]),
    ] {
        assert_eq!(ask(&http, &request).await.status(), 101, "{request}");
        assert_eq!(log.take(), ["connection", "close 1006 "], "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_handshake_is_answered_here_and_told_as_an_error() {
    let (http, log) = server(WebSocketOptions::new());
    for (request, told) in [
        (with_instead(VERSION, &[]), "refused 426 Version"),
        (with_instead(VERSION, &["Sec-WebSocket-Version: 8"]), "refused 426 Version"),
        (with_instead(VERSION, &["Sec-WebSocket-Version: 013"]), "refused 426 Version"),
        (with_instead(VERSION, &["Sec-WebSocket-Version: 13, 8"]), "refused 426 Version"),
        (with(&["Sec-WebSocket-Version: 8"]), "refused 426 Version"),
        (with(&[VERSION]), "refused 426 Version"),
        (with_instead(KEY, &[]), "refused 400 Key"),
        (with_instead(KEY, &["Sec-WebSocket-Key:"]), "refused 400 Key"),
        (with_instead(KEY, &["Sec-WebSocket-Key: c2hvcnQ="]), "refused 400 Key"),
        (with_instead(KEY, &["Sec-WebSocket-Key: c2V2ZW50ZWVuIGJ5dGVzISE="]), "refused 400 Key"),
        (with_instead(KEY, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]), "refused 400 Key"),
        (with_instead(KEY, &["Sec-WebSocket-Key: ????IHNhbXBsZSBub25jZQ=="]), "refused 400 Key"),
        (with(&[KEY]), "refused 400 Key"),
        (with_instead(UPGRADE, &[]), "refused 400 Upgrade"),
        (with_instead(UPGRADE, &["Upgrade: h2c"]), "refused 400 Upgrade"),
        (with_instead(UPGRADE, &["Upgrade: websockets"]), "refused 400 Upgrade"),
        (get(&[KEY, CONNECTION]), "refused 400 Upgrade"),
        (get(&[UPGRADE, CONNECTION]), "refused 426 Version"),
        (with(&["Content-Length: 3"]) + "abc", "refused 400 Body"),
        (with(&["Transfer-Encoding: chunked"]) + "3\r\nabc\r\n0\r\n\r\n", "refused 400 Body"),
    ] {
        let (mut peer, serving) = Peer::serve(&http);
        let answer = peer.ask(&request).await;
        let status = answer.status();
        assert_eq!(log.take(), [told], "{request}");
        assert!(told.contains(&status.to_string()), "{status} to {request}");
        assert!(answer.text().starts_with(&format!("Error {status}: ")), "{}", answer.text());
        assert!(answer.header("Content-Type").unwrap().starts_with("text/plain"));
        // RFC 6455 §4.4: which versions there are.
        let versions = (status == 426).then_some("13");
        assert_eq!(answer.header("Sec-WebSocket-Version"), versions, "{request}");
        assert_eq!(answer.header("Sec-WebSocket-Accept"), None);
        // RFC 9110 section 7.8: a sender of `Upgrade` names it in `Connection`.
        let connection = if status == 426 { "close, upgrade" } else { "close" };
        assert_eq!(answer.header("Connection"), Some(connection));
        assert_eq!(answer.header("Upgrade").is_some(), status == 426);
        assert!(peer.ended().await, "{request}");
        drop(peer);
        serving.await;
        assert_eq!(log.take(), [""; 0], "a refused connection emits nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_upgrade_goes_to_the_router() {
    let (http, log) = server(WebSocketOptions::new().origins(Origins::list(["https://example.com"])));
    for (request, head) in [
        (get(&["Accept: */*"]), "HTTP/1.1 200 "),
        (get(&["Upgrade: h2c", CONNECTION]), "HTTP/1.1 200 "),
        (get(&[CONNECTION]), "HTTP/1.1 200 "),
        (get(&["Origin: https://evil.example"]), "HTTP/1.1 200 "),
        (get(&[VERSION]), "HTTP/1.1 200 "),
        (request("POST / HTTP/1.1", &NEEDED), "HTTP/1.1 200 "),
        (request("POST / HTTP/1.1", &[&NEEDED[..], &["Content-Length: 2"]].concat()) + "ab", "HTTP/1.1 200 "),
        (request("get / HTTP/1.1", &NEEDED), "HTTP/1.1 200 "),
        (request("GET / HTTP/1.0", &NEEDED), "HTTP/1.0 200 "),
    ] {
        let answer = ask(&http, &request).await;
        assert!(answer.head.starts_with(head), "{} to {request}", answer.head);
        assert_eq!(answer.text(), "router /", "{request}");
        assert_eq!(log.take(), [""; 0], "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_may_follow_other_requests() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(request("GET /a HTTP/1.1", &["Accept: */*"])).await.text(), "router /a");
    // Pipelined, and a frame behind.
    peer.send([request("GET /b HTTP/1.1", &["Accept: */*"]).into_bytes(), with(&[]).into_bytes(), text("c")].concat())
        .await;
    assert_eq!(peer.answer().await.text(), "router /b");
    assert_eq!(peer.answer().await.status(), 101);
    settle().await;
    assert_eq!(log.take(), ["connection", "text c"]);
}

// Subprotocols, extensions, origins.

#[tokio::test(start_paused = true)]
async fn a_subprotocol_is_one_that_was_offered_and_configured() {
    let (none, both): (&[&str], &[&str]) = (&[], &["chat.v2", "chat.v1"]);
    for (configured, offered, chosen) in [
        (none, &[][..], None),
        (none, &["Sec-WebSocket-Protocol: chat.v1"], None),
        (both, &[], None),
        (both, &["Sec-WebSocket-Protocol: other"], None),
        (both, &["Sec-WebSocket-Protocol: chat.v1"], Some("chat.v1")),
        // The server's order counts.
        (both, &["Sec-WebSocket-Protocol: chat.v1, chat.v2"], Some("chat.v2")),
        (both, &["Sec-WebSocket-Protocol: other,chat.v1"], Some("chat.v1")),
        (both, &["Sec-WebSocket-Protocol: other", "Sec-WebSocket-Protocol: chat.v1, chat.v2"], Some("chat.v2")),
        // Names are compared as they are.
        (both, &["Sec-WebSocket-Protocol: Chat.V1"], None),
        (both, &["Sec-WebSocket-Protocol: chat"], None),
    ] {
        let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().subprotocols(configured.to_vec()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        websocket.on("connection", {
            let seen = seen.clone();
            move |connection: WebSocketConnection| {
                seen.lock().unwrap().push(connection.subprotocol());
                let seen = seen.clone();
                connection.on("close", move |connection: &WebSocketConnection| {
                    seen.lock().unwrap().push(connection.subprotocol());
                });
            }
        });
        let answer = ask(&HttpServer::new((websocket, router)), with(offered)).await;
        assert_eq!(answer.status(), 101, "{offered:?}");
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), chosen, "{offered:?}");
        let chosen: Option<Arc<str>> = chosen.map(Into::into);
        assert_eq!(*seen.lock().unwrap(), [chosen.clone(), chosen], "{offered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_chosen_subprotocol_stands_behind_the_accept_header() {
    let (http, _) = server(WebSocketOptions::new().subprotocols(["chat"]));
    let answer = ask(&http, with(&["Sec-WebSocket-Protocol: chat"])).await;
    let names = ["Upgrade", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Server", "Date", "Connection"];
    assert_eq!(answer.header_names(), names);
}

#[tokio::test(start_paused = true)]
async fn a_required_subprotocol_is_required() {
    let (http, log) = server(WebSocketOptions::new().subprotocols(["chat"]).require_subprotocol(true));
    for (offered, status) in
        [(&[][..], 400), (&["Sec-WebSocket-Protocol: other"], 400), (&["Sec-WebSocket-Protocol: other, chat"], 101)]
    {
        assert_eq!(ask(&http, with(offered)).await.status(), status, "{offered:?}");
        let told = if status == 400 { vec!["refused 400 Subprotocol"] } else { vec!["connection", "close 1006 "] };
        assert_eq!(log.take(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn an_offered_extension_is_not_taken() {
    let (http, _) = server(WebSocketOptions::new());
    for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits, permessage-deflate", "x-unknown"] {
        let answer = ask(&http, with(&[&format!("Sec-WebSocket-Extensions: {offer}")])).await;
        assert_eq!((answer.status(), answer.header("Sec-WebSocket-Extensions")), (101, None), "{offer}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_are_refused() {
    let same = Origins::same_host;
    let list = || Origins::list(["https://example.org", "https://*.example.com", "http://localhost:3000"]);
    for (origins, host, lines, allowed) in [
        (same(), "example.com", &[][..], true),
        (same(), "example.com", &["Origin: http://example.com"], true),
        (same(), "example.com", &["Origin: https://EXAMPLE.com:443"], true),
        (same(), "example.com:8000", &["Origin: http://example.com:8000"], true),
        (same(), "[::1]:8000", &["Origin: http://[::1]:8000"], true),
        (same(), "example.com:8000", &["Origin: http://example.com:3000"], false),
        (same(), "example.com", &["Origin: http://example.org"], false),
        (same(), "example.com", &["Origin: http://a.example.com"], false),
        (same(), "example.com", &["Origin: http://example.com.evil.org"], false),
        (same(), "example.com", &["Origin: null"], false),
        (same(), "example.com", &["Origin: ftp://example.com"], false),
        (same(), "example.com", &["Origin:"], false),
        (same(), "example.com", &["Origin: http://example.com", "Origin: http://example.com"], false),
        (Origins::any(), "example.com", &["Origin: http://example.org"], true),
        (Origins::any(), "example.com", &["Origin: null"], true),
        (list(), "example.com", &[], true),
        (list(), "example.com", &["Origin: https://example.org"], true),
        (list(), "example.com", &["Origin: http://localhost:3000"], true),
        (list(), "example.com", &["Origin: http://localhost:3001"], false),
        (list(), "example.com", &["Origin: http://example.org"], false),
        (list(), "example.com", &["Origin: https://a.b.example.com"], true),
        (list(), "example.com", &["Origin: https://example.com"], false),
        (list(), "example.com", &["Origin: https://evilexample.com"], false),
        (list(), "example.com", &["Origin: https://example.com.evil.org"], false),
    ] {
        let (http, log) = server(WebSocketOptions::new().origins(origins.clone()));
        let lines = [&NEEDED[..], lines].concat();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n\r\n", lines.join("\r\n"));
        let answer = ask(&http, &request).await;
        assert_eq!(answer.status(), if allowed { 101 } else { 403 }, "{origins:?} {request}");
        let told = log.take();
        if allowed {
            assert_eq!(told, ["connection", "close 1006 "]);
        } else {
            assert!(told.len() == 1 && told[0].starts_with("refused 403 Origin "), "{told:?}");
        }
    }
}

// Several middlewares.

/// The path of a request is that of its URI (RFC 3986 §3.3), which begins with `/` and is ASCII.
#[tokio::test(start_paused = true)]
async fn a_path_is_compared_with_that_of_the_request() {
    for (path, target) in [("/grüß", "/gr%C3%BC%C3%9F"), ("/gr%C3%BC%C3%9F", "/grüß"), ("/a\"b", "/a%22b?c")] {
        let http = HttpServer::new((WebSocketMiddleware::new().with_path(path), router));
        let (mut peer, _) = Peer::serve(&http);
        peer.send(HANDSHAKE.replace("GET / ", &format!("GET {target} "))).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "), "{path} {target}");
    }
    for path in ["chat", "", "/chat?room=1", "/chat#a", "/a b", "http://a/chat"] {
        let panic = std::panic::catch_unwind(|| WebSocketMiddleware::new().with_path(path)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(&format!("{path:?}")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_fall_through_to_the_middleware_of_their_path_and_to_the_router() {
    let log = Log::default();
    let middleware = |name: &'static str, paths: &[&str]| {
        let websocket = paths.iter().fold(WebSocketMiddleware::new(), |websocket, path| websocket.with_path(*path));
        let log = log.clone();
        websocket.on("connection", move |connection: WebSocketConnection| {
            log.add(format_args!("{name} {}", connection.request().unwrap().uri()));
        });
        websocket
    };
    let first = middleware("first", &["/a", "/b"]);
    let second = middleware("second", &["/b", "/c"]);
    let http = HttpServer::new((first, second, router));
    for (target, taken) in [
        ("/a", Some("first /a")),
        ("/a?x=/c", Some("first /a?x=/c")),
        ("/b", Some("first /b")),
        ("/c", Some("second /c")),
        ("/", None),
        ("/a/", None),
        ("/A", None),
        ("/%61", None),
        ("/d?/a", None),
    ] {
        let answer = ask(&http, request(&format!("GET {target} HTTP/1.1"), &NEEDED)).await;
        match taken {
            Some(taken) => assert_eq!((answer.status(), log.take()), (101, vec![taken.to_owned()])),
            None => {
                let path = target.split('?').next().unwrap();
                assert_eq!((answer.status(), answer.text()), (200, format!("router {path}").as_str()));
                assert_eq!(log.take(), [""; 0], "{target}");
            }
        }
    }
    // A broken one is answered by the middleware whose path it is, and by no other.
    let broken = [UPGRADE, CONNECTION, VERSION];
    assert_eq!(ask(&http, request("GET /c HTTP/1.1", &broken)).await.status(), 400);
    assert_eq!(ask(&http, request("GET /d HTTP/1.1", &broken)).await.text(), "router /d");
}

#[tokio::test(start_paused = true)]
async fn a_middleware_may_attach_to_the_request_and_add_to_the_101() {
    struct User(&'static str);
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", {
        let log = log.clone();
        move |connection: WebSocketConnection| log.add(connection.request().unwrap().attribute::<User>().unwrap().0)
    });
    let outer = |request: ServerRequest, next: Next| async move {
        next.run(request.with_attribute(User("ann"))).await.with_header("X-Outer", "yes")
    };
    let answer = ask(&HttpServer::new((outer, websocket, router)), with(&[])).await;
    assert_eq!((answer.status(), answer.header("X-Outer"), log.take()), (101, Some("yes"), vec!["ann".to_owned()]));
    let names = ["Upgrade", "Sec-WebSocket-Accept", "X-Outer", "Server", "Date", "Connection"];
    assert_eq!(answer.header_names(), names);
}

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
async fn what_a_listener_writes_leaves_behind_the_101_in_order() {
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
async fn a_client_that_says_it_sends_no_more_gets_its_101_and_has_its_frames_delivered() {
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
async fn a_refusal_is_told_to_all_error_listeners_whatever_they_do() {
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
async fn who_is_verified_gets_a_connection() {
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
async fn who_is_not_verified_is_refused_and_told_of_as_an_error() {
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
async fn who_is_not_verified_may_ask_again_on_the_same_connection() {
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
async fn what_is_told_of_a_client_that_left_is_told_to_its_end() {
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
async fn a_connection_whose_101_does_not_leave_says_close_once() {
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
async fn a_connection_whose_client_leaves_before_the_101_says_close_once() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::serve(&http);
    peer.send([with(&[]).into_bytes(), text("never heard")].concat()).await;
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["connection", "close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_client_does_not_take_the_101_says_close_once() {
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
