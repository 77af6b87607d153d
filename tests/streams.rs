//! A connection as a stream: what `write` answers, `drain`, the limits, the ways to end, pause and resume, messages in pieces.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::{
    Closed, ConnectionError, HttpServer, SocketServer, Text, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
    cork,
};
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

const SOFT: usize = 64 * 1024;
const HARD: usize = 4 << 20;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How late a deadline may be met.
const LATE: Duration = Duration::from_millis(50 + 1);

type InMemory = Pair<DuplexStream>;

/// The default limits, and nothing that happens by itself.
fn options() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(None).write_timeout(None)
}

fn limits(soft: usize, hard: usize) -> WebSocketOptions {
    options().write_buffer_soft_limit(soft).write_buffer_hard_limit(hard)
}

/// A connection whose peer takes so many bytes and no more unless it reads, in which so many bytes are unsent.
async fn pair_with_unsent(options: WebSocketOptions, unsent: usize) -> InMemory {
    let pair = Pair::with_capacity(options, 64).await;
    if unsent > 0 {
        fill(pair.connection, unsent).await;
    }
    pair
}

/// Fills the peer's 64 bytes with a message, and has so many bytes of another one wait.
async fn fill(connection: WebSocketConnection, unsent: usize) {
    assert!(connection.write(text_of_frame(64)));
    settle().await;
    assert_eq!(connection.buffered_amount(), 0);
    connection.write(text_of_frame(unsent));
    settle().await;
    assert_eq!(connection.buffered_amount(), unsent);
}

/// Reads what `fill` wrote.
async fn read_filling(peer: &mut Peer<DuplexStream>) {
    peer.text().await;
    peer.text().await;
    settle().await;
}

/// A text whose frame has so many bytes.
fn text_of_frame(bytes: usize) -> String {
    let header = [2, 4, 10][usize::from(bytes > 127) + usize::from(bytes > 65_539)];
    "x".repeat(bytes - header)
}

fn closing(code: u16, reason: &str) -> Frame {
    Frame { fin: true, opcode: CLOSE, payload: [&code.to_be_bytes(), reason.as_bytes()].concat() }
}

fn whole(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: true, opcode, payload: payload.as_ref().to_vec() }
}

fn part(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame { fin: false, ..whole(opcode, payload) }
}

/// The frames up to and with a Close, or up to the end.
async fn frames(peer: &mut Peer<DuplexStream>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = peer.frame().await {
        let is_last = frame.opcode == CLOSE;
        frames.push(frame);
        if is_last {
            break;
        }
    }
    frames
}

// ------------------------------------------------------------------------------------------------ what write answers

#[tokio::test(start_paused = true)]
async fn write_answers_true_below_64_kib_unsent_and_false_from_exactly_there_on() {
    for (lengths, unsent, answer) in [
        (&[0][..], 2, true),
        (&[125], 127, true),
        (&[126], 130, true),
        (&[65_531], 65_535, true),
        (&[65_532], 65_536, false),
        (&[65_535], 65_539, false),
        (&[65_536], 65_546, false),
        (&[30_000, 35_527], 65_535, true),
        (&[30_000, 35_528], 65_536, false),
        (&[16_383, 16_384, 16_384, 16_369], 65_536, false),
    ] {
        for binary in [false, true] {
            let mut pair = Pair::in_memory(options()).await;
            let mut answers = Vec::new();
            cork(|| {
                for length in lengths {
                    let payload = "x".repeat(*length);
                    answers.push(match binary {
                        false => pair.connection.write(payload),
                        true => pair.connection.write_binary(payload),
                    });
                }
            });
            assert_eq!(pair.connection.buffered_amount(), unsent, "{lengths:?}");
            assert_eq!(answers.pop(), Some(answer), "{lengths:?}");
            assert!(answers.iter().all(|before| *before), "{lengths:?}");
            for length in lengths {
                let frame = pair.peer.frame().await.expect("accepted all the same");
                assert_eq!((frame.opcode, frame.payload.len()), (TEXT + u8::from(binary), *length));
            }
            settle().await;
            assert_eq!(pair.connection.buffered_amount(), 0);
            assert_eq!(pair.log.take(), if answer { vec![] } else { vec!["drain"] }, "{lengths:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_several_writes_past_the_soft_limit_answers_false_and_is_accepted() {
    let mut pair = pair_with_unsent(options(), SOFT).await;
    for n in 0..10 {
        assert!(!pair.connection.write(n.to_string()));
        assert_eq!(pair.connection.buffered_amount(), SOFT + 3 * (n + 1));
    }
    read_filling(&mut pair.peer).await;
    for n in 0..10 {
        assert_eq!(pair.peer.text().await, n.to_string());
    }
}

/// Every way to end a connection, and the Close that it sends.
type Ending = (&'static str, fn(WebSocketConnection), Option<(u16, &'static str)>);
const ENDINGS: [Ending; 5] = [
    ("end", |connection| connection.end(), Some((1000, ""))),
    ("end_with", |connection| connection.end_with("last"), Some((1000, ""))),
    ("close", |connection| connection.close(), Some((1000, ""))),
    ("close_with", |connection| connection.close_with(4001, "bye"), Some((4001, "bye"))),
    ("terminate", |connection| connection.terminate(), None),
];

#[tokio::test(start_paused = true)]
async fn what_is_written_after_the_end_is_dropped_and_answered_with_false() {
    fn is_dead(connection: WebSocketConnection) {
        let unsent = connection.buffered_amount();
        assert!(!connection.is_writable());
        assert!(!connection.write("too late"));
        assert!(!connection.write_binary("too late"));
        assert!(!connection.ping("too late"));
        assert!(!connection.pong("too late"));
        let mut writer = connection.begin_text();
        assert!(!writer.write("too late"));
        assert!(!writer.end());
        assert!(!connection.begin_binary().end());
        connection.end_with("too late");
        assert_eq!(connection.buffered_amount(), unsent);
    }
    for (name, end, close_frame) in ENDINGS {
        let mut pair = Pair::in_memory(options()).await;
        let connection = pair.connection;
        end(connection);
        is_dead(connection);
        settle().await;
        is_dead(connection);
        let mut expected = Vec::new();
        expected.extend((name == "end_with").then(|| whole(TEXT, "last")));
        expected.extend(close_frame.map(|(code, reason)| closing(code, reason)));
        assert_eq!(frames(&mut pair.peer).await, expected, "{name}");
        if close_frame.is_some() {
            pair.peer.send(close(1000, "")).await;
        }
        assert!(pair.peer.ended().await);
        settle().await;
        is_dead(connection);
        assert_eq!(connection.buffered_amount(), 0);
        assert_eq!(connection.send("too late").await, Err(Closed));
        assert_eq!(connection.send_binary("too late").await, Err(Closed));
        let log = pair.log.take();
        assert!(!log.iter().any(|entry| entry.starts_with("error")), "{name}: {log:?}");
        assert_eq!(log.iter().filter(|entry| entry.starts_with("close")).count(), 1, "{name}: {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_a_gone_connection_never_reaches_a_later_one() {
    let pair = Pair::in_memory(options()).await;
    let gone = pair.connection;
    drop(pair.peer);
    settle().await;
    let mut others = Vec::new();
    for _ in 0..100 {
        others.push(Pair::in_memory(options()).await);
    }
    assert!(!gone.write("x"));
    gone.pause();
    gone.close();
    gone.terminate();
    gone.set(1u8);
    settle().await;
    for mut other in others {
        assert_ne!(other.connection, gone);
        assert_ne!(other.connection.id(), gone.id());
        other.peer.send(text("hello")).await;
        settle().await;
        assert_eq!(other.log.take(), ["text hello"]);
        assert_eq!(other.connection.get::<u8>(), None);
    }
}

#[tokio::test]
async fn over_a_socket_a_write_outside_of_listeners_has_left_when_it_returns() {
    let mut pair = Pair::over_tcp(options()).await;
    for payload in ["".into(), "short".into(), "x".repeat(20_000)] {
        assert!(pair.connection.write(&payload));
        assert_eq!(pair.connection.buffered_amount(), 0);
        assert_eq!(pair.peer.text().await, payload);
    }
}

// ------------------------------------------------------------------------------------------------ drain

#[tokio::test(start_paused = true)]
async fn drain_comes_at_one_byte_below_the_soft_limit_and_not_before() {
    let mut pair = pair_with_unsent(options(), SOFT + 1).await;
    let mut byte = [0];
    pair.peer.stream.read_exact(&mut byte).await.unwrap();
    settle().await;
    assert_eq!((pair.connection.buffered_amount(), pair.log.take()), (SOFT, vec![]));
    pair.peer.stream.read_exact(&mut byte).await.unwrap();
    settle().await;
    assert_eq!((pair.connection.buffered_amount(), pair.log.take()), (SOFT - 1, vec!["drain".to_owned()]));
    pair.peer.exactly(SOFT - 1 + 64).await;
    settle().await;
    assert_eq!((pair.connection.buffered_amount(), pair.log.take()), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn drain_comes_once_for_each_way_down() {
    let mut pair = pair_with_unsent(options(), 0).await;
    for _ in 0..3 {
        fill(pair.connection, SOFT - 1).await;
        for _ in 0..5 {
            assert!(!pair.connection.write("past it"));
        }
        settle().await;
        assert_eq!(pair.log.take(), [""; 0], "not on the way up");
        for _ in 0..7 {
            pair.peer.text().await;
            settle().await;
        }
        assert_eq!(pair.log.take(), ["drain"]);
    }
    // Up and down around the limit: each way down has its own.
    fill(pair.connection, SOFT).await;
    for _ in 0..5 {
        pair.peer.stream.read_exact(&mut [0; 3]).await.unwrap();
        settle().await;
        assert_eq!((pair.connection.buffered_amount(), pair.log.take()), (SOFT - 3, vec!["drain".to_owned()]));
        assert!(!pair.connection.write("x"));
    }
}

#[tokio::test]
async fn over_a_socket_too_drain_comes_once_for_each_way_down() {
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let (tell, mut drained) = mpsc::unbounded_channel();
    pair.connection.on("drain", move || tell.send(()).is_ok());
    for _ in 0..3 {
        // More than the system's buffers hold.
        assert!(!pair.connection.write_binary(vec![7; 16 << 20]));
        assert!(!pair.connection.write("past it"));
        assert!(drained.try_recv().is_err());
        assert_eq!(pair.peer.frame().await.unwrap().payload.len(), 16 << 20);
        assert_eq!(pair.peer.text().await, "past it");
        timeout(Duration::from_secs(30), drained.recv()).await.expect("drain");
        pair.peer.send(frame(0x89, "")).await;
        assert_eq!(pair.peer.frame().await, Some(whole(PONG, "")));
        assert!(drained.try_recv().is_err(), "once");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_write_that_answered_false_there_is_no_drain() {
    let mut pair = pair_with_unsent(options(), SOFT - 1).await;
    read_filling(&mut pair.peer).await;
    for _ in 0..10 {
        assert!(pair.connection.write(text_of_frame(SOFT - 1)));
        pair.peer.text().await;
        settle().await;
    }
    assert_eq!(pair.log.take(), [""; 0]);
}

/// It takes the unsent bytes to the limit, and nobody was told to stop.
#[tokio::test(start_paused = true)]
async fn a_ping_is_no_write_that_drain_would_answer() {
    let mut pair = pair_with_unsent(options(), SOFT - 2).await;
    assert!(pair.connection.ping(""));
    assert_eq!(pair.connection.buffered_amount(), SOFT);
    read_filling(&mut pair.peer).await;
    assert_eq!(pair.log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_writes_at_each_drain_gets_it_all_through() {
    let mut pair = Pair::with_capacity(options(), 1_000).await;
    let (connection, left) = (pair.connection, AtomicUsize::new(50));
    let pump = move || {
        // As ReactPHP's apps do it.
        while left.fetch_sub(1, Ordering::Relaxed) > 0 {
            if !connection.write("x".repeat(40_000)) {
                return;
            }
        }
        connection.end();
    };
    connection.on("drain", pump);
    assert!(!connection.write("x".repeat(70_000)));
    let received = frames(&mut pair.peer).await;
    assert_eq!(received.iter().map(|frame| frame.payload.len()).collect::<Vec<_>>()[1..51], [40_000; 50]);
    assert_eq!(received[51..], [closing(1000, "")]);
    assert!(pair.log.take().len() >= 25, "two fit at a time");
}

#[tokio::test(start_paused = true)]
async fn what_a_listener_writes_past_the_limit_and_the_turns_end_sends_is_followed_by_drain() {
    let mut pair = Pair::in_memory(options()).await;
    pair.connection.on("text", |connection: &WebSocketConnection| {
        assert!(!connection.write("x".repeat(SOFT)));
        assert!(!connection.write("again"));
    });
    pair.peer.send([text("a"), text("b")].concat()).await;
    settle().await;
    let log = pair.log.take();
    assert_eq!(log[..2], ["text a", "text b"]);
    assert_eq!(log[2..], ["drain"]);
    for length in [SOFT, 5, SOFT, 5] {
        assert_eq!(pair.peer.text().await.len(), length);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_before_the_101_has_its_drain_too() {
    let log = Log::default();
    let watched = log.clone();
    let http = websockets(move |connection| {
        watched.watch(connection);
        assert!(connection.write(text_of_frame(SOFT - 1)));
        assert!(!connection.write(""));
        assert_eq!(connection.buffered_amount(), SOFT + 1);
    });
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    assert_eq!(peer.text().await.len(), SOFT - 5);
    assert_eq!(peer.text().await, "");
    settle().await;
    assert_eq!(log.take(), ["drain"]);
}

// ------------------------------------------------------------------------------------------------ the limits

#[tokio::test(start_paused = true)]
async fn one_large_message_fits_an_idle_peer_and_the_next_one_is_1013() {
    let pair = &mut Pair::with_capacity(options(), 1_000).await;
    let failed = Arc::new(Mutex::new(None));
    pair.connection.on_error({
        let failed = failed.clone();
        move |error: &ConnectionError| *failed.lock().unwrap() = Some(error.clone())
    });
    assert!(!pair.connection.write_binary(vec![7; 5 << 20]));
    settle().await;
    assert_eq!(pair.log.take(), [""; 0]);
    assert!(pair.connection.is_writable());
    let unsent = pair.connection.buffered_amount();
    assert!(!pair.connection.write("one too many"));
    assert!(!pair.connection.is_writable() && !pair.connection.is_readable());
    pair.peer.send(text("nobody hears this")).await;
    settle().await;
    assert_eq!(pair.log.take(), [format!("error 1013 {unsent} bytes unsent, the limit is {HARD}")]);
    let failed = failed.lock().unwrap().take();
    assert!(
        matches!(failed, Some(ConnectionError::SlowReader { unsent: told, limit: HARD }) if told == unsent),
        "{failed:?}"
    );
    assert_eq!(frames(&mut pair.peer).await, [whole(BINARY, vec![7; 5 << 20]), closing(1013, "reading too slowly")]);
    pair.peer.send(close(1013, "")).await;
    assert!(pair.peer.ended().await);
    pair.peer.stream.shutdown().await.unwrap();
    settle().await;
    // The large message was answered with `false`; yet nothing comes between `error` and `close`, not even `drain`.
    assert_eq!(pair.log.take(), [format!("close 1013 {unsent} bytes unsent, the limit is {HARD}")]);
}

#[tokio::test(start_paused = true)]
async fn the_hard_limit_is_asked_before_a_message_is_added() {
    for (unsent, accepted) in [(HARD - 1, true), (HARD, false), (HARD + 1, false)] {
        let ways: [fn(WebSocketConnection) -> bool; 5] = [
            |connection| connection.write("x"),
            |connection| connection.write_binary("x".repeat(20_000)),
            |connection| connection.begin_text().write("x"),
            |connection| connection.begin_binary().end(),
            |connection| {
                connection.end_with("x");
                false
            },
        ];
        for way in ways {
            let pair = pair_with_unsent(options(), unsent).await;
            way(pair.connection);
            settle().await;
            let log = pair.log.take();
            assert_eq!(log.iter().any(|entry| entry.starts_with("error 1013")), !accepted, "{unsent}: {log:?}");
        }
    }
}

#[tokio::test]
async fn a_turn_may_write_more_than_the_hard_limit_to_a_socket_that_takes_it() {
    let mut pair = Pair::over_tcp(options()).await;
    let messages = HARD / 10_000 + 10;
    pair.connection.on("text", move |connection: &WebSocketConnection, _: &str| {
        for _ in 0..messages {
            connection.write("x".repeat(10_000));
        }
    });
    pair.peer.send(text("all of it")).await;
    for _ in 0..messages {
        assert_eq!(pair.peer.text().await.len(), 10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_hard_limit_memory_does_not_grow() {
    let pair = pair_with_unsent(options(), HARD).await;
    assert!(!pair.connection.write("x".repeat(1_000_000)));
    let unsent = pair.connection.buffered_amount();
    assert_eq!(unsent, HARD + 4 + "reading too slowly".len(), "a Close was added, and nothing else");
    for _ in 0..1_000 {
        assert!(!pair.connection.write("x".repeat(10_000)));
        assert!(!pair.connection.ping("x"));
    }
    assert_eq!(pair.connection.buffered_amount(), unsent);
    // It never reads: the socket is dropped all the same.
    sleep(CLOSE_TIMEOUT + LATE).await;
    assert_eq!(pair.connection.buffered_amount(), 0);
    let reason = format!("{HARD} bytes unsent, the limit is {HARD}");
    assert_eq!(pair.log.take(), [format!("error 1013 {reason}"), format!("close 1013 {reason}")]);
}

#[tokio::test(start_paused = true)]
async fn control_frames_are_never_refused() {
    let mut pair = pair_with_unsent(options(), HARD + 1_000).await;
    assert!(pair.connection.ping("ping"));
    assert!(pair.connection.pong("pong"));
    assert_eq!(pair.connection.buffered_amount(), HARD + 1_012);
    read_filling(&mut pair.peer).await;
    assert_eq!(pair.peer.frame().await, Some(whole(PING, "ping")));
    assert_eq!(pair.peer.frame().await, Some(whole(PONG, "pong")));
    assert_eq!(pair.log.take(), ["drain"], "of the large message");
}

#[tokio::test(start_paused = true)]
async fn while_the_socket_is_full_only_the_answer_to_the_latest_ping_waits() {
    let mut pair = pair_with_unsent(options(), 1_000).await;
    for n in 0..100 {
        pair.peer.send(frame(0x89, format!("{n}"))).await;
    }
    settle().await;
    assert!(pair.connection.buffered_amount() < 1_000 + 127, "{}", pair.connection.buffered_amount());
    assert_eq!(pair.log.take().len(), 100, "each is told");
    read_filling(&mut pair.peer).await;
    assert_eq!(pair.peer.frame().await, Some(whole(PONG, "99")));
    settle().await;
    assert_eq!(pair.connection.buffered_amount(), 0);
    pair.peer.send(frame(0x89, "and now")).await;
    assert_eq!(pair.peer.frame().await, Some(whole(PONG, "and now")));
}

#[tokio::test(start_paused = true)]
async fn small_limits_hold_at_their_edges() {
    // soft, hard, the frames that are written, what each write answers (`None`: 1013).
    type Case = (usize, usize, &'static [usize], &'static [Option<bool>]);
    const CASES: [Case; 8] = [
        (10, 100, &[9], &[Some(true)]),
        (10, 100, &[10], &[Some(false)]),
        (10, 100, &[5, 4, 2], &[Some(true), Some(true), Some(false)]),
        (10, 100, &[99, 500, 2], &[Some(false), Some(false), None]),
        (10, 100, &[100, 2], &[Some(false), None]),
        (1, 1, &[2, 2], &[Some(false), None]),
        // A soft limit above the hard one counts as that.
        (100, 10, &[9, 2, 2], &[Some(true), Some(false), None]),
        (usize::MAX, usize::MAX, &[1 << 20, 8 << 20], &[Some(true), Some(true)]),
    ];
    for (soft, hard, written, answers) in CASES {
        let mut pair = Pair::in_memory(limits(soft, hard)).await;
        cork(|| {
            for (frame, answer) in written.iter().zip(answers) {
                assert_eq!(
                    pair.connection.write(text_of_frame(*frame)),
                    answer.unwrap_or(false),
                    "{soft} {hard} {written:?}"
                );
                assert_eq!(pair.connection.is_writable(), answer.is_some(), "{soft} {hard} {written:?}");
            }
        });
        let accepted = written.iter().zip(answers).filter(|(_, answer)| answer.is_some());
        for (frame, _) in accepted {
            assert_eq!(pair.peer.text().await.len(), text_of_frame(*frame).len());
        }
        settle().await;
        let log = pair.log.take();
        let has_failed = answers.contains(&None);
        assert_eq!(log.iter().filter(|entry| entry.starts_with("error 1013")).count(), usize::from(has_failed));
        if !has_failed {
            assert_eq!(
                log,
                if answers.contains(&Some(false)) { vec!["drain"] } else { vec![] },
                "{soft} {hard} {written:?}"
            );
        }
    }
}

/// With a soft limit of nothing, "below" can only mean that nothing is unsent: nobody may wait for ever.
#[tokio::test(start_paused = true)]
async fn a_soft_limit_of_0_makes_nobody_wait_for_ever() {
    let mut pair = Pair::in_memory(limits(0, HARD)).await;
    assert!(!pair.connection.write("x"));
    assert_eq!(pair.peer.text().await, "x");
    settle().await;
    assert_eq!(pair.log.take(), ["drain"]);
    let sent = timeout(Duration::from_secs(60), pair.connection.send("y")).await;
    assert_eq!(sent, Ok(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn who_heeds_the_soft_limit_never_meets_a_hard_one_that_is_lower() {
    let pair = pair_with_unsent(limits(10_000, 1_000), 0).await;
    let connection = pair.connection;
    let sent = timeout(Duration::from_secs(5), async { while connection.send(text_of_frame(300)).await.is_ok() {} });
    assert!(sent.await.is_err(), "it waits for ever");
    assert!(connection.is_writable());
    assert_eq!(connection.buffered_amount(), 4 * 300 - 64);
}

// ------------------------------------------------------------------------------------------------ send

#[tokio::test(start_paused = true)]
async fn send_waits_until_fewer_bytes_than_the_soft_limit_are_unsent() {
    let mut pair = pair_with_unsent(options(), SOFT).await;
    let connection = pair.connection;
    let sending = tokio::spawn(async move { connection.send("sent").await });
    let sending_binary = tokio::spawn(async move { connection.send_binary("sent too").await });
    sleep(Duration::from_secs(3_600)).await;
    assert!(!sending.is_finished() && !sending_binary.is_finished());
    assert_eq!(connection.buffered_amount(), SOFT);
    pair.peer.stream.read_exact(&mut [0]).await.unwrap();
    settle().await;
    // The first to wake up has filled the room again.
    assert!(sending.is_finished());
    assert_eq!(sending.await.unwrap(), Ok(()));
    pair.peer.exactly(63 + SOFT).await;
    assert_eq!(pair.peer.text().await, "sent");
    assert_eq!(pair.peer.frame().await, Some(whole(BINARY, "sent too")));
    assert_eq!(sending_binary.await.unwrap(), Ok(()));
    assert_eq!(connection.send("at once").await, Ok(()));
    assert_eq!(pair.peer.text().await, "at once");
}

#[tokio::test(start_paused = true)]
async fn send_that_waits_says_closed_when_the_connection_ends_or_closes() {
    let peer_closes = |_: WebSocketConnection| {};
    let ways = ENDINGS
        .into_iter()
        .chain([("the peer's Close", peer_closes as fn(_), None), ("the peer leaves", peer_closes, None)]);
    for (name, end, _) in ways {
        let mut pair = pair_with_unsent(options(), SOFT).await;
        let connection = pair.connection;
        let sending: Vec<_> = (0..3).map(|_| tokio::spawn(async move { connection.send("x").await })).collect();
        settle().await;
        end(connection);
        match name {
            "the peer's Close" => pair.peer.send(close(1000, "")).await,
            "the peer leaves" => drop(pair.peer),
            _ => {}
        }
        settle().await;
        for sending in sending {
            assert!(sending.is_finished(), "{name}");
            assert_eq!(sending.await.unwrap(), Err(Closed), "{name}");
        }
    }
}

/// Nobody else would flush what it waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_makes_room_by_itself_where_its_own_thread_holds_the_cork() {
    let Pair { connection, mut peer, .. } = Pair::over_tcp(options()).await;
    let (runtime, message) = (tokio::runtime::Handle::current(), "x".repeat(10_000));
    let sending = std::thread::spawn(move || {
        react_websocket::cork(|| {
            runtime.block_on(async {
                for _ in 0..20 {
                    let sent = timeout(Duration::from_secs(10), connection.send(&message)).await;
                    sent.expect("there is room").expect("it is open");
                }
            })
        });
    });
    let receiving = async {
        for _ in 0..20 {
            assert_eq!(peer.text().await.len(), 10_000);
        }
    };
    timeout(Duration::from_secs(20), receiving).await.expect("all are sent");
    sending.join().unwrap();
}

/// There is nothing yet that could make room.
#[tokio::test(start_paused = true)]
async fn send_does_not_wait_in_a_connection_listener() {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| async move {
        for _ in 0..3 {
            connection.send("x".repeat(SOFT)).await?;
        }
        Ok::<_, Closed>(())
    });
    let (mut peer, _) = Peer::serve(&HttpServer::new((websocket, router)));
    peer.shake_hands().await;
    for _ in 0..3 {
        assert_eq!(peer.text().await.len(), SOFT);
    }
}

#[tokio::test(start_paused = true)]
async fn send_that_is_dropped_sends_nothing() {
    let mut pair = pair_with_unsent(options(), SOFT).await;
    for _ in 0..10 {
        assert!(timeout(Duration::from_secs(1), pair.connection.send("given up")).await.is_err());
    }
    read_filling(&mut pair.peer).await;
    pair.connection.write("next");
    assert_eq!(pair.peer.text().await, "next");
}

#[tokio::test(start_paused = true)]
async fn many_senders_wait_in_turn_keep_their_own_order_and_never_fill_more_than_the_limit_and_one_message_each() {
    let mut pair = Pair::with_capacity(limits(1_000, 100_000), 64).await;
    let connection = pair.connection;
    for sender in 0..10 {
        tokio::spawn(async move {
            for n in 0..50 {
                connection.send(format!("{sender} {n} {}", "x".repeat(200))).await.unwrap();
                assert!(connection.buffered_amount() < 1_000 + 10 * 210);
            }
        });
    }
    let mut next = HashMap::new();
    for _ in 0..500 {
        let text = pair.peer.text().await;
        let mut words = text.split(' ');
        let (sender, n): (u32, u32) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        assert_eq!(std::mem::replace(next.entry(sender).or_insert(0), n + 1), n, "sender {sender}");
    }
    settle().await;
    assert_eq!(connection.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn send_in_an_asynchronous_listener_waits_for_the_socket_which_goes_on() {
    let mut pair = Pair::with_capacity(options(), 1_000).await;
    pair.connection.on("text", async |connection: &WebSocketConnection, text: &str| {
        for _ in 0..10 {
            connection.send(text.repeat(40_000)).await?;
        }
        Ok::<_, Closed>(())
    });
    pair.peer.send([text("a"), text("b")].concat()).await;
    for letter in ["a", "b"] {
        for _ in 0..10 {
            assert_eq!(pair.peer.text().await, letter.repeat(40_000));
        }
    }
}

// ------------------------------------------------------------------------------------------------ ends

#[tokio::test(start_paused = true)]
async fn what_is_queued_leaves_before_the_close() {
    for (name, end, close_frame) in ENDINGS {
        let mut pair = Pair::with_capacity(options(), 100).await;
        for n in 0..30 {
            pair.connection.write(format!("{n} {}", "x".repeat(5_000)));
        }
        end(pair.connection);
        settle().await;
        let Some((code, reason)) = close_frame else {
            assert!(pair.peer.rest().await.len() <= 100, "{name}: what was in the socket already");
            continue;
        };
        for n in 0..30 {
            assert!(pair.peer.text().await.starts_with(&format!("{n} ")), "{name}");
        }
        if name == "end_with" {
            assert_eq!(pair.peer.text().await, "last");
        }
        assert_eq!(pair.peer.closed().await, (Some(code), reason.into()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_leaves_before_the_answer_to_the_peers_close() {
    let mut pair = Pair::with_capacity(options(), 100).await;
    for n in 0..30 {
        pair.connection.write(format!("{n} {}", "x".repeat(5_000)));
    }
    pair.peer.send(close(4000, "I have heard enough")).await;
    settle().await;
    assert!(!pair.connection.write("too late"));
    for n in 0..30 {
        assert!(pair.peer.text().await.starts_with(&format!("{n} ")));
    }
    assert_eq!(pair.peer.closed().await, (Some(4000), "I have heard enough".into()));
    assert!(pair.peer.ended().await);
    settle().await;
    assert_eq!(pair.log.take(), ["end", "drain", "close 4000 I have heard enough"]);
}

#[tokio::test(start_paused = true)]
async fn after_end_the_peer_is_heard_until_its_close_and_after_close_no_more() {
    for (name, end, close_frame) in ENDINGS {
        let Some((code, reason)) = close_frame else { continue };
        let mut pair = Pair::in_memory(options()).await;
        end(pair.connection);
        pair.peer.send([text("a"), frame(0x89, "?"), frame(0x8A, "!"), frame(0x82, "b")].concat()).await;
        settle().await;
        pair.peer.send([text("c"), close(3000, "done"), text("no")].concat()).await;
        let received = frames(&mut pair.peer).await;
        assert_eq!(received.last(), Some(&closing(code, reason)), "{name}: nothing follows our Close, and no pong");
        assert!(pair.peer.ended().await);
        settle().await;
        // What the side said that began to close.
        let close = format!("close {code} {reason}");
        let heard = ["text a", "ping 1", "pong 1", "binary 1", "text c", "end", &close];
        let expected = if name.starts_with("end") { &heard[..] } else { &heard[6..] };
        assert_eq!(pair.log.take(), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_closes_in_the_middle_of_a_burst_hears_no_more_of_it() {
    type Way = (&'static str, fn(&WebSocketConnection), &'static [&'static str]);
    let ways: [Way; 3] = [
        ("end", |connection| connection.end(), &["text stop", "text a", "binary 1", "end", "close 1000 "]),
        ("close", |connection| connection.close(), &["text stop", "close 1000 "]),
        ("terminate", |connection| connection.terminate(), &["text stop", "close 1006 "]),
    ];
    for (name, end, expected) in ways {
        let mut pair = Pair::in_memory(options()).await;
        pair.connection.on("text", move |connection: &WebSocketConnection, text: &str| {
            if text == "stop" {
                end(connection);
            }
        });
        pair.peer.send([text("stop"), text("a"), frame(0x82, "b"), close(1000, "")].concat()).await;
        pair.peer.rest().await;
        settle().await;
        assert_eq!(pair.log.take(), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_end_or_close_changes_nothing_but_that_close_makes_deaf_and_terminate_cuts() {
    for (first, end, close_frame) in ENDINGS {
        for (second, end_again, _) in ENDINGS {
            let mut pair = Pair::in_memory(options()).await;
            end(pair.connection);
            end_again(pair.connection);
            end_again(pair.connection);
            settle().await;
            end_again(pair.connection);
            let is_cut = first == "terminate" || second == "terminate";
            if !is_cut {
                pair.peer.send(text("still there?")).await;
                settle().await;
            }
            let hears = first.starts_with("end") && second.starts_with("end");
            let mut expected = vec![];
            expected.extend(hears.then(|| "text still there?".to_owned()));
            if is_cut {
                expected.push("close 1006 ".into());
            } else {
                let (code, reason) = close_frame.unwrap();
                let mut received = frames(&mut pair.peer).await;
                assert_eq!(received.pop(), Some(closing(code, reason)), "{first}, {second}");
                assert_eq!(received.len(), usize::from(first == "end_with"), "{first}, {second}");
                pair.peer.send(close(code, "")).await;
                assert!(pair.peer.ended().await, "{first}, {second}: one Close");
                settle().await;
                expected.extend(hears.then(|| "end".to_owned()));
                expected.push(format!("close {code} {reason}"));
            }
            assert_eq!(pair.log.take(), expected, "{first}, {second}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_gone_after_the_close_timeout_however_the_connection_was_ended() {
    for limit in [CLOSE_TIMEOUT, Duration::from_millis(1_234)] {
        for (name, end, close_frame) in ENDINGS {
            for reads in [true, false] {
                let mut pair = Pair::with_capacity(options().close_timeout(limit), 64).await;
                if !reads {
                    fill(pair.connection, 100_000).await;
                }
                let start = Instant::now();
                end(pair.connection);
                let wait = if close_frame.is_some() { limit } else { Duration::ZERO };
                if reads {
                    pair.peer.rest().await;
                    assert!((wait..=wait + LATE).contains(&start.elapsed()), "{name}: {:?}", start.elapsed());
                } else if !wait.is_zero() {
                    sleep(wait - Duration::from_millis(1)).await;
                    assert_eq!(pair.log.take(), [""; 0], "{name}");
                    sleep(LATE).await;
                }
                settle().await;
                assert_eq!(pair.log.take(), ["close 1006 "], "{name}");
                assert!(!pair.connection.is_readable());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_code_that_must_not_be_sent_is_not_and_a_long_reason_is_cut_between_characters() {
    let long = "é".repeat(100);
    for (code, reason, sent) in [
        (1000, "", (Some(1000), "")),
        (1003, "why", (Some(1003), "why")),
        (1013, "", (Some(1013), "")),
        (4999, "why", (Some(4999), "why")),
        (1005, "not sent", (None, "")),
        (1004, "x", (Some(1011), "x")),
        (1006, "x", (Some(1011), "x")),
        (1015, "x", (Some(1011), "x")),
        (0, "x", (Some(1011), "x")),
        (999, "x", (Some(1011), "x")),
        (2999, "x", (Some(1011), "x")),
        (5000, "x", (Some(1011), "x")),
        (u16::MAX, "x", (Some(1011), "x")),
        (4000, &long, (Some(4000), &long[..122])),
    ] {
        let mut pair = Pair::in_memory(options()).await;
        pair.connection.close_with(code, reason);
        let (sent_code, sent_reason) = pair.peer.closed().await;
        assert_eq!((sent_code, &sent_reason[..]), sent, "{code}");
        pair.peer.send(frame(0x88, "")).await;
        assert!(pair.peer.ended().await);
        settle().await;
        let told = sent.0.unwrap_or(1005);
        assert_eq!(pair.log.take(), [format!("close {told} {}", sent.1)], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_ended_before_its_101_still_opens_and_closes() {
    for (name, end, close_frame) in ENDINGS {
        let log = Log::default();
        let watched = log.clone();
        let http = websockets(move |connection| {
            watched.watch(connection);
            connection.write("hello");
            end(connection);
        });
        let (mut peer, _) = Peer::open_in_memory(&http).await;
        let Some((code, reason)) = close_frame else {
            peer.rest().await;
            settle().await;
            assert_eq!(log.take(), ["close 1006 "]);
            continue;
        };
        let mut expected = vec![whole(TEXT, "hello")];
        expected.extend((name == "end_with").then(|| whole(TEXT, "last")));
        expected.push(closing(code, reason));
        assert_eq!(frames(&mut peer).await, expected, "{name}");
        peer.send(close(code, reason)).await;
        assert!(peer.ended().await);
        settle().await;
        assert_eq!(log.take().last().unwrap(), &format!("close {code} {reason}"));
    }
}

#[tokio::test]
async fn over_a_socket_what_is_queued_leaves_before_the_close_and_the_fin() {
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let payload = vec![7; 16 << 20];
    pair.connection.write_binary(&payload);
    assert!(pair.connection.buffered_amount() > 0, "more than the system's buffers hold");
    pair.connection.close_with(4000, "after all of it");
    assert_eq!(pair.peer.frame().await.unwrap().payload, payload);
    assert_eq!(pair.peer.closed().await, (Some(4000), "after all of it".into()));
    pair.peer.send(close(4000, "")).await;
    assert!(pair.peer.ended().await);
}

// ------------------------------------------------------------------------------------------------ pause and resume

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_while_paused_and_all_of_it_in_order_afterwards() {
    let mut pair = Pair::in_memory(options()).await;
    pair.peer.send(text("before")).await;
    settle().await;
    pair.connection.pause();
    pair.connection.pause();
    pair.peer.send([text("a"), frame(0x89, "?"), frame(0x82, "b"), frame(0x8A, "!")].concat()).await;
    pair.peer.send(text("c")).await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(pair.log.take(), ["text before"]);
    assert!(pair.connection.is_readable() && pair.connection.is_writable());
    assert!(pair.connection.write("writing goes on"));
    assert_eq!(pair.peer.text().await, "writing goes on");
    pair.connection.resume();
    pair.connection.resume();
    settle().await;
    assert_eq!(pair.log.take(), ["text a", "ping 1", "binary 1", "pong 1", "text c"]);
    assert_eq!(pair.peer.frame().await, Some(whole(PONG, "?")));
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_a_paused_connection_is_made_to_wait() {
    let mut pair = Pair::with_capacity(options(), 1_000).await;
    pair.connection.pause();
    let message = frame(0x82, "x".repeat(100_000));
    let sending = timeout(Duration::from_secs(3_600), pair.peer.stream.write_all(&message)).await;
    assert!(sending.is_err(), "more was taken than the stream holds");
    // What is read while paused is nothing: as much is under way as the stream holds.
    let mut pair = Pair::with_capacity(options(), 1_000).await;
    pair.connection.pause();
    settle().await;
    let mut taken = 0;
    while let Ok(Ok(count)) = timeout(Duration::from_secs(1), pair.peer.stream.write(&message[taken..])).await {
        taken += count;
    }
    assert_eq!(taken, 1_000);
    pair.connection.resume();
    pair.peer.send(&message[taken..]).await;
    settle().await;
    assert_eq!(pair.log.take(), ["binary 100000"]);
}

#[tokio::test]
async fn over_a_socket_a_paused_connection_makes_its_peer_wait_and_loses_nothing() {
    let pair = Pair::over_tcp(options()).await;
    let (connection, stream) = (pair.connection, pair.peer.stream);
    let (deliver, mut delivered) = mpsc::unbounded_channel();
    let paused = Arc::new(Notify::new());
    connection.on("binary", {
        let paused = paused.clone();
        let mut count = 0u32;
        move |bytes: &[u8]| {
            let n = u32::from_be_bytes(bytes[..4].try_into().unwrap());
            assert_eq!((n, bytes.len()), (count, 50_000));
            count += 1;
            if count == 1 {
                connection.pause();
                paused.notify_one();
            }
            deliver.send(n).is_ok()
        }
    });
    // More than the system's buffers hold.
    let messages: Vec<u8> =
        (0..1_000u32).flat_map(|n| frame(0x82, [&n.to_be_bytes()[..], &[7; 49_996]].concat())).collect();
    let mut sent = 0;
    let mut write_until_full = |stream: &TcpStream| {
        while let Ok(count) = stream.try_write(&messages[sent..]) {
            sent += count;
        }
        assert!(sent < messages.len(), "the peer is never made to wait");
        sent
    };
    write_until_full(&stream);
    paused.notified().await;
    let at_pause = write_until_full(&stream);
    assert_eq!(delivered.recv().await, Some(0));
    assert!(delivered.try_recv().is_err(), "of {at_pause} bytes that are under way");
    connection.resume();
    let mut peer = Peer::new(stream);
    peer.send(&messages[at_pause..]).await;
    for n in 1..1_000 {
        assert_eq!(timeout(Duration::from_secs(30), delivered.recv()).await, Ok(Some(n)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_pause_in_the_middle_of_a_burst_and_a_later_callback_resume() {
    // At each text: pause, and ask for a drain; there: resume.
    let mut pair = Pair::in_memory(limits(5, HARD)).await;
    pair.connection.on("text", |connection: &WebSocketConnection, text: &str| {
        connection.pause();
        assert!(!connection.write(text));
    });
    pair.connection.on("drain", |connection: &WebSocketConnection| connection.resume());
    let burst: Vec<u8> = (0..5).flat_map(|n| text(format!("text {n}"))).collect();
    pair.peer.send(burst).await;
    settle().await;
    let each = |n: u32| [format!("text text {n}"), "drain".into()];
    assert_eq!(pair.log.take(), (0..5).flat_map(each).collect::<Vec<_>>());
    for n in 0..5 {
        assert_eq!(pair.peer.text().await, format!("text {n}"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_pauses_for_a_slow_reader_is_bounded_and_complete() {
    let pair = Pair::with_capacity(limits(2_000, HARD), 500).await;
    let most = Arc::new(AtomicUsize::new(0));
    pair.connection.on("binary", {
        let most = most.clone();
        move |connection: &WebSocketConnection, bytes: &[u8]| {
            if !connection.write_binary(bytes) {
                connection.pause();
            }
            most.fetch_max(connection.buffered_amount(), Ordering::Relaxed);
        }
    });
    pair.connection.on("drain", |connection: &WebSocketConnection| connection.resume());
    let (mut reader, mut writer) = tokio::io::split(pair.peer.stream);
    tokio::spawn(async move {
        for n in 0..2_000u16 {
            writer.write_all(&frame(0x82, n.to_be_bytes().repeat(50))).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    for n in 0..2_000u16 {
        if n % 100 == 0 {
            sleep(Duration::from_secs(1)).await;
        }
        let mut echo = [0; 102];
        reader.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo[2..], n.to_be_bytes().repeat(50));
    }
    let most = most.load(Ordering::Relaxed);
    assert!((2_000..2_000 + 102).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_paused_from_its_first_moment_delivers_what_came_with_the_handshake_later() {
    let log = Log::default();
    let watched = log.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let http = websockets(move |connection| {
        watched.watch(connection);
        connection.pause();
        tell.send(connection).unwrap();
    });
    let (mut peer, _) = Peer::serve(&http);
    peer.send([HANDSHAKE.as_bytes(), &text("early"), &close(1000, "")].concat()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    sleep(Duration::from_secs(15)).await;
    assert_eq!(log.take(), [""; 0]);
    told.recv().unwrap().resume();
    assert_eq!(peer.closed().await.0, Some(1000));
    settle().await;
    assert_eq!(log.take(), ["text early", "end", "close 1000 "]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_during_an_asynchronous_listener_holds_what_was_read_ahead() {
    let mut pair = Pair::in_memory(options()).await;
    let go_on = Arc::new(Notify::new());
    pair.connection.on("text", {
        let go_on = go_on.clone();
        move |text: Text| {
            let go_on = go_on.clone();
            async move {
                if text == "wait" {
                    go_on.notified().await;
                }
            }
        }
    });
    pair.peer.send([text("wait"), text("a")].concat()).await;
    settle().await;
    pair.peer.send(text("b")).await;
    settle().await;
    pair.connection.pause();
    go_on.notify_one();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(pair.log.take(), ["text wait"]);
    pair.connection.resume();
    settle().await;
    assert_eq!(pair.log.take(), ["text a", "text b"]);
}

#[tokio::test(start_paused = true)]
async fn each_ping_is_answered_once_though_one_has_half_come_when_a_listener_begins_to_wait() {
    let mut pair = Pair::in_memory(options()).await;
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    pair.connection.on("drain", move || {
        let gate = gate.clone();
        async move { gate.notified().await }
    });
    let first = frame(0x89, "one");
    let (half, rest) = first.split_at(first.len() - 2);
    pair.peer.send(half).await;
    settle().await;
    assert!(!pair.connection.write("x".repeat(SOFT)));
    settle().await;
    pair.peer.send([rest, &frame(0x89, "two")].concat()).await;
    settle().await;
    go_on.notify_one();
    settle().await;
    pair.peer.text().await;
    let mut answers = [pair.peer.frame().await, pair.peer.frame().await];
    answers.sort_by_key(|answer| answer.as_ref().map(|answer| answer.payload.clone()));
    assert_eq!(answers, [Some(whole(PONG, "one")), Some(whole(PONG, "two"))]);
    pair.connection.write("no more of them");
    assert_eq!(pair.peer.text().await, "no more of them");
}

/// Nothing of the peer's is delivered after `close()` anyhow, so nothing speaks against hearing its answer.
#[tokio::test(start_paused = true)]
async fn a_paused_connection_that_closes_hears_the_peers_close() {
    let mut pair = Pair::in_memory(options()).await;
    pair.connection.pause();
    pair.peer.send(text("unread")).await;
    settle().await;
    let closed = Instant::now();
    pair.connection.close();
    assert_eq!(pair.peer.closed().await, (Some(1000), String::new()));
    pair.peer.send(close(1000, "")).await;
    pair.peer.rest().await;
    assert!(closed.elapsed() < Duration::from_secs(1), "the peer had answered, and waited {:?}", closed.elapsed());
    settle().await;
    assert_eq!(pair.log.take(), ["close 1000 "]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_connection_that_ends_is_gone_after_the_close_timeout_at_the_latest() {
    for (name, end, _) in ENDINGS {
        let mut pair = Pair::in_memory(options()).await;
        pair.connection.pause();
        end(pair.connection);
        let ended = timeout(CLOSE_TIMEOUT + LATE, pair.peer.rest()).await;
        assert!(ended.is_ok(), "{name}");
        settle().await;
        assert_eq!(pair.log.take(), ["close 1006 "], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_connection_that_failed_is_gone_too() {
    let mut pair = Pair::in_memory(limits(10, 20)).await;
    pair.connection.pause();
    cork(|| {
        pair.connection.write("x".repeat(100));
        pair.connection.write("x");
    });
    let received = frames(&mut pair.peer).await;
    assert_eq!(received[1], closing(1013, "reading too slowly"));
    pair.peer.send(close(1013, "")).await;
    assert!(pair.peer.ended().await);
    drop(pair.peer);
    settle().await;
    assert_eq!(pair.log.take().last().unwrap(), "close 1013 102 bytes unsent, the limit is 20");
}

// ------------------------------------------------------------------------------------------------ over the life

/// What a connection says of itself in each callback: writable, readable.
#[tokio::test(start_paused = true)]
async fn is_writable_and_is_readable_over_the_life_of_a_connection() {
    fn says(connection: WebSocketConnection) -> (bool, bool) {
        (connection.is_writable(), connection.is_readable())
    }
    type Said = Arc<Mutex<Vec<(&'static str, (bool, bool))>>>;
    async fn pair() -> (InMemory, Said) {
        let said = Said::default();
        let pair = Pair::in_memory(options()).await;
        for event in ["text", "end", "error", "close"] {
            let said = said.clone();
            pair.connection.on(event, move |connection: &WebSocketConnection| {
                said.lock().unwrap().push((event, says(*connection)));
            });
        }
        (pair, said)
    }
    let (tell, told) = std::sync::mpsc::channel();
    let http = websockets(move |connection| tell.send(says(connection)).unwrap());
    let _peer = Peer::open_in_memory(&http).await;
    assert_eq!(told.recv().unwrap(), (true, true), "before the 101 has left");

    let (mut pair, said) = pair().await;
    assert_eq!(says(pair.connection), (true, true));
    pair.peer.send([text("a"), close(1000, "")].concat()).await;
    pair.peer.rest().await;
    settle().await;
    assert_eq!(says(pair.connection), (false, false));
    let by_peer = std::mem::take(&mut *said.lock().unwrap());
    // The peer has said that it sends nothing more.
    assert_eq!(by_peer, [("text", (true, true)), ("end", (false, false)), ("close", (false, false))]);

    for (name, end, close_frame) in ENDINGS {
        let (mut pair, said) = {
            let said = Said::default();
            let pair = Pair::in_memory(options()).await;
            let told = said.clone();
            pair.connection.on("close", move |connection: &WebSocketConnection| {
                told.lock().unwrap().push(("close", says(*connection)));
            });
            (pair, said)
        };
        end(pair.connection);
        assert_eq!(says(pair.connection), (false, name.starts_with("end")), "{name}");
        settle().await;
        assert_eq!(says(pair.connection), (false, name.starts_with("end")), "{name}");
        if close_frame.is_some() {
            pair.peer.send(close(1000, "")).await;
        }
        pair.peer.rest().await;
        settle().await;
        assert_eq!(says(pair.connection), (false, false), "{name}");
        assert_eq!(*said.lock().unwrap(), [("close", (false, false))], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_fault_a_connection_is_neither_writable_nor_readable() {
    let mut pair = Pair::in_memory(options()).await;
    let said = Arc::new(Mutex::new(None));
    pair.connection.on("error", {
        let said = said.clone();
        move |connection: &WebSocketConnection| {
            *said.lock().unwrap() = Some((connection.is_writable(), connection.is_readable()));
        }
    });
    pair.peer.send([0xFF, 0xFF]).await;
    settle().await;
    assert_eq!(*said.lock().unwrap(), Some((false, false)));
    assert!(!pair.connection.is_writable() && !pair.connection.is_readable());
}

#[tokio::test(start_paused = true)]
async fn what_is_set_is_there_by_its_type_until_the_connection_is_gone() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let pair = Pair::in_memory(options()).await;
    let connection = pair.connection;
    assert_eq!(connection.get::<User>(), None);
    assert_eq!(connection.take::<User>(), None);
    assert!(connection.set(User("ann")) && connection.set(7u32));
    assert_eq!(connection.get().as_deref(), Some(&User("ann")));
    assert!(connection.set(User("bob")), "replaces what has the same type");
    assert_eq!((connection.get().as_deref(), connection.get().as_deref()), (Some(&User("bob")), Some(&7u32)));
    assert_eq!(connection.take::<u32>().as_deref(), Some(&7));
    assert_eq!((connection.get::<u32>(), connection.take::<u32>()), (None, None));

    let dropped = Arc::new(AtomicUsize::new(0));
    let count = || dropped.load(Ordering::SeqCst);
    connection.set(Dropped(dropped.clone()));
    connection.set(Dropped(dropped.clone()));
    assert_eq!(count(), 1, "what was replaced is dropped");
    drop(connection.take::<Dropped>());
    assert_eq!(count(), 2);
    connection.set(Dropped(dropped.clone()));
    let seen = Arc::new(Mutex::new(None));
    connection.on("close", {
        let seen = seen.clone();
        move |connection: &WebSocketConnection| *seen.lock().unwrap() = connection.get::<User>()
    });
    drop(pair.peer);
    settle().await;
    assert_eq!(seen.lock().unwrap().as_deref(), Some(&User("bob")), "it is there in listeners of `close`");
    assert_eq!(connection.get::<User>(), None);
    assert_eq!(count(), 3, "it goes with the connection");
    assert!(!connection.set(Dropped(dropped.clone())));
    assert_eq!(count(), 4);
}

/// A value whose drop asks the connection that it was attached to: no lock is held while it is dropped.
#[tokio::test(start_paused = true)]
async fn what_is_set_may_use_the_connection_when_it_is_dropped() {
    struct Asks(WebSocketConnection);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.write("dropped");
            self.0.get::<Asks>();
        }
    }
    let mut pair = Pair::in_memory(options()).await;
    pair.connection.set(Asks(pair.connection));
    pair.connection.set(Asks(pair.connection));
    assert_eq!(pair.peer.text().await, "dropped");
    drop(pair.connection.take::<Asks>());
    assert_eq!(pair.peer.text().await, "dropped");
    pair.connection.set(Asks(pair.connection));
    drop(pair.peer);
    settle().await;
    assert!(!pair.connection.is_readable());
}

// ------------------------------------------------------------------------------------------------ messages in pieces

#[tokio::test(start_paused = true)]
async fn the_pieces_of_a_message_leave_as_fragments_and_control_frames_in_between() {
    let mut pair = Pair::in_memory(options()).await;
    let mut writer = pair.connection.begin_text();
    assert!(writer.write("one "));
    assert_eq!(pair.peer.frame().await, Some(part(TEXT, "one ")), "it does not wait for the end");
    assert!(pair.connection.ping("?"));
    assert!(writer.write(""));
    pair.peer.send(frame(0x89, "there?")).await;
    assert_eq!(pair.peer.frame().await, Some(whole(PING, "?")));
    assert_eq!(pair.peer.frame().await, Some(part(0, "")));
    assert_eq!(pair.peer.frame().await, Some(whole(PONG, "there?")));
    assert!(writer.write("twö"));
    assert!(writer.end());
    let mut writer = pair.connection.begin_binary();
    assert!(writer.write([1, 2]) && !writer.write(vec![0; 70_000]));
    assert!(!writer.end());
    assert!(!pair.connection.write("next"));
    for frame in
        [part(0, "twö"), whole(0, ""), part(BINARY, [1, 2]), part(0, vec![0; 70_000]), whole(0, ""), whole(TEXT, "next")]
    {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
    settle().await;
    assert_eq!(pair.log.take(), ["ping 6", "drain"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_message_without_pieces_is_an_empty_message() {
    let mut pair = Pair::in_memory(options()).await;
    assert!(pair.connection.begin_text().end());
    assert!(pair.connection.begin_binary().end());
    assert_eq!(pair.peer.frame().await, Some(whole(TEXT, "")));
    assert_eq!(pair.peer.frame().await, Some(whole(BINARY, "")));
}

#[tokio::test(start_paused = true)]
async fn other_messages_wait_behind_a_message_in_pieces_in_order_and_count_as_unsent() {
    let websocket = WebSocketMiddleware::new().with_options(options());
    let (tell, told) = std::sync::mpsc::channel();
    websocket.on("connection", move |connection: WebSocketConnection| tell.send(connection).is_ok());
    let http = HttpServer::new((websocket.clone(), router));
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    let connection = told.recv().unwrap();
    let mut writer = connection.begin_text();
    writer.write("a");
    assert!(connection.write("one"));
    websocket.write_all("two");
    assert!(connection.write_binary("three"));
    writer.write("b");
    connection.send("four").await.unwrap();
    assert!(connection.ping("now"));
    for frame in [part(TEXT, "a"), part(0, "b"), whole(PING, "now")] {
        assert_eq!(peer.frame().await, Some(frame));
    }
    settle().await;
    assert_eq!(connection.buffered_amount(), 5 + 5 + 7 + 6);
    assert!(writer.end());
    for frame in [whole(0, ""), whole(TEXT, "one"), whole(TEXT, "two"), whole(BINARY, "three"), whole(TEXT, "four")] {
        assert_eq!(peer.frame().await, Some(frame));
    }
    settle().await;
    assert_eq!(connection.buffered_amount(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_messages_in_pieces_at_once_leave_one_after_the_other() {
    let mut pair = Pair::in_memory(options()).await;
    let mut first = pair.connection.begin_text();
    let mut second = pair.connection.begin_binary();
    second.write("x");
    pair.connection.write("between");
    first.write("a");
    let third = pair.connection.begin_text();
    second.write("y");
    first.write("b");
    assert!(third.end());
    assert_eq!(pair.peer.frame().await, Some(part(TEXT, "a")));
    assert_eq!(pair.peer.frame().await, Some(part(0, "b")));
    assert!(first.end());
    // The second began before "between" was written.
    for frame in [whole(0, ""), part(BINARY, "x"), part(0, "y")] {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
    second.write("z");
    assert_eq!(pair.peer.frame().await, Some(part(0, "z")));
    assert!(second.end());
    for frame in [whole(0, ""), whole(TEXT, "between"), whole(TEXT, "")] {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_messages_in_pieces_may_end_first() {
    let mut pair = Pair::in_memory(options()).await;
    let mut first = pair.connection.begin_text();
    let mut second = pair.connection.begin_text();
    first.write("a");
    second.write("x");
    second.end();
    first.write("b");
    first.end();
    for frame in [part(TEXT, "a"), part(0, "b"), whole(0, ""), part(TEXT, "x"), whole(0, "")] {
        assert_eq!(pair.peer.frame().await, Some(frame));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_in_the_middle_fails_the_connection_with_1011() {
    // Live, or waiting behind another one.
    for is_second in [false, true] {
        let mut pair = Pair::in_memory(options()).await;
        let other = is_second.then(|| {
            let mut other = pair.connection.begin_text();
            other.write("first");
            other
        });
        let mut writer = pair.connection.begin_text();
        writer.write("half");
        pair.connection.write("behind");
        drop(writer);
        assert!(!pair.connection.is_writable());
        drop(other);
        let received = frames(&mut pair.peer).await;
        assert_eq!(received, [part(TEXT, if is_second { "first" } else { "half" }), closing(1011, "internal error")]);
        pair.peer.send(close(1011, "")).await;
        drop(pair.peer);
        settle().await;
        assert_eq!(pair.log.take(), ["error 1011 a message was not completed", "close 1011 a message was not completed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_before_its_first_piece_leaves_nothing() {
    let mut pair = Pair::in_memory(options()).await;
    let (first, second) = (pair.connection.begin_text(), pair.connection.begin_binary());
    pair.connection.write("behind");
    settle().await;
    assert_eq!(pair.connection.buffered_amount(), 8);
    drop(second);
    drop(first);
    assert_eq!(pair.peer.text().await, "behind");
    pair.connection.write("next");
    assert_eq!(pair.peer.text().await, "next");
    settle().await;
    assert_eq!((pair.log.take(), pair.connection.buffered_amount()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_close_passes_a_message_in_pieces_which_cannot_end_any_more() {
    for (name, end, close_frame) in ENDINGS {
        let mut pair = Pair::in_memory(options()).await;
        let mut writer = pair.connection.begin_text();
        writer.write("half");
        assert_eq!(pair.peer.frame().await, Some(part(TEXT, "half")));
        pair.connection.write("behind it, it cannot leave");
        end(pair.connection);
        assert!(!writer.write("more"));
        assert!(!writer.end());
        let expected: Vec<_> = close_frame.map(|(code, reason)| closing(code, reason)).into_iter().collect();
        assert_eq!(frames(&mut pair.peer).await, expected, "{name}");
        if close_frame.is_some() {
            pair.peer.send(close(1000, "")).await;
        }
        assert!(pair.peer.ended().await);
        settle().await;
        let log = pair.log.take();
        let last = close_frame.map_or("close 1006 ".into(), |(code, reason)| format!("close {code} {reason}"));
        assert_eq!(log.last(), Some(&last), "{name}");
        assert!(!log.iter().any(|entry| entry.starts_with("error")), "{name}: {log:?}");
    }
}

/// Who streams learns from `false` that the connection is closing, gives up, and drops the writer: that is no fault.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_in_the_middle_while_the_connection_closes_is_no_fault() {
    for by_peer in [false, true] {
        let mut pair = Pair::in_memory(options()).await;
        let mut writer = pair.connection.begin_text();
        writer.write("half");
        pair.peer.frame().await;
        if by_peer {
            pair.connection.on("end", std::future::pending::<()>);
            pair.peer.send(close(4000, "leaving")).await;
            settle().await;
        } else {
            pair.connection.close_with(4000, "leaving");
        }
        assert!(!writer.write("more"));
        drop(writer);
        settle().await;
        assert_eq!(pair.peer.closed().await.0, Some(4000));
        if !by_peer {
            pair.peer.send(close(4000, "")).await;
        }
        sleep(CLOSE_TIMEOUT * 2).await;
        let log = pair.log.take();
        assert_eq!(log.last().unwrap(), "close 4000 leaving", "by the peer: {by_peer}: {log:?}");
        assert!(!log.iter().any(|entry| entry.starts_with("error")), "by the peer: {by_peer}: {log:?}");
    }
}

/// "What is queued leaves, then Close": no half message is in its way here.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_message_that_has_no_piece_yet_leaves_before_the_close() {
    let mut pair = Pair::in_memory(options()).await;
    let writer = pair.connection.begin_text();
    assert!(pair.connection.write("accepted"));
    pair.connection.close();
    drop(writer);
    assert_eq!(frames(&mut pair.peer).await, [whole(TEXT, "accepted"), closing(1000, "")]);
}

#[tokio::test(start_paused = true)]
async fn messages_behind_one_in_pieces_meet_the_limits_too() {
    let mut pair = Pair::in_memory(limits(100, 1_000)).await;
    let mut writer = pair.connection.begin_text();
    writer.write("");
    pair.peer.frame().await;
    assert!(pair.connection.write(text_of_frame(99)));
    assert!(!pair.connection.write(text_of_frame(2)));
    settle().await;
    assert_eq!(pair.log.take(), [""; 0]);
    writer.end();
    settle().await;
    assert_eq!(pair.log.take(), ["drain"]);
    let mut writer = pair.connection.begin_text();
    writer.write("");
    assert!(!pair.connection.write(text_of_frame(1_000)));
    assert!(pair.connection.is_writable());
    assert!(!pair.connection.write("x"));
    assert!(!pair.connection.is_writable());
    drop(writer);
    settle().await;
    assert!(pair.log.take()[0].starts_with("error 1013 "));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_can_be_written_at_the_readers_pace() {
    let mut pair = Pair::with_capacity(limits(1_000, 10_000), 64).await;
    let (connection, drained) = (pair.connection, Arc::new(Notify::new()));
    connection.on("drain", {
        let drained = drained.clone();
        move || drained.notify_one()
    });
    tokio::spawn(async move {
        let mut writer = connection.begin_binary();
        for n in 0..200u8 {
            if !writer.write([n; 100]) {
                drained.notified().await;
            }
            assert!(connection.buffered_amount() < 1_000 + 102);
        }
        writer.end();
    });
    for n in 0..200 {
        assert_eq!(pair.peer.frame().await, Some(part(if n == 0 { BINARY } else { 0 }, [n; 100])));
    }
    assert_eq!(pair.peer.frame().await, Some(whole(0, "")));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_may_begin_in_the_connection_listener_and_end_later() {
    let (tell, told) = std::sync::mpsc::channel();
    let http = websockets(move |connection| {
        let mut writer = connection.begin_text();
        writer.write("before the 101");
        connection.write("behind");
        tell.send(writer).unwrap();
    });
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    assert_eq!(peer.frame().await, Some(part(TEXT, "before the 101")));
    let mut writer = told.recv().unwrap();
    assert!(writer.write(", after it"));
    assert!(writer.end());
    assert_eq!(peer.frame().await, Some(part(0, ", after it")));
    assert_eq!(peer.frame().await, Some(whole(0, "")));
    assert_eq!(peer.text().await, "behind");
}

#[tokio::test]
async fn over_a_socket_a_message_of_many_large_pieces_arrives_whole_in_spite_of_others() {
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let connection = pair.connection;
    let streaming = tokio::spawn(async move {
        let mut writer = connection.begin_binary();
        for n in 0..200u8 {
            writer.write(vec![n; 50_000]);
            connection.write(n.to_string());
            tokio::task::yield_now().await;
        }
        writer.end();
    });
    let mut message = Vec::new();
    loop {
        let frame = pair.peer.frame().await.unwrap();
        assert_eq!(frame.opcode, if message.is_empty() { BINARY } else { 0 });
        message.extend(frame.payload);
        if frame.fin {
            break;
        }
    }
    assert_eq!(message, (0..200).flat_map(|n| vec![n; 50_000]).collect::<Vec<u8>>());
    for n in 0..200 {
        assert_eq!(pair.peer.text().await, n.to_string());
    }
    streaming.await.unwrap();
}

// ------------------------------------------------------------------------------------------------ who writes, and when

/// Checks that the messages of each sender come in its order; each says `sender n` first.
async fn in_order_of_senders<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    peer: &mut Peer<S>,
    senders: usize,
    each: usize,
) {
    let mut next = vec![0; senders];
    for _ in 0..senders * each {
        let text = timeout(Duration::from_secs(30), peer.text()).await.expect("a message");
        let mut words = text.split(' ');
        let (sender, n): (usize, usize) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        assert_eq!(n, next[sender], "sender {sender}");
        let rest = words.next().unwrap();
        assert!(rest.bytes().all(|byte| byte == b'x') && rest.len() == payload_length(n), "{sender} {n}: {}", rest.len());
        next[sender] += 1;
    }
    assert_eq!(next, vec![each; senders]);
}

/// Small ones, those that leave without a copy, and those that do not fit a socket's buffer.
fn payload_length(n: usize) -> usize {
    [0, 1, 100, 5_000, 24 * 1024, 17, 100_000][n % 7]
}

fn message_of(sender: usize, n: usize) -> String {
    format!("{sender} {n} {}", "x".repeat(payload_length(n)))
}

fn write_each(connection: WebSocketConnection, sender: usize, numbers: std::ops::Range<usize>) {
    for n in numbers {
        connection.write(message_of(sender, n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_and_threads_write_to_one_connection_each_in_its_order() {
    const EACH: usize = 500;
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let connection = pair.connection;
    for sender in 0..3 {
        tokio::spawn(async move {
            for n in 0..EACH {
                connection.write(message_of(sender, n));
                tokio::task::yield_now().await;
            }
        });
    }
    // Threads that no runtime knows.
    let threads: Vec<_> =
        (3..6).map(|sender| std::thread::spawn(move || write_each(connection, sender, 0..EACH))).collect();
    // Whole batches at once.
    let corked = std::thread::spawn(move || {
        for batch in 0..EACH / 50 {
            cork(|| write_each(connection, 6, batch * 50..(batch + 1) * 50));
        }
    });
    // With backpressure.
    tokio::spawn(async move {
        for n in 0..EACH {
            connection.send(message_of(7, n)).await.unwrap();
        }
    });
    in_order_of_senders(&mut pair.peer, 8, EACH).await;
    threads.into_iter().chain([corked]).for_each(|thread| thread.join().unwrap());
    assert_eq!(connection.buffered_amount(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory_too_tasks_and_threads_write_each_in_its_order() {
    const EACH: usize = 200;
    let mut pair = Pair::with_capacity(options().write_buffer_hard_limit(usize::MAX), 10_000).await;
    let connection = pair.connection;
    for sender in 0..2 {
        tokio::spawn(async move { write_each(connection, sender, 0..EACH) });
        std::thread::spawn(move || write_each(connection, 2 + sender, 0..EACH));
    }
    in_order_of_senders(&mut pair.peer, 4, EACH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listeners_of_many_connections_write_to_one_each_in_its_order() {
    const SENDERS: usize = 8;
    const EACH: usize = 200;
    let receiver = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let (to, mut peer) = (receiver.connection, receiver.peer);
    for sender in 0..SENDERS {
        let mut pair = Pair::over_tcp(options()).await;
        pair.connection.on("text", move |text: &str| to.write(message_of(sender, text.parse().unwrap())));
        tokio::spawn(async move {
            pair.peer.send((0..EACH).flat_map(|n| text(n.to_string())).collect::<Vec<_>>()).await;
            pair.peer.frame().await;
        });
    }
    in_order_of_senders(&mut peer, SENDERS, EACH).await;
}

#[tokio::test]
async fn what_is_written_under_a_cork_leaves_when_the_outermost_is_done() {
    let mut pair = Pair::over_tcp(options()).await;
    let other = Pair::over_tcp(options()).await;
    let (connection, neighbour) = (pair.connection, other.connection);
    let result = cork(|| {
        connection.write("one");
        neighbour.write("to another");
        cork(|| connection.write("two"));
        assert_eq!((connection.buffered_amount(), neighbour.buffered_amount()), (5 + 5, 12));
        "what the closure returns"
    });
    assert_eq!(result, "what the closure returns");
    assert_eq!((connection.buffered_amount(), neighbour.buffered_amount()), (0, 0));
    assert_eq!((pair.peer.text().await, pair.peer.text().await), ("one".into(), "two".into()));

    let panicked = std::panic::catch_unwind(|| {
        cork(|| {
            connection.write("before the panic");
            std::panic::panic_any("in a cork");
        })
    });
    assert!(panicked.is_err());
    assert_eq!(pair.peer.text().await, "before the panic");
    assert!(connection.write("and the cork is out"));
    assert_eq!(connection.buffered_amount(), 0);

    // Large ones leave at once, behind what waits.
    cork(|| {
        connection.write("small");
        assert_eq!(connection.buffered_amount(), 7);
        connection.write("x".repeat(24 * 1024));
        assert_eq!(connection.buffered_amount(), 0);
        connection.write("x".repeat(24 * 1024 - 1));
        assert_eq!(connection.buffered_amount(), 24 * 1024 - 1 + 4);
    });
    for length in [19, 5, 24 * 1024, 24 * 1024 - 1] {
        assert_eq!(pair.peer.text().await.len(), length);
    }
}

#[tokio::test]
async fn what_a_listener_writes_leaves_when_its_turn_ends() {
    let mut pair = Pair::over_tcp(options()).await;
    let (tell, told) = std::sync::mpsc::channel();
    pair.connection.on("text", move |connection: &WebSocketConnection, text: &str| {
        connection.write(text);
        tell.send(connection.buffered_amount()).unwrap();
    });
    pair.peer.send([text("a"), text("b"), text("c")].concat()).await;
    for text in ["a", "b", "c"] {
        assert_eq!(pair.peer.text().await, text);
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [3, 6, 9], "all three in one");
}

// ------------------------------------------------------------------------------------------------ large payloads

const SIZES: [usize; 8] = [24 * 1024 - 1, 24 * 1024, 24 * 1024 + 1, 65_535, 65_536, 1 << 20, 5 << 20, 24 * 1024 - 1];

/// Bytes in which a piece that is missing, repeated or out of place shows.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Reads all that comes in small pieces, letting others run in between.
async fn read_slowly(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    let mut piece = [0; 3_001];
    while bytes.len() < length {
        let count = timeout(Duration::from_secs(30), stream.read(&mut piece)).await.expect("more").unwrap();
        assert!(count > 0, "the end after {} of {length} bytes", bytes.len());
        bytes.extend_from_slice(&piece[..count]);
        tokio::task::yield_now().await;
    }
    bytes
}

/// Writes payloads of all sizes, from a listener or from outside, and compares what arrives.
async fn large_payloads(in_listener: bool, slowly: bool, small_between: bool) {
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
    let connection = pair.connection;
    let write = move || {
        for size in SIZES {
            connection.write_binary(noise(size));
            if small_between {
                connection.write_binary(noise(size % 100));
            }
        }
    };
    let mut expected = Vec::new();
    for size in SIZES {
        expected.extend(server_frame(0x82, noise(size)));
        if small_between {
            expected.extend(server_frame(0x82, noise(size % 100)));
        }
    }
    if in_listener {
        connection.on("text", write);
        pair.peer.send(text("go")).await;
    } else {
        write();
        assert!(connection.buffered_amount() > 0, "more than the system's buffers hold");
    }
    let received = if slowly {
        read_slowly(&mut pair.peer.stream, expected.len()).await
    } else {
        timeout(Duration::from_secs(30), pair.peer.exactly(expected.len())).await.expect("all of it")
    };
    // Not `assert_eq!`, which would print megabytes.
    let differs = received.iter().zip(&expected).position(|(received, expected)| received != expected);
    assert_eq!(differs, None, "in a listener {in_listener}, slowly {slowly}, small between {small_between}");
    connection.write("that was all");
    assert_eq!(pair.peer.text().await, "that was all");
}

#[tokio::test]
async fn large_payloads_arrive_byte_for_byte() {
    for case in 0..8 {
        large_payloads(case & 1 != 0, case & 2 != 0, case & 4 != 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads_too_large_payloads_arrive_byte_for_byte() {
    for case in 0..8 {
        large_payloads(case & 1 != 0, case & 2 != 0, case & 4 != 0).await;
    }
}

#[tokio::test]
async fn large_messages_come_back_byte_for_byte_to_a_peer_that_reads_only_when_it_has_written() {
    let pair = Pair::over_tcp(options().max_message_size(8 << 20).max_frame_size(8 << 20)).await;
    pair.connection.on("binary", |connection: &WebSocketConnection, bytes: &[u8]| connection.write_binary(bytes));
    let (mut reader, mut writer) = pair.peer.stream.into_split();
    let writing = tokio::spawn(async move {
        for size in SIZES {
            writer.write_all(&frame(0x82, noise(size))).await.unwrap();
        }
        writer
    });
    for size in SIZES {
        let expected = server_frame(0x82, noise(size));
        let mut received = vec![0; expected.len()];
        timeout(Duration::from_secs(30), reader.read_exact(&mut received)).await.expect("all of it").unwrap();
        assert!(received == expected, "{size} bytes");
    }
    writing.await.unwrap();
}

// ------------------------------------------------------------------------------------------------ peers that are slow, or leave

/// In real time, as a full socket is another matter than a full stream in memory.
#[tokio::test]
async fn over_a_socket_slow_progress_is_no_fault_and_none_is() {
    let limit = Duration::from_millis(1_500);
    let mut pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX).write_timeout(limit)).await;
    let (tell, mut failed) = mpsc::unbounded_channel();
    pair.connection.on("error", move |error: &ConnectionError| tell.send(error.to_string()).is_ok());
    pair.connection.write_binary(vec![7; 64 << 20]);
    let written = Instant::now();
    while written.elapsed() < limit * 2 {
        // Enough for the system to say that the socket takes more.
        pair.peer.exactly(2 << 20).await;
        sleep(limit / 10).await;
    }
    assert!(pair.connection.is_writable());
    let last_read = Instant::now();
    let failed = timeout(Duration::from_secs(30), failed.recv()).await.expect("error");
    assert_eq!(failed.as_deref(), Some("nothing could be sent for 1.5s"));
    // It took something for the last time at the last read or a little before.
    assert!(last_read.elapsed() + limit / 5 >= limit, "{:?}", last_read.elapsed());
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_reset_is_a_close_with_1006_and_no_fault_whatever_is_written_meanwhile() {
    for unsent in [0, 10, 20_000, 8 << 20] {
        let pair = Pair::over_tcp(options().write_buffer_hard_limit(usize::MAX)).await;
        let connection = pair.connection;
        let (tell, mut told) = mpsc::unbounded_channel();
        connection.on("close", move |code: u16| tell.send(code).is_ok());
        if unsent > 0 {
            connection.write("x".repeat(unsent));
        }
        reset(pair.peer.stream);
        // The server may not have noticed: a write may still be accepted, and is no harm.
        connection.write("into the void");
        connection.write("x".repeat(20_000));
        let code = timeout(Duration::from_secs(30), told.recv()).await.expect("close");
        assert_eq!(code, Some(1006));
        assert!(!connection.write("too late"));
        assert_eq!(connection.buffered_amount(), 0);
        tokio::task::yield_now().await;
        assert_eq!(pair.log.take(), ["close 1006 "], "{unsent} bytes unsent");
    }
}

#[tokio::test]
async fn writers_of_a_peer_that_resets_are_let_go() {
    let pair = Pair::over_tcp(options()).await;
    let connection = pair.connection;
    let sending: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                while connection.send("x".repeat(30_000)).await.is_ok() {}
                connection.is_writable()
            })
        })
        .collect();
    // They wait for the peer by now.
    while connection.buffered_amount() < SOFT {
        tokio::task::yield_now().await;
    }
    reset(pair.peer.stream);
    for sending in sending {
        let is_writable = timeout(Duration::from_secs(30), sending).await.expect("Closed").unwrap();
        assert!(!is_writable);
    }
}

#[tokio::test]
async fn a_reset_is_noticed_by_a_write_while_reading_is_paused() {
    let pair = Pair::over_tcp(options().close_timeout(Duration::from_millis(100))).await;
    let connection = pair.connection;
    let (tell, mut told) = mpsc::unbounded_channel();
    connection.on("close", move |code: u16| tell.send(code).is_ok());
    connection.pause();
    reset(pair.peer.stream);
    while connection.write("are you there?") {
        tokio::task::yield_now().await;
    }
    let code = timeout(Duration::from_secs(30), told.recv()).await.expect("close");
    assert_eq!(code, Some(1006));
    assert_eq!(pair.log.take(), ["close 1006 "]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_without_a_close_is_1006_and_what_it_sent_before_is_delivered() {
    let mut pair = Pair::in_memory(options()).await;
    pair.peer.send([text("last words"), vec![0x81]].concat()).await;
    drop(pair.peer);
    settle().await;
    assert_eq!(pair.log.take(), ["text last words", "close 1006 "]);
}

/// How many messages come before the answer to a ping that is sent behind the first.
async fn messages_before_the_pong<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut Peer<S>) -> usize {
    assert_eq!(peer.frame().await.expect("a message").opcode, TEXT);
    peer.send(frame(0x89, "hi")).await;
    let mut messages = 0;
    loop {
        match peer.frame().await.expect("a pong").opcode {
            PONG => return messages,
            _ => messages += 1,
        }
    }
}

/// 1,000 messages of 10,000 bytes by somebody who stops when `write` says so and goes on at `drain`.
fn write_much(connection: WebSocketConnection) {
    let mut left = 1_000;
    let mut go_on = move || {
        while left > 0 {
            left -= 1;
            if !connection.write("x".repeat(10_000)) {
                break;
            }
        }
    };
    go_on();
    connection.on("drain", go_on);
}

/// The socket is never empty, as there is always something to fill it up.
#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_behind_what_was_to_be_sent_then_however_much_follows() {
    while_time_passes(async {
        let mut pair = Pair::with_capacity(options(), 16 * 1024).await;
        write_much(pair.connection);
        // 16 KiB in flight, 64 KiB and a message that wait, twice.
        let messages = messages_before_the_pong(&mut pair.peer).await;
        assert!(messages <= 20, "{messages} by a drain listener");

        let mut pair = Pair::with_capacity(options(), 16 * 1024).await;
        let connection = pair.connection;
        tokio::spawn(async move { while connection.send("x".repeat(10_000)).await.is_ok() {} });
        let messages = messages_before_the_pong(&mut pair.peer).await;
        assert!(messages <= 20, "{messages} by send");

        // Who heeds nothing, and is always above the soft limit.
        let mut pair = Pair::with_capacity(options(), 16 * 1024).await;
        let (connection, message) = (pair.connection, "x".repeat(10_000));
        (0..50).for_each(|_| _ = connection.write(&message));
        pair.peer.frame().await.expect("a message");
        pair.peer.send(frame(0x89, "hi")).await;
        let mut messages = 0;
        while pair.peer.frame().await.expect("a frame").opcode != PONG {
            messages += 1;
            connection.write(&message);
            assert!(connection.buffered_amount() > 200_000 && messages <= 110, "{messages} by write");
        }
    })
    .await;
}

/// The same where any thread may write. The socket's window is small, as on a long way.
#[tokio::test]
async fn over_a_socket_a_ping_is_answered_in_the_middle_of_a_large_transfer() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let http = websockets(|connection| _ = connection.on_text(move |_| write_much(connection)));
    let _listening = http.listen(SocketServer::try_from(listener).unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut peer = Peer::new(socket.connect(address).await.unwrap());
    peer.shake_hands().await;
    peer.send(text("go")).await;
    let messages = timeout(Duration::from_secs(30), messages_before_the_pong(&mut peer)).await.expect("in time");
    assert!(messages <= 100, "{messages}");
}

// ------------------------------------------------------------------------------------------------ the middleware's connections

struct Crowd {
    websocket: WebSocketMiddleware,
    http: HttpServer,
}

fn crowd(options: WebSocketOptions) -> Crowd {
    let websocket = WebSocketMiddleware::new().with_options(options);
    Crowd { http: HttpServer::new((websocket.clone(), router)), websocket }
}

#[tokio::test(start_paused = true)]
async fn the_middleware_knows_its_open_connections() {
    let Crowd { websocket, http } = crowd(options());
    let in_close = Arc::new(Mutex::new(Vec::new()));
    websocket.on("connection", {
        let (in_close, clients) = (in_close.clone(), websocket.clone());
        move |connection: WebSocketConnection| {
            let (in_close, clients) = (in_close.clone(), clients.clone());
            in_close.lock().unwrap().push(clients.len());
            connection.on("close", move || in_close.lock().unwrap().push(clients.len()));
        }
    });
    assert!(websocket.is_empty() && websocket.connections().is_empty());
    let (first, _) = Peer::open_in_memory(&http).await;
    let (second, _) = Peer::open_in_memory(&http).await;
    settle().await;
    assert_eq!((websocket.len(), websocket.is_empty()), (2, false));
    let snapshot = websocket.connections();
    assert_eq!(snapshot.len(), 2);
    assert_ne!(snapshot[0], snapshot[1]);
    // One that is not accepted is none.
    let (mut refused, _) = Peer::serve(&http);
    assert_eq!(refused.ask(HANDSHAKE.replace("13", "12")).await.status(), 426);
    assert_eq!(websocket.len(), 2);
    drop(first);
    settle().await;
    assert_eq!(websocket.len(), 1);
    assert_eq!(snapshot.iter().filter(|connection| connection.is_writable()).count(), 1, "the snapshot stays as it is");
    drop(second);
    settle().await;
    assert!(websocket.is_empty());
    assert_eq!(*in_close.lock().unwrap(), [0, 1, 1, 0], "from when the 101 has left to before `close`");
}

#[tokio::test(start_paused = true)]
async fn write_all_reaches_every_open_connection_once_and_waits_for_none() {
    let Crowd { websocket, http } = crowd(limits(100, 1_000));
    websocket.on("connection", {
        let everybody = websocket.clone();
        move |connection: WebSocketConnection| {
            let everybody = everybody.clone();
            connection.on("text", move |text: &str| {
                everybody.write_all(text);
                everybody.write_all_binary(text);
            });
        }
    });
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    // It takes 64 bytes and reads nothing.
    let (mut slow, _) = Peer::serve_with_capacity(&http, 64);
    slow.shake_hands().await;
    settle().await;
    websocket.write_all("from outside");
    peers[0].send(text("from a listener")).await;
    for peer in &mut peers {
        assert_eq!(peer.text().await, "from outside");
        assert_eq!(peer.text().await, "from a listener");
        assert_eq!(peer.frame().await, Some(whole(BINARY, "from a listener")));
    }
    for n in 0..100 {
        websocket.write_all(format!("{n} {}", "x".repeat(50)));
        for peer in &mut peers {
            assert!(peer.text().await.starts_with(&format!("{n} ")));
        }
    }
    // It met its own hard limit, and nobody else's.
    settle().await;
    let open = websocket.connections();
    assert_eq!(open.iter().filter(|connection| connection.is_writable()).count(), 5);
    assert_eq!(slow.text().await, "from outside");
    assert_eq!(slow.text().await, "from a listener");
    assert_eq!(frames(&mut slow).await.last(), Some(&closing(1013, "reading too slowly")));
    for peer in &mut peers {
        peer.send(close(1000, "")).await;
        assert_eq!(frames(peer).await, [closing(1000, "")]);
    }
}

/// More than are flushed in one go.
#[tokio::test(start_paused = true)]
async fn write_all_reaches_a_thousand_connections_from_wherever_it_is_called() {
    let Crowd { websocket, http } = crowd(options());
    websocket.on("connection", {
        let everybody = websocket.clone();
        move |connection: WebSocketConnection| {
            let everybody = everybody.clone();
            connection.on("text", move |text: &str| everybody.write_all(text));
        }
    });
    let mut peers = Vec::new();
    for _ in 0..1_000 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    settle().await;
    peers[0].send([text("1"), text("2")].concat()).await;
    settle().await;
    websocket.write_all("3");
    websocket.write_all("4");
    cork(|| ["5", "6"].map(|text| websocket.write_all(text)));
    let elsewhere = websocket.clone();
    std::thread::spawn(move || ["7", "8"].map(|text| elsewhere.write_all(text))).join().unwrap();
    for peer in &mut peers {
        for n in 1..=8 {
            assert_eq!(peer.text().await, n.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_and_a_connections_own_messages_keep_their_order() {
    let Crowd { websocket, http } = crowd(options());
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    settle().await;
    let connection = websocket.connections()[0];
    let write = || {
        websocket.write_all("1");
        websocket.write_all("2");
        connection.write("3");
        websocket.write_all("4");
        connection.write("x".repeat(20_000));
        websocket.write_all("6");
        connection.ping("");
    };
    for corked in [false, true] {
        if corked {
            cork(write)
        } else {
            write()
        }
        for text in ["1", "2", "3", "4", &"x".repeat(20_000), "6"] {
            assert_eq!(peer.text().await, text);
        }
        assert_eq!(peer.frame().await, Some(whole(PING, "")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_sockets_broadcasts_of_all_sizes_arrive_byte_for_byte() {
    let Crowd { websocket, http } = crowd(options().write_buffer_hard_limit(usize::MAX));
    let (address, _) = listen_with(http);
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(Peer::open(address).await);
    }
    while websocket.len() < 3 {
        tokio::task::yield_now().await;
    }
    let mut expected = Vec::new();
    for size in SIZES {
        websocket.write_all_binary(noise(size));
        websocket.write_all_binary(noise(size % 100));
        expected.extend([server_frame(0x82, noise(size)), server_frame(0x82, noise(size % 100))].concat());
    }
    for peer in &mut peers {
        let received = read_slowly(&mut peer.stream, expected.len()).await;
        assert!(received == expected);
    }
}

#[tokio::test(start_paused = true)]
async fn close_all_closes_every_open_connection_the_reason_first() {
    let Crowd { websocket, http } = crowd(options());
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Peer::open_in_memory(&http).await.0);
    }
    settle().await;
    websocket.write_all("first");
    websocket.close_all("maintenance", 4002);
    websocket.close_all("again", 4003);
    websocket.write_all("too late");
    let (mut newcomer, _) = Peer::open_in_memory(&http).await;
    for peer in &mut peers {
        assert_eq!(frames(peer).await, [whole(TEXT, "first"), closing(4002, "maintenance")]);
        peer.send(close(4002, "")).await;
        assert!(peer.ended().await);
    }
    settle().await;
    assert_eq!(websocket.len(), 1, "who came later is not concerned");
    websocket.write_all("hello");
    assert_eq!(newcomer.text().await, "hello");
}
