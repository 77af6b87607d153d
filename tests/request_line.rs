//! The request line (RFC 9112 section 3): an invalid byte is rejected when it arrives. Error pages
//! depend on the method as soon as it is known (RFC 9110 section 9.3.2).

mod support;

use std::time::Duration;

use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest};
use support::{Log, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// What a server answered until it closed the connection, how long that took in seconds, and its
/// `error` event.
#[derive(Debug, PartialEq)]
struct Verdict {
    status: String,
    body: String,
    seconds: u64,
    error: Vec<String>,
}

impl Verdict {
    fn refused(status: &str, error: &str) -> Verdict {
        let body = format!("Error {}", status.replacen(' ', ": ", 1));
        Verdict { status: status.to_owned(), body, seconds: 0, error: vec![error.to_owned()] }
    }
}

fn server(options: HttpOptions) -> (HttpServer, Log) {
    let http = HttpServer::new(|request: ServerRequest| Response::plaintext(request.method().as_str()));
    let http = http.with_options(options);
    let log = Log::default();
    let noted = log.clone();
    http.on("error", move |error| noted.add(error));
    (http, log)
}

/// Sends bytes in pieces of `piece` bytes and keeps the connection open until the server closes it.
/// Time is paused.
async fn verdict_with(options: HttpOptions, bytes: &[u8], piece: usize) -> Verdict {
    let (http, log) = server(options);
    let (client, theirs) = tokio::io::duplex(piece);
    let _serving = http.serve(theirs);
    let (mut read, mut write) = tokio::io::split(client);
    let start = Instant::now();
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(write.write_all(bytes), timeout(Duration::from_secs(100), read.read_to_end(&mut answer)));
    read.expect("an end").expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().and_then(|line| line.split_once(' ')).map_or("", |(_, status)| status);
    Verdict { status: status.into(), body: body.into(), seconds: start.elapsed().as_secs(), error: log.take() }
}

/// The verdict about bytes that arrive together, which must be the one about bytes that arrive one
/// by one.
async fn verdict(bytes: &[u8]) -> Verdict {
    let together = verdict_with(HttpOptions::new(), bytes, 1 << 20).await;
    let one_by_one = verdict_with(HttpOptions::new(), bytes, 1).await;
    assert_eq!(together, one_by_one, "{}", bytes.escape_ascii());
    together
}

const MALFORMED: &str = "malformed request line";

/// A method is a token (RFC 9110 section 9.1).
#[tokio::test(start_paused = true)]
async fn bytes_that_cannot_begin_a_request_line_are_refused_at_once() {
    for bytes in [
        &b"GARBAGE("[..],
        b"(",
        b"\0",
        b" ",
        b"\t",
        b"\xFF",
        // SSH, SMTP, FTP, Redis, memcached, PROXY protocol v1 and v2, TLS, RTMP, MQTT, RDP.
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO mail.example.com\r\n",
        b"QUIT\r\n",
        b"USER anonymous\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"get key\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",
        b"\x03\0\0\0\0\0",
        b"\x10\x16\0\x04MQTT",
        b"\x03\0\0\x13\x0E\xE0",
        // A method is followed by one space, and a target by one.
        b"GET\t",
        b"GET\r",
        b"GET  ",
        b"GET /\t",
        b"GET /\x7F",
        b"GET /\0",
        b"GET /a b",
        b"GET /  ",
        b"GET /\r",
        // A version is `HTTP/` digit `.` digit and nothing else (RFC 9112 section 2.3).
        b"GET / h",
        b"GET / HTTP/x",
        b"GET / HTTP/1x",
        b"GET / HTTP/1.x",
        b"GET / HTTP/1.11",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.\r",
        b"GET / \r",
        // At most one empty line comes before it (RFC 9112 section 2.2).
        b"\r\n\r",
    ] {
        assert_eq!(verdict(bytes).await, Verdict::refused("400 Bad Request", MALFORMED), "{}", bytes.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_without_cr_lf_is_refused_at_once() {
    for bytes in [&b"\n"[..], b"GET\n", b"QUIT\n", b"GET /\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\rX", b"\rG", b"\r\n\n"]
    {
        let expected = Verdict::refused("400 Bad Request", "line without CR LF");
        assert_eq!(verdict(bytes).await, expected, "{}", bytes.escape_ascii());
    }
}

/// 505 (RFC 9110 section 15.6.6).
#[tokio::test(start_paused = true)]
async fn another_version_is_rejected_when_its_line_is_complete() {
    for bytes in [&b"GET / HTTP/2.0\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.2\r\nno header\r\n\r\n"] {
        let expected = Verdict::refused("505 HTTP Version Not Supported", "unsupported HTTP version");
        assert_eq!(verdict(bytes).await, expected, "{}", bytes.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_may_become_a_request_line_have_the_time_of_a_head() {
    for bytes in [&b"G"[..], b"GARBAGE", b"GARBAGE ", b"GET /", b"GET / ", b"GET / HTTP/1.", b"GET / HTTP/2.0", b"\r\nG"] {
        let late = "no complete request head within 10s";
        let expected = Verdict { seconds: 10, ..Verdict::refused("408 Request Timeout", late) };
        assert_eq!(verdict(bytes).await, expected, "{}", bytes.escape_ascii());
    }
}

/// Whatever byte takes the place of another: the verdict does not depend on how the bytes arrive.
#[tokio::test(start_paused = true)]
async fn the_first_wrong_byte_decides_however_the_bytes_arrive() {
    let request = b"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for place in 0..request.len() {
        for byte in b"\0\t\n\r !(/09:Az\x7F\x80\xC3\xFF" {
            let mut bytes = request.to_vec();
            bytes[place] = *byte;
            let together = verdict_with(HttpOptions::new(), &bytes, 1 << 20).await;
            assert_eq!(together, verdict_with(HttpOptions::new(), &bytes, 1).await, "{}", bytes.escape_ascii());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_wrong_byte_and_a_limit_the_first_decides() {
    let small = || HttpOptions::new().max_request_line(20);
    let narrow = || HttpOptions::new().max_head_size(20);
    let line = "request line of more than 20 bytes";
    let head = "head of more than 20 bytes";
    for (options, request, status, error) in [
        (small(), &b"GET /aaaaaaaaaaaaaa("[..], "408 Request Timeout", "no complete request head within 10s"),
        (small(), b"GET /aaaaaaaaaaaaaaa\t", "414 URI Too Long", line),
        (small(), b"GET /aaaaaaaaaaaaaa\taaaa HTTP/1.1\r\n", "400 Bad Request", MALFORMED),
        (small(), b"GET /aaaaaaaaaaaaaaa\raaaa HTTP/1.1\r\n", "400 Bad Request", MALFORMED),
        (small(), b"GET /aaaaaaa HTTP/1.1\r\n", "414 URI Too Long", line),
        (small(), b"GET /aaaaaa HTTP/1.1\rX", "400 Bad Request", "line without CR LF"),
        (narrow(), b"GET /aaaaaaaaaaaaaaa\t", "431 Request Header Fields Too Large", head),
        (narrow(), b"GET /aaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n", "431 Request Header Fields Too Large", head),
        (narrow(), b"GET /aaaaa HTTP/1.1\r\nHost: a\r\n\r\n", "431 Request Header Fields Too Large", head),
    ] {
        let together = verdict_with(options.clone(), request, 1 << 20).await;
        let one_by_one = verdict_with(options, request, 1).await;
        assert_eq!(together, one_by_one, "{}", request.escape_ascii());
        assert_eq!(
            (together.status.as_str(), together.error),
            (status, vec![error.to_owned()]),
            "{}",
            request.escape_ascii()
        );
    }
}

/// RFC 9112 section 3: a request line that the server cannot read to its end is answered with 414,
/// never with 400.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_too_long_for_a_uri_is_a_414_whatever_is_allowed() {
    let allowed = || HttpOptions::new().max_request_line(1 << 20).max_head_size(1 << 20);
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let line_of = |bytes: usize| request(&format!("/{}", "a".repeat(bytes - "GET / HTTP/1.1".len())));
    for (request, status) in [
        (line_of(65_534), "200 OK"),
        (line_of(65_535), "414 URI Too Long"),
        (line_of(70_000), "414 URI Too Long"),
        // Bytes beyond ASCII are percent-encoded, which makes three of one.
        (request(&format!("/{}", "\u{e9}".repeat(10_000))), "200 OK"),
        (request(&format!("/{}", "\u{e9}".repeat(11_000))), "414 URI Too Long"),
    ] {
        assert_eq!(verdict_with(allowed(), request.as_bytes(), 1 << 20).await.status, status, "{} bytes", request.len());
    }
}

/// RFC 9110 section 9.3.2: a response to HEAD has no content.
#[tokio::test(start_paused = true)]
async fn an_error_page_for_head_has_no_body_whenever_the_error_is_found() {
    let small = HttpOptions::new().max_request_line(20);
    let header = "HEAD / HTTP/1.1\r\nHost: a\r\n";
    for (options, request, status) in [
        (HttpOptions::new(), "HEAD / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "400 Bad Request"),
        (HttpOptions::new(), "HEAD / HTTP/1.1\r\nHost: a\n", "400 Bad Request"),
        (HttpOptions::new(), "HEAD / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (HttpOptions::new(), "HEAD / HTTP/1.1 ", "400 Bad Request"),
        (HttpOptions::new(), "HEAD foo HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request"),
        (HttpOptions::new(), "HEAD / HTTP/2.0\r\n", "505 HTTP Version Not Supported"),
        (HttpOptions::new(), "\r\nHEAD / HTTP/1.1\r\nHost: a\r\n", "408 Request Timeout"),
        (HttpOptions::new(), "HEAD /", "408 Request Timeout"),
        (HttpOptions::new(), &format!("{header}Content-Length: 1\r\n\r\n"), "408 Request Timeout"),
        (HttpOptions::new(), &format!("{header}Content-Length: 65537\r\n\r\n"), "413 Payload Too Large"),
        (HttpOptions::new(), &format!("{header}X: {}", "a".repeat(16 << 10)), "431 Request Header Fields Too Large"),
        (small, "HEAD /aaaaaaaaaaaaaaaaaaaa", "414 URI Too Long"),
    ] {
        for piece in [1 << 20, 1] {
            let verdict = verdict_with(options.clone(), request.as_bytes(), piece).await;
            assert_eq!((verdict.status.as_str(), verdict.body.as_str()), (status, ""), "{request:?}");
        }
    }
    // Another method whose name begins with it is another method.
    for request in ["HEADER / HTTP/1.1\r\nHost: a\n", "HEAD", "HEA", "head / HTTP/1.1\r\nHost: a\n"] {
        assert_ne!(verdict(request.as_bytes()).await.body, "", "{request:?}");
    }
}

/// HEAD (RFC 9110 section 9.3.2).
#[tokio::test(start_paused = true)]
async fn an_error_page_for_head_has_the_length_of_the_page_for_get() {
    let (http, _) = server(HttpOptions::new());
    let (mut peer, _) = Peer::serve(&http);
    peer.send("HEAD / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n").await;
    let head = peer.head().await;
    assert!(head.contains("\r\nContent-Length: 22\r\n"), "{head}");
    assert!(peer.ended().await);
}

/// ReactPHP: "the response always carries the request's version".
#[tokio::test(start_paused = true)]
async fn an_error_page_has_the_version_of_the_request_when_that_is_known() {
    for (request, version) in [
        ("GET / HTTP/1.0\r\nno colon\r\n\r\n", "HTTP/1.0"),
        ("GET / HTTP/1.0\r\nA: b\n", "HTTP/1.0"),
        ("GET / HTTP/1.1\r\nA: b\n", "HTTP/1.1"),
        ("GET / HTTP/2.0\r\n", "HTTP/1.1"),
        ("GET / HTTP/1.0x", "HTTP/1.1"),
    ] {
        let (http, _) = server(HttpOptions::new());
        let (mut peer, _) = Peer::serve(&http);
        peer.send(request).await;
        assert!(peer.head().await.starts_with(&format!("{version} ")), "{request:?}");
    }
}

/// RFC 9110 section 15.3.6: a 205 has no content. RFC 9112 section 6.3: it needs a length, or its
/// client waits for a body.
#[tokio::test(start_paused = true)]
async fn a_205_has_no_body_and_says_so() {
    let http = HttpServer::new(|request: ServerRequest| {
        let response = Response::plaintext("content").with_status(205);
        match request.path() {
            "/stream" => {
                let stream = react_websocket::BodyStream::new();
                stream.write("content");
                stream.end();
                response.with_body(stream)
            }
            "/length" => response.with_header("Content-Length", "7"),
            _ => response,
        }
    });
    let (mut peer, _) = Peer::serve(&http);
    for path in ["/", "/stream", "/length"] {
        for method in ["GET", "HEAD"] {
            peer.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let answer = peer.answer().await;
            assert_eq!(answer.status(), 205, "{method} {path}");
            assert_eq!(answer.header("Content-Length"), Some("0"), "{method} {path}");
            assert_eq!(answer.header("Transfer-Encoding"), None, "{method} {path}");
        }
    }
}
