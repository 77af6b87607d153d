//! `pause` and `resume`: what a paused connection delivers, and when.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use react_websocket::{Text, WebSocketConnection, cork};
use support::streams::{CLOSE_TIMEOUT, ENDINGS, HARD, LATE, PONG, SOFT, closing, frames, limits, options, whole};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

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
    // A paused connection reads nothing, so only the capacity of the stream is in flight.
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
async fn a_paused_connection_that_closes_receives_the_peers_close() {
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
