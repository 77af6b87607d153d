//! The closing handshake byte by byte, and connections that end without one (RFC 6455 section 7).

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::wire::{SIZES, Transcript, beginning, describe, exchange, obey, server};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

// The closing handshake (RFC 6455 sections 5.5.1 and 7).

/// The answer to a Close frame (RFC 6455 section 5.5.1).
#[tokio::test(start_paused = true)]
async fn the_peers_close_is_answered_with_its_code_and_nothing_after_it_counts() {
    let longest = "r".repeat(123);
    let mut cases = vec![
        (frame(0x88, ""), "Close".to_owned(), "close 1005 ".to_owned()),
        (close(1000, "bye"), "Close 1000 bye".to_owned(), "close 1000 bye".to_owned()),
        (close(1000, &longest), format!("Close 1000 {longest}"), format!("close 1000 {longest}")),
        (
            close(4999, "auf Wiedersehen, größte Sorge"),
            "Close 4999 auf Wiedersehen, größte Sorge".to_owned(),
            "close 4999 auf Wiedersehen, größte Sorge".to_owned(),
        ),
    ];
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        cases.push((close(code, ""), format!("Close {code}"), format!("close {code} ")));
    }
    for (bytes, answer, event) in cases {
        let late = [text("late"), frame(0x89, "late"), vec![0xFF], close(1000, "again")].concat();
        for size in SIZES {
            for late in [&[][..], &late] {
                let bytes = [&text("before"), &bytes[..], late].concat();
                let transcript = exchange(bytes, size).await;
                assert_eq!(transcript.frames, ["text before", &answer], "in pieces of {size}");
                assert!(transcript.ended);
                assert_eq!(transcript.events, ["text before", "end", &event], "in pieces of {size}");
            }
        }
    }
}

#[tokio::test]
async fn a_peer_that_goes_on_sending_behind_its_close_still_gets_the_answer() {
    let (address, listening) = listen_with(server(WebSocketOptions::new()).0);
    for before in [&[][..], &text("before")] {
        let mut peer = Peer::open(address).await;
        // Unread bytes cause a reset.
        let _ = peer.stream.write_all(&[before, &close(1000, ""), &vec![0; 4 << 20]].concat()).await;
        if !before.is_empty() {
            assert_eq!(peer.text().await, "before");
        }
        assert_eq!(peer.closed().await, (Some(1000), String::new()));
        assert!(peer.ended().await);
    }
    listening.close().await;
}

/// Both are one segment. A hundred times, since who looks late enough sees two together as well.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn with_the_answer_to_its_close_a_peer_has_the_end_of_the_connection() {
    use std::io::Read;

    let (address, listening) = listen_with(server(WebSocketOptions::new()).0);
    let answer = server_frame(0x88, 1000u16.to_be_bytes());
    for (last, answers) in [(vec![], answer.clone()), (text("last"), [server_frame(0x81, "last"), answer].concat())] {
        for _ in 0..100 {
            let mut peer = Peer::open(address).await;
            peer.send([&last[..], &close(1000, "")].concat()).await;
            let mut stream = peer.stream.into_std().unwrap();
            let mut received = [0; 100];
            let read = loop {
                match stream.read(&mut received) {
                    Ok(read) => break read,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            };
            assert_eq!(received[..read], answers);
            assert_eq!(stream.read(&mut received).unwrap(), 0, "it is not waited for");
        }
    }
    listening.close().await;
}

/// A control frame may interrupt a fragmented message (RFC 6455 section 5.4).
#[tokio::test(start_paused = true)]
async fn a_close_inside_a_fragmented_message_ends_it_unheard() {
    for size in SIZES {
        let transcript = exchange([frame(0x01, "half"), close(1001, ""), frame(0x80, "")].concat(), size).await;
        assert_eq!((transcript.frames, transcript.ended), (vec!["Close 1001".to_owned()], true));
        assert_eq!(transcript.events, ["end", "close 1001 "]);
    }
}

/// No data follows a Close frame (RFC 6455 section 5.5.1).
#[tokio::test(start_paused = true)]
async fn nothing_can_be_written_after_the_peers_close() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        for event in ["end", "close"] {
            let noted = noted.clone();
            connection.on(event, move || {
                noted.add(format_args!("{event} {} {}", connection.write("late"), connection.is_writable()));
                connection.close_with(4001, "late");
            });
        }
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send(close(1000, "")).await;
    assert_eq!(describe(&peer.rest().await), ["Close 1000"]);
    serving.await;
    assert_eq!(log.take(), ["end false false", "close false false"]);
}

/// A stream whose writes fail from some time on, as a socket's do when the peer has closed it.
struct HalfBroken {
    stream: DuplexStream,
    fails: Arc<AtomicBool>,
}

impl AsyncRead for HalfBroken {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for HalfBroken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.fails.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_peer_that_left_count_also_when_writing_has_failed() {
    for (last, events) in [
        (text("b"), &["text b", "close 1006 "][..]),
        (close(1001, "bye"), &["end", "close 1001 bye"]),
        (frame(0x88, ""), &["end", "close 1005 "]),
    ] {
        let (http, log) = server(WebSocketOptions::new());
        let fails = Arc::new(AtomicBool::new(false));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = http.serve(HalfBroken { stream: theirs, fails: fails.clone() });
        let mut peer = Peer::new(ours);
        peer.shake_hands().await;
        fails.store(true, Ordering::Relaxed);
        // The answer to this cannot be written.
        peer.send(text("a")).await;
        settle().await;
        peer.send(last).await;
        settle().await;
        drop(peer);
        serving.await;
        assert_eq!(log.take(), [&["text a"], events].concat());
    }
}

/// Has the server close, answers as `answer` says, and returns the Close and the events.
async fn be_closed(command: &str, answer: &[u8]) -> ((Option<u16>, String), Vec<String>) {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send(text(command)).await;
    let closed = peer.closed().await;
    assert_eq!(log.take(), [format!("text {command}")], "close waits for the peer");
    peer.send(answer).await;
    assert!(peer.ended().await);
    drop(peer);
    serving.await;
    (closed, log.take())
}

/// Status codes that may be sent (RFC 6455 section 7.4).
#[tokio::test(start_paused = true)]
async fn an_app_closes_with_a_code_that_may_be_sent_or_else_with_1011() {
    let sendable = (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]);
    let others = [0, 1, 999, 1004, 1015, 1016, 2000, 2999, 5000, 65_535];
    for (code, sent) in sendable.map(|code| (code, code)).chain(others.map(|code| (code, 1011))) {
        let (closed, events) = be_closed(&format!("close {code} bye"), &close(sent, "")).await;
        assert_eq!(closed, (Some(sent), "bye".to_owned()), "{code}");
        assert_eq!(events, [format!("close {sent} bye")], "{code}");
    }
    let (closed, events) = be_closed("close", &close(1000, "")).await;
    assert_eq!((closed, events), ((Some(1000), String::new()), vec!["close 1000 ".to_owned()]));
}

/// 1005 is never sent (RFC 6455 section 7.4.1).
#[tokio::test(start_paused = true)]
async fn an_app_that_closes_with_1005_sends_a_close_without_a_code() {
    let (closed, events) = be_closed("close 1005 bye", &frame(0x88, "")).await;
    assert_eq!(closed, (None, String::new()));
    assert!(events.len() == 1 && events[0].starts_with("close 1005 "), "{events:?}");
}

/// 1006 is never sent (RFC 6455 section 7.4.1).
#[tokio::test(start_paused = true)]
async fn an_app_that_closes_with_1006_sends_1011() {
    let (closed, events) = be_closed("close 1006 bye", &close(1011, "")).await;
    assert_eq!(closed, (Some(1011), "bye".to_owned()));
    assert_eq!(events, ["close 1011 bye"]);
}

/// The payload of a control frame has at most 125 bytes (RFC 6455 section 5.5).
#[tokio::test(start_paused = true)]
async fn a_reason_is_cut_to_123_bytes_between_characters() {
    for (reason, sent) in [
        ("r".repeat(123), "r".repeat(123)),
        ("r".repeat(124), "r".repeat(123)),
        ("é".repeat(62), "é".repeat(61)),
        (format!("r{}", "é".repeat(61)), format!("r{}", "é".repeat(61))),
        ("😀".repeat(31), "😀".repeat(30)),
    ] {
        let (closed, _) = be_closed(&format!("close 4000 {reason}"), &close(4000, "")).await;
        assert_eq!(closed, (Some(4000), sent));
    }
}

#[tokio::test(start_paused = true)]
async fn after_close_no_message_is_delivered_and_after_end_messages_still_are() {
    let between =
        [text("a"), frame(0x82, [1]), frame(0x89, "p"), frame(0x8A, "q"), frame(0x01, "b"), frame(0x80, "c")].concat();
    for (command, sent, heard, event) in [
        ("close", vec!["Close 1000"], false, "close 1000 "),
        ("close 4001 bye", vec!["Close 4001 bye"], false, "close 4001 bye"),
        ("end", vec!["Close 1000"], true, "close 1000 "),
        ("end last", vec!["text last", "Close 1000"], true, "close 1000 "),
    ] {
        let command_event = format!("text {command}");
        let heard: &[&str] = if heard { &["text a", "binary 1", "ping 1", "pong 1", "text bc", "end"] } else { &[] };
        let events = [&[&command_event[..]], heard, &[event]].concat();
        for answer in [close(1000, ""), close(3000, "whatever"), frame(0x88, "")] {
            for size in SIZES {
                // Nothing is written behind a Close, no pong either.
                let transcript = exchange([text(command), between.clone(), answer.clone()].concat(), size).await;
                assert_eq!(transcript.frames, sent, "{command} in pieces of {size}");
                assert!(transcript.ended);
                assert_eq!(transcript.events, events, "{command} in pieces of {size}");
            }
        }
    }
}

/// Both ends may send a Close frame at the same time (RFC 6455 section 5.5.1).
#[tokio::test(start_paused = true)]
async fn two_closes_that_cross_are_one_close_handshake() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    // The app closes when it hears the text; the peer's Close is there already.
    peer.send([text("close 4001 ours"), close(4002, "theirs")].concat()).await;
    assert_eq!(peer.closed().await, (Some(4001), "ours".to_owned()));
    assert!(peer.ended().await, "theirs is not answered");
    serving.await;
    assert_eq!(log.take(), ["text close 4001 ours", "close 4001 ours"]);
}

/// No frame follows a Close frame (RFC 6455 section 5.5.1).
#[tokio::test(start_paused = true)]
async fn only_the_first_close_counts() {
    let log = Log::default();
    let noted = log.clone();
    let http = websockets(move |connection| {
        noted.watch(connection);
        let noted = noted.clone();
        connection.on("text", move || {
            noted.add(connection.write("first"));
            connection.close_with(4001, "one");
            noted.add(connection.write("second"));
            noted.add(connection.write_binary("second"));
            noted.add(connection.ping(""));
            connection.close_with(4002, "two");
            connection.end_with("three");
            noted.add(format_args!("{} {}", connection.is_writable(), connection.is_readable()));
        });
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send(text("go")).await;
    assert_eq!(peer.text().await, "first");
    assert_eq!(peer.closed().await, (Some(4001), "one".to_owned()));
    peer.send(close(4001, "")).await;
    assert!(peer.ended().await);
    serving.await;
    assert_eq!(log.take(), ["text go", "true", "false", "false", "false", "false false", "close 4001 one"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_after_end_makes_the_rest_unheard() {
    let transcript = exchange([text("end"), text("a"), text("close 4001 x"), text("b"), close(1000, "")].concat(), 1).await;
    assert_eq!(transcript.frames, ["Close 1000"]);
    assert_eq!(transcript.events, ["text end", "text a", "text close 4001 x", "close 1000 "]);
}

/// 1006 (RFC 6455 section 7.1.5).
#[tokio::test(start_paused = true)]
async fn a_close_that_is_not_answered_is_a_1006() {
    for (command, says_fin) in [("close 4001 bye", true), ("close 4001 bye", false), ("end", true), ("end", false)] {
        let (http, log) = server(WebSocketOptions::new());
        let (mut peer, serving) = Peer::open_in_memory(&http).await;
        peer.send(text(command)).await;
        peer.closed().await;
        let start = Instant::now();
        if says_fin {
            peer.stream.shutdown().await.unwrap();
        }
        assert!(peer.ended().await);
        let took = start.elapsed().as_millis();
        assert!(if says_fin { took < 100 } else { (10_000..10_100).contains(&took) }, "{took}");
        serving.await;
        assert_eq!(log.take(), [&format!("text {command}"), "close 1006 "]);
    }
}

// Ends without a Close frame (RFC 6455 section 7.1.5).

/// 1006 (RFC 6455 section 7.1.5).
#[tokio::test(start_paused = true)]
async fn a_fin_without_a_close_is_a_1006_and_no_error() {
    for bytes in [
        vec![],
        text("a")[..1].to_vec(),
        text("abc")[..7].to_vec(),
        frame(0x01, "a"),
        [frame(0x01, "a"), frame(0x80, "b")[..3].to_vec()].concat(),
        close(1000, "bye")[..8].to_vec(),
        frame(0x89, "ping")[..7].to_vec(),
        beginning(0x82, 1 << 20, &[0; 200_000]),
    ] {
        for size in SIZES.map(|size| if bytes.len() < 1_000 { size } else { size.max(10_000) }) {
            let transcript = exchange([text("before"), bytes.clone()].concat(), size).await;
            transcript.assert_open(&["text before"], &["text before"], &format!("{:x?}", &bytes[..bytes.len().min(20)]));
        }
    }
}

/// 1006 (RFC 6455 section 7.1.5).
#[tokio::test]
async fn a_fin_or_a_reset_on_a_socket_is_a_1006_once_and_no_error() {
    let log = Log::default();
    let (closed, mut has_closed) = mpsc::unbounded_channel();
    let (address, listening) = listen_with(websockets({
        let log = log.clone();
        move |connection| {
            log.watch(connection);
            connection.on("text", obey);
            let closed = closed.clone();
            connection.on("close", move || closed.send(()).map_err(|_| "nobody waits"));
        }
    }));
    for reset in [false, true] {
        for sent in [vec![], text("abc")[..7].to_vec(), frame(0x01, "a")] {
            let mut peer = Peer::open(address).await;
            peer.send(text("before")).await;
            assert_eq!(peer.text().await, "before");
            peer.send(sent).await;
            if reset {
                socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(peer);
            timeout(Duration::from_secs(5), has_closed.recv()).await.expect("the server hears of it");
            assert_eq!(log.take(), ["text before", "close 1006 "], "reset {reset}");
        }
    }
    listening.close().await;
    assert_eq!(log.take(), [""; 0]);
}

/// 1006 (RFC 6455 section 7.1.5).
#[tokio::test]
async fn a_reset_while_the_server_writes_is_a_1006_once_and_no_error() {
    let log = Log::default();
    let (closed, mut has_closed) = mpsc::unbounded_channel();
    let (address, _listening) = listen_with(websockets({
        let log = log.clone();
        move |connection| {
            log.watch(connection);
            connection.on("text", move || {
                // More than the sockets between us hold.
                for _ in 0..20 {
                    connection.write_binary(vec![0; 1 << 20]);
                    if connection.buffered_amount() > 0 {
                        break;
                    }
                }
            });
            let closed = closed.clone();
            connection.on("close", move || closed.send(()).map_err(|_| "nobody waits"));
        }
    }));
    let mut peer = Peer::open(address).await;
    peer.send(text("go")).await;
    peer.exactly(1_000).await;
    socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    timeout(Duration::from_secs(5), has_closed.recv()).await.expect("the server hears of it");
    assert_eq!(log.take(), ["text go", "close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn terminate_cuts_the_connection_without_a_close() {
    for last in [vec![], text("not heard"), vec![0xFF], close(1001, "bye")] {
        for size in SIZES {
            let transcript = exchange([&text("terminate")[..], &last].concat(), size).await;
            assert_eq!((transcript.frames, transcript.ended), (vec![], true));
            assert_eq!(transcript.events, ["text terminate", "close 1006 "], "{last:x?} in pieces of {size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_messages_before_a_fin_are_delivered_and_answered() {
    let (http, log) = server(WebSocketOptions::new());
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send([text("a"), text("b")].concat()).await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(describe(&peer.rest().await), ["text a", "text b"]);
    serving.await;
    assert_eq!(log.take(), ["text a", "text b", "close 1006 "]);
}

/// Sends a text whose listener takes its time, something behind it, and a FIN. The server has read it all by then.
async fn fin_behind(last: Vec<u8>) -> (Vec<String>, Vec<String>) {
    let log = Log::default();
    let http = websockets({
        let log = log.clone();
        move |connection| {
            log.watch(connection);
            connection.on("text", || sleep(Duration::from_secs(1)));
        }
    });
    let (mut peer, serving) = Peer::open_in_memory(&http).await;
    peer.send([text("a"), last].concat()).await;
    peer.stream.shutdown().await.unwrap();
    let frames = describe(&peer.rest().await);
    serving.await;
    (frames, log.take())
}

#[tokio::test(start_paused = true)]
async fn a_fin_does_not_hide_a_fault_before_it() {
    let (frames, events) = fin_behind(vec![0xFF]).await;
    Transcript { frames, ended: true, events }.assert_failed(1002, &[], &["text a"], "behind a slow listener");
}

#[tokio::test(start_paused = true)]
async fn a_fin_does_not_hide_a_close_before_it() {
    let (frames, events) = fin_behind(close(1001, "bye")).await;
    assert_eq!(events, ["text a", "end", "close 1001 bye"]);
    assert_eq!(frames, ["Close 1001 bye"]);
}

#[tokio::test(start_paused = true)]
async fn a_fin_does_not_hide_messages_before_it() {
    let (_, events) = fin_behind(text("b")).await;
    assert_eq!(events, ["text a", "text b", "close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_ends_with_its_budget_and_others_have_theirs() {
    for (options, frames) in [
        (WebSocketOptions::new(), 64),
        (WebSocketOptions::new().turn_budget(5, usize::MAX), 5),
        (WebSocketOptions::new().turn_budget(0, 0), 1),
    ] {
        let log = Log::default();
        let noted = log.clone();
        let websocket = WebSocketMiddleware::new().with_options(options);
        websocket.on("connection", move |connection: WebSocketConnection| {
            let noted = noted.clone();
            connection.on("text", move |text: &str| noted.add(text));
        });
        let http = HttpServer::new((websocket, router));
        let (mut busy, _serving) = Peer::open_in_memory(&http).await;
        let (mut other, _serving) = Peer::open_in_memory(&http).await;
        settle().await;
        busy.send(text("busy").repeat(1_000)).await;
        other.send(text("other")).await;
        settle().await;
        let log = log.take();
        assert_eq!(log.len(), 1_001);
        assert_eq!(log.iter().position(|entry| entry == "other"), Some(frames));
    }
}
