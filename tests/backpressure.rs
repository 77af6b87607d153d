//! Backpressure: the result of `write`, the `drain` event, the soft and hard limits, and `send`.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::errors::{Closed, ConnectionError};
use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions, cork};
use support::streams::{
    BINARY, CLOSE_TIMEOUT, ENDINGS, HARD, InMemory, LATE, PING, PONG, SOFT, TEXT, closing, fill, frames, limits, options,
    text_of_frame, whole,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// A connection whose peer takes so many bytes and no more unless it reads, in which so many bytes are unsent.
async fn pair_with_unsent(options: WebSocketOptions, unsent: usize) -> InMemory {
    let pair = Pair::with_capacity(options, 64).await;
    if unsent > 0 {
        fill(pair.connection, unsent).await;
    }
    pair
}

/// Reads what `fill` wrote.
async fn read_filling(peer: &mut Peer<DuplexStream>) {
    peer.text().await;
    peer.text().await;
    settle().await;
}

// ------------------------------------------------------------------------------------------------ the result of write

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
async fn each_write_above_the_soft_limit_returns_false_and_is_accepted() {
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

#[tokio::test(start_paused = true)]
async fn writes_after_the_end_are_dropped_and_return_false() {
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

/// A ping raises the unsent bytes to the soft limit, but no `write` has returned `false`.
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
async fn writes_above_the_limit_that_the_end_of_the_turn_sends_are_followed_by_drain() {
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
async fn writes_before_the_101_are_followed_by_drain_too() {
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
async fn above_the_hard_limit_memory_does_not_grow() {
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

/// With a soft limit of 0, "below" means that no bytes are unsent. `drain` must still fire, and
/// `send` must still complete.
#[tokio::test(start_paused = true)]
async fn with_a_soft_limit_of_0_drain_fires_and_send_completes() {
    let mut pair = Pair::in_memory(limits(0, HARD)).await;
    assert!(!pair.connection.write("x"));
    assert_eq!(pair.peer.text().await, "x");
    settle().await;
    assert_eq!(pair.log.take(), ["drain"]);
    let sent = timeout(Duration::from_secs(60), pair.connection.send("y")).await;
    assert_eq!(sent, Ok(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_heeds_the_soft_limit_never_meets_a_lower_hard_limit() {
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
async fn a_waiting_send_returns_closed_when_the_connection_ends_or_closes() {
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
