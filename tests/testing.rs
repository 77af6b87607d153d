//! The test client itself: what it sends and receives, and how its expectations fail.
#![cfg(feature = "testing")]

mod support;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use react_websocket::body::BodyWriter;
use react_websocket::handlers::{Middleware, Next, middleware, router as boxed_router};
use react_websocket::testing::{Event, TestClient, TestConnection};
use react_websocket::{
    BodyStream, Bytes, GroupManager, HttpOptions, HttpServer, Message, Response, ServerRequest, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};
use support::{Log, settle};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// Echoes messages, and some texts are commands. The log contains all events.
fn websocket(log: &Log) -> WebSocketMiddleware {
    websocket_with(log, WebSocketOptions::new())
}

fn websocket_with(log: &Log, options: WebSocketOptions) -> WebSocketMiddleware {
    let (websocket, log) = (WebSocketMiddleware::new().with_options(options), log.clone());
    websocket.on("connection", move |connection: WebSocketConnection| {
        log.watch(connection);
        connection.on("message", move |message: Message| match message.as_text() {
            Some("close") => connection.close_with(4000, "as asked"),
            Some("terminate") => connection.terminate(),
            Some("ping") => _ = connection.ping("p"),
            Some("nothing") => {}
            Some("pause") => connection.pause(),
            _ => _ = connection.write_message(&message),
        });
    });
    websocket
}

fn client() -> TestClient {
    TestClient::new((websocket(&Log::default()), support::router))
}

/// The message of a panic and the line of our code that it names.
#[derive(Debug)]
struct Panic {
    message: String,
    line: u32,
    file: String,
}

thread_local! {
    /// The place of the last panic of this thread, while one is expected.
    static PLACE: RefCell<Option<Option<(String, u32)>>> = const { RefCell::new(None) };
}

/// Runs a test that must panic, in a task of this thread.
async fn panic_of(test: impl Future<Output = ()> + Send + 'static) -> Panic {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match PLACE.take() {
            Some(_) => {
                let location = info.location().unwrap();
                PLACE.set(Some(Some((location.file().to_owned(), location.line()))));
            }
            None => default(info),
        }));
    });
    PLACE.set(Some(None));
    let result = tokio::spawn(test).await;
    let place = PLACE.take();
    let payload = result.expect_err("the test passes").into_panic();
    let message = payload.downcast_ref::<String>().cloned();
    let message = message.unwrap_or_else(|| (*payload.downcast_ref::<&str>().unwrap()).to_owned());
    let (file, line) = place.flatten().unwrap();
    Panic { message, line, file }
}

#[track_caller]
fn line() -> u32 {
    Location::caller().line()
}

#[tokio::test(start_paused = true)]
async fn messages_of_each_kind_go_both_ways() {
    let log = Log::default();
    let client = TestClient::new(websocket(&log));
    let mut peer = client.connect("/").await;
    peer.send_text("hello");
    peer.expect_text("hello").await;
    peer.send_binary([1, 2, 3]);
    peer.expect_binary(vec![1, 2, 3]).await;
    peer.send_text("a");
    peer.send_binary("b");
    assert_eq!(peer.next_text().await, "a");
    assert_eq!(peer.next_binary().await, "b");
    peer.ping("are you there");
    peer.expect_pong("are you there").await;
    let large = "x".repeat(300_000);
    peer.send_text(&large);
    peer.expect_text(large).await;
    peer.close_with(4001, "bye");
    assert_eq!(peer.expect_close(4001).await, "bye");
    settle().await;
    let events = log.take();
    assert_eq!(events.last().unwrap(), "close 4001 bye");
}

#[tokio::test(start_paused = true)]
async fn next_event_returns_events_of_each_kind_in_their_order() {
    let mut peer = client().connect("/").await;
    for text in ["hello", "ping", "close"] {
        peer.send_text(text);
    }
    assert_eq!(peer.next_event().await, Event::Text("hello".into()));
    assert_eq!(peer.next_event().await, Event::Ping(Bytes::from_static(b"p")));
    assert_eq!(peer.next_event().await, Event::Close { code: 4000, reason: "as asked".into() });
    let mut peer = client().connect("/").await;
    peer.ping("");
    assert_eq!(peer.next_event().await, Event::Pong(Bytes::new()));
}

/// A ping of the server must not disturb a test that waits for a message.
#[tokio::test(start_paused = true)]
async fn expectations_skip_pings_and_pongs() {
    let log = Log::default();
    let mut peer = TestClient::new(websocket(&log)).connect("/").await;
    peer.expect_silence(Duration::from_secs(70)).await;
    assert_eq!(log.take(), ["pong 0"; 3], "the client answers: a ping each 18 to 22 s");
    peer.send_text("ping");
    peer.ping("1");
    peer.ping("2");
    assert_eq!(peer.expect_ping().await, "p");
    peer.expect_pong("2").await;
    peer.send_text("ping");
    peer.send_text("hello");
    peer.expect_text("hello").await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_server_is_a_close_event() {
    let mut peer = client().connect("/").await;
    peer.send_text("terminate");
    assert_eq!(peer.expect_close(1006).await, "");
    // The end is not a message.
    peer.expect_silence(Duration::from_secs(1)).await;
}

/// RFC 6455 section 7.1.5: no Close frame.
#[tokio::test(start_paused = true)]
async fn a_dropped_connection_ends_with_1006_for_the_server() {
    let log = Log::default();
    let client = TestClient::new(websocket(&log));
    let peer = client.connect("/").await;
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["close 1006 "]);
    // The server goes on.
    client.connect("/").await.close();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_delivers_what_was_sent_before() {
    let log = Log::default();
    let client = TestClient::new(websocket(&log)).buffer_size(16);
    let mut peer = client.connect("/").await;
    peer.send_text("nothing");
    peer.send_text("n".repeat(100));
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["text nothing", &format!("text {}", "n".repeat(100)), "close 1006 "]);

    let mut peer = client.connect("/").await;
    peer.send_text("nothing");
    peer.close_with(4001, "bye");
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["text nothing", "end", "close 4001 bye"], "the closing handshake goes on");
}

/// RFC 6455 section 5.2: reserved bits and opcodes, and a frame that is not complete.
#[tokio::test(start_paused = true)]
async fn raw_bytes_are_sent_as_they_are() {
    let client = client();
    for frame in [&b"\x83\x80\0\0\0\0"[..], b"\xC1\x80\0\0\0\0", b"\x81\0"] {
        let mut peer = client.connect("/").await;
        peer.send_raw(frame);
        peer.expect_close(1002).await;
    }
    let mut peer = client.connect("/").await;
    peer.send_raw(b"\x81\x82\0\0\0\0h");
    peer.expect_silence(Duration::from_secs(1)).await;
    peer.send_raw("i");
    peer.expect_text("hi").await;
}

#[tokio::test(start_paused = true)]
async fn the_server_sees_path_headers_origin_subprotocols_and_addresses() {
    let options = WebSocketOptions::new().subprotocols(["b", "a"]).keep_request(true);
    let websocket = WebSocketMiddleware::new().with_options(options).with_path("/chat");
    websocket.on("connection", |connection: WebSocketConnection| {
        let request = connection.request().unwrap();
        let header = |name| request.header(name).unwrap_or("none").to_owned();
        connection.write(format!(
            "{} {} {} {} {} {}",
            request.target(),
            header("X-Both"),
            header("X-One"),
            header("Origin"),
            header("Host"),
            connection.remote_address().unwrap(),
        ));
    });
    let client = TestClient::new(websocket).header("X-Both", "1");
    let address: SocketAddr = "192.0.2.7:1234".parse().unwrap();
    let other = client.clone().remote_address(address);
    let mut peer = client.connect("/chat?room=a b&x=ä").await;
    peer.expect_text("/chat?room=a%20b&x=%C3%A4 1 none none localhost 127.0.0.1:50000").await;
    assert_eq!(peer.subprotocol(), None);
    let handshake = other.connect("/chat").header("X-One", "2").subprotocols(["a", "c"]);
    let mut peer = handshake.header("Host", "example.com").origin("http://wrong").origin("http://example.com").await;
    peer.expect_text("/chat 1 2 http://example.com example.com 192.0.2.7:1234").await;
    assert_eq!(peer.subprotocol().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn anything_that_a_server_takes_can_be_tested() {
    let answer = |_request: ServerRequest| Response::plaintext("router");
    let pass = |request: ServerRequest, next: Next| next.run(request);
    let list: Vec<Box<dyn Middleware>> = vec![middleware(pass), boxed_router(answer)];
    let http = HttpServer::new((pass, WebSocketMiddleware::new(), answer));
    for client in [
        TestClient::new(answer),
        TestClient::new(async |_request: ServerRequest| Response::plaintext("router")),
        TestClient::new((pass, answer)),
        TestClient::new(list),
        TestClient::new(&http),
        TestClient::new(http.clone()),
    ] {
        assert_eq!(client.get("/").await.text(), "router");
    }
    TestClient::new(WebSocketMiddleware::new()).connect("/").await.close();
    assert_eq!(http.stats().requests, 2, "it is this server");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_response() {
    let websocket = WebSocketMiddleware::new().with_path("/chat");
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.reject(Response::plaintext("who are you?").with_status(401).with_header("WWW-Authenticate", "Basic"));
    });
    let client = TestClient::new((websocket, support::router));
    let refusal = client.connect("/chat").expect_refusal().await;
    assert_eq!((refusal.status(), refusal.text()), (401, "who are you?"));
    assert_eq!(refusal.header("www-authenticate"), Some("Basic"));
    let refusal = client.connect("/elsewhere").expect_refusal().await;
    assert_eq!((refusal.status(), refusal.text()), (200, "router /elsewhere"));
    let refusal = client.connect("/chat").origin("https://evil.example").expect_refusal().await;
    assert_eq!(refusal.expect_status(403).headers()["connection"], "close");
}

#[tokio::test(start_paused = true)]
async fn requests_have_methods_bodies_and_headers() {
    let client = TestClient::new(|request: ServerRequest| {
        let length = request.header("Content-Length").unwrap_or("none").to_owned();
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let (method, target) = (request.method().clone(), request.target().to_owned());
        let host = request.host().unwrap_or("none").to_owned();
        Response::plaintext(format!("{method} {target} {host} {length} {body}"))
    });
    assert_eq!(client.get("/a?b=c d").await.text(), "GET /a?b=c%20d localhost none ");
    assert_eq!(client.post("/").await.text(), "POST / localhost 0 ");
    assert_eq!(client.post("/").body("abc").await.text(), "POST / localhost 3 abc");
    assert_eq!(client.method("DELETE", "/x").await.text(), "DELETE /x localhost none ");
    let form = client.post("/").form([("a", "1 2"), ("b", "ä")]).await;
    assert_eq!(form.text(), "POST / localhost 14 a=1+2&b=%C3%A4");
    let chunked = client.post("/").header("Transfer-Encoding", "chunked").body("3\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(chunked.text(), "POST / localhost none abc");
    let request = http::Request::put("http://u:p@example.com:8000/y?z").body("up").unwrap();
    assert_eq!(client.request(request).await.text(), "PUT /y?z example.com:8000 2 up");
    let head = client.method("HEAD", "/").await;
    assert_eq!((head.status(), head.text(), head.header("Content-Length").is_some()), (200, "", true));
    let whole: http::Response<Bytes> = client.get("/").await.into();
    assert_eq!(whole.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn bodies_of_each_length_arrive() {
    let client = TestClient::new(|request: ServerRequest| {
        let size: usize = request.path()[1..].parse().unwrap();
        let body = BodyStream::new();
        let writer = body.writer();
        tokio::spawn(async move {
            for _ in 0..size {
                assert!(writer.send(vec![b'x'; 1000]).await);
            }
            writer.end();
        });
        Response::new(200).with_body(body)
    })
    .buffer_size(10);
    for size in [0, 1, 500] {
        assert_eq!(client.get(format!("/{size}")).await.body().len(), 1000 * size);
    }
}

/// An event each second, and two at the third.
fn clock(request: ServerRequest) -> Response {
    let body = BodyStream::new();
    let (writer, is_endless) = (body.writer(), request.path() == "/endless");
    body.on("close", {
        let closed = request.attribute::<Arc<Notify>>().cloned().unwrap_or_default();
        move || closed.notify_one()
    });
    tokio::spawn(async move {
        for text in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\ndata: 4", "\n\n", "\u{ff}"] {
            sleep(Duration::from_secs(1)).await;
            writer.write(text);
        }
        if is_endless {
            std::future::pending::<()>().await;
        }
        writer.end();
    });
    Response::new(200).with_header("Content-Type", "text/event-stream").with_body(body)
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_while_it_arrives() {
    let start = Instant::now();
    let mut events = TestClient::new(clock).get("/").stream().await;
    assert_eq!((events.status(), events.header("Content-Type")), (200, Some("text/event-stream")));
    events.expect_text("data: ").await;
    events.expect_text("1\n\nda").await;
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(events.read_until("\n\n").await, "ta: 2\n\n");
    assert_eq!(events.read_until("\n").await, "data: 3\n");
    events.expect_text("\n").await;
    assert_eq!(events.read_until("\n\n").await, "data: 4\n\n");
    assert_eq!(start.elapsed().as_secs(), 4);
    events.expect_text("\u{ff}").await;
    events.expect_end().await;
    let mut empty = TestClient::new(|_: ServerRequest| Response::new(204)).get("/").stream().await;
    empty.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_disconnects_the_client() {
    let closed = Arc::new(Notify::new());
    let attach = {
        let closed = closed.clone();
        move |request: ServerRequest, next: Next| next.run(request.with_attribute(closed.clone()))
    };
    let client = TestClient::new((attach, clock));
    let mut events = client.get("/endless").stream().await;
    events.expect_text("data: 1\n\n").await;
    drop(events);
    tokio::time::timeout(Duration::from_secs(10), closed.notified()).await.unwrap();
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn json_in_messages_requests_and_responses() {
    use serde_json::{Value, json};
    let echo = |request: ServerRequest| Response::json(&request.json::<Value>().unwrap());
    let client = TestClient::new((websocket(&Log::default()), echo));
    let mut peer = client.connect("/").await;
    peer.send_json(&json!({"a": 1, "b": [true]}));
    peer.expect_json(&json!({"b": [true], "a": 1})).await;
    peer.send_text("{ \"a\": 2 }");
    assert_eq!(peer.next_json::<std::collections::HashMap<String, u8>>().await["a"], 2);
    assert_eq!(client.post("/").json(&[1, 2]).await.json::<Vec<u8>>(), [1, 2]);
    let panic = panic_of(async move {
        peer.send_json(&[1]);
        peer.expect_json(&[2]).await;
    });
    assert_eq!(panic.await.message.lines().next(), Some("expected JSON [2], but received text \"[1]\""));
}

#[tokio::test(start_paused = true)]
async fn an_unmet_expectation_panics_at_its_line_with_the_transcript() {
    let expected = line() + 6;
    let panic = panic_of(async {
        let mut peer = client().connect("/").await;
        peer.send_text("hello");
        peer.expect_text("hello").await;
        peer.send_text("HELLO");
        peer.expect_text("hello").await;
    });
    let panic = panic.await;
    let message = "expected text \"hello\", but received text \"HELLO\"\nso far:\n  sent     text \"hello\"\n  \
        received text \"hello\"\n  sent     text \"HELLO\"\n  received text \"HELLO\"";
    assert_eq!(panic.message, message);
    assert_eq!((&*panic.file, panic.line), (file!(), expected));
}

#[tokio::test(start_paused = true)]
async fn events_that_arrived_after_the_unexpected_one_are_shown() {
    let panic = panic_of(async {
        let mut peer = client().connect("/").await;
        for text in ["1", "2", "close"] {
            peer.send_text(text);
        }
        settle().await;
        peer.expect_text("2").await;
    });
    let message = panic.await.message;
    let end = "\nreceived after that:\n  received text \"2\"\n  received close 4000 \"as asked\"";
    assert!(message.ends_with(end), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_combinator_does_not_hide_the_line() {
    let expected = line() + 3;
    let panic = panic_of(async {
        let mut peer = client().connect("/").await;
        let waiting = peer.expect_text("hi");
        _ = tokio::time::timeout(Duration::MAX, waiting).await;
    });
    let message = panic.await.message;
    let end = format!("so far: nothing\nexpected at {}:{expected}:28", file!());
    assert!(message.ends_with(&end), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_expectation_has_five_seconds_of_paused_time() {
    let start = Instant::now();
    let panic = panic_of(async {
        let mut peer = client().connect("/").await;
        peer.send_text("nothing");
        peer.expect_text("something").await;
    });
    let message = panic.await.message;
    assert!(message.starts_with("expected text \"something\" within 5s, but nothing arrived\nso far:\n"), "{message}");
    assert_eq!(start.elapsed().as_secs(), 5);
    let client = client().timeout(Duration::from_secs(60));
    let mut peer = client.connect("/").await;
    let start = Instant::now();
    // The server pings after 18 to 22 s, and this is an event.
    assert!(matches!(peer.next_event().await, Event::Ping(_)));
    assert!((18..=22).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// Each kind of failure, and the first line of its message.
#[tokio::test(start_paused = true)]
async fn failures_contain_the_expected_and_the_received_event() {
    async fn open() -> TestConnection {
        client().connect("/").await
    }
    macro_rules! fails {
        ($($message:literal: |$peer:ident| $test:block)+) => {$(
            let panic = panic_of(async {
                #[allow(unused_mut)]
                let mut $peer = open().await;
                $test;
            });
            let panic = panic.await;
            assert_eq!(panic.message.lines().next(), Some($message));
            assert_eq!(panic.file, file!(), "{panic:?}");
        )+};
    }
    fails! {
        "expected a text message, but received binary b\"\\x01\"": |peer| {
            peer.send_binary([1]);
            peer.next_text().await;
        }
        "expected a binary message, but received text \"a\"": |peer| {
            peer.send_text("a");
            peer.next_binary().await;
        }
        "expected binary b\"b\", but received binary b\"a\"": |peer| {
            peer.send_binary("a");
            peer.expect_binary("b").await;
        }
        "expected close 1000, but received close 4000 \"as asked\"": |peer| {
            peer.send_text("close");
            peer.expect_close(1000).await;
        }
        "expected text \"a\", but received close 1006 \"\"": |peer| {
            peer.send_text("terminate");
            peer.expect_text("a").await;
        }
        "expected an event, but the connection has ended": |peer| {
            peer.send_text("terminate");
            peer.next_event().await;
            peer.next_event().await;
        }
        "expected pong b\"2\", but received text \"a\"": |peer| {
            peer.ping("1");
            peer.send_text("a");
            peer.expect_pong("2").await;
        }
        "expected a ping, but received text \"a\"": |peer| {
            peer.send_text("a");
            peer.expect_ping().await;
        }
        "expected silence for 1s, but received text \"a\"": |peer| {
            peer.send_text("a");
            peer.expect_silence(Duration::from_secs(1)).await;
        }
        "cannot send text \"late\": the connection is closing or closed": |peer| {
            peer.send_text("close");
            peer.expect_close(4000).await;
            peer.send_text("late");
        }
        "a ping of 126 bytes exceeds 125": |peer| { peer.ping([0; 126]) }
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes_and_requests_that_fail() {
    let never = async |_request: ServerRequest| std::future::pending::<Response>().await;
    let refuses = |_request: ServerRequest| Response::plaintext("no room").with_status(503);
    let endless = |_request: ServerRequest| {
        let body = BodyStream::new();
        let writer = body.writer();
        writer.write("begun");
        body.on("close", move |_: &BodyWriter| _ = writer.is_writable());
        Response::new(200).with_body(body)
    };
    let cut = |_request: ServerRequest| {
        let body = BodyStream::new();
        let writer = body.writer();
        writer.write("begun");
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            drop(writer);
        });
        Response::new(200).with_body(body)
    };
    macro_rules! fails {
        ($($message:literal: $test:expr;)+) => {$(
            let panic = panic_of(async move { _ = $test; }).await;
            assert!(panic.message.starts_with($message), "{panic:?}");
            assert_eq!(panic.file, file!());
        )+};
    }
    fails! {
        "expected a connection to /a?b, but the server refused the handshake with status 503 Service Unavailable\n\
            body: \"no room\"": TestClient::new(refuses).connect("/a?b").await;
        "expected a connection to /, but no connection within 5s, the WebSocket handshake has not ended":
            TestClient::new(never).connect("/").await;
        "expected a refusal of /, but the server accepted the connection":
            TestClient::new(WebSocketMiddleware::new()).connect("/").expect_refusal().await;
        "expected a response to GET /x within 5s, but nothing arrived": TestClient::new(never).get("/x").await;
        "expected a response to GET /x within 5s, but the body did not end\nTestResponse { status: 200, headers: {":
            TestClient::new(endless).get("/x").await;
        "expected a response to GET /x, but the connection ended within the body\nTestResponse { status: 200,":
            TestClient::new(cut).get("/x").await;
        "expected status 200, but received 503\nTestResponse { status: 503,":
            TestClient::new(refuses).get("/").await.expect_status(200);
        "path \"chat\" does not begin with `/`": client().connect("chat").await;
        "path \"/a#b\" cannot be requested: a fragment": client().get("/a#b").await;
        "header \"a b\" with the value \"c\" cannot be sent": client().header("a b", "c");
        "header \"a\" with the value \"\\n\" cannot be sent": client().get("/").header("a", "\n").await;
        "expected a connection to /, but header \"upgrade\" cannot be sent":
            client().connect("/").header("Upgrade", "h2c").await;
        "\"a b\" is not a method": client().method("a b", "/").await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_not_as_expected() {
    macro_rules! fails {
        ($($path:literal $message:literal: |$events:ident| $test:expr;)+) => {$(
            let panic = panic_of(async {
                let mut $events = TestClient::new(clock).timeout(Duration::from_secs(3)).get($path).stream().await;
                _ = $test;
            });
            let panic = panic.await;
            assert_eq!((&*panic.message, &*panic.file), ($message, file!()));
        )+};
    }
    fails! {
        "/" "expected body \"data: 2\", but received b\"data: 1\\n\\n\"": |events| events.expect_text("data: 2").await;
        "/" "expected body until \";\" within 3s, but received only b\"data: 1\\n\\ndata: 2\\n\\n\"":
            |events| events.read_until(";").await;
        "/" "expected the end of the body, but received b\"data: 1\\n\\ndata: 2\\n\\n\"": |events| events.expect_end().await;
        "/endless" "expected the end of the body within 3s, but it did not end": |events| {
            events.expect_text("data: 1\n\ndata: 2\n\n").await;
            events.expect_text("data: 3\n\ndata: 4").await;
            events.expect_text("\n\n\u{ff}").await;
            events.expect_end().await
        };
        "/" "expected body \"no\", but the body ended after b\"\"": |events| {
            events.expect_text("data: 1\n\ndata: 2\n\n").await;
            events.expect_text("data: 3\n\ndata: 4").await;
            events.expect_text("\n\n\u{ff}").await;
            events.expect_text("no").await
        };
        "/" "an empty delimiter": |events| events.read_until("").await;
    }
}

/// A client may outlive its runtime.
#[test]
fn a_client_is_dropped_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, mut peer) = runtime.block_on(async {
        let client = client();
        let peer = client.connect("/").await;
        (client, peer)
    });
    peer.send_text("unsent");
    drop(runtime);
    drop(peer);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_paused_client_makes_unsent_bytes_grow_until_it_resumes() {
    let (log, open) = (Log::default(), Arc::new(Mutex::new(None)));
    let (watched, opened) = (log.clone(), open.clone());
    let options = WebSocketOptions::new().ping_interval(None).write_buffer_soft_limit(1000);
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", move |connection: WebSocketConnection| {
        watched.watch(connection);
        *opened.lock().unwrap() = Some(connection);
    });
    let mut peer = TestClient::new(websocket).buffer_size(100).connect("/").await;
    let connection = open.lock().unwrap().unwrap();
    peer.pause();
    assert!(connection.write("x".repeat(500)));
    settle().await;
    assert_eq!(connection.buffered_amount(), 504 - 100, "as many bytes as the pipe has");
    assert!(!connection.write("x".repeat(700)));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(log.take(), [""; 0]);
    peer.expect_silence(Duration::from_secs(1)).await;
    peer.resume();
    peer.expect_text("x".repeat(500)).await;
    peer.expect_text("x".repeat(700)).await;
    settle().await;
    assert_eq!((connection.buffered_amount(), log.take()), (0, vec!["drain".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_client_without_pongs_is_a_dead_peer() {
    let (log, start) = (Log::default(), Instant::now());
    let options = WebSocketOptions::new().ping_interval(Duration::from_secs(3)).pong_timeout(Duration::from_secs(2));
    let client = TestClient::new(websocket_with(&log, options)).timeout(Duration::from_secs(30));
    let mut peer = client.connect("/").auto_pong(false).await;
    assert!(matches!(peer.next_event().await, Event::Ping(_)));
    assert!(matches!(peer.next_event().await, Event::Close { .. }));
    assert!((4700..5500).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(log.take().len(), 2, "error and close");
}

#[tokio::test(start_paused = true)]
async fn two_clients_are_in_a_group() {
    let websocket = WebSocketMiddleware::new().with_group_manager(GroupManager::new());
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.group().unwrap().write(text));
        connection.set_group(Some("all"))
    });
    let client = TestClient::new(websocket);
    let (mut ann, mut bob) = (client.connect("/").await, client.connect("/").await);
    ann.send_text("hello");
    ann.expect_text("hello").await;
    bob.expect_text("hello").await;
    drop(ann);
    bob.send_text("alone");
    bob.expect_text("alone").await;
}

/// Like `Listening::close`.
#[tokio::test(start_paused = true)]
async fn shutdown_closes_with_1001_and_waits_for_slow_peers() {
    let (log, start) = (Log::default(), Instant::now());
    let client = TestClient::new(websocket(&log));
    let mut peer = client.connect("/").await;
    client.shutdown().await;
    assert_eq!(peer.expect_close(1001).await, "server shutdown");
    assert_eq!(log.take(), ["close 1001 server shutdown"]);
    assert!(start.elapsed() < Duration::from_secs(1));
    let panic = panic_of(async move { _ = client.get("/").await }).await;
    let message = "expected a response to GET /, but the connection ";
    assert!(panic.message.starts_with(message), "{panic:?}");

    let http = HttpServer::new(websocket(&log)).with_options(HttpOptions::new().shutdown_grace(Duration::from_secs(3)));
    let client = TestClient::new(http);
    let mut peer = client.connect("/").await;
    peer.pause();
    client.shutdown().await;
    assert_eq!(log.take(), ["close 1006 "], "it has not answered in time");
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// Everything was dropped: the connection, the client, and a request that is pending.
async fn leave_no_task() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let client = TestClient::new((websocket(&Log::default()), async |_request: ServerRequest| {
        std::future::pending::<Response>().await
    }));
    let peer = client.connect("/").await;
    // Bytes that the server never reads.
    let mut stuck = client.connect("/").await;
    stuck.send_text("pause");
    sleep(Duration::from_millis(10)).await;
    stuck.send_binary(vec![0; 1_000_000]);
    drop(stuck);
    let pending = client.get("/");
    tokio::select! {
        biased;
        _ = pending => {}
        () = sleep(Duration::from_millis(10)) => {}
    }
    // The connection keeps the server.
    drop(client);
    sleep(Duration::from_millis(10)).await;
    let mut peer = peer;
    peer.send_text("hi");
    peer.expect_text("hi").await;
    assert!(tasks() > before);
    drop(peer);
    for _ in 0..1000 {
        if tasks() == before {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{} tasks are left", tasks() - before);
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_in_paused_time() {
    leave_no_task().await;
}

#[tokio::test]
async fn no_task_is_left_on_one_thread() {
    leave_no_task().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_left_on_two_threads() {
    leave_no_task().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_many_threads() {
    let client = client();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut peer = client.connect("/").await;
                for message in 0..100 {
                    peer.send_text(format!("{number} {message}"));
                    peer.expect_text(format!("{number} {message}")).await;
                }
                peer.close();
                peer.expect_close(1000).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    client.shutdown().await;
}
