//! Limits and timeouts of an HTTP server, and the number of connections that it accepts.

mod support;

use std::future::pending;

use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest, WebSocketMiddleware};
use support::http::{
    CLOSED, GET, Guard, OPEN, Said, Script, TOO_MANY, errors, ok, ok_with, page, play, say, say_byte_by_byte, seconds,
    seconds_since, shown, someday, soon, tell, telling,
};
use support::{Log, Peer, listen_with};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

// Limits, at the bound and one above it.

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

/// A request with this number of header lines.
fn lines_of(lines: usize) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: 1\r\n".repeat(lines - 1))
}

fn body_of(size: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}", "a".repeat(size))
}

/// Like `body_of`, in chunks of a thousand bytes.
fn chunks_of(size: usize) -> String {
    let mut request = String::from("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for start in (0..size).step_by(1000) {
        let length = (size - start).min(1000);
        request += &format!("{length:x}\r\n{}\r\n", "a".repeat(length));
    }
    request + "0\r\n\r\n"
}

/// 413 and 414 (RFC 9110 sections 15.5.14 and 15.5.15), and 431 (RFC 6585 section 5).
#[tokio::test(start_paused = true)]
async fn requests_are_accepted_up_to_their_limits_and_rejected_one_above_them() {
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
async fn a_request_that_exceeds_a_limit_is_rejected_before_it_is_complete() {
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

/// 408 (RFC 9110 section 15.5.9).
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_finish_its_head_is_not_waited_for() {
    let late = || page("408 Request Timeout");
    let head = GET.as_bytes();
    let (start, rest) = head.split_at(1);
    let drip: Vec<_> = (0..100).map(|n| (n * 400, if n == 0 { &b"GET /"[..] } else { b"aaaaaaaaaaaaaaa" })).collect();
    // A script, and the expected result.
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

/// Timeouts of idle connections (RFC 9112 section 9.5).
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_response() {
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
async fn a_client_that_leaves_behind_read_ahead_bytes_is_dropped_on_every_kind_of_stream() {
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
async fn the_number_of_requests_of_a_connection_is_limited() {
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

// Admission: which connections are accepted.

const BUSY: &str = "HTTP/1.1 503 Service Unavailable\nContent-Type: text/plain\nRetry-After: 1\n\
    Server: react-websocket\nDate: *\nContent-Length: 30\nConnection: close\n\nError 503: Service Unavailable";

/// 503 (RFC 9110 section 15.6.4).
#[tokio::test(start_paused = true)]
async fn above_the_limit_of_connections_a_connection_is_answered_with_503() {
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
async fn above_thirty_two_pending_refusals_the_next_is_closed_without_a_response() {
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
    // Unread bytes would turn the server's close into a reset, and the response would be lost.
    peer.send(GET.repeat(100)).await;
    assert_eq!(shown(&soon(peer.rest()).await), BUSY);
}

/// 429 (RFC 6585 section 4).
#[tokio::test(start_paused = true)]
async fn above_the_limit_of_an_address_a_connection_is_answered_with_429() {
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
