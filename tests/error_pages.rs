//! Settings of an app that apply before its handlers see a request: the pages of the server's own
//! errors, and the size limit of a body.

mod support;

use std::sync::Arc;
use std::time::Duration;

use react_websocket::errors::{HttpError, report};
use react_websocket::handlers::Next;
use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest, WebSocketMiddleware};
use support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn errors(http: &HttpServer) -> Log {
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(report(error)));
    log
}

/// As an API would have it.
fn json(error: &HttpError, page: Response) -> Response {
    page.with_header("Access-Control-Allow-Origin", "*")
        .with_header("Content-Type", "application/json")
        .with_body(format!("{{\"error\":\"{}\"}}", error.cause()))
}

fn failing(request: ServerRequest) -> Result<Response, &'static str> {
    match request.path() {
        "/fails" => Err("the router failed"),
        "/panics" => panic!("the router panicked"),
        "/mistake" => Ok(Response::new(200).with_header("X", "\n")),
        _ => Ok(Response::new(404)),
    }
}

#[tokio::test(start_paused = true)]
async fn each_page_of_the_servers_own_is_the_apps_to_make() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (request, status, cause) in [
        ("\0".to_owned(), 400, "request_line"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "host"),
        (GET[..20].to_owned(), 408, "timeout"),
        (format!("{post}Content-Length: 3\r\n\r\n"), 408, "timeout"),
        (format!("{post}Content-Length: 1000000\r\n\r\n"), 413, "too_large"),
        (format!("GET /{} ", "a".repeat(10_000)), 414, "too_large"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(20_000)), 431, "too_large"),
        (format!("{post}Transfer-Encoding: gzip\r\n\r\n"), 501, "transfer_encoding"),
        (GET.replace("1.1", "2.0"), 505, "version"),
        (GET.replace(" / ", " /fails "), 500, "handler"),
        (GET.replace(" / ", " /panics "), 500, "handler"),
        (GET.replace(" / ", " /mistake "), 500, "handler"),
    ] {
        let http = HttpServer::new(failing).with_options(HttpOptions::new().error_page(json));
        let log = errors(&http);
        let (mut peer, _serving) = Peer::serve(&http);
        let answer = while_time_passes(peer.ask(&request)).await;
        assert_eq!((answer.status(), answer.text()), (status, &*format!("{{\"error\":\"{cause}\"}}")), "{request:?}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"), "{request:?}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{request:?}");
        assert_eq!(answer.header("Connection"), Some("close"), "{request:?}");
        assert_eq!(log.take().len(), 1, "{request:?}");
    }
    // The app's own pages are its own.
    let http = HttpServer::new(failing).with_options(HttpOptions::new().error_page(json));
    let answer = Peer::serve(&http).0.ask(GET).await;
    assert_eq!((answer.status(), answer.text()), (404, ""));
}

#[tokio::test(start_paused = true)]
async fn the_pages_of_connections_above_the_limit_can_be_replaced() {
    for (options, status, cause) in [
        (HttpOptions::new().max_connections(0), 503, "full"),
        (HttpOptions::new().max_connections_per_ip(0), 429, "address"),
    ] {
        let http = HttpServer::new(router).with_options(options.error_page(json));
        let log = errors(&http);
        let (client, server) = tokio::io::duplex(1000);
        let _serving = http.serve_with_addresses(server, Some("192.0.2.1:1".parse().unwrap()), None);
        let answer = Peer::new(client).answer().await;
        assert_eq!((answer.status(), answer.text()), (status, &*format!("{{\"error\":\"{cause}\"}}")));
        assert_eq!((answer.header("Access-Control-Allow-Origin"), answer.header("Retry-After")), (Some("*"), Some("1")));
        assert_eq!(log.take(), [""; 0], "nobody can flood the listeners of `error`");
        assert_eq!(http.stats().refused[cause], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn middlewares_may_change_the_page_of_a_failed_handler() {
    let middleware = |request: ServerRequest, next: Next| async {
        next.run(request).await.with_header("X-Middleware", "yes").with_body("from the middleware")
    };
    let page = |_: &HttpError, page: Response| page.with_header("X-Page", "yes");
    let http = HttpServer::new((middleware, failing)).with_options(HttpOptions::new().error_page(page));
    let answer = Peer::serve(&http).0.ask(GET.replace(" / ", " /fails ")).await;
    assert_eq!((answer.status(), answer.text()), (500, "from the middleware"));
    assert_eq!((answer.header("X-Middleware"), answer.header("X-Page")), (Some("yes"), Some("yes")));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_sent_is_replaced_by_the_plain_one() {
    type Page = fn(&HttpError, Response) -> Response;
    let pages: [(Page, &str); 5] = [
        (|_, _| panic!("no page"), "no page"),
        (|_, page| page.with_header("X", "\n"), "control character in the value of the header X"),
        (|_, page| page.with_status(1000), "1000 is not a status"),
        (|_, page| page.with_status(100), "an error page has a final status and a body of bytes"),
        (|_, page| page.with_body(BodyStream::new()), "an error page has a final status and a body of bytes"),
    ];
    for (page, reason) in pages {
        for (request, status, told) in [
            ("\0".to_owned(), 400, "malformed request line"),
            (GET.replace(" / ", " /fails "), 500, "the request handler failed: the router failed"),
        ] {
            let http = HttpServer::new(failing).with_options(HttpOptions::new().error_page(page));
            let log = errors(&http);
            let answer = Peer::serve(&http).0.ask(request).await;
            assert_eq!(answer.status(), status);
            assert!(answer.text().starts_with(&format!("Error {status}: ")), "{}", answer.text());
            let log = log.take();
            assert_eq!(log, [format!("the request handler failed: {reason}"), told.to_owned()]);
        }
    }
    let options = HttpOptions::new().max_connections(0).error_page(|_, _| panic!("no page"));
    let answer = Peer::serve(&HttpServer::new(router).with_options(options)).0.answer().await;
    assert_eq!((answer.status(), answer.header("Retry-After")), (503, Some("1")));
}

/// What a closure has captured is the app's.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn closures_that_panic_when_they_are_dropped_have_no_effect_elsewhere() {
    let (one, two) = (PanicsWhenDropped, PanicsWhenDropped);
    let options = HttpOptions::new().error_page(move |_, page| {
        let _ = &one;
        page
    });
    let options = options.max_body_size_for(move |_| {
        let _ = &two;
        0
    });
    let http = HttpServer::new(router).with_options(options);
    let (mut peer, serving) = Peer::serve(&http);
    drop(http);
    assert_eq!(peer.ask(post("/", "", 1)).await.status(), 413);
    drop(peer);
    while_time_passes(serving).await;
}

/// Its handshakes have answers of their own.
#[tokio::test(start_paused = true)]
async fn pages_of_a_websocket_middleware_are_not_the_servers() {
    let http = HttpServer::new((WebSocketMiddleware::new(), router)).with_options(HttpOptions::new().error_page(json));
    let answer = Peer::serve(&http).0.ask(HANDSHAKE.replace("Version: 13", "Version: 7")).await;
    assert_eq!((answer.status(), answer.header("Access-Control-Allow-Origin")), (426, None));
}

// How large a body may be.

fn length(request: ServerRequest) -> Response {
    Response::plaintext(request.body().len().to_string())
}

fn post(path: &str, headers: &str, body: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {body}\r\n\r\n{}", "a".repeat(body))
}

#[tokio::test(start_paused = true)]
async fn each_request_has_its_own_limit_of_which_is_decided_before_its_body_is_read() {
    let options = HttpOptions::new().max_body_size(10).max_body_size_for(|request| {
        assert_eq!(request.body().len(), 0);
        match request.path() {
            "/upload" if request.header("authorization").is_some() => 200_000,
            "/none" => 0,
            _ => 100,
        }
    });
    let http = HttpServer::new(length).with_options(options);
    for (request, status) in [
        (post("/", "", 100), 200),
        (post("/", "", 101), 413),
        (post("/upload", "", 101), 413),
        (post("/upload", "Authorization: me\r\n", 200_000), 200),
        (post("/upload", "Authorization: me\r\n", 200_001), 413),
        (post("/none", "", 0), 200),
        (post("/none", "", 1), 413),
        ("POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 200),
        ("POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".into(), 413),
        // Nothing of a body that is refused is waited for.
        (post("/", "", 1_000_000)[..60].into(), 413),
    ] {
        let (mut peer, _serving) = Peer::serve(&http);
        assert_eq!(while_time_passes(peer.ask(&request)).await.status(), status, "{}", &request[..50]);
    }
}

#[tokio::test(start_paused = true)]
async fn only_requests_with_a_body_are_asked_about_and_a_panic_is_a_500() {
    let asked = Arc::new(());
    let held = asked.clone();
    let options = HttpOptions::new().max_body_size_for(move |_| {
        let _held = &held;
        panic!("no limit")
    });
    let http = HttpServer::new(length).with_options(options);
    let log = errors(&http);
    let (mut peer, _serving) = Peer::serve(&http);
    assert_eq!(peer.ask(GET).await.status(), 200);
    let answer = peer.ask(post("/", "", 1)).await;
    assert_eq!((answer.status(), answer.header("Connection")), (500, Some("close")));
    assert_eq!(log.take(), ["the request handler failed: no limit"]);
    // And its client may still read the answer.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(peer.ended().await);
}
