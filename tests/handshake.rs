//! The opening handshake (RFC 6455 section 4): its grammar, subprotocols, origins, and the choice of the middleware.

mod support;

use std::sync::{Arc, Mutex};

use react_websocket::handlers::Next;
use react_websocket::options::Origins;
use react_websocket::{HttpServer, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::handshake::{CONNECTION, KEY, NEEDED, UPGRADE, VERSION, ask, get, request, server, with, with_instead};
use support::*;

// The required parts of a handshake (RFC 6455 section 4.2.1).

/// The server's opening handshake (RFC 6455 section 4.2.2).
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

/// `Sec-WebSocket-Accept` (RFC 6455 section 4.2.2).
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

/// Header fields of the client's opening handshake (RFC 6455 section 4.2.1).
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

/// The required parts of a handshake (RFC 6455 section 4.2.1), and 426 (section 4.4).
#[tokio::test(start_paused = true)]
async fn a_malformed_handshake_is_rejected_by_the_middleware_and_emits_error() {
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

/// `Upgrade` (RFC 9110 section 7.8).
#[tokio::test(start_paused = true)]
async fn requests_without_an_upgrade_go_to_the_router() {
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

// Subprotocols, extensions and origins (RFC 6455 sections 4.2.2, 9.1 and 10.2).

/// `Sec-WebSocket-Protocol` (RFC 6455 sections 4.2.2 and 11.3.4).
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

/// `Sec-WebSocket-Protocol` in the response (RFC 6455 section 4.2.2).
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

/// A server accepts no extension by sending no `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
#[tokio::test(start_paused = true)]
async fn an_offered_extension_is_not_taken() {
    let (http, _) = server(WebSocketOptions::new());
    for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits, permessage-deflate", "x-unknown"] {
        let answer = ask(&http, with(&[&format!("Sec-WebSocket-Extensions: {offer}")])).await;
        assert_eq!((answer.status(), answer.header("Sec-WebSocket-Extensions")), (101, None), "{offer}");
    }
}

/// `Origin` (RFC 6455 section 10.2).
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
