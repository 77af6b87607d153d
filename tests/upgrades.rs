//! Which requests are opening handshakes (RFC 6455 section 4.2.1, RFC 9110 section 7.8), and what
//! is agreed on with them: the origin and the subprotocol.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use react_websocket::errors::{ConnectionError, HandshakeError};
use react_websocket::options::{Origins, TrustedProxies};
use react_websocket::stats::WebSocketStats;
use react_websocket::{HttpOptions, HttpServer, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::{Answer, Log, Peer, router};

const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// A request for `target` with these header lines.
fn get(target: &str, version: &str, lines: &[&str]) -> String {
    format!("GET {target} {version}\r\nHost: example.com\r\n{}\r\n\r\n", lines.join("\r\n"))
}

/// A handshake that is in order, and has more lines.
fn handshake(more: &[&str]) -> String {
    get("/", "HTTP/1.1", &[&[UPGRADE, CONNECTION, VERSION, KEY][..], more].concat())
}

/// A server that notes what it emits, and its middleware.
fn server(options: WebSocketOptions) -> (HttpServer, WebSocketMiddleware, Log) {
    let (websocket, log) = (WebSocketMiddleware::new().with_options(options), Log::default());
    let noted = log.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        noted.add(format_args!("connection {}", connection.subprotocol().as_deref().unwrap_or("-")));
    });
    let noted = log.clone();
    websocket.on("error", move |connection: WebSocketConnection| noted.add(connection.error().unwrap().reason()));
    (HttpServer::new((websocket.clone(), router)), websocket, log)
}

/// Asks on a connection of its own, from this address if there is one.
async fn ask_from(http: &HttpServer, address: &str, request: &str) -> Answer {
    let (client, server) = tokio::io::duplex(100_000);
    let _serving = http.serve_with_addresses(server, address.parse().ok(), None);
    Peer::new(client).ask(request).await
}

async fn ask(http: &HttpServer, request: &str) -> Answer {
    ask_from(http, "", request).await
}

// Which requests are handshakes (RFC 6455 section 4.2.1).

/// RFC 9110 section 7.8: `Upgrade` counts only where `Connection` names it, and not in HTTP/1.0.
/// What proxies make of a handshake that way goes to the router, and is counted.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_no_upgrade_any_more_goes_to_the_router_and_is_counted() {
    let by_connection = Some("connection_header");
    let by_version = Some("http_1_0");
    for (request, cause) in [
        (get("/", "HTTP/1.1", &[UPGRADE, VERSION, KEY]), by_connection),
        (get("/", "HTTP/1.1", &[UPGRADE, VERSION, KEY, "Connection: close"]), by_connection),
        (get("/", "HTTP/1.1", &[UPGRADE, VERSION, KEY, "Connection: keep-alive, upgraded"]), by_connection),
        (get("/", "HTTP/1.1", &[UPGRADE]), by_connection),
        (get("/", "HTTP/1.1", &[KEY]), by_connection),
        // nginx without `proxy_http_version 1.1`, and with only one of the lines that it needs.
        (get("/", "HTTP/1.0", &["Connection: close", VERSION, KEY]), by_version),
        (get("/", "HTTP/1.1", &["Connection: close", VERSION, KEY]), by_connection),
        (get("/", "HTTP/1.0", &[UPGRADE, CONNECTION, VERSION, KEY]), by_version),
        (get("/", "HTTP/1.0", &[UPGRADE]), by_version),
        // What never was a handshake.
        (get("/", "HTTP/1.0", &[CONNECTION]), None),
        (get("/", "HTTP/1.1", &[CONNECTION, "Upgrade: h2c"]), None),
        (get("/", "HTTP/1.1", &["Upgrade: h2c", VERSION]), None),
        (get("/", "HTTP/1.1", &[VERSION]), None),
        (get("/", "HTTP/1.1", &[UPGRADE, KEY]).replace("GET", "POST"), None),
    ] {
        let (http, websocket, log) = server(WebSocketOptions::new());
        let answer = ask(&http, &request).await;
        assert_eq!((answer.status(), answer.text()), (200, "router /"), "{request}");
        let not_upgraded: BTreeMap<_, _> = cause.into_iter().map(|cause| (cause, 1)).collect();
        assert_eq!(websocket.stats().not_upgraded, not_upgraded, "{request}");
        assert_eq!((websocket.stats().refused, log.take()), (BTreeMap::new(), Vec::new()), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_middleware_of_the_path_counts_it() {
    let chat = WebSocketMiddleware::new().with_path("/chat");
    let news = WebSocketMiddleware::new().with_path("/news");
    let http = HttpServer::new((chat.clone(), news.clone(), router));
    assert_eq!(ask(&http, &get("/news", "HTTP/1.1", &[UPGRADE])).await.text(), "router /news");
    assert_eq!(ask(&http, &get("/other", "HTTP/1.1", &[UPGRADE])).await.text(), "router /other");
    assert_eq!(chat.stats(), WebSocketStats::default());
    assert_eq!(news.stats().not_upgraded, BTreeMap::from([("connection_header", 1)]));
}

/// RFC 6455 section 4.2.1: the server need not decode the key.
#[tokio::test(start_paused = true)]
async fn a_key_may_have_any_last_bits() {
    let (http, _, _) = server(WebSocketOptions::new());
    // The first is RFC 6455's own example of section 4.1, whose last bits are set.
    for (key, accept) in [
        ("AQIDBAUGBwgJCgsMDQ4PEC==", "OfS0wDaT5NoxF2gqm7Zj2YtetzM="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ] {
        let request = handshake(&[]).replace("dGhlIHNhbXBsZSBub25jZQ==", key);
        let answer = ask(&http, &request).await;
        assert_eq!((answer.status(), answer.header("Sec-WebSocket-Accept")), (101, Some(accept)));
    }
}

/// The absolute form (RFC 9112 section 3.2.2).
#[tokio::test(start_paused = true)]
async fn a_handshake_may_have_a_target_in_absolute_form() {
    let websocket = WebSocketMiddleware::new().with_path("/chat");
    let http = HttpServer::new((websocket, router));
    for scheme in ["http", "https", "ws", "wss"] {
        let request = get(&format!("{scheme}://example.org/chat?a"), "HTTP/1.1", &[UPGRADE, CONNECTION, VERSION, KEY]);
        assert_eq!(ask(&http, &request).await.status(), 101, "{scheme}");
    }
}

// Origins (RFC 6455 section 10.2).

/// The host is the one that the client meant: by the target in absolute form, or by a trusted
/// proxy.
/// `Origin` (RFC 6455 section 10.2, RFC 6454 section 7).
#[tokio::test(start_paused = true)]
async fn a_page_is_of_the_host_that_the_client_asked_for() {
    let (http, _, log) = server(WebSocketOptions::new());
    let proxies = TrustedProxies::x_forwarded_for(["10.0.0.1"]).x_forwarded_host();
    let http = http.with_options(HttpOptions::new().trusted_proxies(proxies));
    let (proxy, stranger) = ("10.0.0.1:1", "192.0.2.1:1");
    let forwarded = ["Origin: https://public.example", "X-Forwarded-Host: public.example"];
    let absolute = |target: &str, origin: &str| {
        let origin = format!("Origin: {origin}");
        get(target, "HTTP/1.1", &[UPGRADE, CONNECTION, VERSION, KEY, &origin])
    };
    for (peer, request, is_allowed) in [
        (stranger, handshake(&["Origin: https://example.com"]), true),
        (stranger, absolute("http://other.example/", "http://other.example"), true),
        (stranger, absolute("wss://other.example:443/", "https://other.example"), true),
        (stranger, absolute("http://other.example/", "http://example.com"), false),
        (proxy, handshake(&forwarded), true),
        (proxy, handshake(&["Origin: https://example.com", forwarded[1]]), false),
        (proxy, handshake(&["Origin: https://example.com"]), true),
        (stranger, handshake(&forwarded), false),
    ] {
        let status = ask_from(&http, peer, &request).await.status();
        assert_eq!(status, if is_allowed { 101 } else { 403 }, "{peer} {request}");
    }
    log.take();
}

/// A page on port 80 and WebSockets on port 8080, as is usual with PHP.
#[tokio::test(start_paused = true)]
async fn a_page_of_the_same_host_may_be_on_any_port_if_that_is_allowed() {
    for (origins, status) in [(Origins::same_host(), 403), (Origins::same_host_any_port(), 101)] {
        let (http, _, _) = server(WebSocketOptions::new().origins(origins));
        let request = handshake(&["Origin: http://example.com"]).replace("Host: example.com", "Host: example.com:8080");
        assert_eq!(ask(&http, &request).await.status(), status);
    }
}

/// A stranger is told nothing of the server's options. The app's author is told the reason and the
/// cure.
#[tokio::test(start_paused = true)]
async fn only_the_app_receives_the_reason_for_a_refused_origin() {
    let (http, websocket, log) = server(WebSocketOptions::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = seen.clone();
    websocket.on("error", move |connection: WebSocketConnection| keep.lock().unwrap().extend(connection.error()));
    let answer = ask(&http, &handshake(&["Origin: https://example.org"])).await;
    assert_eq!((answer.status(), answer.text()), (403, "Error 403: Forbidden"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain"));
    let reason =
        "origin \"https://example.org\" is not allowed for host \"example.com\"; `WebSocketOptions::origins` can allow it";
    assert_eq!(log.take(), [reason]);
    let seen = seen.lock().unwrap();
    let [ConnectionError::Handshake(HandshakeError::Origin { origin, host })] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((origin.as_str(), host.as_str()), ("https://example.org", "example.com"));
}

// Subprotocols (RFC 6455 sections 4.2.2 and 11.3.4).

#[tokio::test(start_paused = true)]
async fn a_closure_selects_the_subprotocol_by_the_request_and_by_what_was_offered() {
    let asked = Log::default();
    let noted = asked.clone();
    let options = WebSocketOptions::new().subprotocols(["other"]).select_subprotocol(move |request, offered| {
        noted.add(format_args!("{} {offered:?}", request.path()));
        offered.iter().copied().find(|name| name.strip_prefix("chat.") == request.path().strip_prefix("/"))
    });
    let (http, _, log) = server(options);
    for (path, lines, selected, called) in [
        ("/v1", &["Sec-WebSocket-Protocol: chat.v1, chat.v2"][..], Some("chat.v1"), "/v1 [\"chat.v1\", \"chat.v2\"]"),
        ("/v2", &["Sec-WebSocket-Protocol: chat.v1, chat.v2"], Some("chat.v2"), "/v2 [\"chat.v1\", \"chat.v2\"]"),
        (
            "/v2",
            &["Sec-WebSocket-Protocol: a,,", "sec-websocket-protocol:\tchat.v2 ,"],
            Some("chat.v2"),
            "/v2 [\"a\", \"chat.v2\"]",
        ),
        // The closure alone decides.
        ("/v3", &["Sec-WebSocket-Protocol: other"], None, "/v3 [\"other\"]"),
        ("/v3", &["Sec-WebSocket-Protocol: Chat.v3"], None, "/v3 [\"Chat.v3\"]"),
        // There is nothing to select from.
        ("/v1", &[], None, ""),
        ("/v1", &["Sec-WebSocket-Protocol:"], None, ""),
    ] {
        let lines = [&[UPGRADE, CONNECTION, VERSION, KEY][..], lines].concat();
        let answer = ask(&http, &get(path, "HTTP/1.1", &lines)).await;
        assert_eq!((answer.status(), answer.header("Sec-WebSocket-Protocol")), (101, selected), "{path} {lines:?}");
        assert_eq!(log.take(), [format!("connection {}", selected.unwrap_or("-"))]);
        assert_eq!(asked.take().concat(), called);
    }
}

/// RFC 6455 section 4.1: a client fails the connection over a subprotocol that it did not offer. So
/// none is ever sent.
#[tokio::test(start_paused = true)]
async fn a_selected_subprotocol_that_was_not_offered_is_a_mistake_of_the_app() {
    let options = WebSocketOptions::new().select_subprotocol(|request: &ServerRequest, offered: &[&str]| {
        assert!(request.path() != "/panic", "no such path");
        (!offered.contains(&"b")).then_some("b")
    });
    let (http, websocket, log) = server(options);
    for (path, offered, error) in [
        ("/", "a, B", "a listener failed: subprotocol \"b\" was selected, and the client offered [\"a\", \"B\"]"),
        ("/panic", "a", "a listener failed: no such path"),
    ] {
        let offered = format!("Sec-WebSocket-Protocol: {offered}");
        let answer = ask(&http, &get(path, "HTTP/1.1", &[UPGRADE, CONNECTION, VERSION, KEY, &offered])).await;
        assert_eq!((answer.status(), answer.text()), (500, "Error 500: Internal Server Error"), "{path}");
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), None);
        assert_eq!(log.take(), [error]);
    }
    assert_eq!(websocket.stats().refused, BTreeMap::from([("listener", 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_required_subprotocol_has_to_be_selected() {
    let options = WebSocketOptions::new().require_subprotocol(true);
    let (http, _, log) = server(options.select_subprotocol(|_, offered| offered.iter().copied().find(|name| *name != "a")));
    for (lines, status) in [(&[][..], 400), (&["Sec-WebSocket-Protocol: a"], 400), (&["Sec-WebSocket-Protocol: a, b"], 101)]
    {
        assert_eq!(ask(&http, &handshake(lines)).await.status(), status, "{lines:?}");
    }
    assert_eq!(log.take(), ["no common subprotocol", "no common subprotocol", "connection b"]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_refused_has_nothing_selected() {
    let options = WebSocketOptions::new().select_subprotocol(|_, _| panic!("it is not called"));
    let (http, _, _) = server(options);
    let offered = "Sec-WebSocket-Protocol: a";
    assert_eq!(ask(&http, &handshake(&[offered, "Origin: https://example.org"])).await.status(), 403);
    assert_eq!(ask(&http, &handshake(&[offered]).replace(": 13", ": 12")).await.status(), 426);
}

/// A value that an app's closure has captured may panic when it is dropped. The panic has no effect
/// elsewhere.
#[test]
fn a_closure_that_panics_when_it_is_dropped_does_no_harm() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    support::count_panics();
    let bomb = Bomb;
    drop(WebSocketOptions::new().select_subprotocol(move |_, offered| {
        let _keep = &bomb;
        offered.first().copied()
    }));
    assert_eq!(support::panics(), 1);
}

#[test]
fn options_with_a_closure_are_cloned_and_printed() {
    let options = WebSocketOptions::new().select_subprotocol(|_, offered| offered.first().copied());
    assert!(format!("{:?}", options.clone()).contains("SubprotocolSelector"));
}

/// Such a name could never be offered: RFC 6455 section 4.1 has tokens in the list.
#[test]
fn a_subprotocol_that_is_no_token_panics() {
    for name in ["", "a b", "a,b", "\"a\"", "a\r\n", "\u{e9}", "https://a"] {
        let made = std::panic::catch_unwind(|| WebSocketOptions::new().subprotocols(["chat", name]));
        let panic = *made.expect_err(name).downcast::<String>().unwrap();
        assert!(panic.starts_with(&format!("{name:?} is not a subprotocol")), "{panic}");
    }
}

/// RFC 9110 section 5.6.1: a list may have several lines and empty elements.
#[tokio::test(start_paused = true)]
async fn the_elements_of_a_list_are_those_of_all_lines() {
    let found = Arc::new(Mutex::new(Vec::new()));
    let keep = found.clone();
    let http = HttpServer::new(move |request: ServerRequest| {
        keep.lock().unwrap().extend(request.header_list("x-LIST").map(str::to_owned));
        assert_eq!(request.header_list("none").count(), 0);
        router(request)
    });
    let lines = ["X-List: a, b;c=\"d, \\\"e, f\\\\\", g", "X-Other: h", "x-list:", "X-List: ,\ti ,", "X-List: \u{e9}"];
    ask(&http, &get("/", "HTTP/1.1", &lines)).await;
    assert_eq!(*found.lock().unwrap(), ["a", "b;c=\"d, \\\"e, f\\\\\"", "g", "i", "\u{e9}"]);
}
