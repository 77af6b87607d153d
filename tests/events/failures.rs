//! Listeners that panic or return `Err`.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_ends_its_connection_with_1011_and_no_other() {
    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Panic,
        Err,
        AsyncPanic,
        AsyncErr,
        LatePanic,
        LateErr,
    }
    fn fail(connection: WebSocketConnection, event: &str, kind: Kind) {
        match kind {
            Kind::Panic => connection.on(event, || panic!("oops")),
            Kind::Err => connection.on(event, || Err::<(), _>("oops")),
            Kind::AsyncPanic => connection.on(event, async || panic!("oops")),
            Kind::AsyncErr => connection.on(event, async || Err::<(), _>("oops")),
            Kind::LatePanic => connection.on(event, async || {
                pass(10).await;
                panic!("oops");
            }),
            Kind::LateErr => connection.on(event, async || {
                pass(10).await;
                Err::<(), _>("oops")
            }),
        };
    }
    const ERROR: &str = "error 1011 a listener failed: oops";
    const CLOSE: &str = "close 1011 a listener failed: oops";
    let failed = (1011, "internal error");
    /// The event; how it comes about; what else is noted; the Close that the peer gets.
    type Row = (&'static str, Vec<u8>, &'static [&'static str], (u16, &'static str));
    let rows: [Row; 9] = [
        ("text", text("x"), &[ERROR, CLOSE], failed),
        ("binary", frame(BINARY, "x"), &[ERROR, CLOSE], failed),
        // `message` follows `text`, whose listeners have been called.
        ("message", text("x"), &["text", ERROR, CLOSE], failed),
        ("ping", frame(PING, "x"), &[ERROR, CLOSE], failed),
        ("pong", frame(PONG, "x"), &[ERROR, CLOSE], failed),
        ("drain", vec![], &[ERROR, CLOSE], failed),
        // Our Close has answered the peer's already.
        ("end", close(4000, "bye"), &[ERROR, CLOSE], (4000, "bye")),
        // The later listeners of these two events are called, although an earlier one has failed.
        ("error", UNMASKED.into(), &["error 1002 unmasked frame", "close 1002 unmasked frame"], (1002, "unmasked frame")),
        ("close", close(4000, "bye"), &["end", "close 4000 bye"], (4000, "bye")),
    ];
    for (event, bytes, expected, told) in rows {
        for kind in [Kind::Panic, Kind::Err, Kind::AsyncPanic, Kind::AsyncErr, Kind::LatePanic, Kind::LateErr] {
            let (log, first) = (log(), AtomicBool::new(true));
            let websocket = WebSocketMiddleware::new().with_options(WebSocketOptions::new().write_buffer_soft_limit(1000));
            websocket.on("connection", move |connection: WebSocketConnection| {
                if first.swap(false, Ordering::Relaxed) {
                    connection.on("text", move |text: &str| connection.write(text));
                    return;
                }
                fail(connection, event, kind);
                for other in ["text", "binary", "message", "ping", "pong", "drain", "end"] {
                    connection.on(other, move || log.add(other));
                }
                connection.on("error", move |reason: Option<&str>, code: Option<u16>| {
                    log.add(format_args!("error {} {}", code.unwrap(), reason.unwrap()));
                });
                connection.on("close", move |code: u16, reason: &str| log.add(format_args!("close {code} {reason}")));
                if event == "drain" {
                    connection.write("x".repeat(2000));
                }
            });
            let http = HttpServer::new((websocket, router));
            let (mut bystander, _serving) = Peer::open_in_memory(&http).await;
            let (mut peer, serving) = Peer::open_in_memory(&http).await;
            // More follows, of which nothing is delivered.
            peer.send([bytes.clone(), text("more"), frame(PING, "more")].concat()).await;
            let told_peer = loop {
                let frame = peer.frame().await.unwrap_or_else(|| panic!("no Close: {event} {kind:?}"));
                if frame.opcode == 8 {
                    let (code, reason) = frame.payload.split_at(2);
                    break (u16::from_be_bytes([code[0], code[1]]), String::from_utf8(reason.to_vec()).unwrap());
                }
            };
            assert_eq!(told_peer, (told.0, told.1.to_owned()), "{event} {kind:?}");
            let _ = peer.stream.shutdown().await;
            serving.await;
            assert_eq!(log.take(), expected, "{event} {kind:?}");
            bystander.send(text("still there")).await;
            assert_eq!(bystander.text().await, "still there");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_written_before_a_panic_are_sent_and_later_listeners_are_not_called() {
    let mut case = open(|connection, log| {
        connection.on("text", move || connection.write("before"));
        connection.on("text", move |connection: &WebSocketConnection| {
            connection.write("in it");
            panic!("no");
        });
        connection.on("text", move || log.add("later"));
        connection.once("text", move || log.add("later"));
    })
    .await;
    case.peer.send(text("")).await;
    assert_eq!((case.peer.text().await, case.peer.text().await), ("before".into(), "in it".into()));
    assert_eq!(case.peer.closed().await, (Some(1011), "internal error".into()));
    assert!(case.peer.ended().await);
    assert_eq!(case.log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_ping_whose_listener_panics_has_been_answered() {
    let mut case = open(|connection, _| {
        connection.on("ping", || panic!("no"));
    })
    .await;
    case.peer.send(frame(PING, "x")).await;
    assert_eq!(case.peer.frame().await.map(|frame| (frame.opcode, frame.payload)), Some((10, b"x".to_vec())));
    assert_eq!(case.peer.closed().await.0, Some(1011));
}

#[tokio::test(start_paused = true)]
async fn without_an_error_listener_a_fault_is_just_a_close() {
    let mut case = open(|connection, log| {
        connection.on("text", || panic!("no"));
        connection.on("close", move |code: u16| log.add(code));
    })
    .await;
    assert_eq!(case.hears(text("")).await, [""; 0]);
    case.peer.stream.shutdown().await.unwrap();
    case.serving.await;
    assert_eq!(case.log.take(), ["1011"]);
}
