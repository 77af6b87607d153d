//! What a client makes of each response to its handshake (RFC 6455 section 4.1), however the bytes come.
#![cfg(feature = "client")]

mod support;

use std::error::Error;
use std::time::Duration;

use react_websocket::client::{ConnectError, ConnectPhase, Connector, ResponseError, UrlError};
use react_websocket::{HttpServer, Response, WebSocketConnection, WebSocketOptions};
use support::client::{RawServer, answered, header};
use support::router;
use tokio::io::duplex;

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: {accept}\r\n\r\n";

const SIZES: [usize; 4] = [usize::MAX, 1, 2, 7];

fn connector() -> Connector {
    Connector::new().timeout(Duration::from_secs(5))
}

/// How the handshake fails, in words: the error, and its source.
async fn failure(answer: &str, size: usize) -> String {
    match answered(&connector(), "ws://example.com/", answer, size).await {
        Ok(_) => "opened".to_owned(),
        Err(error) => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_101_opens_the_connection() {
    let status = |line: &str| GOOD.replace("HTTP/1.1 101 Switching Protocols", line);
    for answer in [
        GOOD,
        &GOOD.replace("\r\n", "\n"),
        &GOOD.replace("Upgrade: websocket", "upgrade:   WebSocket  "),
        &GOOD.replace("Connection: Upgrade", "CONNECTION: Keep-Alive ,upgrade"),
        &status("HTTP/1.1 101"),
        &status("HTTP/1.1 101 "),
        &GOOD.replace("\r\n\r\n", "\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"),
        // RFC 9110 section 15.2: interim responses come before the answer.
        &format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{GOOD}"),
    ] {
        for size in SIZES {
            assert_eq!(failure(answer, size).await, "opened", "{answer} by {size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_101_fails_the_handshake() {
    let with = |line: &str| GOOD.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    let accept = "missing or wrong Sec-WebSocket-Accept";
    for (answer, reason) in [
        (GOOD.replace("Upgrade: websocket", "X: y"), "no `Upgrade: websocket`"),
        (GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), "no `Upgrade: websocket`"),
        (GOOD.replace("Connection: Upgrade", "Connection: close"), "no `Connection: upgrade`"),
        (GOOD.replace("Sec-WebSocket-Accept: {accept}", "X: y"), accept),
        (GOOD.replace("{accept}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), accept),
        (GOOD.replace("{accept}", "{accept}{accept}"), accept),
        (with("Sec-WebSocket-Accept: {accept}"), accept),
        (with("Sec-WebSocket-Protocol: chat"), "subprotocol \"chat\" was not offered"),
        (with("Sec-WebSocket-Extensions: permessage-deflate"), "extension \"permessage-deflate\" was not offered"),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), "malformed HTTP response"),
        (GOOD.replace("HTTP/1.1", "HTTP/2"), "malformed HTTP response"),
        (GOOD.replace("HTTP/1.1 101", "ICY 101"), "malformed HTTP response"),
        (GOOD.replace("101 ", "10 "), "malformed HTTP response"),
        (GOOD.replace("Upgrade: websocket", "Upgrade websocket"), "malformed HTTP response"),
        (with(&format!("X: {}", "a".repeat(64 * 1024))), "response head exceeds 65536 bytes"),
        ("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".repeat(3000), "response head exceeds 65536 bytes"),
        (String::new(), "the connection ended before the response"),
    ] {
        for size in SIZES.into_iter().filter(|size| *size > 7 || answer.len() < 10_000) {
            let expected = format!("the handshake failed: {reason}");
            assert_eq!(failure(&answer, size).await, expected, "{answer:.200} by {size}");
        }
    }
}

/// All heads together are bounded, those of interim responses and that of the answer.
#[tokio::test(start_paused = true)]
async fn heads_of_interim_responses_count_as_the_head_of_the_answer() {
    let answer = |size: usize| {
        let interim = format!("HTTP/1.1 103 Early Hints\r\nX: {}\r\n\r\n", "x".repeat(20_000)).repeat(3);
        let fixed = "HTTP/1.1 403 Forbidden\r\nX: \r\n\r\n".len();
        format!("{interim}HTTP/1.1 403 Forbidden\r\nX: {}\r\n\r\n", "x".repeat(size - interim.len() - fixed))
    };
    for piece in [1 << 20, 1000] {
        assert_eq!(refused(&answer(64 * 1024), piece).await.0, 403);
        let too_large = "the handshake failed: response head exceeds 65536 bytes";
        assert_eq!(failure(&answer(64 * 1024 + 1), piece).await, too_large);
    }
}

#[tokio::test(start_paused = true)]
async fn a_101_that_is_cut_anywhere_fails_the_handshake() {
    let connector = connector();
    let whole = GOOD.replace("{accept}", &"x".repeat(28));
    for end in 0..whole.len() {
        let (ours, theirs) = duplex(1 << 16);
        let mut server = RawServer::new(theirs);
        let answering = async {
            let head = server.request().await;
            let accept =
                react_websocket::protocol::handshake::accept_key(header(&head, "Sec-WebSocket-Key").unwrap().as_bytes());
            server.send(&GOOD.replace("{accept}", &accept).as_bytes()[..end]).await;
            drop(server);
        };
        let connecting = connector.connect_on(ours, "ws://h/", |_: WebSocketConnection| panic!("it is not called"));
        let (failed, ()) = tokio::join!(connecting, answering);
        assert!(matches!(failed, Err(ConnectError::Handshake(ResponseError::Ended))), "cut at {end}: {failed:?}");
    }
    // A server that stops amid its response and stays is a matter of time.
    for end in [0, 1, 20, whole.len() - 1] {
        let (ours, theirs) = duplex(1 << 16);
        let mut server = RawServer::new(theirs);
        let answering = async {
            server.request().await;
            server.send(&whole.as_bytes()[..end]).await;
            server
        };
        let connecting = connector.connect_on(ours, "ws://h/", |_: WebSocketConnection| {});
        let (failed, mut server) = tokio::join!(connecting, answering);
        assert!(matches!(failed, Err(ConnectError::Timeout { phase: ConnectPhase::Handshake, .. })), "{failed:?}");
        assert!(server.ended().await, "the stream is closed");
    }
}

/// A refusal has the status, the headers and the body.
async fn refused(answer: &str, size: usize) -> (u16, String, String) {
    match answered(&connector(), "ws://example.com/", answer, size).await {
        Err(ConnectError::Refused { response }) => {
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            let x = response.headers().get("X").map_or("", |x| x.to_str().unwrap());
            (response.status().as_u16(), x.to_owned(), body)
        }
        other => panic!("{answer}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_with_its_body() {
    let chunked = "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n3;x=y\r\nbar\r\n0\r\n\r\n";
    for (answer, status, x, body) in [
        ("HTTP/1.1 403 Forbidden\r\nX: y\r\nContent-Length: 2\r\n\r\nnobody reads this", 403, "y", "no"),
        ("HTTP/1.1 200 OK\r\n\r\na page", 200, "", "a page"),
        ("HTTP/1.0 500 Error\r\n\r\na page", 500, "", "a page"),
        (chunked, 503, "", "foobar"),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""),
        // RFC 6455 section 4.1 lets a client follow these. It would send its credentials to whom it does not know.
        ("HTTP/1.1 301 Moved\r\nLocation: ws://other/\r\nContent-Length: 0\r\n\r\n", 301, "", ""),
        ("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", 401, "", ""),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\ncut", 404, "", "cut"),
    ] {
        for size in SIZES {
            assert_eq!(refused(answer, size).await, (status, x.to_owned(), body.to_owned()), "{answer} by {size}");
        }
    }
    let large = format!("HTTP/1.1 404 Not Found\r\n\r\n{}", "a".repeat(100_000));
    assert_eq!(refused(&large, usize::MAX).await.2.len(), 64 * 1024);
}

/// A body that never ends is reported when the time is over, as far as it has come.
#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_does_not_end() {
    let (ours, theirs) = duplex(1 << 16);
    let mut server = RawServer::new(theirs);
    let answering = async {
        server.request().await;
        server.send(b"HTTP/1.1 404 Not Found\r\n\r\nso far").await;
        server
    };
    let connector = connector();
    let connecting = connector.connect_on(ours, "ws://h/", |_: WebSocketConnection| {});
    let (failed, mut server) = tokio::join!(connecting, answering);
    let failed = failed.unwrap_err();
    assert_eq!(failed.to_string(), "the server refused the handshake with status 404 Not Found");
    assert_eq!(failed.status(), Some(404));
    let ConnectError::Refused { response } = failed else { panic!("{failed}") };
    assert_eq!(response.body(), "so far");
    assert!(server.ended().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_of_this_crate_refuses() {
    let websocket = react_websocket::WebSocketMiddleware::new().with_path("/chat");
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.reject(Response::plaintext("not you").with_status(403));
    });
    let http = HttpServer::new((websocket, router));
    for (path, status, body) in [("/chat", 403, "not you"), ("/other", 200, "router /other")] {
        let (ours, theirs) = duplex(1 << 16);
        let _serving = http.serve(theirs);
        let connecting = Connector::new().connect_on(ours, format!("ws://h{path}"), |_: WebSocketConnection| {}).await;
        let Err(ConnectError::Refused { response }) = connecting else { panic!("{connecting:?}") };
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, body.as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn subprotocols_are_offered_and_one_is_agreed_on() {
    let options = WebSocketOptions::new().subprotocols(["b", "a"]);
    let websocket = react_websocket::WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", |_: WebSocketConnection| {});
    let http = HttpServer::new((websocket, router));
    let connect = async |connector: Connector| {
        let (ours, theirs) = duplex(1 << 16);
        let _serving = http.serve(theirs);
        let connection = connector.connect_on(ours, "ws://h/", |_: WebSocketConnection| {}).await;
        connection.map(|connection| connection.subprotocol())
    };
    assert_eq!(connect(Connector::new()).await.unwrap(), None);
    assert_eq!(connect(Connector::new().subprotocols(["a", "b"])).await.unwrap().as_deref(), Some("b"));
    let required = || Connector::new().with_options(WebSocketOptions::new().require_subprotocol(true));
    assert_eq!(connect(required().subprotocols(["x", "a"])).await.unwrap().as_deref(), Some("a"));
    let failed = connect(required().subprotocols(["x"])).await;
    assert!(matches!(failed, Err(ConnectError::Handshake(ResponseError::NoSubprotocol))), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn headers_are_sent_and_those_of_the_handshake_cannot_be_set() {
    let connector = Connector::new()
        .header("X-One", "1")
        .unwrap()
        .header("x-one", b"2")
        .unwrap()
        .origin("https://example.com")
        .unwrap()
        .subprotocols(["a", "b"]);
    let (ours, theirs) = duplex(1 << 16);
    let mut server = RawServer::new(theirs);
    let connecting = connector.connect_on(ours, "ws://u:p@h/", |_: WebSocketConnection| {});
    let (connected, head) = tokio::join!(connecting, server.accept());
    connected.unwrap();
    for (name, value) in
        [("Origin", "https://example.com"), ("Sec-WebSocket-Protocol", "a, b"), ("Authorization", "Basic dTpw")]
    {
        assert_eq!(header(&head, name), Some(value));
    }
    assert_eq!(head.matches("\r\nx-one: ").count(), 2);
    for (name, value) in [
        ("Upgrade", "x"),
        ("connection", "x"),
        ("Sec-WebSocket-Key", "x"),
        ("Sec-WebSocket-Extensions", "x"),
        ("Sec-WebSocket-Protocol", "x"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("no name", "x"),
        ("", "x"),
        ("X", "a\r\nY: b"),
    ] {
        let failed = Connector::new().header(name, value).unwrap_err();
        assert!(matches!(&failed, ConnectError::Header { name: wrong } if wrong == name), "{failed:?}");
    }
    assert!(Connector::new().origin("a\nb").is_err());
}

#[tokio::test]
async fn a_url_that_is_none() {
    let connect = async |url: &str| Connector::new().connect(url, |_: WebSocketConnection| {}).await.unwrap_err();
    let failed = connect("http://127.0.0.1/").await;
    assert_eq!(failed.to_string(), "invalid WebSocket URL");
    assert_eq!(failed.source().unwrap().to_string(), "scheme \"http\" is not `ws` or `wss`");
    assert!(matches!(connect("ws://h/#x").await, ConnectError::Url(UrlError::Fragment)));
}

/// The client sends nothing: the port has no listener, and the error is not one of the connection.
#[cfg(not(feature = "__tls"))]
#[tokio::test]
async fn a_url_that_needs_tls_in_a_build_without() {
    let failed = Connector::new().connect("wss://127.0.0.1:1/", |_: WebSocketConnection| {}).await.unwrap_err();
    assert_eq!(failed.to_string(), "`wss://` needs the feature `tls` or `tls-ring` of the crate react-websocket");
    let failed = Connector::new().connect_on(duplex(1).0, "wss://h/", |_: WebSocketConnection| {}).await;
    assert!(matches!(failed, Err(ConnectError::NoTls)), "{failed:?}");
}
