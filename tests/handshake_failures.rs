//! Failures of an app in a handshake: the middleware's `error` event has the connection, and the
//! HTTP server emits `error` as well. ReactPHP does the latter: an exception in a `connection`
//! listener is an `error` of the `HttpServer`.

#![cfg(feature = "testing")]

mod support;

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use react_websocket::errors::{HandshakeError, HttpError, report};
use react_websocket::handlers::Next;
use react_websocket::listeners::IntoMiddlewareListener;
use react_websocket::testing::TestClient;
use react_websocket::{HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware};
use support::{Log, router};

/// A server that notes its errors, and those of the middleware.
fn noting(websocket: WebSocketMiddleware) -> (HttpServer, Log) {
    let log = Log::default();
    let (told, noted) = (log.clone(), log.clone());
    websocket.on("error", move |connection: WebSocketConnection| {
        told.add(format_args!("middleware {}", connection.error().unwrap().reason()))
    });
    let http = HttpServer::new((websocket, router));
    http.on("error", move |error: &HttpError| {
        assert!(matches!(error, HttpError::Handler(_)), "{error:?}");
        let source = error.source().and_then(|source| source.downcast_ref::<HandshakeError>());
        noted.add(format_args!("server {}", report(source.expect("a handshake's error"))));
    });
    (http, log)
}

fn listening<M>(listener: impl IntoMiddlewareListener<M>) -> WebSocketMiddleware {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", listener);
    websocket
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_app_in_a_handshake_emits_error_once_on_the_middleware_and_once_on_the_server() {
    let new = WebSocketMiddleware::new;
    let failed = ["middleware a listener failed: oops", "server a listener failed: oops"];
    let late = ["middleware no decision within 10s", "server no decision within 10s"];
    for (websocket, status, expected) in [
        (listening(|_: WebSocketConnection| Err::<(), _>("oops")), 500, failed),
        (listening(|_: WebSocketConnection| panic!("oops")), 500, failed),
        (listening(async |_: WebSocketConnection| Err::<(), _>("oops")), 500, failed),
        (listening(async |_: WebSocketConnection| panic!("oops")), 500, failed),
        (listening(async |_: WebSocketConnection| pending::<()>().await), 503, late),
        (new().with_verify(|_: ServerRequest| Err::<(), _>("oops")), 500, failed),
        (new().with_verify(|_: ServerRequest| -> bool { panic!("oops") }), 500, failed),
        (new().with_verify(async |_: ServerRequest| -> bool { panic!("oops") }), 500, failed),
        (new().with_verify(async |_: ServerRequest| -> bool { pending().await }), 503, late),
    ] {
        let (http, log) = noting(websocket);
        // Longer than the timeout of a handshake.
        let client = TestClient::new(&http).timeout(Duration::from_secs(15));
        let refusal = client.connect("/").expect_refusal().await;
        assert_eq!((refusal.status(), refusal.text().contains("oops")), (status, false));
        assert_eq!(log.take(), expected);
        assert_eq!(http.stats().errors.get("handler"), Some(&1));
    }
}

/// A refusal is no failure.
#[tokio::test(start_paused = true)]
async fn a_rejected_handshake_emits_error_on_the_middleware_only() {
    let rejecting = listening(|connection: WebSocketConnection| connection.reject(Response::new(401)));
    let forbidding = WebSocketMiddleware::new().with_verify(|_: ServerRequest| false);
    for (websocket, status, expected) in
        [(rejecting, 401, "middleware rejected with status 401"), (forbidding, 403, "middleware rejected with status 403")]
    {
        let (http, log) = noting(websocket);
        TestClient::new(http).connect("/").expect_refusal().await.expect_status(status);
        assert_eq!(log.take(), [expected]);
    }
    let (http, log) = noting(WebSocketMiddleware::new());
    let outdated = TestClient::new(http).get("/").header("Upgrade", "websocket").header("Connection", "Upgrade");
    let outdated = outdated.header("Sec-WebSocket-Version", "8").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    outdated.await.expect_status(426);
    assert_eq!(log.take(), ["middleware Sec-WebSocket-Version is not 13"]);
}

/// As with any handler that fails: the error goes with its page.
#[tokio::test(start_paused = true)]
async fn a_middleware_before_it_sees_the_page_of_a_failing_listener() {
    let websocket = listening(|_: WebSocketConnection| Err::<(), _>("oops"));
    let stamp = async |request: ServerRequest, next: Next| next.run(request).await.with_header("X-Stamp", "1");
    let http = HttpServer::new((stamp, websocket, router));
    let log = Log::default();
    let noted = log.clone();
    http.on("error", move |error| noted.add(report(error)));
    let refusal = TestClient::new(http).connect("/").expect_refusal().await;
    assert_eq!((refusal.status(), refusal.header("X-Stamp")), (500, Some("1")));
    assert_eq!(log.take(), ["the request handler failed: a listener failed: oops"]);
}
