//! HTTP as its clients see it: bytes in, bytes and events out.
//!
//! The requests and the answers that ReactPHP gives to them are those of a run against react/http 1.10; where the answer
//! differs on purpose, the case says so.

mod support;

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use react_websocket::{
    BodyStream, BodyWriter, BoxError, Form, FormError, HttpError, HttpOptions, HttpServer, Middleware, Next, Response,
    ResponseFuture, ServerRequest, TrustedProxies, WebSocketConnection, WebSocketMiddleware,
};
use support::{HANDSHAKE, Log, Peer, listen_with, router, websockets};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a server said until the end, and after how many seconds the end came.
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
    end: f64,
}

/// A connection that is left open by both sides ends when it has been idle for so many seconds.
const OPEN: f64 = 30.0;
const CLOSED: f64 = 0.0;

/// What a client says, each piece at its time in milliseconds.
type Script<'a, B> = &'a [(u64, B)];

/// Speaks to a server, with so many bytes in flight at most. The client itself does not end the connection. Time is paused.
async fn play<B: AsRef<[u8]>>(http: &HttpServer, capacity: usize, script: Script<'_, B>) -> Said {
    let (client, server) = tokio::io::duplex(capacity);
    let start = Instant::now();
    let _serving = http.serve(server);
    let (mut read, mut write) = tokio::io::split(client);
    let speak = async {
        for (at, bytes) in script {
            sleep_until(start + millis(*at)).await;
            // A server that has had enough does not take the rest.
            let _ = write.write_all(bytes.as_ref()).await;
        }
    };
    let listen = async {
        let mut said = Vec::new();
        read.read_to_end(&mut said).await.unwrap();
        (said, seconds_since(start))
    };
    let ((), (said, end)) = someday(async { tokio::join!(speak, listen) }).await;
    Said { text: shown(&said), end }
}

/// The same with all said at once.
async fn say(http: &HttpServer, bytes: impl AsRef<[u8]>) -> Said {
    play(http, 1 << 20, &[(0, bytes)]).await
}

/// The same with one byte of each direction in flight, so that the server gets every byte alone.
async fn say_byte_by_byte(http: &HttpServer, bytes: impl AsRef<[u8]>) -> Said {
    play(http, 1, &[(0, bytes)]).await
}

/// Responses with LF for CR LF, which nothing in these tests has otherwise, and the date, which has to be one, as `*`.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split("\r\n").map(|line| {
        assert!(!line.contains(['\r', '\n']), "a lone CR or LF in {text:?}");
        let Some(date) = line.strip_prefix("Date: ") else { return line };
        let date = httpdate::parse_http_date(date).expect("a date");
        assert!(date <= SystemTime::now() && date + Duration::from_secs(60) > SystemTime::now(), "{line}");
        assert!(line.ends_with(" GMT") && line.len() == "Date: Sun, 06 Nov 1994 08:49:37 GMT".len(), "{line}");
        "Date: *"
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A 200 as it is shown.
fn ok(body: &str) -> String {
    ok_with("Content-Type: text/plain; charset=utf-8\n", "", body)
}

/// A 200 with header lines of the app, and some about the connection.
fn ok_with(headers: &str, connection: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\n{headers}Server: react-websocket\nDate: *\nContent-Length: {length}\n{connection}\n{body}")
}

/// An error page as it is shown.
fn page(status: &str) -> String {
    let body = format!("Error {}", status.replacen(' ', ": ", 1));
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\nContent-Type: text/plain\nServer: react-websocket\nDate: *\nContent-Length: {length}\n\
         Connection: close\n\n{body}"
    )
}

/// A server whose router says what it was asked.
fn telling() -> HttpServer {
    HttpServer::new(tell)
}

fn tell(request: ServerRequest) -> Response {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    Response::plaintext(format!("{} {} {body}", request.method(), request.target()))
}

/// Notes the `error` events of a server.
fn errors(http: &HttpServer) -> Log {
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error| noting.add(error));
    log
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// To a tenth of a second.
fn seconds_since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

/// Lets everybody do what there is to do: paused time goes on only when nobody has anything left.
async fn settle() {
    sleep(millis(1)).await;
}

/// Fails a test that would wait for ever, in paused time: a day passes at once.
async fn someday<F: Future>(future: F) -> F::Output {
    timeout(seconds(86_400), future).await.expect("an end within a day")
}

/// The same where time is real.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(seconds(10), future).await.expect("an end within ten seconds")
}

/// Says so in a log when it is dropped.
struct Guard(Log, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

// Responses: their heads, and how long their bodies are.

#[tokio::test(start_paused = true)]
async fn headers_keep_their_order_and_spelling_and_the_servers_own_come_last() {
    let http = HttpServer::new(|_: ServerRequest| {
        Response::new(200)
            .with_header("x-second", "replaced")
            .with_header("X-FIRST", "1")
            .with_added_header("set-Cookie", "a=1")
            .with_header("X-Second", "2")
            .with_added_header("Set-Cookie", "b=2")
            .with_body("hello")
    });
    let said = say(&http, GET).await;
    assert_eq!(said.text, ok_with("X-FIRST: 1\nset-Cookie: a=1\nX-Second: 2\nSet-Cookie: b=2\n", "", "hello"));
    assert_eq!(said.end, OPEN);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_body_has_its_content_type() {
    let http = HttpServer::new(|request: ServerRequest| match request.path() {
        "/plaintext" => Response::plaintext("a"),
        "/html" => Response::html(String::from("b")),
        "/xml" => Response::xml(&b"c"[..]),
        _ => Response::new(200).with_body(vec![b'd']),
    });
    for (path, headers, body) in [
        ("plaintext", "Content-Type: text/plain; charset=utf-8\n", "a"),
        ("html", "Content-Type: text/html; charset=utf-8\n", "b"),
        ("xml", "Content-Type: application/xml\n", "c"),
        ("other", "", "d"),
    ] {
        let said = say(&http, format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(said.text, ok_with(headers, "", body));
    }
}

#[tokio::test(start_paused = true)]
async fn server_and_date_can_be_replaced_and_left_out() {
    let http = HttpServer::new(|request: ServerRequest| {
        let value = request.header("X-Value").unwrap_or_default().to_owned();
        Response::new(204).with_header("sERVER", &value).with_header("X-Between", "").with_header("dATE", value)
    });
    for (value, head) in [
        ("mine", "HTTP/1.1 204 No Content\nsERVER: mine\nX-Between: \ndATE: mine\n\n"),
        ("", "HTTP/1.1 204 No Content\nX-Between: \n\n"),
    ] {
        let said = say(&http, format!("GET / HTTP/1.1\r\nHost: a\r\nX-Value: {value}\r\n\r\n")).await;
        assert_eq!(said.text, head);
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_without_a_reason_has_an_empty_one() {
    let http = HttpServer::new(|_: ServerRequest| Response::new(299));
    let said = say(&http, GET).await;
    assert_eq!(said.text.lines().next(), Some("HTTP/1.1 299 "));
    assert_eq!(said.end, OPEN);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_connection_open() {
    let http = HttpServer::new(|request: ServerRequest| match request.header("X-Close") {
        Some(options) => Response::new(200).with_header("connection", options),
        None => Response::new(200),
    });
    // The request's version and header lines; the response's Connection, and what becomes of the connection.
    for (version, headers, connection, end) in [
        ("1.1", "", "", OPEN),
        ("1.1", "Connection: keep-alive\r\n", "", OPEN),
        ("1.1", "Connection: foo\r\n", "", OPEN),
        ("1.1", "Connection: close\r\n", "Connection: close\n", CLOSED),
        ("1.1", "Connection: Close\r\n", "Connection: close\n", CLOSED),
        // A list, which ReactPHP does not read as one.
        ("1.1", "Connection: foo, close\r\n", "Connection: close\n", CLOSED),
        ("1.1", "Connection: close ,foo\r\n", "Connection: close\n", CLOSED),
        ("1.1", "Connection: foo\r\nConnection: close\r\n", "Connection: close\n", CLOSED),
        ("1.1", "Connection: close, keep-alive\r\n", "Connection: close\n", CLOSED),
        ("1.1", "Connection: closed\r\n", "", OPEN),
        ("1.1", "X-Close: close\r\n", "Connection: close\n", CLOSED),
        ("1.1", "X-Close: foo, Close\r\n", "Connection: close\n", CLOSED),
        ("1.0", "", "", CLOSED),
        ("1.0", "Connection: foo\r\n", "", CLOSED),
        ("1.0", "Connection: close\r\n", "Connection: close\n", CLOSED),
        ("1.0", "Connection: keep-alive\r\n", "Connection: keep-alive\n", OPEN),
        ("1.0", "Connection: foo, Keep-Alive\r\n", "Connection: keep-alive\n", OPEN),
        ("1.0", "Connection: keep-alive\r\nX-Close: close\r\n", "Connection: close\n", CLOSED),
    ] {
        let said = say(&http, format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n")).await;
        let text = ok_with("", connection, "").replace("HTTP/1.1", &format!("HTTP/{version}"));
        assert_eq!(said, Said { text, end }, "HTTP/{version} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_app_says_of_the_connection_is_told_where_the_server_has_nothing_to_say() {
    let http = HttpServer::new(|_: ServerRequest| Response::new(200).with_header("connection", "foo"));
    for (version, headers, told, connection, end) in [
        ("1.1", "", "connection: foo\n", "", OPEN),
        ("1.1", "Connection: close\r\n", "", "Connection: close\n", CLOSED),
        ("1.0", "", "", "", CLOSED),
        ("1.0", "Connection: keep-alive\r\n", "", "Connection: keep-alive\n", OPEN),
    ] {
        let said = say(&http, format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n")).await;
        let text = ok_with(told, connection, "").replace("HTTP/1.1", &format!("HTTP/{version}"));
        assert_eq!(said, Said { text, end }, "HTTP/{version} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_1_0_needs_no_host() {
    let said = say(&telling(), "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(said, Said { text: ok("GET / ").replace("HTTP/1.1", "HTTP/1.0"), end: CLOSED });
}

#[tokio::test(start_paused = true)]
async fn the_length_of_a_response_is_told_by_its_status_method_and_body() {
    type Make = fn() -> Response;
    let response: [(&str, u16, Make, &str, &str); 17] = [
        ("GET", 200, || Response::new(200), "Content-Length: 0", ""),
        ("GET", 200, || Response::new(200).with_body("abc"), "Content-Length: 3", "abc"),
        // What the app says of a body that is all there is not believed.
        ("GET", 200, || Response::new(200).with_header("content-length", "10"), "Content-Length: 0", ""),
        ("GET", 200, || Response::new(200).with_header("Content-Length", "x").with_body("a"), "Content-Length: 1", "a"),
        ("GET", 200, || Response::new(200).with_header("Transfer-Encoding", "chunked"), "Content-Length: 0", ""),
        ("GET", 404, || Response::new(404).with_body("abc"), "Content-Length: 3", "abc"),
        ("HEAD", 200, || Response::new(200), "Content-Length: 0", ""),
        ("HEAD", 200, || Response::new(200).with_body("abc"), "Content-Length: 3", ""),
        ("HEAD", 200, || Response::new(200).with_header("Content-Length", "10"), "Content-Length: 10", ""),
        ("HEAD", 200, || Response::new(200).with_body(unended()), "Transfer-Encoding: chunked", ""),
        ("GET", 204, || Response::new(204), "", ""),
        ("GET", 204, || Response::new(204).with_header("Content-Length", "3").with_body("abc"), "", ""),
        ("GET", 204, || Response::new(204).with_body(unended()), "", ""),
        ("GET", 304, || Response::new(304), "", ""),
        ("GET", 304, || Response::new(304).with_header("Content-Length", "10"), "Content-Length: 10", ""),
        ("GET", 304, || Response::new(304).with_body("abc"), "Content-Length: 3", ""),
        ("HEAD", 304, || Response::new(304).with_header("Content-Length", "10"), "Content-Length: 10", ""),
    ];
    for (place, (method, status, make, framing, body)) in response.into_iter().enumerate() {
        let http = HttpServer::new(move |_: ServerRequest| make());
        let said = say(&http, format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let (head, said_body) = said.text.split_once("\n\n").unwrap();
        let lines: Vec<_> = head.lines().filter(|line| line.contains("Length") || line.contains("Encoding")).collect();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{place}: {head}");
        assert_eq!((lines.join("\n"), said_body, said.end), (framing.to_owned(), body, OPEN), "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_request_gets_the_head_of_the_get() {
    let http = HttpServer::new(|_: ServerRequest| Response::html("<p>").with_header("ETag", "\"a\""));
    let [get, head] = [say(&http, GET).await, say(&http, GET.replace("GET", "HEAD")).await];
    assert_eq!(get.text, format!("{}<p>", head.text));
    assert_eq!((get.end, head.end), (OPEN, OPEN));
}

#[tokio::test(start_paused = true)]
async fn large_bodies_arrive_whole_through_a_narrow_connection() {
    // Around 16 KiB a body is no longer copied behind its head.
    for size in [16_383, 16_384, 100_000] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let sent = body.clone();
        let http = HttpServer::new(move |_: ServerRequest| Response::new(200).with_body(sent.clone()));
        let (mut peer, _) = Peer::serve_with_capacity(&http, 1000);
        assert_eq!(peer.ask(GET).await.body, body);
        assert_eq!(peer.ask(GET).await.body, body, "and again on the same connection");
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_split_a_header_is_refused_and_told() {
    for (name, value, told) in [
        ("X-A", &b"a\r\nSet-Cookie: evil=1"[..], "control character in the value of the header X-A"),
        ("X-A", b"a\nb", "control character in the value of the header X-A"),
        ("X-A", b"a\rb", "control character in the value of the header X-A"),
        ("X-A", b"a\0b", "control character in the value of the header X-A"),
        ("X-A", b"\x7F", "control character in the value of the header X-A"),
        ("X-A\r\nX-B", b"", "\"X-A\\r\\nX-B\" is not a header name"),
        ("X A", b"", "\"X A\" is not a header name"),
        ("X-A:", b"", "\"X-A:\" is not a header name"),
        ("", b"a", "\"\" is not a header name"),
    ] {
        for add in [false, true] {
            let http = HttpServer::new(move |_: ServerRequest| {
                let response = Response::plaintext("secret");
                if add { response.with_added_header(name, value) } else { response.with_header(name, value) }
            });
            let log = errors(&http);
            let said = say(&http, GET).await;
            assert!(said.text.starts_with("HTTP/1.1 500 Internal Server Error\nContent-Type: text/plain\n"), "{said:?}");
            assert!(said.text.ends_with("\n\nError 500: Internal Server Error"), "{said:?}");
            assert!(!said.text.contains("X-A"), "{said:?}");
            assert_eq!(log.take(), [format!("the request handler failed: {told}")]);
        }
    }
    let http = HttpServer::new(|_: ServerRequest| Response::new(204).with_header("X-A", "tab\tand é"));
    assert!(say(&http, GET).await.text.contains("\nX-A: tab\tand é\n"), "everything else goes through");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_no_final_one_is_refused_and_told() {
    for (status, told) in [
        (0, "0 is not a status"),
        (99, "99 is not a status"),
        (1000, "1000 is not a status"),
        (100, "100 Continue is not a final status"),
        (101, "101 Switching Protocols is not a final status"),
        (199, "199 <unknown status code> is not a final status"),
    ] {
        let http = HttpServer::new(move |_: ServerRequest| Response::plaintext("secret").with_status(status));
        let log = errors(&http);
        let said = say(&http, GET).await;
        assert!(said.text.ends_with("\n\nError 500: Internal Server Error"), "{said:?}");
        assert_eq!(log.take(), [format!("the request handler failed: {told}")]);
    }
    for status in [200, 999] {
        let http = HttpServer::new(move |_: ServerRequest| Response::new(status));
        assert!(say(&http, GET).await.text.starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

// Requests: which are taken, and which are not.

#[tokio::test(start_paused = true)]
async fn requests_that_are_answered() {
    let host = "HTTP/1.1\r\nHost: a\r\n";
    let chunked = format!("POST / {host}Transfer-Encoding: chunked\r\n\r\n");
    let cases: Vec<(String, &[&str])> = vec![
        (GET.into(), &["GET / "]),
        (format!("POST / {host}Content-Length: 5\r\n\r\nhello"), &["POST / hello"]),
        (format!("PUT /a {host}content-LENGTH:5\r\n\r\nhello"), &["PUT /a hello"]),
        (format!("GET / {host}Content-Length: 5\r\n\r\nhello"), &["GET / hello"]),
        (format!("POST / {host}Content-Length: 0\r\n\r\n"), &["POST / "]),
        (format!("POST / {host}\r\n"), &["POST / "]),
        // Digits are digits (RFC 9110 8.6); ReactPHP refuses this one.
        (format!("POST / {host}Content-Length: 05\r\n\r\nhello"), &["POST / hello"]),
        (format!("POST / {host}Content-Length: \t 5  \r\n\r\nhello"), &["POST / hello"]),
        (format!("{chunked}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), &["POST / hello world"]),
        (format!("{chunked}0\r\n\r\n"), &["POST / "]),
        (format!("{chunked}000A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n"), &["POST / 01234567890123456789"]),
        (format!("{chunked}{:016}\r\nhello\r\n0\r\n\r\n", 5), &["POST / hello"]),
        (format!("{chunked}5;a;b=c;d=\"e f\"\r\nhello\r\n0;x\r\n\r\n"), &["POST / hello"]),
        // Extensions and trailers have 8 KiB together: the CR behind each is one of them.
        (format!("{chunked}5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(8190)), &["POST / hello"]),
        (format!("{chunked}5\r\nhello\r\n0\r\nX-Trailer: 1\r\nContent-Length: 7\r\n\r\n"), &["POST / hello"]),
        (format!("{chunked}2\r\n\r\n\r\n0\r\n\r\n").replace("chunked", "ChunkeD"), &["POST / \n"]),
        // An expectation that nobody knows is ignored, and on HTTP/1.0 any.
        (format!("POST / {host}Expect: a miracle\r\nContent-Length: 1\r\n\r\na"), &["POST / a"]),
        (format!("\r\n{GET}"), &["GET / "]),
        (format!("{GET}{GET}"), &["GET / ", "GET / "]),
        (format!("{GET}\r\n{GET}"), &["GET / ", "GET / "]),
        // ReactPHP loses what follows a body in the same segment.
        (format!("POST /a {host}Content-Length: 5\r\n\r\nhello{GET}"), &["POST /a hello", "GET / "]),
        (format!("{chunked}5\r\nhello\r\n0\r\n\r\n{GET}{GET}"), &["POST / hello", "GET / ", "GET / "]),
        (format!("OPTIONS * {host}\r\n"), &["OPTIONS * "]),
        (format!("GET http://example.com/a?b {host}\r\n"), &["GET http://example.com/a?b "]),
        (format!("GET HTTP://example.com:80 {host}\r\n"), &["GET HTTP://example.com:80 "]),
        // ReactPHP refuses these (RFC 9112 section 3.2.2: a server accepts the absolute form).
        (format!("GET https://example.com/a {host}\r\n"), &["GET https://example.com/a "]),
        (format!("GET ws://example.com/a {host}\r\n"), &["GET ws://example.com/a "]),
        (format!("GET WSS://[::1]:443 {host}\r\n"), &["GET WSS://[::1]:443 "]),
        (format!("GET /é {host}\r\n"), &["GET /é "]),
        (format!("GET // {host}\r\n"), &["GET // "]),
        (format!("GET / {host}X-A: é\tx \r\nX-B:\r\nX-C: \r\n\r\n"), &["GET / "]),
        (format!("BREW / {host}\r\n"), &["BREW / "]),
        (format!("get / {host}\r\n"), &["get / "]),
        (format!("M!#$%&'*+-.^_`|~9 / {host}\r\n"), &["M!#$%&'*+-.^_`|~9 / "]),
        (format!("TRACE / {host}\r\n"), &["TRACE / "]),
        ("GET / HTTP/1.1\r\nhost:example.com:8080\r\n\r\n".into(), &["GET / "]),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".into(), &["GET / "]),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n".into(), &["GET / "]),
    ];
    for (request, answers) in cases {
        let http = telling();
        let log = errors(&http);
        // A line end in a body counts as two bytes, and is shown as one.
        let text: String = answers.iter().map(|body| ok(&body.replace('\n', "\r\n")).replace('\r', "")).collect();
        for said in [say(&http, &request).await, say_byte_by_byte(&http, &request).await] {
            assert_eq!(said, Said { text: text.clone(), end: OPEN }, "{request:?}");
        }
        assert_eq!(log.take(), [""; 0], "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_refused() {
    let host = "HTTP/1.1\r\nHost: a\r\n";
    let chunked = format!("POST / {host}Transfer-Encoding: chunked\r\n\r\n");
    let with = |headers: &str| format!("GET / {host}{headers}\r\n\r\n");
    let posted = |headers: &str| format!("POST / {host}{headers}\r\n\r\nhello");
    let (bad, line, header, end) = ("400 Bad Request", "malformed request line", "malformed header", "line without CR LF");
    let (target, named) = ("invalid request target", "missing, repeated or invalid Host");
    let (chunk, length) = ("malformed chunk", "invalid Content-Length");
    let (unimplemented, coding) = ("501 Not Implemented", "unsupported Transfer-Encoding");
    let (unknown, version) = ("505 HTTP Version Not Supported", "unsupported HTTP version");
    let cases: Vec<(String, &str, &str)> = vec![
        // Chunks. ReactPHP answers these with a 500.
        (format!("{chunked}z\r\n"), bad, chunk),
        (format!("{chunked}\r\n"), bad, chunk),
        (format!("{chunked};a\r\n"), bad, chunk),
        (format!("{chunked}-1\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}+1\r\na\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}0x1\r\na\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked} 1\r\na\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}1 \r\na\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}1\na\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}1\rXa\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}10000000000000000\r\n"), bad, chunk),
        (format!("{chunked}{:017}\r\nhello\r\n0\r\n\r\n", 5), bad, chunk),
        (format!("{chunked}5\r\nhelloX\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}5\r\nhello\rX0\r\n\r\n"), bad, chunk),
        (format!("{chunked}5\r\nhello\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}5\r\nhello0\r\n\r\n"), bad, chunk),
        (format!("{chunked}5;a\0\r\nhello\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}5;a\nhello\r\n0\r\n\r\n"), bad, chunk),
        (format!("{chunked}5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(16 << 10)), bad, chunk),
        (format!("{chunked}5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(8191)), bad, chunk),
        (format!("{chunked}0\r\nX-A: 1\n\r\n"), bad, chunk),
        (format!("{chunked}0\r\nX-A: \0\r\n\r\n"), bad, chunk),
        (format!("{chunked}0\r\n\rX\r\n"), bad, chunk),
        (format!("{chunked}0\r\n{}\r\n", "X-A: 1\r\n".repeat(2 << 10)), bad, chunk),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n".into(), bad, named),
        (with("Host: a"), bad, named),
        (with("Host: b"), bad, named),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: [::1]:+80\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n".into(), bad, named),
        ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n".into(), bad, named),
        // The request line.
        ("GET\r\n\r\n".into(), bad, line),
        ("GET /\r\n\r\n".into(), bad, line),
        ("GET / http/1.1\r\nHost: a\r\n\r\n".into(), bad, line),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n".into(), bad, line),
        ("GET / HTP/1.1\r\nHost: a\r\n\r\n".into(), bad, line),
        ("GET / HTTP/x.1\r\nHost: a\r\n\r\n".into(), bad, line),
        ("GET / HTTP/1.x\r\nHost: a\r\n\r\n".into(), bad, line),
        (format!("GET  / {host}\r\n"), bad, line),
        (format!("GET\t/ {host}\r\n"), bad, line),
        (format!(" GET / {host}\r\n"), bad, line),
        (format!("\r\n\r\n{GET}"), bad, line),
        (format!("G@T / {host}\r\n"), bad, line),
        (format!("GÉT / {host}\r\n"), bad, line),
        (format!("GET /\0 {host}\r\n"), bad, line),
        // What speaks TLS is told at once, not when the time is up.
        ("\u{16}\u{3}\u{1}".into(), bad, line),
        // The target.
        (format!("GET foo {host}\r\n"), bad, target),
        (format!("GET * {host}\r\n"), bad, target),
        (format!("OPTIONS ** {host}\r\n"), bad, target),
        (format!("GET ftp://a/ {host}\r\n"), bad, target),
        (format!("GET http:///a {host}\r\n"), bad, target),
        (format!("GET http://u@a/ {host}\r\n"), bad, target),
        (format!("GET http://a:99999/ {host}\r\n"), bad, target),
        (format!("GET http://a/#b {host}\r\n"), bad, target),
        (format!("GET wss://u:p@a/ {host}\r\n"), bad, target),
        (format!("GET https:/a {host}\r\n"), bad, target),
        (format!("GET ws:a {host}\r\n"), bad, target),
        (format!("GET wss:// {host}\r\n"), bad, target),
        (format!("GET ws://?a {host}\r\n"), bad, target),
        // The target counts instead of Host, which there must be all the same (RFC 9112 section
        // 3.2).
        ("GET http://a/ HTTP/1.1\r\n\r\n".into(), bad, named),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), bad, named),
        (format!("GET /#b {host}\r\n"), bad, target),
        (format!("CONNECT / {host}\r\n"), bad, target),
        (format!("CONNECT a {host}\r\n"), bad, target),
        // A tunnel, which ReactPHP leaves to the router.
        (format!("CONNECT a:80 {host}\r\n"), unimplemented, "CONNECT is not supported"),
        // The version.
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(), unknown, version),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), unknown, version),
        ("GET / HTTP/0.9\r\n\r\n".into(), unknown, version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), unknown, version),
        // Where a body ends.
        (posted("Content-Length: 5\r\nTransfer-Encoding: chunked"), bad, "Content-Length together with Transfer-Encoding"),
        (posted("Transfer-Encoding: chunked\r\nContent-Length: 5"), bad, "Content-Length together with Transfer-Encoding"),
        (
            "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            bad,
            "Content-Length together with Transfer-Encoding",
        ),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), bad, "Transfer-Encoding in HTTP/1.0"),
        (posted("Transfer-Encoding: gzip, chunked"), unimplemented, coding),
        (posted("Transfer-Encoding: chunked, chunked"), unimplemented, coding),
        (posted("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), unimplemented, coding),
        (posted("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), unimplemented, coding),
        (posted("Transfer-Encoding: identity"), unimplemented, coding),
        (posted("Transfer-Encoding: xchunked"), unimplemented, coding),
        (posted("Transfer-Encoding: chunked;a=b"), unimplemented, coding),
        (posted("Transfer-Encoding: "), unimplemented, coding),
        (posted("Content-Length: 5\r\nContent-Length: 5"), bad, length),
        (posted("Content-Length: 5\r\nContent-Length: 6"), bad, length),
        (posted("Content-Length: 5, 5"), bad, length),
        (posted("Content-Length: +5"), bad, length),
        (posted("Content-Length: -1"), bad, length),
        (posted("Content-Length: 5a"), bad, length),
        (posted("Content-Length: 0x5"), bad, length),
        (posted("Content-Length: 5 5"), bad, length),
        (posted("Content-Length: 5.0"), bad, length),
        (posted("Content-Length:"), bad, length),
        (posted("Content-Length: 99999999999999999999"), bad, length),
        // Header lines.
        (with("X-A : 1"), bad, header),
        (with("X-A\t: 1"), bad, header),
        (with("X-A: 1\r\n folded"), bad, header),
        (with("X-A: 1\r\n\tfolded"), bad, header),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), bad, header),
        (with("no colon"), bad, header),
        (with(": 1"), bad, header),
        (with("X A: 1"), bad, header),
        (with("X-Ä: 1"), bad, header),
        (with("X-A: 1\rX-B: 2"), bad, header),
        (with("X-A: 1\r\rX-B: 2"), bad, header),
        (with("X-A: 1\r"), bad, header),
        (with("X-A: \0"), bad, header),
        (with("X-A: \u{1}"), bad, header),
        (with("X-A: \u{7F}"), bad, header),
        // Line ends.
        ("GET / HTTP/1.1\nHost: a\n\n".into(), bad, end),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".into(), bad, end),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".into(), bad, end),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n".into(), bad, end),
        ("GET / HTTP/1.1\rX\r\nHost: a\r\n\r\n".into(), bad, end),
        ("GET / HTTP/1.0\rX\r\n\r\n".into(), bad, end),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), bad, end),
        // Of two mistakes the first is told.
        ("{GET / HTTP/1.1\nHost: a\n\n".into(), bad, line),
    ];
    let mut wrong = Vec::new();
    for (request, status, told) in cases {
        let shown: String = request.chars().take(100).collect();
        let http = telling();
        let log = errors(&http);
        // Neither do requests behind it count: nobody knows where they begin.
        let request = format!("{request}{GET}");
        // "The response always carries the request's version", once that is known.
        let version = if request.contains(" HTTP/1.0\r\n") { "HTTP/1.0" } else { "HTTP/1.1" };
        let text = page(status).replace("HTTP/1.1", version);
        for said in [say(&http, &request).await, say_byte_by_byte(&http, &request).await] {
            if said != (Said { text: text.clone(), end: CLOSED }) {
                wrong.push(format!("{shown:?} is answered {said:?}"));
            }
        }
        let told_really = log.take();
        if told_really != [told; 2] {
            wrong.push(format!("{shown:?} is told as {told_really:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_follows_the_version_makes_a_request_line_malformed() {
    // Its end is as it should be: "a lone CR or LF" is another error.
    for version in ["HTTP/1.1x", "HTTP/1.1 ", "HTTP/1.11"] {
        let http = telling();
        let log = errors(&http);
        let said = say(&http, format!("GET / {version}\r\nHost: a\r\n\r\n")).await;
        assert_eq!(said, Said { text: page("400 Bad Request"), end: CLOSED }, "{version:?}");
        assert_eq!(log.take(), ["malformed request line"], "{version:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_line_with_a_space_too_many_is_malformed_and_not_of_another_version() {
    for line in ["GET /  HTTP/1.1", "GET /a b HTTP/1.1"] {
        let http = telling();
        let log = errors(&http);
        let said = say(&http, format!("{line}\r\nHost: a\r\n\r\n")).await;
        assert_eq!(said, Said { text: page("400 Bad Request"), end: CLOSED }, "{line:?}");
        assert_eq!(log.take(), ["malformed request line"], "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_line_behind_a_request_is_not_the_beginning_of_another() {
    // Old clients send one behind a body (RFC 9112 2.2). The connection is as idle as before.
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na\r\n";
    let http = telling();
    let log = errors(&http);
    let said = play(&http, 1 << 20, &[(0, post), (20_000, GET)]).await;
    assert_eq!(said, Said { text: ok("POST / a") + &ok("GET / "), end: 20.0 + OPEN });
    assert_eq!(say(&http, post).await, Said { text: ok("POST / a"), end: OPEN });
    let (mut peer, _) = Peer::serve(&http);
    peer.send(post).await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(shown(&peer.rest().await), ok("POST / a"));
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_before_the_garbage_behind_it_is_refused() {
    let http = telling();
    let log = errors(&http);
    let text = ok("GET / ") + &page("400 Bad Request");
    assert_eq!(say(&http, format!("{GET}\0garbage")).await, Said { text, end: CLOSED });
    assert_eq!(log.take(), ["malformed request line"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_short_by_a_fin_is_refused() {
    for request in ["G", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"] {
        let http = telling();
        let log = errors(&http);
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(request).await;
        peer.stream.shutdown().await.unwrap();
        assert_eq!(shown(&peer.rest().await), page("400 Bad Request"), "{request:?}");
        someday(serving).await;
        assert_eq!(log.take(), ["incomplete request"], "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_told_nothing() {
    let http = telling();
    let log = errors(&http);
    let (mut peer, serving) = Peer::serve(&http);
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, b"");
    someday(serving).await;
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_late_error_is_answered_in_the_version_of_the_request() {
    // The head is known by then, and "the response always carries the request's version".
    let said = say(&telling(), "POST / HTTP/1.0\r\nContent-Length: 65537\r\n\r\n").await;
    assert_eq!(said, Said { text: page("413 Payload Too Large").replace("HTTP/1.1", "HTTP/1.0"), end: CLOSED });
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_request_that_reaches_the_router_is_an_ordinary_one() {
    let said = say(&telling(), HANDSHAKE).await;
    assert_eq!(said, Said { text: ok("GET / "), end: OPEN });
}

#[tokio::test(start_paused = true)]
async fn a_body_on_an_upgrade_request_is_refused() {
    let http = websockets(|_| panic!("no connection"));
    for body in ["Content-Length: 1\r\n\r\na", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"] {
        let said = say(&http, HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{body}"))).await;
        assert!(said.text.starts_with("HTTP/1.1 400 Bad Request\n"), "{said:?}");
        assert_eq!(said.end, CLOSED);
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_is_asked_for_when_it_is_wanted() {
    let http = HttpServer::new(tell).with_options(HttpOptions::new().max_body_size(5));
    let expect = "Host: a\r\nExpect: 100-Continue\r\n";
    for (framing, body) in
        [("Content-Length: 5\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")]
    {
        let head = format!("POST / HTTP/1.1\r\n{expect}{framing}\r\n");
        let said = play(&http, 1, &[(0, head.as_str()), (1000, body)]).await;
        assert_eq!(said.text, format!("HTTP/1.1 100 Continue\n\n{}", ok("POST / hello")));
        assert_eq!(said.end, 1.0 + OPEN);
    }
    // Expect is a list (RFC 9110 section 10.1.1).
    for expect in ["100-Continue", "a, 100-continue", "a\r\nExpect: b ,\t100-continue"] {
        let (mut peer, _) = Peer::serve(&http);
        peer.send(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {expect}\r\nContent-Length: 5\r\n\r\n")).await;
        assert_eq!(someday(peer.head()).await, "HTTP/1.1 100 Continue", "without a byte of the body");
    }
    for (case, request, text) in [
        ("none is expected", format!("GET / HTTP/1.1\r\n{expect}\r\n"), ok("GET / ")),
        ("none is coming", format!("POST / HTTP/1.1\r\n{expect}Content-Length: 0\r\n\r\n"), ok("POST / ")),
        ("too large", format!("POST / HTTP/1.1\r\n{expect}Content-Length: 6\r\n\r\n"), page("413 Payload Too Large")),
        (
            "HTTP/1.0",
            format!("POST / HTTP/1.0\r\n{expect}Content-Length: 1\r\n\r\na"),
            ok("POST / a").replace("HTTP/1.1", "HTTP/1.0"),
        ),
        (
            "another expectation",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na".into(),
            ok("POST / a"),
        ),
    ] {
        assert_eq!(say(&http, &request).await.text, text, "{case}");
        assert_eq!(say_byte_by_byte(&http, &request).await.text, text, "{case}");
    }
}

// Limits, at the bound and one past it.

/// A head of so many bytes.
fn head_of(size: usize) -> String {
    let (before, after) = ("GET / HTTP/1.1\r\nHost: a\r\nX-Pad: ", "\r\n\r\n");
    format!("{before}{}{after}", "a".repeat(size - before.len() - after.len()))
}

/// A request line of so many bytes.
fn line_of(size: usize) -> String {
    let (before, after) = ("GET /", " HTTP/1.1");
    format!("{before}{}{after}\r\nHost: a\r\n\r\n", "a".repeat(size - before.len() - after.len()))
}

/// So many header lines.
fn lines_of(lines: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: 1\r\n".repeat(lines - 1))
}

fn body_of(size: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}", "a".repeat(size))
}

/// The same in chunks of a thousand.
fn chunks_of(size: usize) -> String {
    let mut request = String::from("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for start in (0..size).step_by(1000) {
        let length = (size - start).min(1000);
        request += &format!("{length:x}\r\n{}\r\n", "a".repeat(length));
    }
    request + "0\r\n\r\n"
}

#[tokio::test(start_paused = true)]
async fn requests_are_taken_up_to_their_limits_and_refused_one_past_them() {
    type Make = fn(usize) -> String;
    let (line, head) = ("414 URI Too Long", "431 Request Header Fields Too Large");
    let body = "413 Payload Too Large";
    let small = HttpOptions::new().max_request_line(100).max_head_size(200).max_headers(3).max_body_size(10);
    let none = HttpOptions::new().max_body_size(0);
    let cases: [(HttpOptions, Make, usize, &str, &str); 12] = [
        (HttpOptions::new(), line_of, 8192, line, "request line of more than 8192 bytes"),
        (HttpOptions::new(), head_of, 16384, head, "head of more than 16384 bytes"),
        (HttpOptions::new(), |size| format!("\r\n{}", head_of(size)), 16384, head, "head of more than 16384 bytes"),
        (HttpOptions::new(), lines_of, 100, head, "more than 100 headers"),
        (HttpOptions::new(), body_of, 65536, body, "body of more than 65536 bytes"),
        (HttpOptions::new(), chunks_of, 65536, body, "body of more than 65536 bytes"),
        (small.clone(), line_of, 100, line, "request line of more than 100 bytes"),
        (small.clone(), head_of, 200, head, "head of more than 200 bytes"),
        (small.clone(), lines_of, 3, head, "more than 3 headers"),
        (small.clone(), body_of, 10, body, "body of more than 10 bytes"),
        (small, chunks_of, 10, body, "body of more than 10 bytes"),
        (none, body_of, 0, body, "body of more than 0 bytes"),
    ];
    for (options, make, limit, status, told) in cases {
        let http = HttpServer::new(|request: ServerRequest| {
            assert!(request.body().iter().all(|byte| *byte == b'a'));
            Response::plaintext(request.body().len().to_string())
        });
        let http = http.with_options(options);
        let log = errors(&http);
        let (fits, too_large) = (make(limit), make(limit + 1));
        let length = if status == body { limit } else { 0 };
        for said in [say(&http, &fits).await, say_byte_by_byte(&http, &fits).await] {
            assert_eq!(said, Said { text: ok(&length.to_string()), end: OPEN }, "{told}");
        }
        assert_eq!(log.take(), [""; 0]);
        for said in [say(&http, &too_large).await, say_byte_by_byte(&http, &too_large).await] {
            assert_eq!(said, Said { text: page(status), end: CLOSED }, "{told}");
        }
        assert_eq!(log.take(), [told; 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_before_the_rest_of_it_comes() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (begun, status) in [
        (format!("GET /{}", "a".repeat(8192)), "414 URI Too Long"),
        (format!("GET / HTTP/1.1\r\nX-Pad: {}", "a".repeat(16384)), "431 Request Header Fields Too Large"),
        (format!("{post}Content-Length: 65537\r\n\r\n"), "413 Payload Too Large"),
        (format!("{post}Content-Length: 18446744073709551615\r\n\r\n"), "413 Payload Too Large"),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n10001\r\n"), "413 Payload Too Large"),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"), "413 Payload Too Large"),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nffffffffffffffff\r\n"), "413 Payload Too Large"),
    ] {
        assert_eq!(say(&telling(), begun).await, Said { text: page(status), end: CLOSED });
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_head_is_not_waited_for() {
    let late = || page("408 Request Timeout");
    let head = GET.as_bytes();
    let (start, rest) = head.split_at(1);
    let drip: Vec<_> = (0..100).map(|n| (n * 400, if n == 0 { &b"GET /"[..] } else { b"aaaaaaaaaaaaaaa" })).collect();
    // What is said when, and what comes of it.
    let cases: [(Script<'_, &[u8]>, String, f64); 8] = [
        (&[], String::new(), 10.0),
        (&[(0, start)], late(), 10.0),
        // From accept, not from the first byte.
        (&[(9_900, start)], late(), 10.0),
        (&[(0, start), (9_900, rest)], ok("GET / "), 9.9 + OPEN),
        (&[(9_900, head)], ok("GET / "), 9.9 + OPEN),
        // One deadline, however busy the client is.
        (&drip, late(), 10.0),
        // On a connection that is used again, from the first byte of the head.
        (&[(0, head), (20_000, start)], ok("GET / ") + &late(), 30.0),
        (&[(0, head), (20_000, start), (29_900, rest)], ok("GET / ") + &ok("GET / "), 29.9 + OPEN),
    ];
    for (place, (script, text, end)) in cases.into_iter().enumerate() {
        let http = telling();
        let log = errors(&http);
        let told: &[&str] = if text.contains("408") { &["no complete request head within 10s"] } else { &[] };
        assert_eq!(play(&http, 1 << 20, script).await, Said { text, end }, "{place}");
        assert_eq!(log.take(), told, "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_its_time_but_not_stand_still() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let late = || page("408 Request Timeout");
    let cases: [(Script<'_, &str>, String, f64); 4] = [
        (&[(0, head), (9_900, "a"), (19_800, "b"), (29_700, "c")], ok("POST / abc"), 29.7 + OPEN),
        (&[(0, head)], late(), 10.0),
        (&[(0, head), (9_000, "a")], late(), 19.0),
        (&[(9_000, head), (10_000, "ab")], late(), 20.0),
    ];
    for (place, (script, text, end)) in cases.into_iter().enumerate() {
        let http = telling().with_options(HttpOptions::new().min_body_rate(None));
        let log = errors(&http);
        let told: &[&str] = if text.contains("408") { &["no progress of the request body within 10s"] } else { &[] };
        assert_eq!(play(&http, 1 << 20, script).await, Said { text, end }, "{place}");
        assert_eq!(log.take(), told, "{place}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_without_a_word() {
    let http = telling();
    let log = errors(&http);
    let said = play(&http, 1 << 20, &[(0, GET), (29_900, GET)]).await;
    assert_eq!(said, Said { text: ok("GET / ").repeat(2), end: 29.9 + OPEN });
    let said = play(&http, 1 << 20, &[(0, GET), (30_100, GET)]).await;
    assert_eq!(said, Said { text: ok("GET / "), end: OPEN });
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_app_is_not_the_clients() {
    let http = HttpServer::new(|_: ServerRequest| async {
        sleep(seconds(3600)).await;
        Response::plaintext("at last")
    });
    assert_eq!(say(&http, GET).await, Said { text: ok("at last"), end: 3600.0 + OPEN });
}

#[tokio::test(start_paused = true)]
async fn timeouts_can_be_set_and_switched_off() {
    let options = HttpOptions::new()
        .header_timeout(seconds(2))
        .body_timeout(seconds(3))
        .keep_alive_timeout(seconds(4))
        .write_timeout(seconds(5));
    let http = HttpServer::new(tell).with_options(options);
    assert_eq!(say(&http, "G").await.end, 2.0);
    assert_eq!(say(&http, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").await.end, 3.0);
    assert_eq!(say(&http, GET).await.end, 4.0);
    let (mut peer, serving) = Peer::serve_with_capacity(&http, 1);
    let start = Instant::now();
    peer.send(GET).await;
    someday(serving).await;
    assert_eq!(seconds_since(start), 5.0);

    let options = HttpOptions::new().header_timeout(None).body_timeout(None).min_body_rate(None).write_timeout(None);
    let http = HttpServer::new(tell).with_options(options);
    let (start, rest) = GET.split_at(1);
    let said = play(&http, 1 << 20, &[(3_600_000, start), (7_200_000, rest)]).await;
    assert_eq!(said, Said { text: ok("GET / "), end: 7200.0 + OPEN });
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let said = play(&http, 1 << 20, &[(0, post), (3_600_000, "abc")]).await;
    assert_eq!(said, Said { text: ok("POST / abc"), end: 3600.0 + OPEN });
    let (mut peer, serving) = Peer::serve_with_capacity(&http, 1);
    peer.send(GET).await;
    timeout(seconds(3600), serving).await.expect_err("the response still waits");
    assert_eq!(shown(&peer.rest().await), ok("GET / "));
}

/// Of such a stream, as TLS is one, nothing tells that the client has left once so much is read ahead.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_behind_what_is_read_ahead_is_let_go_whatever_it_is_served_on() {
    for (pipelined, least, most) in [(100, 5, 8), (20_000, 299, 303)] {
        let log = Log::default();
        let noting = log.clone();
        let http = HttpServer::new(move |_: ServerRequest| {
            let guard = Guard(noting.clone(), "dropped");
            async move {
                let _guard = guard;
                pending::<Response>().await
            }
        });
        let (mut peer, serving) = Peer::serve(&http);
        peer.send([GET.as_bytes(), &vec![b'x'; pipelined]].concat()).await;
        drop(peer);
        let start = Instant::now();
        someday(serving).await;
        assert!((least..most).contains(&start.elapsed().as_secs()), "{pipelined}: {:?}", start.elapsed());
        assert_eq!(log.take(), ["dropped"]);
    }
}

#[tokio::test(start_paused = true)]
async fn more_header_lines_than_a_map_has_room_for_are_too_many_whatever_is_allowed() {
    let options = HttpOptions::new().max_headers(usize::MAX).max_head_size(1 << 20);
    let http = telling().with_options(options);
    let head = |lines| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n", "a:\r\n".repeat(lines));
    assert!(say(&http, head(23_998)).await.text.starts_with("HTTP/1.1 200 OK\n"));
    for lines in [23_999, 30_000] {
        assert_eq!(say(&http, head(lines)).await.text, page("431 Request Header Fields Too Large"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_response_is_cut() {
    let http = HttpServer::new(|_: ServerRequest| Response::plaintext("a".repeat(100_000)));
    let log = errors(&http);
    let (mut peer, serving) = Peer::serve_with_capacity(&http, 1000);
    let start = Instant::now();
    peer.send(GET).await;
    for _ in 0..5 {
        sleep(seconds(29)).await;
        peer.stream.read_u8().await.unwrap();
    }
    assert_eq!(log.take(), [""; 0], "slow is not still");
    someday(serving).await;
    assert_eq!(seconds_since(start), 5.0 * 29.0 + 30.0);
    assert_eq!(log.take(), ["the client took nothing of the response within 30s"]);
    assert!(peer.rest().await.len() < 100_000);
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_so_many_requests() {
    let http = telling();
    let (mut peer, _) = Peer::serve(&http);
    for n in 1..=1000 {
        let answer = peer.ask(GET).await;
        assert_eq!(answer.header("Connection"), (n == 1000).then_some("close"), "{n}");
    }
    assert!(peer.ended().await);
    let http = telling().with_options(HttpOptions::new().max_keep_alive_requests(2));
    let text = ok("GET / ") + &ok_with("Content-Type: text/plain; charset=utf-8\n", "Connection: close\n", "GET / ");
    assert_eq!(say(&http, GET.repeat(3)).await, Said { text, end: CLOSED });
}

// Who gets in.

const BUSY: &str = "HTTP/1.1 503 Service Unavailable\nContent-Type: text/plain\nRetry-After: 1\n\
    Server: react-websocket\nDate: *\nContent-Length: 30\nConnection: close\n\nError 503: Service Unavailable";
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\nContent-Type: text/plain\nRetry-After: 1\n\
    Server: react-websocket\nDate: *\nContent-Length: 28\nConnection: close\n\nError 429: Too Many Requests";

#[tokio::test(start_paused = true)]
async fn past_the_limit_of_connections_one_is_told_to_come_back() {
    let websocket = WebSocketMiddleware::new();
    let http = HttpServer::new((websocket, tell)).with_options(HttpOptions::new().max_connections(2));
    let (mut first, serving) = Peer::serve(&http);
    let (mut websocket, _) = Peer::open_in_memory(&http).await;
    for _ in 0..2 {
        let (mut refused, serving) = Peer::serve(&http);
        assert_eq!(shown(&refused.rest().await), BUSY);
        drop(refused);
        someday(serving).await;
    }
    assert_eq!(first.ask(GET).await.status(), 200, "those who are in stay");
    websocket.send(support::frame(0x89, "ping")).await;
    assert_eq!(websocket.frame().await.map(|frame| frame.opcode), Some(10), "upgraded ones too");
    drop(first);
    someday(serving).await;
    let (mut next, _) = Peer::serve(&http);
    assert_eq!(next.ask(GET).await.status(), 200, "there is room again");
    let (mut refused, _) = Peer::serve(&http);
    assert_eq!(shown(&refused.rest().await), BUSY);
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_gets_its_answer_though_it_is_still_sending() {
    let http = telling().with_options(HttpOptions::new().max_connections(0));
    let (mut peer, serving) = Peer::serve(&http);
    let start = Instant::now();
    peer.send(GET).await;
    assert_eq!(shown(&peer.rest().await), BUSY);
    assert_eq!(seconds_since(start), 0.0, "the answer is complete at once");
    someday(serving).await;
    assert_eq!(seconds_since(start), 1.0, "and then the server lets go");
}

#[tokio::test(start_paused = true)]
async fn past_thirty_two_who_are_being_told_the_next_is_closed_without_a_word() {
    let http = telling().with_options(HttpOptions::new().max_connections(0));
    let mut told: Vec<_> = (0..32).map(|_| Peer::serve(&http)).collect();
    let (mut next, serving) = Peer::serve(&http);
    assert!(next.ended().await);
    someday(serving).await;
    for (peer, _) in &mut told {
        assert_eq!(shown(&peer.rest().await), BUSY);
    }
    let (last, serving) = told.pop().unwrap();
    drop(last);
    someday(serving).await;
    assert_eq!(shown(&Peer::serve(&http).0.rest().await), BUSY, "there is room again");
}

#[tokio::test]
async fn a_refused_client_gets_its_answer_over_a_socket() {
    let (address, _listening) = listen_with(telling().with_options(HttpOptions::new().max_connections(0)));
    let mut peer = Peer::connect(address).await;
    // Bytes that nobody reads would make a reset of the server's close, and the answer would be lost.
    peer.send(GET.repeat(100)).await;
    assert_eq!(shown(&soon(peer.rest()).await), BUSY);
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_of_an_address_it_is_told_that_there_are_too_many() {
    let http = telling().with_options(HttpOptions::new().max_connections_per_ip(2));
    let serve = |address: Option<&str>| {
        let (client, server) = tokio::io::duplex(1000);
        let address = address.map(|address| address.parse().unwrap());
        let serving = http.serve_with_addresses(server, address, None);
        (Peer::new(client), serving)
    };
    let (_first, _serving) = serve(Some("192.0.2.1:1"));
    let (second, ended) = serve(Some("192.0.2.1:2"));
    assert_eq!(shown(&serve(Some("192.0.2.1:3")).0.rest().await), TOO_MANY);
    for other in [Some("192.0.2.2:1"), Some("[2001:db8::1]:1"), None, None, None] {
        assert_eq!(serve(other).0.ask(GET).await.status(), 200, "{other:?}");
    }
    drop(second);
    someday(ended).await;
    assert_eq!(serve(Some("192.0.2.1:4")).0.ask(GET).await.status(), 200, "there is room again");
}

#[cfg(unix)]
#[test]
fn by_default_there_are_as_many_connections_as_the_open_files_allow() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let expected = files.and_then(|files| {
        let reserve = (files / 20).max(64);
        (files > 2 * reserve).then(|| files - reserve)
    });
    let options = format!("{:?}", HttpOptions::new());
    assert!(options.contains(&format!("max_connections: {expected:?},")), "{expected:?} expected: {options}");
}

// Pipelining.

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_one_at_a_time_and_in_order() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |request: ServerRequest| {
        let log = noting.clone();
        async move {
            log.add(format_args!("begin {}", request.target()));
            // The first takes longest, so any that overtake would be seen.
            sleep(millis(if request.path() == "/0" { 5000 } else { 10 })).await;
            log.add(format_args!("end {}", request.target()));
            tell(request)
        }
    });
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let expected = [ok("GET /0 "), ok("POST /1 body"), ok("GET /2 "), ok("GET /3 ")].concat();
    let in_order =
        ["begin /0", "end /0", "begin /1", "end /1", "begin /2", "end /2", "begin /3", "end /3"].map(String::from);
    // All in one segment, and the later ones while the first is pending: ReactPHP loses those.
    let at_once = get("/0") + post + &get("/2") + &get("/3");
    assert_eq!(say(&http, &at_once).await.text, expected);
    assert_eq!(log.take(), in_order);
    let script = [(0, get("/0")), (1000, post.into()), (2000, get("/2")), (6000, get("/3"))];
    assert_eq!(play(&http, 1 << 20, &script).await.text, expected);
    assert_eq!(log.take(), in_order);
    assert_eq!(say_byte_by_byte(&http, &at_once).await.text, expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_behind_a_request_that_is_the_last() {
    let http = telling();
    let last = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let text = ok_with("Content-Type: text/plain; charset=utf-8\n", "Connection: close\n", "GET / ");
    assert_eq!(say(&http, last + GET).await, Said { text, end: CLOSED });
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pipelines_without_end_is_not_read_without_end() {
    let (go, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let http = HttpServer::new(move |request: ServerRequest| {
        let wait = wait.lock().unwrap().take();
        async move {
            if let Some(wait) = wait {
                wait.await.unwrap();
            }
            tell(request)
        }
    });
    let http = http.with_options(HttpOptions::new().max_keep_alive_requests(u32::MAX));
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve(server);
    let (mut read, mut write) = tokio::io::split(client);
    let count = 10_000;
    let mut taken = 0;
    let stuck = timeout(seconds(1), async {
        let all = GET.repeat(count).into_bytes();
        while taken < all.len() {
            taken += write.write(&all[taken..]).await.unwrap();
        }
    });
    stuck.await.expect_err("the server stops reading");
    assert!(taken < 32 << 10, "{taken} bytes were read ahead");
    // Nothing of it is lost.
    go.send(()).unwrap();
    let all = GET.repeat(count).into_bytes();
    let write_rest = async {
        write.write_all(&all[taken..]).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let read_all = async {
        let mut said = Vec::new();
        read.read_to_end(&mut said).await.unwrap();
        said
    };
    let ((), said) = tokio::join!(write_rest, read_all);
    assert_eq!(String::from_utf8(said).unwrap().matches("HTTP/1.1 200 OK").count(), count);
}

// Clients that end their side, and clients that leave.

#[tokio::test]
async fn a_client_that_sends_its_fin_with_the_request_gets_its_answer() {
    let http = HttpServer::new(|request: ServerRequest| async move {
        // Long enough for the FIN to be there.
        sleep(millis(20)).await;
        tell(request)
    });
    let log = errors(&http);
    let (address, _listening) = listen_with(http);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    let text = shown(&said);
    assert!(text.starts_with("HTTP/1.1 200 OK\n") && text.ends_with("\n\nGET / "), "{text}");
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_gets_the_answers_to_all_that_it_has_asked() {
    for (pause, requests) in [(0, 1), (4_900, 1), (0, 3), (1_600, 3)] {
        let http = HttpServer::new(move |request: ServerRequest| async move {
            if pause > 0 {
                sleep(millis(pause)).await;
            }
            tell(request)
        });
        let log = errors(&http);
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(GET.repeat(requests)).await;
        peer.stream.shutdown().await.unwrap();
        let said = shown(&peer.rest().await);
        assert_eq!(said.matches("HTTP/1.1 200 OK\n").count(), requests, "{pause} ms each: {said}");
        someday(serving).await;
        assert_eq!(log.take(), [""; 0]);
    }
}

/// A server whose router never answers, and tells when it begins and when it is dropped.
fn never_answering() -> (HttpServer, Log, mpsc::UnboundedReceiver<()>) {
    let log = Log::default();
    let noting = log.clone();
    let (begin, has_begun) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        begin.send(()).unwrap();
        let guard = Guard(noting.clone(), "dropped");
        async move {
            let _guard = guard;
            pending::<Response>().await
        }
    });
    let noting = log.clone();
    http.on("error", move |error| {
        assert!(matches!(error, HttpError::ClientLeft) && error.status().is_none());
        noting.add(error);
    });
    (http, log, has_begun)
}

#[tokio::test(start_paused = true)]
async fn a_fin_may_mean_that_the_client_has_left_so_the_answer_has_a_little_time_left() {
    for (options, end) in [(HttpOptions::new(), 5.0), (HttpOptions::new().half_close_timeout(seconds(7)), 7.0)] {
        let (http, log, _begun) = never_answering();
        let http = http.with_options(options);
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(GET).await;
        sleep(seconds(60)).await;
        assert_eq!(log.take(), [""; 0], "a client that waits is waited for");
        let start = Instant::now();
        peer.stream.shutdown().await.unwrap();
        assert!(peer.ended().await, "there is nothing to say");
        assert_eq!(seconds_since(start), end);
        someday(serving).await;
        assert_eq!(log.take(), ["dropped", "the client left before the answer"]);
    }
}

#[tokio::test]
async fn a_reset_cancels_the_answer_at_once() {
    let (http, log, mut has_begun) = never_answering();
    // A FIN would be waited out for an hour.
    let http = http.with_options(HttpOptions::new().half_close_timeout(seconds(3600)));
    let (left, mut has_left) = mpsc::unbounded_channel();
    http.on("error", move |_| left.send(()));
    let (address, _listening) = listen_with(http);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    soon(has_begun.recv()).await.unwrap();
    stream.set_zero_linger().unwrap();
    drop(stream);
    soon(has_left.recv()).await.unwrap();
    assert_eq!(log.take(), ["dropped", "the client left before the answer"]);
}

// Handlers and their failures.

#[derive(Debug, thiserror::Error)]
#[error("out of coffee")]
struct OutOfCoffee;

fn fail() -> Result<Response, OutOfCoffee> {
    Err(OutOfCoffee)
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_is_a_500_and_an_error_event_and_the_end_of_the_connection() {
    let panics = |_: ServerRequest| -> Response { panic!("out of coffee") };
    let panics_later = |_: ServerRequest| async {
        sleep(seconds(1)).await;
        if true {
            panic!("out of {}", "coffee");
        }
        Response::new(200)
    };
    let fails_later = |_: ServerRequest| async {
        sleep(seconds(1)).await;
        Err::<Response, BoxError>("out of coffee".into())
    };
    for (http, end) in [
        (HttpServer::new(|_: ServerRequest| fail()), 0.0),
        (HttpServer::new(|_: ServerRequest| async { fail() }), 0.0),
        (HttpServer::new(|_: ServerRequest| Err::<Response, _>("out of coffee")), 0.0),
        (HttpServer::new(fails_later), 1.0),
        (HttpServer::new(panics), 0.0),
        (HttpServer::new(panics_later), 1.0),
        (HttpServer::new((|request, next: Next| next.run(request), panics)), 0.0),
        (HttpServer::new((|request, next: Next| async { next.run(request).await }, panics_later)), 1.0),
        (HttpServer::new((|_: ServerRequest, _: Next| fail(), tell)), 0.0),
    ] {
        let log = errors(&http);
        let text = page("500 Internal Server Error");
        assert_eq!(say(&http, GET).await, Said { text: text.clone(), end });
        let text_1_0 = text.replace("HTTP/1.1", "HTTP/1.0").replace("Connection: close\n", "");
        let said = say(&http, "GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(said.text.replace("Connection: close\n", ""), text_1_0);
        assert_eq!(said.end, end);
        let head = text.replace("Error 500: Internal Server Error", "");
        assert_eq!(say(&http, GET.replace("GET", "HEAD")).await, Said { text: head, end });
        assert_eq!(log.take(), ["the request handler failed: out of coffee"; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_event_has_what_the_handler_returned() {
    let http = HttpServer::new(|_: ServerRequest| fail());
    let log = Log::default();
    let noting = log.clone();
    http.on("error", move |error: &HttpError| {
        let HttpError::Handler(source) = error else { panic!("{error}") };
        assert!(source.is::<OutOfCoffee>());
        assert_eq!(std::error::Error::source(error).unwrap().to_string(), "out of coffee");
        assert_eq!(error.status().unwrap(), 500);
        noting.add("heard");
    });
    say(&http, GET).await;
    assert_eq!(log.take(), ["heard"]);
}

#[tokio::test(start_paused = true)]
async fn listeners_of_error_are_called_in_order_and_cannot_do_harm() {
    let http = HttpServer::new(|request: ServerRequest| match request.path() {
        "/" => Ok(Response::plaintext("fine")),
        path => Err(path.to_owned()),
    });
    let log = Log::default();
    http.on("error", |_| panic!("a listener of errors"));
    let (noting, server) = (log.clone(), http.clone());
    http.on("error", move |error| {
        noting.add(format_args!("first {error}"));
        // One that is added meanwhile is called from the next time on.
        let noting = noting.clone();
        server.on("error", move |error| noting.add(format_args!("later {error}")));
    });
    let noting = log.clone();
    let second = http.on("error", move |error| noting.add(format_args!("second {error}")));
    say(&http, GET.replace(" / ", " /a ")).await;
    let failed = "the request handler failed: ";
    assert_eq!(log.take(), [format!("first {failed}/a"), format!("second {failed}/a")]);
    http.remove_listener(second);
    say(&http, GET.replace(" / ", " /b ")).await;
    assert_eq!(log.take(), [format!("first {failed}/b"), format!("later {failed}/b")]);
    assert_eq!(say(&http, GET).await.text, ok("fine"));
    assert_eq!(log.take(), [""; 0]);
    let unknown = http.try_on("text", |_| {}).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no event \"text\" on an HttpServer; its events are error");
}

#[tokio::test(start_paused = true)]
async fn clones_and_other_options_keep_the_listeners() {
    let http = telling();
    let log = errors(&http);
    say(&http.clone(), "\0").await;
    say(&http.with_options(HttpOptions::new()), "\0").await;
    assert_eq!(log.take(), ["malformed request line"; 2]);
}

#[tokio::test(start_paused = true)]
async fn routers_may_be_synchronous_or_not_and_return_a_result_or_not() {
    async fn asynchronous(request: ServerRequest) -> Response {
        tell(request)
    }
    async fn fallible(request: ServerRequest) -> Result<Response, std::io::Error> {
        Ok(tell(request))
    }
    for http in [
        HttpServer::new(tell),
        HttpServer::new((tell,)),
        HttpServer::new(|request: ServerRequest| tell(request)),
        HttpServer::new(asynchronous),
        HttpServer::new(fallible),
        HttpServer::new(|request: ServerRequest| Ok::<_, BoxError>(tell(request))),
        HttpServer::new(|request: ServerRequest| async move { tell(request) }),
        HttpServer::new(async |request: ServerRequest| tell(request)),
        HttpServer::new(|request: ServerRequest| async move {
            sleep(seconds(1)).await;
            Ok::<_, &'static str>(tell(request))
        }),
        HttpServer::new(|request: ServerRequest| ResponseFuture::from(tell(request))),
        HttpServer::new(|request: ServerRequest| ResponseFuture::new(async { tell(request) })),
    ] {
        assert_eq!(say(&http, GET).await.text, ok("GET / "));
    }
}

// The chain.

/// A middleware as a type of its own.
struct Stamp(&'static str);

impl Middleware for Stamp {
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
        if request.path() == "/stamp" {
            return Response::plaintext(self.0).into();
        }
        let stamp = self.0;
        ResponseFuture::new(async move { next.run(request).await.with_added_header("X-Stamp", stamp) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_middleware_that_is_last_is_followed_by_a_404() {
    let not_found = page("404 Not Found").replace("Connection: close\n", "");
    for http in [
        HttpServer::new(WebSocketMiddleware::new()),
        HttpServer::new((WebSocketMiddleware::new(),)),
        HttpServer::new((|request, next: Next| next.run(request), WebSocketMiddleware::new())),
    ] {
        let log = errors(&http);
        assert_eq!(say(&http, GET).await, Said { text: not_found.clone(), end: OPEN });
        assert_eq!(log.take(), [""; 0], "nothing has failed");
        let (_peer, _serving) = Peer::open_in_memory(&http).await;
    }
    let http = HttpServer::new(Stamp("a"));
    let stamped = not_found.replace("text/plain\n", "text/plain\nX-Stamp: a\n");
    assert_eq!(say(&http, GET).await.text, stamped);
    assert_eq!(say(&http, GET.replace(" / ", " /stamp ")).await.text, ok("a"));
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_down_the_chain_in_order_and_the_response_back_up() {
    let log = Log::default();
    let layer = |name: &'static str| {
        let log = log.clone();
        move |request: ServerRequest, next: Next| {
            let log = log.clone();
            log.add(format_args!("{name} in"));
            async move {
                let response = next.run(request).await;
                log.add(format_args!("{name} out"));
                response.with_added_header("X-Way", name)
            }
        }
    };
    let noting = log.clone();
    let routing = move |request: ServerRequest| {
        noting.add("router");
        tell(request)
    };
    let http = HttpServer::new((layer("a"), Stamp("s"), layer("b"), routing));
    let way = "X-Way: b\nX-Stamp: s\nX-Way: a\n";
    let text = ok_with(&format!("Content-Type: text/plain; charset=utf-8\n{way}"), "", "GET / ");
    assert_eq!(say(&http, GET).await.text, text);
    assert_eq!(log.take(), ["a in", "b in", "router", "b out", "a out"]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_has_up_to_twelve_links() {
    macro_rules! link {
        ($name:literal) => {
            |request: ServerRequest, next: Next| async move { next.run(request).await.with_added_header("X-Link", $name) }
        };
    }
    let http = HttpServer::new((
        link!("1"),
        link!("2"),
        link!("3"),
        link!("4"),
        link!("5"),
        link!("6"),
        link!("7"),
        link!("8"),
        link!("9"),
        link!("10"),
        link!("11"),
        router,
    ));
    let said = say(&http, GET).await.text;
    let links: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("X-Link: ")).collect();
    assert_eq!(links.join(" "), "11 10 9 8 7 6 5 4 3 2 1");
}

#[tokio::test(start_paused = true)]
async fn a_middleware_may_answer_by_itself_or_change_what_comes_back() {
    let gate = |request: ServerRequest, next: Next| match request.header("X-Key") {
        Some("open") => next.run(request),
        Some("break") => panic!("broken"),
        _ => Response::new(401).with_header("WWW-Authenticate", "X-Key").into(),
    };
    let polish = |request: ServerRequest, next: Next| async move {
        let response = next.run(request).await;
        match response.status() {
            // A router that returned `Err` shows as its 500.
            500 => Response::plaintext("sorry").with_status(503),
            _ => {
                assert_eq!(response.header("CONTENT-TYPE"), Some("text/plain; charset=utf-8"));
                response.with_status(203).with_header("Content-Type", "text/html").with_body("<p>")
            }
        }
    };
    let http = HttpServer::new((gate, polish, |request: ServerRequest| match request.path() {
        "/" => Ok(Response::plaintext("plain")),
        _ => fail(),
    }));
    for (request, status, body) in [
        (GET.to_owned(), "401 Unauthorized\nWWW-Authenticate: X-Key\n", ""),
        (
            GET.replace("\r\n\r\n", "\r\nX-Key: break\r\n\r\n"),
            "500 Internal Server Error\n",
            "Error 500: Internal Server Error",
        ),
        (
            GET.replace("\r\n\r\n", "\r\nX-Key: open\r\n\r\n"),
            "203 Non Authoritative Information\nContent-Type: text/html\n",
            "<p>",
        ),
        ("GET /x HTTP/1.1\r\nHost: a\r\nX-Key: open\r\n\r\n".into(), "503 Service Unavailable\n", "sorry"),
    ] {
        let said = say(&http, request).await.text;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        assert!(said.ends_with(&format!("\n\n{body}")), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn attributes_go_down_the_chain_by_their_type() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    let first = |request: ServerRequest, next: Next| {
        assert_eq!(request.attribute::<User>(), None);
        let mine = request.clone();
        let answer = next.run(request.with_attribute(User("ann")).with_attribute(7_u32));
        assert_eq!(mine.attribute::<User>(), None, "the request of this middleware is as it was");
        answer
    };
    let second = |request: ServerRequest, next: Next| {
        assert_eq!(request.attribute(), Some(&User("ann")));
        next.run(request.with_attribute(User("bob")))
    };
    let http = HttpServer::new((first, second, |request: ServerRequest| {
        let (user, number) = (request.attribute::<User>().unwrap(), request.attribute::<u32>().unwrap());
        Response::plaintext(format!("{} {number} {:?}", user.0, request.attribute::<u64>()))
    }));
    assert_eq!(say(&http, GET).await.text, ok("bob 7 None"));
}

// What a request tells.

/// What a router makes of one request.
async fn ask<T: Send + 'static>(request: impl AsRef<[u8]>, look: impl Fn(ServerRequest) -> T + Send + Sync + 'static) -> T {
    let found = Arc::new(Mutex::new(None));
    let keep = found.clone();
    let http = HttpServer::new(move |request: ServerRequest| {
        *keep.lock().unwrap() = Some(look(request));
        Response::new(204)
    });
    let (mut peer, _) = Peer::serve(&http);
    assert_eq!(peer.ask(request).await.status(), 204);
    found.lock().unwrap().take().unwrap()
}

/// A request with a body.
fn post(content_type: &str, body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test(start_paused = true)]
async fn a_request_tells_its_line_and_headers() {
    let request =
        "PATCH /a%20b/%C3%A9?x=1&y=%20 HTTP/1.1\r\nHost: example.com:80\r\nX-One: 1\r\nx-two:  2 \r\nX-TWO: 3\r\n\r\n";
    ask(request, |request| {
        assert_eq!((request.method().as_str(), request.version()), ("PATCH", http::Version::HTTP_11));
        assert_eq!(request.target(), "/a%20b/%C3%A9?x=1&y=%20");
        assert_eq!((request.uri().path(), request.uri().query()), ("/a%20b/%C3%A9", Some("x=1&y=%20")));
        assert_eq!(request.path(), "/a%20b/%C3%A9");
        assert_eq!(request.header("host"), Some("example.com:80"));
        assert_eq!((request.header("X-Two"), request.header("x-none")), (Some("2"), None));
        let both: Vec<_> = request.headers().get_all("x-two").iter().collect();
        assert_eq!(both, ["2", "3"]);
        assert_eq!((request.body().len(), request.remote_address(), request.local_address()), (0, None, None));
    })
    .await;
    let version = ask("GET / HTTP/1.0\r\n\r\n", |request| request.version()).await;
    assert_eq!(version, http::Version::HTTP_10);
}

#[tokio::test(start_paused = true)]
async fn each_form_of_the_target_has_its_uri() {
    for (line, target, uri, path, query) in [
        ("GET /é?ü HTTP/1.1", "/é?ü", "/%C3%A9?%C3%BC", "/%C3%A9", Some("%C3%BC")),
        ("GET /a?b=c?d HTTP/1.1", "/a?b=c?d", "/a?b=c?d", "/a", Some("b=c?d")),
        ("GET http://b:8/c?d HTTP/1.1", "http://b:8/c?d", "http://b:8/c?d", "/c", Some("d")),
        ("GET http://b HTTP/1.1", "http://b", "http://b/", "/", None),
        ("OPTIONS * HTTP/1.1", "*", "*", "", None),
    ] {
        ask(format!("{line}\r\nHost: a\r\n\r\n"), move |request| {
            assert_eq!((request.target(), request.uri().to_string().as_str()), (target, uri));
            assert_eq!((request.path(), request.uri().query()), (path, query));
            assert_eq!(request.header("Host"), Some("a"), "whatever the target says");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn header_values_may_be_any_bytes() {
    ask("GET / HTTP/1.1\r\nHost: a\r\nX-A: é\r\nX-B: a\tb\r\nX-C:\r\n\r\n", |request| {
        assert_eq!(request.headers().get("X-A").unwrap().as_bytes(), "é".as_bytes());
        assert_eq!((request.header("X-A"), request.header("X-B")), (Some("é"), Some("a\tb")));
        assert_eq!(request.header("X-C"), Some(""));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn query_and_cookies_are_decoded() {
    let request = "GET /?a=1&b=x+y%21&a=2&%C3%A9=%C3%BC&empty=&flag&&c=d=e HTTP/1.1\r\nHost: a\r\n\
        Cookie: a=1; b=%20x;c = y ; none; d=e=f\r\nCookie: a=2; g=\r\n\r\n";
    ask(request, |request| {
        let query = request.query_params();
        let found = ["a", "b", "é", "empty", "flag", "c", "none"].map(|name| query.get(name));
        assert_eq!(found, [Some("2"), Some("x y!"), Some("ü"), Some(""), Some(""), Some("d=e"), None]);
        let all: Vec<_> = query.iter().take(3).collect();
        assert_eq!((all, query.len(), query.is_empty()), (vec![("a", "1"), ("b", "x y!"), ("a", "2")], 7, false));
        let cookies = request.cookie_params();
        let found = ["a", "b", "c", "d", "g", "none"].map(|name| cookies.get(name));
        assert_eq!(found, [Some("1"), Some(" x"), Some("y"), Some("e=f"), Some(""), None]);
    })
    .await;
    ask(GET, |request| assert!(request.query_params().is_empty() && request.cookie_params().is_empty())).await;
}

#[tokio::test(start_paused = true)]
async fn forms_are_parsed() {
    ask(post("application/x-www-form-urlencoded", "a=1&b=%C3%A9+x&a=2"), |request| {
        let form = request.parsed_body().unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("2"), Some("é x"), None));
        assert_eq!((form.fields().len(), form.files().len()), (3, 0));
    })
    .await;
    let body = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XX\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        line\r\n--X\r\n--XX--\r\n";
    ask(post("multipart/form-data; boundary=XX", body), |request| {
        let form = request.parsed_body().unwrap();
        assert_eq!((form.get("a"), form.get("f")), (Some("one"), None));
        let [file] = form.files() else { panic!("{form:?}") };
        assert_eq!((file.field.as_str(), file.file_name.as_str()), ("f", "a b.txt"));
        assert_eq!((file.content_type.as_deref(), &file.content[..]), (Some("text/plain"), &b"line\r\n--X"[..]));
    })
    .await;
    for (content_type, body, expected) in [
        ("text/plain", "a=1", Ok(Form::default())),
        ("multipart/form-data", "--XX\r\n", Err(FormError::Boundary { length: 0, limit: 70 })),
        ("multipart/form-data; boundary=XX", "--XX\r\na", Err(FormError::UnfinishedPart { part: 1 })),
    ] {
        ask(post(content_type, body), move |request| {
            assert_eq!(request.parsed_body(), expected);
            assert!(!request.body().is_empty(), "the bytes are there all the same");
        })
        .await;
    }
}

/// A malformed form is the client's fault, whatever type the router's error has.
#[tokio::test(start_paused = true)]
async fn a_router_that_returns_the_error_of_a_form_answers_with_400() {
    fn by_its_type(request: ServerRequest) -> Result<Response, FormError> {
        Ok(Response::plaintext(request.parsed_body()?.get("a").unwrap_or("nothing")))
    }
    async fn boxed(request: ServerRequest) -> Result<Response, BoxError> {
        Ok(Response::plaintext(request.parsed_body()?.get("a").unwrap_or("nothing")))
    }
    for http in [HttpServer::new(by_its_type), HttpServer::new(boxed)] {
        let log = errors(&http);
        let said = say(&http, post("multipart/form-data; boundary=XX", "--XX\r\na")).await;
        assert_eq!(said, Said { text: page("400 Bad Request"), end: CLOSED });
        assert_eq!(log.take(), ["malformed form: part 1 has no end"]);
        assert_eq!(http.stats().errors.get("form"), Some(&1));
        let good = "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--XX--";
        assert_eq!(say(&http, post("multipart/form-data; boundary=XX", good)).await.text, ok("1"));
    }
}

#[tokio::test]
async fn a_request_tells_both_addresses() {
    let http = HttpServer::new(|request: ServerRequest| {
        Response::plaintext(format!("{:?} {:?}", request.remote_address(), request.local_address()))
    });
    let (address, _listening) = listen_with(http.clone());
    let mut peer = Peer::connect(address).await;
    let mine = peer.stream.local_addr().unwrap();
    assert_eq!(soon(peer.ask(GET)).await.text(), format!("Some({mine}) Some({address})"));
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve_with_addresses(server, Some(mine), Some(address));
    assert_eq!(soon(Peer::new(client).ask(GET)).await.text(), format!("Some({mine}) Some({address})"));
}

/// A server that tells whom each request is from, and who sent it.
fn behind(proxies: Option<TrustedProxies>) -> HttpServer {
    let router = |request: ServerRequest| {
        Response::plaintext(format!("{:?} {:?}", request.remote_address(), request.peer_address()))
    };
    HttpServer::new(router).with_options(HttpOptions::new().trusted_proxies(proxies))
}

/// A client with this address, if it has one.
fn peer_from(http: &HttpServer, address: &str) -> Peer<DuplexStream> {
    let (client, server) = tokio::io::duplex(10_000);
    drop(http.serve_with_addresses(server, address.parse().ok(), None));
    Peer::new(client)
}

fn forwarded_for(client: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nForwarded: for=6.6.6.6\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_says_whom_each_request_is_from() {
    let http = behind(Some(TrustedProxies::x_forwarded_for(["192.0.2.0/24"])));
    let mut proxy = peer_from(&http, "192.0.2.1:1");
    for (request, client) in [
        (forwarded_for("198.51.100.1:5"), "198.51.100.1:5"),
        // A proxy uses its connections for many clients.
        (forwarded_for("7.7.7.7, 198.51.100.2"), "198.51.100.2:0"),
        (GET.to_owned(), "192.0.2.1:1"),
    ] {
        assert_eq!(proxy.ask(request).await.text(), format!("Some({client}) Some(192.0.2.1:1)"));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_else_says_whom_a_request_is_from() {
    let trusting = behind(Some(TrustedProxies::x_forwarded_for(["192.0.2.0/24"])));
    for (http, address, told) in [
        (&trusting, "198.51.100.1:1", "Some(198.51.100.1:1) Some(198.51.100.1:1)"),
        (&behind(None), "192.0.2.1:1", "Some(192.0.2.1:1) Some(192.0.2.1:1)"),
        // Of a stream without an address nothing is known.
        (&trusting, "", "None None"),
    ] {
        assert_eq!(peer_from(http, address).ask(forwarded_for("198.51.100.9")).await.text(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_the_address_that_a_trusted_proxy_tells() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        let peer = connection.request().and_then(|request| request.peer_address());
        noted.add(format_args!("{:?} {peer:?}", connection.remote_address()));
        let noted = noted.clone();
        connection.on("close", move |connection: &WebSocketConnection| {
            noted.add(format_args!("{:?}", connection.remote_address()))
        });
    });
    let http = http.with_options(HttpOptions::new().trusted_proxies(TrustedProxies::forwarded(["192.0.2.1"])));
    let mut proxy = peer_from(&http, "192.0.2.1:1");
    let handshake = HANDSHAKE.replace("\r\n\r\n", "\r\nForwarded: for=\"[2001:db8::1]:80\"\r\n\r\n");
    assert_eq!(proxy.ask(handshake).await.status(), 101);
    drop(proxy);
    settle().await;
    assert_eq!(log.take(), ["Some([2001:db8::1]:80) Some(192.0.2.1:1)", "Some([2001:db8::1]:80)"]);
}

#[tokio::test(start_paused = true)]
async fn trusted_proxies_may_open_any_number_of_connections() {
    let options = HttpOptions::new().max_connections_per_ip(1);
    let http = telling().with_options(options.trusted_proxies(TrustedProxies::x_forwarded_for(["192.0.2.1"])));
    let mut open = Vec::new();
    for address in ["192.0.2.1:1", "192.0.2.1:2", "[::ffff:192.0.2.1]:3", "192.0.2.2:1"] {
        let mut peer = peer_from(&http, address);
        assert_eq!(peer.ask(GET).await.status(), 200, "{address}");
        open.push(peer);
    }
    assert_eq!(shown(&peer_from(&http, "192.0.2.2:2").rest().await), TOO_MANY, "others may not");
}

// Bodies that are written while they are sent.

/// A server whose response's body is a stream, which comes with each request. Its events are noted.
fn streaming(status: u16, headers: &'static [(&str, &str)]) -> (HttpServer, mpsc::UnboundedReceiver<BodyWriter>, Log) {
    let log = Log::default();
    let noting = log.clone();
    let (tell, streams) = mpsc::unbounded_channel();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        tell.send(stream.clone()).unwrap();
        headers
            .iter()
            .fold(Response::new(status), |response, (name, value)| response.with_header(*name, value))
            .with_body(stream)
    });
    (http, streams, log)
}

/// A stream that somebody may still write to.
fn unended() -> BodyStream {
    let stream = BodyStream::new();
    std::mem::forget(stream.writer());
    stream
}

/// A stream whose events are noted.
fn watched(log: &Log) -> BodyStream {
    let stream = BodyStream::new();
    for event in ["drain", "close"] {
        let log = log.clone();
        stream.on(event, move || log.add(event));
    }
    stream
}

/// Asks for a stream, and reads the head.
async fn ask_for_stream(
    http: &HttpServer,
    streams: &mut mpsc::UnboundedReceiver<BodyWriter>,
    request: &str,
) -> (Peer<DuplexStream>, BodyWriter, String) {
    let (mut peer, _) = Peer::serve(http);
    peer.send(request).await;
    let head = peer.head().await;
    (peer, streams.recv().await.unwrap(), shown(head.as_bytes()))
}

const CHUNKED: &str = "HTTP/1.1 200 OK\nServer: react-websocket\nDate: *\nTransfer-Encoding: chunked";

#[tokio::test(start_paused = true)]
async fn a_stream_is_sent_in_chunks_as_it_is_written() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (mut peer, stream, head) = ask_for_stream(&http, &mut streams, GET).await;
    assert_eq!(head, CHUNKED, "the head does not wait for the body");
    assert!(stream.write("hello"));
    assert_eq!((peer.line().await, peer.line().await), ("5".into(), "hello".into()));
    assert!(stream.write(""));
    // An empty chunk would be the last.
    settle().await;
    assert!(stream.write(vec![b'a'; 26]));
    assert_eq!((peer.line().await, peer.line().await), ("1a".into(), "a".repeat(26)));
    assert_eq!(stream.buffered_amount(), 0);
    assert!(stream.is_writable());
    stream.end_with("bye");
    assert!(!stream.is_writable() && !stream.write("more"));
    stream.end();
    assert_eq!(peer.exactly(13).await, b"3\r\nbye\r\n0\r\n\r\n");
    // The connection goes on.
    peer.send(GET).await;
    assert_eq!(shown(peer.head().await.as_bytes()), CHUNKED);
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_before_the_response_is_under_way_waits() {
    let http = HttpServer::new(|_: ServerRequest| async {
        let stream = BodyStream::new();
        stream.write("a");
        stream.write("b");
        sleep(seconds(1)).await;
        stream.end();
        Response::new(200).with_body(stream)
    });
    let (mut peer, _) = Peer::serve(&http);
    let answer = peer.ask(GET).await;
    assert_eq!((answer.header("Transfer-Encoding"), answer.text()), (Some("chunked"), "ab"));
    assert_eq!(peer.ask(GET).await.text(), "ab");
}

#[tokio::test(start_paused = true)]
async fn to_http_1_0_a_stream_ends_with_the_connection() {
    for keep_alive in ["", "Connection: keep-alive\r\n"] {
        let (http, mut streams, log) = streaming(200, &[]);
        let request = format!("GET / HTTP/1.0\r\n{keep_alive}\r\n");
        let (mut peer, stream, head) = ask_for_stream(&http, &mut streams, &request).await;
        assert_eq!(head, "HTTP/1.0 200 OK\nServer: react-websocket\nDate: *");
        stream.write("hello");
        assert_eq!(peer.exactly(5).await, b"hello");
        stream.end_with("bye");
        assert_eq!(peer.rest().await, b"bye");
        assert_eq!(log.take(), ["close"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_wants_is_closed_at_once() {
    for (status, method, framing) in
        [(200, "HEAD", "\nTransfer-Encoding: chunked"), (204, "GET", ""), (304, "GET", "\nTransfer-Encoding: chunked")]
    {
        let (http, mut streams, log) = streaming(status, &[]);
        let (mut peer, stream, head) = ask_for_stream(&http, &mut streams, &GET.replace("GET", method)).await;
        assert!(head.ends_with(&format!("\nServer: react-websocket\nDate: *{framing}")), "{head}");
        assert!(!stream.write("a"));
        assert_eq!(log.take(), ["close"]);
        peer.send(GET).await;
        assert!(peer.head().await.starts_with(&format!("HTTP/1.1 {status} ")), "the connection goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_length_that_is_told_is_sent_as_it_is() {
    for (version, keep_alive) in [("1.1", ""), ("1.0", "\nConnection: keep-alive")] {
        let (http, mut streams, log) = streaming(200, &[("content-length", "5"), ("Transfer-Encoding", "gzip")]);
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        let (mut peer, stream, head) = ask_for_stream(&http, &mut streams, &request).await;
        assert_eq!(head, format!("HTTP/{version} 200 OK\nServer: react-websocket\nDate: *\nContent-Length: 5{keep_alive}"));
        stream.write("he");
        assert_eq!(peer.exactly(2).await, b"he");
        stream.write("llo");
        assert_eq!(peer.exactly(3).await, b"llo");
        stream.end();
        peer.send(&request).await;
        assert!(peer.head().await.ends_with(&keep_alive.replace('\n', "\r\n")), "the connection goes on");
        assert_eq!(log.take(), ["close"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_shorter_or_longer_than_told_ends_the_connection() {
    for (last, received) in [("", "abc"), ("d", "abcd"), ("de", "abcde")] {
        let (http, mut streams, log) = streaming(200, &[("Content-Length", "5")]);
        let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
        stream.write("abc");
        assert_eq!(peer.exactly(3).await, b"abc");
        stream.end_with(last);
        let rest = timeout(seconds(5), peer.rest()).await;
        // Complete, so the connection stays; or cut short, so it does not.
        assert_eq!(rest.is_err(), received.len() == 5, "{received}");
        assert_eq!(log.take(), ["close"]);
    }
    let (http, mut streams, log) = streaming(200, &[("Content-Length", "5")]);
    let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
    stream.write("abc");
    assert_eq!(peer.exactly(3).await, b"abc");
    stream.write("defHTTP/1.1 200 OK");
    let rest = someday(peer.rest()).await;
    assert!(rest.len() <= 2, "nothing past the length: {}", shown(&rest));
    assert!(!stream.is_writable());
    assert_eq!(log.take(), ["close"]);
}

/// What is said of a stream that is over before its response is under way.
async fn say_of_a_stream_that_is_over(version: &str, over: fn(&BodyWriter)) -> String {
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = BodyStream::new();
        over(&stream);
        Response::new(200).with_body(stream)
    });
    say(&http, format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")).await.text
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ended_before_it_was_sent_is_an_empty_body() {
    assert_eq!(say_of_a_stream_that_is_over("1.1", BodyWriter::end).await, format!("{CHUNKED}\n\n0\n\n"));
    let head = "HTTP/1.0 200 OK\nServer: react-websocket\nDate: *\n\n";
    assert_eq!(say_of_a_stream_that_is_over("1.0", BodyWriter::end).await, head);
}

/// What is missing may be what its app did not know of: it has written too much.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_cut_before_it_was_sent_is_a_500() {
    let too_much = |stream: &BodyWriter| {
        (0..5).for_each(|_| _ = stream.write(vec![b'a'; 1 << 20]));
        stream.end();
    };
    type Cut = fn(&BodyWriter);
    let cuts: [(Cut, &str); 2] = [
        (BodyWriter::close, "a body stream was closed before all of it was sent"),
        (too_much, "more than 4194304 bytes of a body stream are unsent: heed what `write` returns, or use `send`"),
    ];
    for (cut, reason) in cuts {
        let http = HttpServer::new(move |_: ServerRequest| {
            let stream = BodyStream::new();
            stream.write("a");
            cut(&stream);
            Response::new(200).with_body(stream)
        });
        let log = errors(&http);
        assert_eq!(say(&http, GET).await.text, page("500 Internal Server Error"));
        assert_eq!(log.take(), [format!("the request handler failed: {reason}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_closed_before_it_was_sent_is_an_empty_body_too() {
    // As in ReactPHP, where an end is a close as well.
    assert_eq!(say_of_a_stream_that_is_over("1.1", BodyWriter::close).await, format!("{CHUNKED}\n\n0\n\n"));
    let head = "HTTP/1.0 200 OK\nServer: react-websocket\nDate: *\n\n";
    assert_eq!(say_of_a_stream_that_is_over("1.0", BodyWriter::close).await, head);
}

#[tokio::test(start_paused = true)]
async fn write_answers_false_from_64_kib_on_and_drain_follows() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve(server);
    let mut peer = Peer::new(client);
    peer.send(GET).await;
    assert_eq!(shown(peer.head().await.as_bytes()), CHUNKED);
    let stream = streams.recv().await.unwrap();
    assert!(stream.write(vec![b'a'; 65_535]), "one byte below");
    assert_eq!(stream.buffered_amount(), 65_535);
    assert_eq!((peer.line().await, peer.line().await.len()), ("ffff".into(), 65_535));
    settle().await;
    assert_eq!((stream.buffered_amount(), log.take()), (0, vec![]), "no write was answered false");

    assert!(!stream.write(vec![b'b'; 65_536]), "at the limit");
    assert!(!stream.write("c"), "past it, and accepted all the same");
    assert_eq!(stream.buffered_amount(), 65_537);
    assert_eq!(log.take(), [""; 0]);
    let size = usize::from_str_radix(&peer.line().await, 16).unwrap();
    assert_eq!((size, peer.line().await), (65_537, "b".repeat(65_536) + "c"));
    settle().await;
    assert_eq!(log.take(), ["drain"], "once");
    assert!(stream.write("d"));
    assert_eq!((peer.line().await, peer.line().await), ("1".into(), "d".into()));
    stream.end();
    assert_eq!(peer.exactly(5).await, b"0\r\n\r\n");
    settle().await;
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn drain_waits_until_less_than_64_kib_are_unsent() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve(server);
    let mut peer = Peer::new(client);
    peer.send(GET).await;
    peer.head().await;
    let stream = streams.recv().await.unwrap();
    assert!(!stream.write(vec![b'a'; 100_000]));
    settle().await;
    // Now the first piece is on its way.
    assert!(!stream.write(vec![b'b'; 65_536]));
    assert_eq!((peer.line().await, peer.line().await.len()), ("186a0".into(), 100_000));
    settle().await;
    assert_eq!((stream.buffered_amount(), log.take()), (65_536, vec![]));
    assert_eq!((peer.line().await, peer.line().await.len()), ("10000".into(), 65_536));
    settle().await;
    assert_eq!((stream.buffered_amount(), log.take()), (0, vec!["drain".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_writer_does_not_heed_false_is_cut() {
    const HARD_LIMIT: usize = 4 << 20;
    let (http, mut streams, log) = streaming(200, &[]);
    let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
    assert!(!stream.write(vec![b'a'; HARD_LIMIT - 1]));
    assert!(!stream.write("b"), "below the limit, so this is accepted");
    assert_eq!((stream.buffered_amount(), stream.is_writable(), log.take()), (HARD_LIMIT, true, vec![]));
    assert!(!stream.write("c"));
    assert!(!stream.is_writable());
    assert_eq!(log.take(), ["close"]);
    let rest = peer.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the client has to see that something is missing");
}

#[tokio::test(start_paused = true)]
async fn send_waits_for_room() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (client, server) = tokio::io::duplex(1000);
    let _serving = http.serve(server);
    let mut peer = Peer::new(client);
    peer.send(GET).await;
    peer.head().await;
    let stream = streams.recv().await.unwrap();
    assert!(stream.send(vec![b'a'; 65_536]).await, "there is room for the first");
    timeout(seconds(5), stream.send("b")).await.expect_err("and then there is none");
    let writer = stream.clone();
    let sending = tokio::spawn(async move { writer.send("c").await });
    assert_eq!((peer.line().await, peer.line().await.len()), ("10000".into(), 65_536));
    assert_eq!((someday(peer.line()).await, peer.line().await), ("1".into(), "c".into()));
    assert!(someday(sending).await.unwrap());
    stream.write(vec![b'd'; 65_536]);
    let writer = stream.clone();
    let sending = tokio::spawn(async move { writer.send("e").await });
    settle().await;
    stream.close();
    assert!(!someday(sending).await.unwrap(), "it does not wait for what will never be");
    assert_eq!(log.take().last().unwrap(), "close");
    let stream = BodyStream::new();
    stream.write(vec![b'a'; 65_536]);
    let writer = stream.clone();
    let sending = tokio::spawn(async move { writer.send("b").await });
    settle().await;
    stream.end();
    assert!(!someday(sending).await.unwrap(), "nor is there room after the end");
}

#[tokio::test(start_paused = true)]
async fn close_cuts_a_stream_and_is_told_at_once_and_once() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
    stream.write("hello");
    assert_eq!((peer.line().await, peer.line().await), ("5".into(), "hello".into()));
    stream.write("unsent");
    stream.close();
    assert_eq!(log.take(), ["close"], "within the call");
    stream.close();
    stream.end();
    assert!(!stream.write("a"));
    let start = Instant::now();
    assert_eq!(peer.rest().await, b"", "no last chunk: something is missing");
    assert_eq!(seconds_since(start), 0.0);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_when_its_client_has_left() {
    for pieces in [0, 1, 2] {
        let (http, mut streams, log) = streaming(200, &[]);
        let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
        for _ in 0..pieces {
            stream.write("a");
            assert_eq!((peer.line().await, peer.line().await), ("1".into(), "a".into()));
        }
        sleep(seconds(3600)).await;
        assert_eq!(log.take(), [""; 0], "a stream may be silent for long");
        drop(peer);
        // What is seen of it is a FIN, which may be one of a client that still reads; so there is time.
        sleep(millis(4_900)).await;
        assert_eq!(log.take(), [""; 0]);
        sleep(millis(200)).await;
        assert_eq!(log.take(), ["close"], "after {pieces} pieces");
        assert!(!stream.write("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_gets_a_stream_as_long_as_there_is_something_to_send() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
    peer.stream.shutdown().await.unwrap();
    for _ in 0..10 {
        sleep(millis(4_900)).await;
        assert!(stream.write("a"));
    }
    stream.end();
    assert_eq!(shown(&peer.rest().await), format!("{}0\n\n", "1\na\n".repeat(10)));
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_when_it_is_written_to_a_client_that_has_left() {
    let (http, mut streams, log) = streaming(200, &[]);
    let (peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
    drop(peer);
    stream.write("a");
    settle().await;
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test]
async fn a_reset_closes_a_stream_at_once() {
    for pieces in [0, 1] {
        let (http, mut streams, _) = streaming(200, &[]);
        // A FIN would be waited out for an hour.
        let (address, _listening) = listen_with(http.with_options(HttpOptions::new().half_close_timeout(seconds(3600))));
        let mut peer = Peer::connect(address).await;
        peer.send(GET).await;
        soon(peer.head()).await;
        let stream = soon(streams.recv()).await.unwrap();
        let (tell, mut closed) = mpsc::unbounded_channel();
        stream.on("close", move || tell.send(()));
        for _ in 0..pieces {
            stream.write("a");
            assert_eq!(soon(peer.line()).await, "1");
        }
        peer.stream.set_zero_linger().unwrap();
        drop(peer);
        soon(closed.recv()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_a_stream_is_cut() {
    let (http, mut streams, log) = streaming(200, &[]);
    let noting = log.clone();
    http.on("error", move |error| noting.add(error));
    let (client, server) = tokio::io::duplex(1000);
    let serving = http.serve(server);
    let mut peer = Peer::new(client);
    peer.send(GET).await;
    peer.head().await;
    let stream = streams.recv().await.unwrap();
    stream.write(vec![b'a'; 10_000]);
    let start = Instant::now();
    someday(serving).await;
    assert_eq!(seconds_since(start), 30.0);
    let mut told = log.take();
    told.sort();
    assert_eq!(told, ["close", "the client took nothing of the response within 30s"]);
}

// Whoever writes to a stream has to hear of its end, also if its response is never sent: it would write, or wait for room,
// for ever.

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_when_its_client_leaves_before_the_response_is_under_way() {
    let log = Log::default();
    let noting = log.clone();
    let hold = |request: ServerRequest, next: Next| async {
        let _response = next.run(request).await;
        pending::<Response>().await
    };
    let http = HttpServer::new((hold, move |_: ServerRequest| Response::new(200).with_body(watched(&noting))));
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    settle().await;
    drop(peer);
    someday(serving).await;
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_when_a_500_is_sent_instead_of_its_response() {
    let log = Log::default();
    let noting = log.clone();
    let http =
        HttpServer::new(move |_: ServerRequest| Response::new(200).with_body(watched(&noting)).with_header("X-A", "\n"));
    assert!(say(&http, GET).await.text.starts_with("HTTP/1.1 500 "));
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_closed_when_a_middleware_replaces_it() {
    let log = Log::default();
    let noting = log.clone();
    let replace = |request: ServerRequest, next: Next| async { next.run(request).await.with_body("other") };
    let http = HttpServer::new((replace, move |_: ServerRequest| Response::new(200).with_body(watched(&noting))));
    assert!(say(&http, GET).await.text.ends_with("\n\nother"));
    assert_eq!(log.take(), ["close"]);
}

#[tokio::test(start_paused = true)]
async fn a_pipelined_request_waits_for_the_end_of_a_stream() {
    let (http, mut streams, _) = streaming(200, &[]);
    let (mut peer, first, _) = ask_for_stream(&http, &mut streams, &GET.repeat(2)).await;
    sleep(seconds(60)).await;
    assert!(streams.try_recv().is_err(), "the second has not begun");
    first.end_with("first");
    assert_eq!(peer.exactly(15).await, b"5\r\nfirst\r\n0\r\n\r\n");
    peer.head().await;
    streams.recv().await.unwrap().end_with("second");
    assert_eq!(peer.exactly(16).await, b"6\r\nsecond\r\n0\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn listeners_of_a_stream_may_use_it_and_are_dropped_after_close() {
    let log = Log::default();
    let noting = log.clone();
    let http = HttpServer::new(move |_: ServerRequest| {
        let stream = watched(&noting);
        let (writer, mut pieces) = (stream.clone(), 3);
        stream.on("drain", move || {
            pieces -= 1;
            match pieces {
                0 => writer.end(),
                _ => assert!(!writer.write(vec![b'a'; 65_536])),
            }
        });
        let (writer, guard) = (stream.clone(), Guard(noting.clone(), "dropped"));
        stream.on("close", move || {
            let _ = &guard;
            assert!(!writer.write("more"));
            writer.close();
        });
        assert!(!stream.write(vec![b'a'; 65_536]));
        Response::new(200).with_body(stream)
    });
    let (mut peer, _) = Peer::serve(&http);
    assert_eq!(someday(peer.ask(GET)).await.body.len(), 3 * 65_536);
    settle().await;
    assert_eq!(log.take(), ["drain", "drain", "drain", "close", "dropped"]);
    let unknown = BodyStream::new().try_on("text", || {}).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no event \"text\" on a BodyStream; its events are drain, shutdown, close");
}

// The end of the server.

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_answers_what_is_under_way_and_nothing_more() {
    let http = HttpServer::new(|request: ServerRequest| async move {
        sleep(seconds(5)).await;
        tell(request)
    });
    let start = Instant::now();
    let (mut idle, idle_serving) = Peer::serve(&http);
    let (mut used, used_serving) = Peer::serve(&http);
    used.ask(GET).await;
    let (mut busy, busy_serving) = Peer::serve(&http);
    busy.send(GET.repeat(2)).await;
    sleep(seconds(1)).await;
    let closing = [idle_serving.close(), used_serving.close(), busy_serving.close()];
    assert!(idle.ended().await && used.ended().await, "without a word");
    assert_eq!(seconds_since(start), 6.0, "and at once");
    let text = ok_with("Content-Type: text/plain; charset=utf-8\n", "Connection: close\n", "GET / ");
    assert_eq!(shown(&busy.rest().await), text);
    assert_eq!(seconds_since(start), 10.0);
    drop(busy);
    for closing in closing {
        closing.await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_cuts_what_does_not_end_in_time() {
    let (http, log, mut has_begun) = never_answering();
    let (mut waiting, serving) = Peer::serve(&http);
    waiting.send(GET).await;
    has_begun.recv().await.unwrap();
    let start = Instant::now();
    serving.close().await;
    assert_eq!(seconds_since(start), 10.0);
    assert!(waiting.ended().await);
    assert_eq!(log.take(), ["dropped"]);

    let (http, mut streams, log) = streaming(200, &[]);
    let (mut peer, serving) = Peer::serve(&http);
    peer.send(GET).await;
    peer.head().await;
    let stream = streams.recv().await.unwrap();
    serving.close().await;
    assert_eq!((peer.rest().await, log.take()), (vec![], vec!["close".to_owned()]));
    assert!(!stream.is_writable());
}
