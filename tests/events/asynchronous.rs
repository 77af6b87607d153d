//! Asynchronous listeners: what waits for them, and what does not.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_async_listener_is_awaited_before_the_next_message_is_delivered() {
    let mut case = open(|connection, log| {
        connection.on("text", async move |text: &str| {
            log.add(format_args!("{text} begins"));
            sleep(Duration::from_secs(1)).await;
            log.add(format_args!("{text} ends"));
        });
        connection.on("binary", move || log.add("binary"));
        connection.on("end", move || log.add("end"));
        connection.on("close", move || log.add("close"));
    })
    .await;
    let bytes = [text("a"), frame(BINARY, ""), text("b"), close(1000, "")].concat();
    assert_eq!(case.hears(bytes).await, ["a begins"]);
    pass(1000).await;
    assert_eq!(case.log.take(), ["a ends", "binary", "b begins"]);
    pass(1000).await;
    assert_eq!(case.log.take(), ["b ends", "end", "close"]);
    case.serving.await;
}

#[tokio::test(start_paused = true)]
async fn messages_keep_their_order_over_bursts_however_long_each_takes() {
    let mut case = open(|connection, log| {
        connection.on("text", async move |text: &str| {
            let n: u64 = text.parse().unwrap();
            // None of them waits, waits for other tasks, or waits for time.
            match n % 3 {
                0 => {}
                1 => tokio::task::yield_now().await,
                _ => pass(50 - n % 50).await,
            }
            // The borrowed value still exists.
            assert_eq!(text, n.to_string());
            log.add(n);
        });
        connection.on("message", move |message: Message| log.add(format_args!("m{}", message.as_bytes().len())));
    })
    .await;
    let messages: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    for burst in messages.chunks(300) {
        case.peer.send(burst.iter().flat_map(text).collect::<Vec<_>>()).await;
        pass(1).await;
    }
    pass(60_000).await;
    let expected = messages.iter().flat_map(|message| [message.clone(), format!("m{}", message.len())]);
    assert!(case.log.take().into_iter().eq(expected));
}

#[tokio::test(start_paused = true)]
async fn sync_and_async_listeners_of_one_event_run_in_order_and_message_after_them() {
    let mut case = open(|connection, log| {
        connection.on("message", async move |_: Message| {
            pass(10).await;
            log.add("message 1");
        });
        connection.on("message", move || log.add("message 2"));
        for event in ["text", "binary"] {
            connection.on(event, move || log.add("A"));
            connection.on(event, async move || {
                pass(10).await;
                log.add("B");
            });
            connection.on(event, move || log.add("C"));
            connection.on(event, async move || log.add("D"));
            connection.once(event, async move || {
                pass(10).await;
                log.add("E");
            });
            connection.on(event, async move || {
                pass(10).await;
                log.add("F");
            });
        }
    })
    .await;
    for first in [0x81, BINARY] {
        case.peer.send([frame(first, "x"), frame(first, "x")].concat()).await;
        pass(1000).await;
        let first = ["A", "B", "C", "D", "F", "E", "message 1", "message 2"];
        let second = ["A", "B", "C", "D", "F", "message 1", "message 2"];
        assert_eq!(case.log.take(), [&first[..], &second[..]].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn pings_that_arrive_while_an_async_listener_runs_are_answered_and_emitted_in_order() {
    let mut case = open(never_done_until_told).await;
    assert_eq!(case.hears(text("a")).await, ["text a"]);
    case.peer.send([frame(PING, "1"), text("b"), frame(PING, "2")].concat()).await;
    for payload in ["1", "2"] {
        let pong = timeout(Duration::from_secs(1), case.peer.frame()).await.expect("an answer").unwrap();
        assert_eq!((pong.opcode, pong.payload), (10, payload.into()));
    }
    assert_eq!(case.log.take(), [""; 0]);
    let go = case.connection.get::<Notify>().unwrap();
    go.notify_one();
    settle().await;
    assert_eq!(case.log.take(), ["done a", "ping 1", "text b"]);
    go.notify_one();
    settle().await;
    assert_eq!(case.log.take(), ["done b", "ping 1"]);
    case.connection.close();
    assert_eq!(case.peer.closed().await.0, Some(1000), "each was answered once");
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_came_with_the_message_is_answered_while_its_async_listener_runs() {
    let mut case = open(never_done_until_told).await;
    assert_eq!(case.hears([text("a"), frame(PING, "1")].concat()).await, ["text a"]);
    let pong = timeout(Duration::from_secs(1), case.peer.frame()).await.expect("an answer").unwrap();
    assert_eq!((pong.opcode, pong.payload), (10, b"1".to_vec()));
    case.connection.get::<Notify>().unwrap().notify_one();
    settle().await;
    assert_eq!(case.log.take(), ["done a", "ping 1"]);
}

/// Its `text` listener waits to be notified.
fn never_done_until_told(connection: WebSocketConnection, log: &'static Log) {
    connection.set(Notify::new());
    connection.on("text", async move |connection: &WebSocketConnection, text: &str| {
        log.add(format_args!("text {text}"));
        connection.get::<Notify>().unwrap().notified().await;
        log.add(format_args!("done {text}"));
    });
    connection.on("ping", move |payload: &[u8]| log.add(format_args!("ping {}", payload.len())));
    connection.on("close", move |code: u16, reason: &str| log.add(format_args!("close {code} {reason}")));
}

#[tokio::test(start_paused = true)]
async fn writes_of_a_listener_that_waits_leave_meanwhile_its_own_and_those_of_others() {
    let mut case = open(|connection, _| {
        connection.on("text", async move || {
            connection.write("before");
            pass(1000).await;
            connection.write("after");
        });
    })
    .await;
    case.peer.send(text("go")).await;
    assert_eq!(timeout(Duration::from_millis(10), case.peer.text()).await.as_deref(), Ok("before"));
    case.connection.write("from outside");
    assert_eq!(timeout(Duration::from_millis(10), case.peer.text()).await.as_deref(), Ok("from outside"));
    assert_eq!(case.peer.text().await, "after");
}

/// Writes as much as the other end takes, and says how much that was.
async fn pour(stream: &mut DuplexStream, bytes: &[u8]) -> usize {
    let mut poured = 0;
    while let Ok(written) = timeout(Duration::from_millis(1), stream.write(&bytes[poured..])).await {
        match written {
            Ok(1..) => poured += written.unwrap(),
            _ => break,
        }
    }
    poured
}

#[tokio::test(start_paused = true)]
async fn while_an_async_listener_runs_read_ahead_is_limited_in_bytes_and_frames() {
    let messages = |size: usize, count: usize| (0..count).map(move |n| format!("{n:size$}"));
    let new = WebSocketOptions::new;
    // One frame has 6 bytes, or 8, besides its payload. Of the stream's capacity, one read and what waits in the stream
    // come on top of what is read ahead.
    let rows = [
        ("64 KiB", new(), 4096, 2000, 100, 64 * 1024..=64 * 1024 + 2 * 4096 + 2008),
        ("read_ahead", new().read_ahead(5000), 1000, 200, 100, 5000..=5000 + 2 * 1000 + 208),
        ("64 frames", new(), 90, 3, 300, 64 * 9..=(64 + 10 + 10 + 2) * 9),
    ];
    for (name, options, capacity, size, count, expected) in rows {
        let mut case = open_with(options, capacity, |connection, log| {
            connection.set(Notify::new());
            connection.once("text", async move || connection.get::<Notify>().unwrap().notified().await);
            connection.on("text", move |text: &str| log.add(text));
        })
        .await;
        let bytes = messages(size, count).flat_map(text).collect::<Vec<_>>();
        let poured = pour(&mut case.peer.stream, &bytes).await;
        assert!(expected.contains(&poured), "{name}: {poured} bytes were taken, expected {expected:?}");
        // Nothing is lost, and reading goes on when the listener is done.
        case.connection.get::<Notify>().unwrap().notify_one();
        case.peer.send(&bytes[poured..]).await;
        settle().await;
        assert!(case.log.take().into_iter().eq(messages(size, count)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_that_need_reading_wait_while_a_listener_keeps_us_from_it() {
    let options = WebSocketOptions::new().read_ahead(100).idle_timeout(Duration::from_secs(30));
    let mut case = open_with(options, 1 << 20, never_done_until_told).await;
    case.peer.send([text("a"), frame(BINARY, [0; 200])].concat()).await;
    // It pings, and the pongs stay unread.
    for _ in 0..10 {
        pass(20_000).await;
        let _ = case.peer.stream.write_all(&frame(PONG, "")).await;
    }
    assert_eq!(case.log.take(), ["text a"]);
    case.connection.get::<Notify>().unwrap().notify_one();
    settle().await;
    assert_eq!(case.log.take(), ["done a"]);
    assert!(case.connection.is_writable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listeners_of_a_connection_never_run_at_the_same_time() {
    #[derive(Default)]
    struct Inside {
        somebody: AtomicBool,
        visits: AtomicUsize,
        together: AtomicBool,
    }
    struct Visit(Arc<Inside>);
    impl Inside {
        fn enter(self: &Arc<Inside>) -> Visit {
            self.visits.fetch_add(1, Ordering::SeqCst);
            if self.somebody.swap(true, Ordering::SeqCst) {
                self.together.store(true, Ordering::SeqCst);
            }
            Visit(self.clone())
        }
    }
    impl Drop for Visit {
        fn drop(&mut self) {
            self.0.somebody.store(false, Ordering::SeqCst);
        }
    }

    let inside = Arc::new(Inside::default());
    let (opened, mut open) = mpsc::unbounded_channel();
    let (closed, mut over) = mpsc::unbounded_channel();
    let each = inside.clone();
    let websocket =
        WebSocketMiddleware::new().with_options(WebSocketOptions::new().write_buffer_soft_limit(1).control_rate(None));
    websocket.on("connection", move |connection: WebSocketConnection| {
        for event in ["text", "binary", "message", "ping", "pong", "drain", "end", "close"] {
            let inside = each.clone();
            connection.on(event, move || {
                let _visit = inside.enter();
                std::hint::spin_loop();
            });
            let inside = each.clone();
            connection.on(event, async move || {
                let _visit = inside.enter();
                tokio::task::yield_now().await;
                if event != "drain" {
                    connection.write("x");
                }
                tokio::task::yield_now().await;
            });
        }
        let closed = closed.clone();
        connection.on("close", move || closed.send(()));
        opened.send(connection).unwrap();
    });
    let (address, listening) = listen((websocket, router));
    let mut peer = Peer::open(address).await;
    // Others write, register and remove meanwhile.
    let connection: WebSocketConnection = open.recv().await.unwrap();
    let others = std::thread::spawn(move || {
        while connection.is_writable() {
            if connection.buffered_amount() < 1000 {
                connection.write("y");
            }
            connection.remove_listener(connection.on("text", || {}));
            std::thread::yield_now();
        }
    });
    let (mut reads, mut writes) = peer.stream.split();
    let reading = async { tokio::io::copy(&mut reads, &mut tokio::io::sink()).await };
    let writing = async {
        for n in 0..500u32 {
            let bytes = [text("t"), frame(BINARY, "b"), frame(PING, "p"), frame(PONG, "p")].concat();
            writes.write_all(&bytes).await.unwrap();
            if n % 50 == 0 {
                tokio::task::yield_now().await;
            }
        }
        writes.write_all(&close(1000, "")).await.unwrap();
    };
    let (_, over) = tokio::join!(timeout(Duration::from_secs(60), async { tokio::join!(reading, writing) }), over.recv());
    assert_eq!(over, Some(()));
    others.join().unwrap();
    listening.close().await;
    // Each message is four visits, each ping and pong two, `end` and `close` too.
    assert!(inside.visits.load(Ordering::SeqCst) >= 500 * (4 + 4 + 2 + 2) + 4);
    assert!(!inside.together.load(Ordering::SeqCst));
}

/// Notes that it is dropped.
struct Noting(&'static Log, &'static str);

impl Drop for Noting {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_async_listener_that_never_ends_is_cut_off_when_the_connection_is_over() {
    fn set_up(connection: WebSocketConnection, log: &'static Log) {
        connection.on("text", async move || {
            let _dropped = Noting(log, "cut off");
            std::future::pending::<()>().await;
        });
        connection.on("message", move || log.add("message"));
        connection.on("error", move || log.add("error"));
        connection.on("close", move |code: u16| log.add(format_args!("close {code}")));
    }
    // It may go on for the close timeout, counted from when the peer is gone. A peer that is there has that time first.
    let rows: [(&str, Step, u64); 5] = [
        ("peer gone", Leave, 10_100),
        ("FIN", Fin, 10_100),
        ("terminate", Call(|connection| connection.terminate()), 10_100),
        ("close, not answered", Call(|connection| connection.close()), 20_200),
        ("shutdown, not answered", ShutDown, 20_200),
    ];
    for (name, step, within) in rows {
        let mut case = open(set_up).await;
        assert_eq!(case.hears(text("a")).await, [""; 0]);
        match step {
            Leave => case.leave(),
            Fin => case.peer.stream.shutdown().await.unwrap(),
            Call(call) => call(case.connection),
            ShutDown => drop(case.serving.close()),
            Feed(_) | Pass(_) => unreachable!(),
        }
        pass(9_900).await;
        assert_eq!(case.log.take(), [""; 0], "{name}");
        pass(within - 9_900).await;
        assert_eq!(case.log.take(), ["close 1006", "cut off"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_answered_while_a_listener_runs_is_a_clean_one() {
    let mut case = open(never_done_until_told).await;
    assert_eq!(case.hears(text("a")).await, ["text a"]);
    case.connection.close_with(4000, "ours");
    assert_eq!(case.peer.closed().await, (Some(4000), "ours".into()));
    assert_eq!(case.hears([text("b"), close(4000, "")].concat()).await, [""; 0]);
    case.connection.get::<Notify>().unwrap().notify_one();
    case.serving.await;
    assert_eq!(case.log.take(), ["done a", "close 4000 ours"]);
}

#[tokio::test(start_paused = true)]
async fn messages_before_the_end_are_delivered_after_a_slow_listener() {
    let mut case = open(|connection, log| {
        connection.on("text", async move |text: &str| {
            pass(1000).await;
            log.add(text);
        });
        connection.on("close", move |code: u16| log.add(code));
    })
    .await;
    case.peer.send([text("a"), text("b"), text("c")].concat()).await;
    case.leave();
    case.serving.await;
    assert_eq!(case.log.take(), ["a", "b", "c", "1006"]);
}

#[tokio::test(start_paused = true)]
async fn async_error_and_close_listeners_are_awaited() {
    let mut case = open(|connection, log| {
        for event in ["error", "close"] {
            connection.on(event, async move || {
                log.add(format_args!("{event} 1 begins"));
                pass(1000).await;
                log.add(format_args!("{event} 1 ends"));
            });
            connection.on(event, move || log.add(format_args!("{event} 2")));
            connection.once(event, async move || {
                pass(1000).await;
                log.add(format_args!("{event} 3"));
            });
        }
    })
    .await;
    case.peer.send(UNMASKED).await;
    case.peer.stream.shutdown().await.unwrap();
    case.serving.await;
    let expected =
        ["error 1 begins", "error 1 ends", "error 2", "error 3", "close 1 begins", "close 1 ends", "close 2", "close 3"];
    assert_eq!(case.log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_close_or_error_listener_that_never_ends_is_cut_off_and_the_others_are_called() {
    for event in ["error", "close"] {
        let mut case = open(move |connection, log| {
            connection.on(event, async move || {
                let _dropped = Noting(log, "cut off");
                log.add("begins");
                std::future::pending::<()>().await;
            });
            connection.on("close", move |code: u16| log.add(format_args!("close {code}")));
        })
        .await;
        case.peer.send(UNMASKED).await;
        case.peer.stream.shutdown().await.unwrap();
        let started = tokio::time::Instant::now();
        timeout(Duration::from_millis(20_200), case.serving).await.expect("the connection ends");
        assert!(started.elapsed() >= Duration::from_millis(9_900), "it has the close timeout");
        assert_eq!(case.log.take(), ["begins", "close 1002", "cut off"], "{event}");
    }
}
