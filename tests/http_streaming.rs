//! Response bodies that are written while they are sent: `BodyStream` and `BodyWriter` over HTTP (RFC 9112 section 7.1).

mod support;

use std::future::pending;

use react_websocket::body::BodyWriter;
use react_websocket::errors::report;
use react_websocket::handlers::Next;
use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest};
use support::http::{
    GET, Guard, errors, millis, page, say, seconds, seconds_since, shown, someday, soon, streaming, watched,
};
use support::{Log, Peer, listen_with, settle};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

// Bodies that are written while they are sent (RFC 9112 section 7.1).

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

/// Chunked transfer coding (RFC 9112 section 7.1).
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
async fn writes_before_the_response_is_sent_are_buffered() {
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

/// An HTTP/1.0 client knows no transfer coding (RFC 9112 sections 6.1 and 6.3).
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

/// Responses without a body: to HEAD, 204 and 304 (RFC 9112 section 6.3).
#[tokio::test(start_paused = true)]
async fn a_stream_whose_body_is_not_sent_is_closed_at_once() {
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

/// `Content-Length` (RFC 9110 section 8.6).
#[tokio::test(start_paused = true)]
async fn a_stream_with_a_content_length_is_sent_unchunked() {
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

/// Incomplete messages (RFC 9112 section 8).
#[tokio::test(start_paused = true)]
async fn a_stream_that_violates_its_content_length_ends_the_connection() {
    for (last, received) in [("", "abc"), ("d", "abcd"), ("de", "abcde")] {
        let (http, mut streams, log) = streaming(200, &[("Content-Length", "5")]);
        let errors = errors(&http);
        let (mut peer, stream, _) = ask_for_stream(&http, &mut streams, GET).await;
        stream.write("abc");
        assert_eq!(peer.exactly(3).await, b"abc");
        stream.end_with(last);
        let rest = timeout(seconds(5), peer.rest()).await;
        // Complete, so the connection stays; or cut short, so it does not.
        assert_eq!(rest.is_err(), received.len() == 5, "{received}");
        assert_eq!(log.take(), ["close"]);
        let missing = 5 - received.len();
        let mistake =
            format!("the request handler failed: the body stream ended {missing} bytes before its Content-Length");
        assert_eq!(errors.take(), if missing == 0 { vec![] } else { vec![mistake] });
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

/// The response with a stream that ends before the response is sent.
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

/// The app may not know that the body is incomplete: it has written too much.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_cut_before_it_was_sent_is_a_500() {
    let too_much = |stream: &BodyWriter| {
        (0..5).for_each(|_| _ = stream.write(vec![b'a'; 1 << 20]));
        stream.end();
    };
    type Cut = fn(&BodyWriter);
    let cuts: [(Cut, &str); 2] = [
        (BodyWriter::close, "a body stream was closed before all of it was sent"),
        (
            too_much,
            "more than 4194304 bytes of a body stream are unsent: wait for `drain` after `write` returns `false`, or use `send`",
        ),
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
async fn close_cuts_a_stream_and_fires_at_once_and_once() {
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
        // The server sees only a FIN. The client may still read, so the server waits.
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
    http.on("error", move |error| noting.add(report(error)));
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

// `close` fires for the writer of a stream also if its response is never sent. Otherwise the writer
// would write, or wait for room, for ever.

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

/// Pipelining (RFC 9112 section 9.3.2).
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
