//! HTTP as its clients see it: requests that are accepted and rejected, and the heads and bodies of responses (RFC 9110,
//! RFC 9112).
//!
//! The requests, and ReactPHP's responses to them, were recorded with react/http 1.10. A case with
//! a different response says why.

mod support;

use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest};
use support::http::{
    CLOSED, GET, OPEN, Said, errors, ok, ok_with, page, play, say, say_byte_by_byte, shown, someday, tell, telling,
};
use support::{HANDSHAKE, Peer, websockets};
use tokio::io::AsyncWriteExt;

/// A stream that still has a writer.
fn unended() -> BodyStream {
    let stream = BodyStream::new();
    std::mem::forget(stream.writer());
    stream
}

// Responses: their heads (RFC 9110), and the length of their bodies (RFC 9112 section 6.3).

/// The order of header fields (RFC 9110 section 5.3).
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

/// `Content-Type` (RFC 9110 section 8.3).
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

/// `Server` (RFC 9110 section 10.2.4) and `Date` (section 6.6.1).
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

/// The reason phrase may be empty, and its space remains (RFC 9112 section 4).
#[tokio::test(start_paused = true)]
async fn a_status_without_a_reason_has_an_empty_one() {
    let http = HttpServer::new(|_: ServerRequest| Response::new(299));
    let said = say(&http, GET).await;
    assert_eq!(said.text.lines().next(), Some("HTTP/1.1 299 "));
    assert_eq!(said.end, OPEN);
}

/// Persistence (RFC 9112 section 9.3).
#[tokio::test(start_paused = true)]
async fn the_version_and_the_connection_header_decide_whether_a_connection_persists() {
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

/// `Connection` (RFC 9110 section 7.6.1).
#[tokio::test(start_paused = true)]
async fn a_connection_header_of_the_app_is_sent_where_the_server_sends_none() {
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

/// Only an HTTP/1.1 request must have `Host` (RFC 9112 section 3.2).
#[tokio::test(start_paused = true)]
async fn http_1_0_needs_no_host() {
    let said = say(&telling(), "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(said, Said { text: ok("GET / ").replace("HTTP/1.1", "HTTP/1.0"), end: CLOSED });
}

/// The length of a message body (RFC 9112 section 6.3).
#[tokio::test(start_paused = true)]
async fn the_length_of_a_response_follows_from_its_status_method_and_body() {
    type Make = fn() -> Response;
    let response: [(&str, u16, Make, &str, &str); 17] = [
        ("GET", 200, || Response::new(200), "Content-Length: 0", ""),
        ("GET", 200, || Response::new(200).with_body("abc"), "Content-Length: 3", "abc"),
        // The app's framing headers are ignored if the whole body is known.
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

/// HEAD (RFC 9110 section 9.3.2).
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

/// A field value has no CR, LF or NUL (RFC 9110 section 5.5).
#[tokio::test(start_paused = true)]
async fn values_that_would_split_a_header_are_rejected_and_emit_error() {
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

/// Status codes (RFC 9110 section 15).
#[tokio::test(start_paused = true)]
async fn an_invalid_final_status_is_rejected_and_emits_error() {
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

// Requests that are accepted, and requests that are rejected (RFC 9112).

/// Message format, request targets and framing (RFC 9112 sections 2, 3, 5, 6 and 7).
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
        // An unknown expectation is ignored, and on HTTP/1.0 every expectation (RFC 9110 section
        // 10.1.1).
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

/// Malformed messages (RFC 9112 sections 2.2, 3, 5, 6 and 7), and limits.
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
        // Requests behind a malformed one are ignored: their beginning is unknown.
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

/// The request line (RFC 9112 section 3).
#[tokio::test(start_paused = true)]
async fn bytes_after_the_version_make_a_request_line_malformed() {
    // Its end is as it should be: "a lone CR or LF" is another error.
    for version in ["HTTP/1.1x", "HTTP/1.1 ", "HTTP/1.11"] {
        let http = telling();
        let log = errors(&http);
        let said = say(&http, format!("GET / {version}\r\nHost: a\r\n\r\n")).await;
        assert_eq!(said, Said { text: page("400 Bad Request"), end: CLOSED }, "{version:?}");
        assert_eq!(log.take(), ["malformed request line"], "{version:?}");
    }
}

/// The request line (RFC 9112 section 3).
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

/// A server ignores an empty line before a request (RFC 9112 section 2.2).
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

/// Incomplete messages (RFC 9112 section 8).
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
async fn a_silent_client_receives_nothing() {
    let http = telling();
    let log = errors(&http);
    let (mut peer, serving) = Peer::serve(&http);
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, b"");
    someday(serving).await;
    assert_eq!(log.take(), [""; 0]);
}

/// The version of a response (RFC 9110 section 6.2).
#[tokio::test(start_paused = true)]
async fn a_late_error_is_answered_in_the_version_of_the_request() {
    // The head is known by then, and "the response always carries the request's version".
    let said = say(&telling(), "POST / HTTP/1.0\r\nContent-Length: 65537\r\n\r\n").await;
    assert_eq!(said, Said { text: page("413 Payload Too Large").replace("HTTP/1.1", "HTTP/1.0"), end: CLOSED });
}

/// A server may ignore `Upgrade` (RFC 9110 section 7.8).
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

/// `Expect: 100-continue` (RFC 9110 section 10.1.1).
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
