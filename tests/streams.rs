//! A connection as a stream: how it ends, what it reports over its life, and peers that are slow or leave.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::errors::ConnectionError;
use react_websocket::{SocketServer, WebSocketConnection};
use support::streams::{CLOSE_TIMEOUT, ENDINGS, InMemory, LATE, PONG, SOFT, TEXT, closing, fill, frames, options, whole};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

// ------------------------------------------------------------------------------------------------ ends

#[tokio::test(start_paused = true)]
async fn queued_messages_are_sent_before_the_close() {
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
async fn queued_messages_are_sent_before_the_answer_to_the_peers_close() {
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
async fn after_end_messages_are_delivered_until_the_peers_close_and_after_close_none() {
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
async fn a_listener_that_closes_in_the_middle_of_a_burst_receives_no_more_of_it() {
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

/// Status codes (RFC 6455 section 7.4), and the length of a control frame (section 5.5).
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
async fn over_a_socket_queued_messages_are_sent_before_the_close_and_the_fin() {
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

// ------------------------------------------------------------------------------------------------ over the life

/// The results of `is_writable` and `is_readable` in each callback.
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
async fn attached_values_are_found_by_type_until_the_connection_is_gone() {
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
async fn an_attached_value_may_use_the_connection_when_it_is_dropped() {
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

// ------------------------------------------------------------------------------------------------ peers that are slow, or leave

/// In real time, as a full socket is another matter than a full stream in memory.
#[tokio::test]
async fn over_a_socket_slow_progress_is_allowed_and_no_progress_fails() {
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
async fn writers_of_a_peer_that_resets_are_released() {
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
async fn a_peer_that_leaves_without_a_close_is_1006_and_its_messages_are_delivered() {
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

/// Writes 1,000 messages of 10,000 bytes. Stops when `write` returns `false`, and continues at
/// `drain`.
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

        // A writer that ignores `false`, and is always above the soft limit.
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

/// Over a socket, where any thread may write. The window of the socket is small, as on a long link.
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
