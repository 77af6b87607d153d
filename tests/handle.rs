//! Requests that pass through a server's handlers without a connection: `HttpServer::handle`, and what it takes and returns.

use std::io;
use std::sync::{Arc, Mutex};

use react_websocket::errors::HttpError;
use react_websocket::handlers::Next;
use react_websocket::types::{Method, Version};
use react_websocket::{
    BodyStream, Bytes, HttpOptions, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware,
};

fn get(target: &str) -> ServerRequest {
    ServerRequest::builder().uri(target).build().unwrap()
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(response.body().as_bytes().unwrap()).unwrap()
}

/// The server, and the causes of its `error` events.
fn with_errors(http: HttpServer) -> (HttpServer, Arc<Mutex<Vec<&'static str>>>) {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let all = errors.clone();
    http.on("error", move |error: &HttpError| all.lock().unwrap().push(error.cause()));
    (http, errors)
}

#[tokio::test]
async fn a_request_passes_the_middlewares_and_the_router() {
    let stamp = async |request: ServerRequest, next: Next| {
        let user = request.header("X-User").unwrap_or("nobody").to_owned();
        next.run(request.with_attribute(user)).await.with_header("X-Stamp", "1")
    };
    let http = HttpServer::new((stamp, |request: ServerRequest| {
        let user = request.attribute::<String>().cloned().unwrap_or_default();
        let body = String::from_utf8_lossy(request.body()).into_owned();
        Response::plaintext(format!("{} {} {user} {body}", request.method(), request.path()))
    }));
    let request = ServerRequest::builder().method("POST").uri("/a?b").header("x-user", "ann").body("body").build().unwrap();
    let response = http.handle(request).await;
    assert_eq!((response.status(), text(&response)), (200, "POST /a ann body"));
    assert_eq!(response.header("x-stamp"), Some("1"));
    assert_eq!((http.stats().requests, http.stats().open), (1, 0));
}

#[tokio::test]
async fn a_failed_handler_is_answered_with_500_and_emits_error() {
    let failing = |request: ServerRequest| match request.path() {
        "/error" => Err(io::Error::other("no")),
        "/form" => Ok(Response::plaintext(request.parsed_body().map(|_| "a form").unwrap_or("none"))),
        "/panic" => panic!("no"),
        // Refused by `Response::with_header`.
        _ => Ok(Response::new(200).with_header("X-A", "b\r\nc: d")),
    };
    let (http, errors) = with_errors(HttpServer::new(failing));
    for target in ["/error", "/panic", "/header"] {
        let response = http.handle(get(target)).await;
        assert_eq!((response.status(), text(&response)), (500, "Error 500: Internal Server Error"), "{target}");
    }
    assert_eq!(*errors.lock().unwrap(), ["handler"; 3]);
    assert_eq!(http.stats().errors["handler"], 3);
    assert_eq!(http.handle(get("/form")).await.status(), 200);
    assert_eq!(errors.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn an_error_page_of_the_app_is_returned() {
    let options = HttpOptions::new().error_page(|error: &HttpError, page: Response| page.with_body(error.cause()));
    let router = |_: ServerRequest| Err::<Response, _>(io::Error::other("no"));
    let (http, errors) = with_errors(HttpServer::new(router).with_options(options));
    assert_eq!(text(&http.handle(get("/")).await), "handler");
    assert_eq!(*errors.lock().unwrap(), ["handler"]);
}

#[tokio::test]
async fn a_request_that_no_handler_answers_gets_404() {
    let http = HttpServer::new(vec![react_websocket::handlers::middleware(|request: ServerRequest, next: Next| {
        next.run(request)
    })]);
    assert_eq!(http.handle(get("/")).await.status(), 404);
}

#[tokio::test]
async fn the_handlers_run_when_the_future_is_polled_and_end_when_it_is_dropped() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<()>(1);
    let http = HttpServer::new(async move |_: ServerRequest| {
        let _alive = sender.clone();
        std::future::pending::<()>().await;
        Response::new(200)
    });
    let mut running = Box::pin(http.handle(get("/")));
    assert_eq!(http.stats().requests, 0);
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(running.as_mut().poll(cx))).await.is_pending());
    assert_eq!(http.stats().requests, 1);
    drop(http);
    assert!(receiver.try_recv() == Err(tokio::sync::mpsc::error::TryRecvError::Empty));
    drop(running);
    assert!(receiver.try_recv() == Err(tokio::sync::mpsc::error::TryRecvError::Disconnected));
}

#[tokio::test]
async fn a_websocket_handshake_is_answered_with_101_and_closes_with_the_response() {
    let (websocket, closed) = (WebSocketMiddleware::new(), Arc::new(Mutex::new(Vec::new())));
    let codes = closed.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let codes = codes.clone();
        connection.on("close", move |code: u16| codes.lock().unwrap().push(code));
    });
    let http = HttpServer::new((websocket, |_: ServerRequest| Response::new(404)));
    let request = ServerRequest::builder()
        .header("Host", "test")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let response = http.handle(request.build().unwrap()).await;
    assert_eq!(response.status(), 101);
    // RFC 6455 section 1.3.
    assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(closed.lock().unwrap().is_empty());
    let response = http::Response::<Bytes>::try_from(response).expect_err("it has an upgrade");
    drop(response);
    // RFC 6455 section 7.1.5: no Close frame came.
    assert_eq!(*closed.lock().unwrap(), [1006]);
}

#[test]
fn a_builder_has_defaults() {
    let request = ServerRequest::builder().build().unwrap();
    assert_eq!((request.method(), request.target(), request.version()), (&Method::GET, "/", Version::HTTP_11));
    assert!(request.headers().is_empty() && request.body().is_empty());
    assert_eq!((request.host(), request.remote_address(), request.local_address()), (None, None, None));
}

#[test]
fn a_builder_sets_what_a_connection_would() {
    let client = "192.0.2.1:4711".parse().unwrap();
    let local = "192.0.2.2:80".parse().unwrap();
    let request = ServerRequest::builder()
        .method(Method::PUT)
        .uri("https://example.com/\u{e9}?a=1")
        .header("Accept", "text/html")
        .header("accept", "text/plain")
        .body(vec![1, 2])
        .remote_address(client)
        .local_address(local)
        .build()
        .unwrap();
    assert_eq!((request.method(), request.path()), (&Method::PUT, "/%C3%A9"));
    assert_eq!((request.scheme(), request.host()), ("https", Some("example.com")));
    assert_eq!(request.header_list("Accept").collect::<Vec<_>>(), ["text/html", "text/plain"]);
    assert_eq!(request.body()[..], [1, 2]);
    assert_eq!((request.remote_address(), request.peer_address()), (Some(client), Some(client)));
    assert_eq!(request.local_address(), Some(local));
}

/// RFC 9112 section 3: what a server refuses cannot be built.
#[test]
fn a_builder_refuses_a_malformed_request() {
    let builder = ServerRequest::builder;
    for (built, cause) in [
        (builder().method("GE T").build(), "request_line"),
        (builder().method("").build(), "request_line"),
        (builder().uri("").build(), "target"),
        (builder().uri("a").build(), "target"),
        (builder().uri("/a b").build(), "target"),
        (builder().uri("/a\r\nb").build(), "target"),
        (builder().uri("/#a").build(), "target"),
        (builder().uri("*").build(), "target"),
        (builder().method("CONNECT").uri("a:80").build(), "connect"),
        (builder().header("a b", "c").build(), "header"),
        (builder().header("a", "b\r\nc").build(), "header"),
        // The first mistake counts.
        (builder().header("a", "b\n").method(" ").build(), "header"),
    ] {
        assert_eq!(built.unwrap_err().cause(), cause);
    }
    assert_eq!(builder().method("OPTIONS").uri("*").build().unwrap().path(), "");
}

#[tokio::test]
async fn a_request_of_the_http_crate_is_handled() {
    let http = HttpServer::new(|request: ServerRequest| {
        Response::plaintext(format!("{} {:?} {:?}", request.target(), request.host(), request.header("a")))
            .with_body(request.body().clone())
            .with_header("X-Target", request.target())
    });
    let request = http::Request::post("http://example.com/a?b=c").header("a", "b").body("body").unwrap();
    let response = http.handle(request).await;
    assert_eq!((response.header("X-Target"), text(&response)), (Some("http://example.com/a?b=c"), "body"));
    let response = http.handle(http::Request::new(Bytes::new())).await;
    assert_eq!(response.header("X-Target"), Some("/"));
}

#[test]
fn a_response_is_converted_from_and_to_that_of_the_http_crate() {
    let theirs = http::Response::builder().status(201).header("Set-Cookie", "a").header("Set-Cookie", "b").body("body");
    let ours = Response::from(theirs.unwrap());
    let headers: Vec<_> = ours.headers().map(|(name, value)| (name, value.as_bytes())).collect();
    assert_eq!((ours.status(), text(&ours)), (201, "body"));
    assert_eq!(headers, [("set-cookie", &b"a"[..]), ("set-cookie", b"b")]);

    let theirs = http::Response::<Bytes>::try_from(ours.with_header("X-A", "b")).unwrap();
    assert_eq!((theirs.status().as_u16(), &theirs.body()[..]), (201, &b"body"[..]));
    assert_eq!(theirs.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(theirs.headers()["x-a"], "b");
}

#[test]
fn a_response_that_cannot_be_sent_is_converted_to_its_500_page() {
    for response in [Response::new(99), Response::new(102), Response::new(200).with_header("a b", "c")] {
        assert_eq!(http::Response::<Bytes>::try_from(response).unwrap().status(), 500);
    }
}

#[test]
fn a_response_with_a_body_stream_is_not_converted() {
    let stream = BodyStream::new();
    let writer = stream.writer();
    let response = http::Response::<Bytes>::try_from(Response::new(200).with_body(stream)).unwrap_err();
    assert!(writer.is_writable(), "the response that is given back has the stream");
    drop(response);
    assert!(!writer.is_writable());
}
