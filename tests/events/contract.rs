//! What each event of a connection carries, when it fires, and that `close` is one and the last.

use super::*;

#[tokio::test(start_paused = true)]
async fn events_come_in_wire_order_with_their_arguments_and_message_after_text_and_binary() {
    let bytes = [
        text("one"),
        frame(0x01, "t"),
        frame(PING, "pi"),
        frame(0x00, "w"),
        frame(PONG, "pon"),
        frame(0x80, "o"),
        frame(BINARY, [0; 70_000]),
        text(""),
        frame(BINARY, []),
        frame(PING, []),
        close(4001, "bye"),
    ]
    .concat();
    for size in [bytes.len(), 1000, 7, 1] {
        let mut case = open(watch).await;
        for piece in bytes.chunks(size) {
            case.peer.send(piece).await;
        }
        settle().await;
        let expected = [
            "text one",
            "message text one",
            "ping 2",
            "pong 3",
            "text two",
            "message text two",
            "binary 70000",
            "message binary 70000",
            "text ",
            "message text ",
            "binary 0",
            "message binary 0",
            "ping 0",
            "end",
            "close 4001 bye",
        ];
        assert_eq!(case.log.take(), expected, "in pieces of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_end_has_begun_only_the_events_that_this_ending_allows_are_emitted() {
    fn set_up(connection: WebSocketConnection, log: &'static Log) {
        watch(connection, log);
        connection.on("text", |connection: &WebSocketConnection, text: &str| {
            match text {
                "close" => connection.close_with(4000, "ours"),
                "end" => connection.end(),
                "terminate" => connection.terminate(),
                "err" => return Err("no"),
                _ => {}
            }
            Ok(())
        });
    }
    let everything = || [text("a"), frame(BINARY, "b"), frame(PING, "p"), frame(PONG, "p")].concat();
    let rows: [(&[u8], &[u8], &[&str]); 6] = [
        (&text("close"), &close(4000, ""), &["text close", "close 4000 ours"]),
        (&text("terminate"), &[], &["text terminate", "close 1006 "]),
        (
            &text("err"),
            &close(1011, ""),
            &["text err", "error 1011 a listener failed: no", "close 1011 a listener failed: no"],
        ),
        (UNMASKED, &close(1002, ""), &["error 1002 unmasked frame", "close 1002 unmasked frame"]),
        (&close(1000, "bye"), &[], &["end", "close 1000 bye"]),
        (
            &text("end"),
            &close(1000, ""),
            // Still readable until the peer's Close.
            &[
                "text end",
                "message text end",
                "text a",
                "message text a",
                "binary 1",
                "message binary 1",
                "ping 1",
                "pong 1",
                "text a",
                "message text a",
                "binary 1",
                "message binary 1",
                "ping 1",
                "pong 1",
                "end",
                "close 1000 ",
            ],
        ),
    ];
    for (how, answer, expected) in rows {
        let mut case = open(set_up).await;
        // In the same segment, and in one of their own.
        case.peer.send([how, &everything()].concat()).await;
        settle().await;
        // A peer that has been cut off cannot write.
        let _ = case.peer.stream.write_all(&[&everything(), answer, &everything()].concat()).await;
        let _ = case.peer.stream.shutdown().await;
        case.serving.await;
        assert_eq!(case.log.take(), expected, "after {:?}", String::from_utf8_lossy(how));
    }
}

#[tokio::test(start_paused = true)]
async fn end_fires_at_the_peers_close_only() {
    let rows: [(bool, &[u8], &[&str]); 3] = [
        (false, &close(1000, ""), &["end", "close 1000 "]),
        // As in ReactPHP, where a close of one's own emits only `close`.
        (true, &close(1000, ""), &["close 1000 "]),
        // A stream that just ends has said nothing.
        (false, &[], &["close 1006 "]),
    ];
    for (we_close, bytes, expected) in rows {
        let mut case = open(watch).await;
        if we_close {
            case.connection.close();
        }
        case.peer.send(bytes).await;
        case.peer.stream.shutdown().await.unwrap();
        case.serving.await;
        assert_eq!(case.log.take(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn drain_fires_once_each_time_the_unsent_bytes_fall_below_the_soft_limit_after_a_false() {
    let options = WebSocketOptions::new().write_buffer_soft_limit(1000);
    let Case { mut peer, connection, log, .. } = open_with(options, 100, watch).await;
    settle().await;
    assert!(connection.write("x".repeat(900)), "below the soft limit");
    read_exactly(&mut peer, 900 + 4).await;
    settle().await;
    assert_eq!(log.take(), [""; 0], "nothing answered false");
    for _ in 0..2 {
        assert!(!connection.write("x".repeat(1500)));
        assert!(!connection.write("x".repeat(1500)));
        settle().await;
        assert_eq!(log.take(), [""; 0]);
        // The stream takes 100 bytes that the peer has not read, so 999 are unsent when it has read all but 1,099.
        read_exactly(&mut peer, 2 * 1504 - 1100).await;
        settle().await;
        assert_eq!((connection.buffered_amount(), log.take()), (1000, vec![]), "at the soft limit");
        read_exactly(&mut peer, 1).await;
        settle().await;
        assert_eq!((connection.buffered_amount(), log.take()), (999, vec!["drain".to_owned()]));
        read_exactly(&mut peer, 1099).await;
        settle().await;
        assert_eq!(log.take(), [""; 0], "once");
    }
}

/// Takes so many bytes from the stream, and no more.
async fn read_exactly(peer: &mut Peer<DuplexStream>, bytes: usize) {
    peer.stream.read_exact(&mut vec![0; bytes]).await.unwrap();
}

#[tokio::test]
async fn a_drain_listener_that_writes_more_each_time_leaves_others_and_the_peer_their_turns() {
    use std::io::{Read, Write};

    const ENOUGH: usize = 4 << 20;
    let options = WebSocketOptions::new().write_buffer_soft_limit(1);
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection
            .on("drain", move || connection.is_writable() && connection.get::<()>().is_some() && connection.write("more"));
        connection.on("binary", move || connection.set(()) && connection.write("more"));
    });
    let (address, listening) = listen((websocket, router));
    let served = Arc::new(AtomicBool::new(false));
    let bystander_served = served.clone();
    // The reader is on another thread, and reads as fast as the server writes.
    let reader = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&[HANDSHAKE.as_bytes(), &frame(BINARY, "go")].concat()).unwrap();
        let (mut bytes, mut read, mut asked, mut answered) = (vec![0; 1 << 20], 0, false, false);
        while read < ENOUGH && !(answered && bystander_served.load(Ordering::SeqCst)) {
            let count = stream.read(&mut bytes).unwrap();
            read += count;
            answered |= bytes[..count].windows(8).any(|eight| eight == b"\x8A\x06there?");
            if !asked && read > 1 << 16 {
                asked = true;
                stream.write_all(&frame(PING, "there?")).unwrap();
            }
        }
        (answered, bystander_served.load(Ordering::SeqCst))
    });
    let mut bystander = Peer::open(address).await;
    bystander.send(text("and I?")).await;
    assert_eq!(bystander.text().await, "and I?");
    served.store(true, Ordering::SeqCst);
    drop(bystander);
    let (answered, others_served) = tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
    assert!(answered, "the peer's ping was not answered");
    assert!(others_served, "another connection had to wait");
    listening.close().await;
}

#[tokio::test(start_paused = true)]
async fn however_a_connection_ends_there_is_one_close_and_it_is_last() {
    fn set_up(connection: WebSocketConnection, log: &'static Log) {
        log.watch(connection);
        connection.on("text", move |text: &str| match text {
            "panic" => panic!("panicked"),
            "err" => Err("failed"),
            "twice" => {
                // Dropped before its message is complete.
                connection.begin_text().write("half a message");
                Err("failed")
            }
            _ => Ok(()),
        });
    }
    let secs = Duration::from_secs;
    let new = WebSocketOptions::new;
    let large: fn(WebSocketConnection) = |connection| _ = connection.write("x".repeat(50_000));
    let rows: Vec<(&str, WebSocketOptions, Vec<Step>, &[&str])> = vec![
        ("peer's Close", new(), vec![Feed(close(4000, "bye"))], &["end", "close 4000 bye"]),
        ("peer's Close without a code", new(), vec![Feed(frame(0x88, []))], &["end", "close 1005 "]),
        ("FIN", new(), vec![Fin], &["close 1006 "]),
        ("peer gone", new(), vec![Leave], &["close 1006 "]),
        ("peer gone in a frame", new(), vec![Feed(vec![0x81, 0x85, 1]), Leave], &["close 1006 "]),
        ("close, answered", new(), vec![Call(|c| c.close()), Feed(close(1000, ""))], &["close 1000 "]),
        (
            "close_with, answered",
            new(),
            vec![Call(|c| c.close_with(4000, "ours")), Feed(close(4000, "theirs"))],
            &["close 4000 ours"],
        ),
        ("close, not answered", new(), vec![Call(|c| c.close()), Pass(10_100)], &["close 1006 "]),
        (
            "close, not answered, when a ping is due",
            new(),
            vec![Pass(15_000), Call(|c| c.close()), Pass(10_100)],
            &["close 1006 "],
        ),
        ("close, FIN", new(), vec![Call(|c| c.close()), Fin], &["close 1006 "]),
        (
            "close twice",
            new(),
            vec![Call(|c| c.close_with(4000, "a")), Call(|c| c.close_with(4001, "b")), Feed(close(4000, ""))],
            &["close 4000 a"],
        ),
        ("close then terminate", new(), vec![Call(|c| c.close()), Call(|c| c.terminate())], &["close 1006 "]),
        ("end, answered", new(), vec![Call(|c| c.end()), Feed(close(1000, ""))], &["end", "close 1000 "]),
        ("end, not answered", new(), vec![Call(|c| c.end()), Pass(10_100)], &["close 1006 "]),
        ("terminate", new(), vec![Call(|c| c.terminate())], &["close 1006 "]),
        ("terminate twice", new(), vec![Call(|c| c.terminate()), Call(|c| c.terminate())], &["close 1006 "]),
        (
            "both close at once",
            new(),
            vec![Call(|c| c.close_with(4000, "ours")), Feed(close(4001, "theirs")), Call(|c| c.close())],
            &["close 4000 ours"],
        ),
        (
            "protocol error",
            new(),
            vec![Feed(UNMASKED.into()), Fin],
            &["error 1002 unmasked frame", "close 1002 unmasked frame"],
        ),
        (
            "protocol error, and the peer stays",
            new(),
            vec![Feed(UNMASKED.into()), Pass(10_100)],
            &["error 1002 unmasked frame", "close 1002 unmasked frame"],
        ),
        (
            "panic",
            new(),
            vec![Feed(text("panic")), Fin],
            &["text panic", "error 1011 a listener failed: panicked", "close 1011 a listener failed: panicked"],
        ),
        (
            "Err",
            new(),
            vec![Feed(text("err")), Fin],
            &["text err", "error 1011 a listener failed: failed", "close 1011 a listener failed: failed"],
        ),
        (
            "two faults of one listener",
            new(),
            vec![Feed(text("twice")), Fin],
            &["text twice", "error 1011 a message was not completed", "close 1011 a message was not completed"],
        ),
        (
            "a fault, and what would be others",
            new(),
            vec![Feed([text("panic"), text("err"), UNMASKED.into()].concat()), Fin],
            &["text panic", "error 1011 a listener failed: panicked", "close 1011 a listener failed: panicked"],
        ),
        ("pong timeout", new(), vec![Pass(42_200)], &["error 1006 no pong within 20s", "close 1006 no pong within 20s"]),
        (
            "write timeout",
            new(),
            vec![Call(large), Pass(30_100)],
            &["error 1006 nothing could be sent for 30s", "close 1006 nothing could be sent for 30s"],
        ),
        (
            "slow reader",
            new().write_buffer_hard_limit(50_000),
            // It takes nothing, so that our Close does not leave.
            vec![Call(|c| _ = (c.write("x".repeat(50_000)), c.write("one more"))), Pass(30_100)],
            &["error 1013 50004 bytes unsent, the limit is 50000", "close 1013 50004 bytes unsent, the limit is 50000"],
        ),
        ("idle timeout", new().idle_timeout(secs(5)), vec![Pass(5_100), Feed(close(1001, ""))], &["close 1001 idle"]),
        (
            "lifetime",
            new().max_lifetime(secs(5)),
            vec![Pass(5_100), Feed(close(1001, ""))],
            &["close 1001 end of lifetime"],
        ),
        ("shutdown, answered", new(), vec![ShutDown, Feed(close(1001, ""))], &["close 1001 server shutdown"]),
        ("shutdown, not answered", new(), vec![ShutDown, Pass(10_100)], &["close 1006 "]),
    ];
    for (name, options, steps, expected) in rows {
        let mut case = open_with(options, 4096, set_up).await;
        let log = case.log;
        case.connection.on("close", move |code: u16| log.add(format_args!("again {code}")));
        for step in steps {
            match step {
                Feed(bytes) => case.peer.send(bytes).await,
                Fin => case.peer.stream.shutdown().await.unwrap(),
                Leave => case.leave(),
                Call(call) => call(case.connection),
                Pass(millis) => pass(millis).await,
                ShutDown => drop(case.serving.close()),
            }
            settle().await;
        }
        let ended = timeout(Duration::from_millis(10), case.serving).await;
        let mut noted = log.take();
        let again = noted.pop().unwrap_or_default();
        assert_eq!(noted, expected, "{name}");
        assert!(again.starts_with("again "), "{name}: {again}");
        assert!(ended.is_ok(), "{name}: the task goes on");
        assert!(!case.connection.is_writable(), "{name}");
    }
}

#[tokio::test]
async fn a_fin_and_a_reset_of_a_socket_are_no_faults_but_a_close_with_1006() {
    for reset in [false, true] {
        let (events, mut heard) = mpsc::unbounded_channel();
        let (address, listening) = listen_with(websockets(move |connection| {
            let (error, close) = (events.clone(), events.clone());
            connection.on("error", move || error.send("error".to_owned()));
            connection.on("close", move |code: u16, reason: &str| close.send(format!("close {code} {reason}")));
        }));
        let peer = Peer::open(address).await;
        if reset {
            peer.stream.set_zero_linger().unwrap();
        }
        drop(peer);
        let first = timeout(Duration::from_secs(10), heard.recv()).await.expect("an event");
        assert_eq!(first.as_deref(), Some("close 1006 "), "reset: {reset}");
        listening.close().await;
        assert_eq!(heard.try_recv().ok(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn writes_to_a_peer_that_is_gone_do_not_delay_close() {
    let options = WebSocketOptions::new().read_ahead(1);
    let mut case = open_with(options, 1 << 20, |connection, log| {
        log.watch(connection);
        connection.set(Notify::new());
        connection.on("text", async |connection: &WebSocketConnection, text: &str| {
            if text == "wait" {
                connection.get::<Notify>().unwrap().notified().await;
            }
            connection.write("answer");
        });
    })
    .await;
    assert_eq!(case.hears([text("wait"), text("a"), close(4000, "bye")].concat()).await, ["text wait"]);
    case.leave();
    // In one turn this write finds that the peer is gone, and the listener goes on.
    case.connection.write("x");
    case.connection.get::<Notify>().unwrap().notify_one();
    timeout(Duration::from_secs(1), case.serving).await.expect("nothing to wait for");
    assert_eq!(case.log.take(), ["text a", "end", "close 4000 bye"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn close_fires_once_though_several_threads_end_the_connection() {
    let (opened, mut open) = mpsc::unbounded_channel();
    let (closes, mut closed) = mpsc::unbounded_channel();
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection: WebSocketConnection| {
        opened.send(connection).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        for event in ["text", "message", "ping", "drain", "end", "error"] {
            let is_over = is_over.clone();
            connection.on(event, move || assert!(!is_over.load(Ordering::SeqCst), "{event} after close"));
        }
        let closes = closes.clone();
        connection.on("close", move || {
            is_over.store(true, Ordering::SeqCst);
            closes.send(connection).unwrap();
        });
    });
    let http = HttpServer::new((websocket, router));
    for round in 0..300 {
        let (mut peer, serving) = Peer::open_in_memory(&http).await;
        let connection: WebSocketConnection = open.try_recv().unwrap();
        let others = [
            std::thread::spawn(move || connection.close()),
            std::thread::spawn(move || if round % 2 == 0 { connection.terminate() } else { connection.end_with("last") }),
            std::thread::spawn(move || assert!(!connection.write("x") || connection.ping("") || !connection.is_writable())),
        ];
        // It may be cut off already.
        let bytes = [text("a"), frame(PING, ""), if round % 3 == 0 { close(1000, "") } else { UNMASKED.into() }].concat();
        let _ = peer.stream.write_all(&bytes).await;
        drop(peer);
        // At the latest when the peer is gone, so without a timeout of ours.
        timeout(Duration::from_secs(8), serving).await.expect("the end");
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(closed.try_recv(), Ok(connection), "round {round}");
        assert!(closed.try_recv().is_err(), "twice in round {round}");
    }
}

#[test]
fn when_the_runtime_is_dropped_close_fires_and_running_listeners_are_dropped() {
    for several_threads in [false, true] {
        let runtime = match several_threads {
            false => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            true => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
        };
        let (log, token) = (log(), Arc::new(()));
        let held = token.clone();
        let (peers, connections) = runtime.block_on(async move {
            let (entered, mut running) = mpsc::unbounded_channel();
            let (opened, mut connections) = mpsc::unbounded_channel();
            let websocket = WebSocketMiddleware::new();
            websocket.on("connection", move |connection: WebSocketConnection| {
                opened.send(connection).unwrap();
                let (held, entered) = (held.clone(), entered.clone());
                connection.on("text", async move |_: &str| {
                    let _held = held.clone();
                    entered.send(()).unwrap();
                    std::future::pending::<()>().await;
                });
                let id = connection.id();
                connection.on("error", move || log.add(format_args!("{id} error")));
                connection.on("close", move |code: u16| {
                    log.add(format_args!("{id} close {code}"));
                    panic!("which keeps no other listener from being called");
                });
                connection.on("close", async move || {
                    log.add(format_args!("{id} begun"));
                    std::future::pending::<()>().await;
                    log.add(format_args!("{id} not waited for"));
                });
                connection.on("close", move |connection: &WebSocketConnection| {
                    log.add(format_args!("{id} last {}", connection.write("nobody")));
                });
            });
            let (address, _listening) = listen((websocket, router));
            let (idle, mut busy) = (Peer::open(address).await, Peer::open(address).await);
            busy.send(text("never ends")).await;
            timeout(Duration::from_secs(10), running.recv()).await.expect("the listener runs");
            (vec![idle, busy], [connections.recv().await.unwrap(), connections.recv().await.unwrap()])
        });
        drop(runtime);
        let noted = log.take();
        for id in connections.iter().map(WebSocketConnection::id) {
            let expected = ["close 1006", "begun", "last false"].map(|event| format!("{id} {event}"));
            let own = format!("{id} ");
            assert!(noted.iter().filter(|event| event.starts_with(&own)).eq(&expected), "{noted:?}");
        }
        assert_eq!(Arc::strong_count(&token), 1, "listeners, and what they captured");
        assert!(connections.iter().all(|connection| !connection.is_writable() && connection.remote_address().is_none()));
        drop(peers);
    }
}

#[test]
fn a_runtime_that_is_dropped_while_a_close_listener_waits_keeps_no_later_one_from_being_called() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let log = runtime.block_on(async {
        let mut case = open(|connection, log| {
            connection.on("close", async move || {
                log.add("begun");
                std::future::pending::<()>().await;
            });
            connection.on("close", move || log.add("later"));
            connection.once("close", move || log.add("once"));
        })
        .await;
        case.leave();
        settle().await;
        assert_eq!(case.log.take(), ["begun"]);
        case.log
    });
    drop(runtime);
    assert_eq!(log.take(), ["later", "once"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_101_is_not_sent_emits_close() {
    let log = log();
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection: WebSocketConnection| {
        log.add("connection");
        log.watch(connection);
        connection.write("to nobody");
    });
    // Another middleware answers something else.
    let other = |request: ServerRequest, next: Next| async move {
        drop(next.run(request).await);
        Response::plaintext("no")
    };
    let (mut peer, _serving) = Peer::serve(&HttpServer::new((other, websocket.clone(), router)));
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 200);
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    // Another middleware panics.
    let other = |request: ServerRequest, next: Next| async move {
        drop(next.run(request).await);
        panic!("after the connection listeners");
        #[allow(unreachable_code)]
        Response::plaintext("no")
    };
    let (mut peer, _serving) = Peer::serve(&HttpServer::new((other, websocket.clone(), router)));
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 500);
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    // The client has left.
    let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket.clone(), router)));
    peer.send(HANDSHAKE).await;
    drop(peer);
    serving.await;
    assert_eq!(log.take(), ["connection", "close 1006 "]);
    assert!(websocket.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_refused_emits_nothing_and_its_listeners_are_dropped() {
    let (log, token) = (log(), Arc::new(()));
    let rows: [(&str, u16); 5] = [("reject", 401), ("panic", 500), ("err", 500), ("later", 503), ("leave", 0)];
    for (how, status) in rows {
        let (websocket, held) = (WebSocketMiddleware::new(), token.clone());
        websocket.on("connection", move |connection: WebSocketConnection| {
            let held = held.clone();
            watch(connection, log);
            connection.on("close", move || log.add(format_args!("close {held:?}")));
            async move {
                match how {
                    "reject" => assert!(connection.reject(Response::plaintext("no").with_status(401))),
                    "panic" => panic!("no"),
                    "err" => return Err("no"),
                    _ => std::future::pending().await,
                }
                Ok(())
            }
        });
        websocket.on("error", move |connection: WebSocketConnection| {
            log.add(format_args!("refused {}", connection.error().unwrap()));
        });
        let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
        if how == "leave" {
            peer.send(HANDSHAKE).await;
            settle().await;
            drop(peer);
            serving.await;
            assert_eq!(log.take(), ["refused nobody waits for the decision any more"]);
        } else {
            assert_eq!(peer.ask(HANDSHAKE).await.status(), status);
            let noted = log.take();
            assert!(noted.len() == 1 && noted[0].starts_with("refused "), "{how}: {noted:?}");
            drop(peer);
            serving.await;
        }
        assert_eq!(Arc::strong_count(&token), 1, "{how}");
    }
}
