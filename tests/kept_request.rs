//! `connection.request()`: what a connection keeps of the request that began it.

mod support;

use std::net::SocketAddr;
use std::panic::catch_unwind;

use react_websocket::handlers::Next;
use react_websocket::options::TrustedProxies;
use react_websocket::{
    GroupManager, HttpOptions, HttpServer, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::{HANDSHAKE, Log, Peer, close, router, settle, text};

/// All values of a request as text.
fn describe(request: &ServerRequest) -> String {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .filter(|(name, _)| {
            !["host", "upgrade", "connection"].contains(&name.as_str()) && !name.as_str().starts_with("sec-")
        })
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    format!("{} {:?} {} {headers:?}", request.method(), request.version(), request.target())
}

/// What a connection's `text` and `close` listeners find, whether they are synchronous or not.
async fn found_by_listeners(options: WebSocketOptions, handshake: impl AsRef<[u8]>) -> Vec<String> {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", {
        let log = log.clone();
        async move |connection: WebSocketConnection| {
            tokio::task::yield_now().await;
            let (text, later, end) = (log.clone(), log.clone(), log.clone());
            connection.on("text", move || text.add(describe(&connection.request().unwrap())));
            connection.on("text", async move || {
                tokio::task::yield_now().await;
                later.add(describe(&connection.request().unwrap()));
            });
            connection.on("close", move || end.add(describe(&connection.request().unwrap())));
        }
    });
    let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
    assert_eq!(peer.ask(handshake).await.status(), 101);
    settle().await;
    peer.send([text("hi"), close(1000, "")].concat()).await;
    serving.await;
    log.take()
}

fn handshake(target: &str, headers: &str) -> String {
    HANDSHAKE.replace("GET / ", &format!("GET {target} ")).replace("\r\n\r\n", &format!("\r\n{headers}\r\n"))
}

#[tokio::test(start_paused = true)]
async fn the_target_stays_as_long_as_the_connection_lives() {
    let long = format!("/{}?{}", "p".repeat(3_000), "q=1&".repeat(500));
    for target in
        ["/", "/chat", "/chat?room=1&name=a%20b", "/?", "//", "/a/../b", &long, "http://example.com/absolute?x", "/grüß"]
    {
        let found = found_by_listeners(WebSocketOptions::new(), handshake(target, "User-Agent: me\r\n")).await;
        assert_eq!(found, vec![format!("GET HTTP/1.1 {target} []"); 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reduced_request_has_the_path_and_the_query_and_the_headers_that_were_chosen() {
    let headers = "X-Two: 1\r\nUser-Agent: me\r\nCookie: a=b\r\nX-Two: 2\r\n";
    let options = || WebSocketOptions::new();
    for (options, target, expected) in [
        (
            options().keep_headers(["user-agent", "X-TWO", "x-absent"]),
            "/a",
            r#"/a ["user-agent: me", "x-two: 1", "x-two: 2"]"#,
        ),
        (options().keep_headers(["cookie"]), "/", r#"/ ["cookie: a=b"]"#),
        (options().keep_headers(["x-absent"]), "/", "/ []"),
        // The last list counts.
        (options().keep_headers(["cookie"]).keep_headers(["x-absent"]), "/a", "/a []"),
    ] {
        let found = found_by_listeners(options, handshake(target, headers)).await;
        assert_eq!(found, vec![format!("GET HTTP/1.1 {expected}"); 3]);
    }
    // RFC 9110 §5.5: a value may have bytes that are not UTF-8.
    let bytes = [handshake("/", "X-Two: ").trim_end().as_bytes(), b" \xFF:\xFE\r\n\r\n"].concat();
    let found = found_by_listeners(options().keep_headers(["x-two"]), bytes).await;
    assert_eq!(found, vec!["GET HTTP/1.1 / [\"x-two: \u{FFFD}:\u{FFFD}\"]"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_kept_whole_if_that_is_asked_for() {
    struct User;
    for keep in [false, true] {
        let log = Log::default();
        let noted = log.clone();
        let websocket = WebSocketMiddleware::new()
            .with_options(WebSocketOptions::new().keep_request(keep).subprotocols(["chat"]).keep_headers(["cookie"]));
        websocket.on("connection", move |connection: WebSocketConnection| {
            let (noted, again) = (noted.clone(), noted.clone());
            let note = move |noted: &Log| {
                let request = connection.request().unwrap();
                noted.add(format_args!("{} {:?}", describe(&request), request.attribute::<User>().is_some()));
                noted.add(format_args!("{:?}", connection.subprotocol()));
            };
            note(&noted);
            connection.on("text", move || note(&again));
        });
        let attach = |request: ServerRequest, next: Next| next.run(request.with_attribute(User));
        let http = HttpServer::new((attach, websocket, router));
        let (mut peer, _serving) = Peer::serve(&http);
        let headers = "Cookie: a=b\r\nX-More: 1\r\nSec-WebSocket-Protocol: chat\r\n";
        assert_eq!(peer.ask(handshake("/a?b", headers)).await.header("Sec-WebSocket-Protocol"), Some("chat"));
        let (whole, agreed) = (r#"GET HTTP/1.1 /a?b ["cookie: a=b", "x-more: 1"] true"#, r#"Some("chat")"#);
        assert_eq!(log.take(), [whole, agreed], "in the `connection` listener");
        peer.send(text("hi")).await;
        settle().await;
        let reduced = r#"GET HTTP/1.1 /a?b ["cookie: a=b"] false"#;
        assert_eq!(log.take(), [if keep { whole } else { reduced }, agreed]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_is_kept_with_and_without_a_path() {
    for target in ["/", "/a"] {
        let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().subprotocols(["a", "b"]));
        let http = HttpServer::new((websocket.clone(), router));
        for (offered, agreed) in [("b", Some("b")), ("c, a", Some("a")), ("c", None)] {
            let (mut peer, _serving) = Peer::serve(&http);
            peer.ask(handshake(target, &format!("Sec-WebSocket-Protocol: {offered}\r\n"))).await;
            settle().await;
            let connection = *websocket.connections().last().unwrap();
            assert_eq!(connection.subprotocol().as_deref(), agreed);
            assert_eq!(connection.request().unwrap().path(), target);
            connection.terminate();
            settle().await;
        }
    }
}

/// The addresses are the connection's own: behind a trusted proxy the client's, and not the proxy's.
#[tokio::test(start_paused = true)]
async fn a_reduced_request_has_the_addresses_of_the_client_and_the_server() {
    let (proxy, local): (SocketAddr, SocketAddr) = ("192.0.2.9:1".parse().unwrap(), "192.0.2.2:80".parse().unwrap());
    let websocket = WebSocketMiddleware::new();
    let http = HttpServer::new((websocket.clone(), router))
        .with_options(HttpOptions::new().trusted_proxies(TrustedProxies::x_forwarded_for(["192.0.2.9"])));
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let _serving = http.serve_with_addresses(theirs, Some(proxy), Some(local));
    let mut peer = Peer::new(ours);
    assert_eq!(peer.ask(handshake("/", "X-Forwarded-For: 203.0.113.5\r\n")).await.status(), 101);
    settle().await;
    let request = websocket.connections()[0].request().unwrap();
    assert_eq!(request.remote_address(), Some("203.0.113.5:0".parse().unwrap()));
    assert_eq!((request.local_address(), request.peer_address()), (Some(local), None));
}

/// `leave` listeners receive a connection that has ended, and its request is gone then.
#[tokio::test(start_paused = true)]
async fn a_request_goes_with_its_connection() {
    let (log, groups) = (Log::default(), GroupManager::new());
    let noted = log.clone();
    groups.on("create", move |group| {
        let noted = noted.clone();
        group.on("leave", move |member| noted.add(member.request().unwrap().path()));
    });
    let websocket = WebSocketMiddleware::new().with_group_manager(groups);
    websocket.on("connection", |connection: WebSocketConnection| connection.set_group(Some("g")));
    let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket.clone(), router)));
    assert_eq!(peer.ask(handshake("/left", "")).await.status(), 101);
    settle().await;
    let connection = websocket.connections()[0];
    assert_eq!(connection.request().unwrap().path(), "/left");
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["/left"]);
    assert!(connection.request().is_none());
}

#[test]
fn only_names_of_headers_can_be_kept() {
    let panic = catch_unwind(|| WebSocketOptions::new().keep_headers(["ok", "not ok"])).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "\"not ok\" is not the name of a header");
}

/// PHP: `$connection->getRequest()->getQueryParams()`.
#[tokio::test(start_paused = true)]
async fn the_query_is_there_without_the_request() {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    let ended = std::sync::Arc::new(std::sync::Mutex::new(None));
    let (noted, kept) = (log.clone(), ended.clone());
    websocket.on("connection", move |connection: WebSocketConnection| {
        let room = move || connection.query_params().get("room").map(str::to_owned);
        noted.add(format_args!("{:?}", room()));
        let (text, close) = (noted.clone(), noted.clone());
        connection.on("text", move || text.add(format_args!("{:?}", room())));
        connection.on("close", move || close.add(format_args!("{:?}", room())));
        *kept.lock().unwrap() = Some(connection);
    });
    let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
    assert_eq!(peer.ask(handshake("/?room=tea%20room&x", "")).await.status(), 101);
    peer.send([text("hi"), close(1000, "")].concat()).await;
    serving.await;
    let tea = "Some(\"tea room\")";
    assert_eq!(log.take(), [tea, tea, tea]);
    let ended = ended.lock().unwrap().unwrap();
    assert!(ended.request().is_none() && ended.query_params().get("room").is_none());
}
