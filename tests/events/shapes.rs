//! All the closures that are listeners.

use super::*;

#[tokio::test(start_paused = true)]
async fn text_listeners_of_all_shapes() {
    let mut case = open(|connection, log| {
        connection.on("text", move |text: &str| log.add(format_args!("1 {text}")));
        connection.on("text", move |text: Text| log.add(format_args!("2 {text}")));
        connection.on("text", async move |text: &str| log.add(format_args!("3 {text}")));
        connection.on("text", move |text: Text| async move { log.add(format_args!("4 {text}")) });
        connection.on("text", async move |text: Text| log.add(format_args!("5 {text}")));
        connection
            .on("text", move |c: &WebSocketConnection, text: &str| log.add(format_args!("6 {} {text}", c == &connection)));
        connection
            .on("text", move |c: &WebSocketConnection, text: Text| log.add(format_args!("7 {} {text}", c == &connection)));
        connection
            .on("text", move |c: WebSocketConnection, text: &str| log.add(format_args!("8 {} {text}", c == connection)));
        connection.on("text", async move |c: &WebSocketConnection, text: &str| {
            log.add(format_args!("9 {} {text}", c == &connection));
        });
        connection.on("text", move |c: WebSocketConnection, text: Text| async move {
            log.add(format_args!("10 {} {text}", c == connection));
        });
        connection.on("text", async move |c: WebSocketConnection, text: Text| {
            log.add(format_args!("11 {} {text}", c == connection));
        });
    })
    .await;
    let expected = "1 é,2 é,3 é,4 é,5 é,6 true é,7 true é,8 true é,9 true é,10 true é,11 true é";
    assert_eq!(case.hears(text("é")).await.join(","), expected);
    // Too long to be pooled.
    let long = "é".repeat(100_000);
    assert_eq!(case.hears(text(&long)).await.join(","), expected.replace('é', &long));
}

#[tokio::test(start_paused = true)]
async fn binary_ping_and_pong_listeners_of_all_shapes() {
    for (event, first) in [("binary", BINARY), ("ping", PING), ("pong", PONG)] {
        let mut case = open(move |connection, log| {
            connection.on(event, move |bytes: &[u8]| log.add(format_args!("1 {bytes:?}")));
            connection.on(event, move |bytes: Bytes| log.add(format_args!("2 {:?}", &*bytes)));
            connection.on(event, async move |bytes: &[u8]| log.add(format_args!("3 {bytes:?}")));
            connection.on(event, move |bytes: Bytes| async move { log.add(format_args!("4 {:?}", &*bytes)) });
            connection
                .on(event, move |c: &WebSocketConnection, bytes: &[u8]| log.add(format_args!("5 {} {bytes:?}", c.id())));
            connection.on(event, move |c: &WebSocketConnection, bytes: Bytes| {
                log.add(format_args!("6 {} {:?}", c.id(), &*bytes));
            });
            connection.on(event, async move |c: &WebSocketConnection, bytes: &[u8]| {
                log.add(format_args!("7 {} {bytes:?}", c.id()));
            });
            connection.on(event, move |c: WebSocketConnection, bytes: Bytes| async move {
                log.add(format_args!("8 {} {:?}", c.id(), &*bytes));
            });
        })
        .await;
        let id = case.connection.id();
        let b = "[1, 255]";
        let expected = format!("1 {b},2 {b},3 {b},4 {b},5 {id} {b},6 {id} {b},7 {id} {b},8 {id} {b}");
        assert_eq!(case.hears(frame(first, [1, 255])).await.join(","), expected, "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn message_listeners_of_all_shapes() {
    let mut case = open(|connection, log| {
        connection.on("message", move |message: Message| log.add(format_args!("1 {message:?}")));
        connection.on("message", move |message: Message| async move { log.add(format_args!("2 {message:?}")) });
        connection.on("message", async move |message: Message| log.add(format_args!("3 {message:?}")));
        connection.on("message", move |c: &WebSocketConnection, message: Message| {
            log.add(format_args!("4 {} {message:?}", c == &connection));
        });
        connection.on("message", move |c: WebSocketConnection, message: Message| async move {
            log.add(format_args!("5 {} {message:?}", c == connection));
        });
    })
    .await;
    let expected =
        |message: Message| format!("1 {message:?},2 {message:?},3 {message:?},4 true {message:?},5 true {message:?}");
    assert_eq!(case.hears(text("hi")).await.join(","), expected(Message::Text("hi".into())));
    let binary = Message::Binary(Bytes::from_static(&[1, 2]));
    assert_eq!(case.hears(frame(BINARY, [1, 2])).await.join(","), expected(binary));
}

#[tokio::test(start_paused = true)]
async fn error_and_close_listeners_of_all_shapes() {
    let mut case = open(|connection, log| {
        connection
            .on("error", move |reason: Option<&str>, code: Option<u16>| log.add(format_args!("1 {reason:?} {code:?}")));
        connection.on("error", move |reason: Option<&str>| log.add(format_args!("2 {reason:?}")));
        connection.on("error", move |error: &ConnectionError| log.add(format_args!("3 {error} {}", error.close_code())));
        connection.on("error", move |error: ConnectionError| async move { log.add(format_args!("4 {error}")) });
        connection.on("error", move |c: &WebSocketConnection, error: &ConnectionError| {
            log.add(format_args!("5 {} {error}", c.error().unwrap()));
        });
        connection.on("error", move |c: &WebSocketConnection, reason: Option<&str>, code: Option<u16>| {
            log.add(format_args!("6 {} {reason:?} {code:?}", c == &connection));
        });
        connection.on("error", async move |c: WebSocketConnection, error: ConnectionError| {
            log.add(format_args!("7 {} {error}", c == connection));
        });
        connection.on("close", move |code: u16, reason: &str| log.add(format_args!("1 {code} {reason}")));
        connection.on("close", move |code: u16| log.add(format_args!("2 {code}")));
        connection.on("close", move |code: u16, reason: Text| async move { log.add(format_args!("3 {code} {reason}")) });
        connection.on("close", move |code: u16| async move { log.add(format_args!("4 {code}")) });
        connection.on("close", move |c: &WebSocketConnection, code: u16, reason: &str| {
            log.add(format_args!("5 {} {code} {reason}", c.error().unwrap()));
        });
        connection.on("close", async move |c: WebSocketConnection, code: u16, reason: Text| {
            log.add(format_args!("6 {} {code} {reason}", c == connection));
        });
    })
    .await;
    case.peer.send(UNMASKED).await;
    case.peer.stream.shutdown().await.unwrap();
    case.serving.await;
    let expected = [
        "1 Some(\"unmasked frame\") Some(1002)",
        "2 Some(\"unmasked frame\")",
        "3 unmasked frame 1002",
        "4 unmasked frame",
        "5 unmasked frame unmasked frame",
        "6 true Some(\"unmasked frame\") Some(1002)",
        "7 true unmasked frame",
        "1 1002 unmasked frame",
        "2 1002",
        "3 1002 unmasked frame",
        "4 1002",
        "5 unmasked frame 1002 unmasked frame",
        "6 true 1002 unmasked frame",
    ];
    assert_eq!(case.log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn every_event_takes_closures_without_arguments() {
    let options = WebSocketOptions::new().write_buffer_soft_limit(1000);
    let mut case = open_with(options, 100, |connection, log| {
        for event in ["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"] {
            connection.on(event, move || log.add(format_args!("{event} 1")));
            connection.on(event, async move || log.add(format_args!("{event} 2")));
            connection.on(event, move || async move { log.add(format_args!("{event} 3")) });
            connection.on(event, move |_: &WebSocketConnection| log.add(format_args!("{event} 4")));
            connection.on(event, move |_: WebSocketConnection| log.add(format_args!("{event} 5")));
            connection.on(event, move |_: WebSocketConnection| async move { log.add(format_args!("{event} 6")) });
        }
    })
    .await;
    let six = |events: &[&str]| -> Vec<String> {
        events.iter().flat_map(|event| (1..=6).map(move |n| format!("{event} {n}"))).collect()
    };
    assert_eq!(case.hears(text("a")).await, six(&["text", "message"]));
    assert_eq!(case.hears(frame(BINARY, "a")).await, six(&["binary", "message"]));
    assert_eq!(case.hears(frame(PING, "")).await, six(&["ping"]));
    assert_eq!(case.hears(frame(PONG, "")).await, six(&["pong"]));
    case.connection.write("x".repeat(2000));
    case.peer.exactly(2 + 2004).await;
    settle().await;
    assert_eq!(case.log.take(), six(&["drain"]));
    // Its `end` listener fails, which is how there is an `error` too.
    case.connection.on("end", || Err::<(), _>("no"));
    case.peer.send(close(1000, "")).await;
    case.serving.await;
    assert_eq!(case.log.take(), six(&["end", "error", "close"]));
}

fn heard(log: &'static Log) -> impl FnMut(&str) + Clone + Send + 'static {
    move |text| log.add(text)
}

#[tokio::test(start_paused = true)]
async fn functions_state_and_captures() {
    fn named(connection: &WebSocketConnection, text: &str) -> bool {
        connection.write(format!("named {text}"))
    }
    fn any(connection: WebSocketConnection) {
        connection.write("any");
    }
    async fn named_later(connection: WebSocketConnection, text: Text) -> Result<(), react_websocket::errors::Closed> {
        connection.send(format!("later {text}")).await
    }
    async fn borrowing(connection: &WebSocketConnection, text: &str) {
        tokio::task::yield_now().await;
        connection.write(format!("borrowing {text}"));
    }
    let mut case = open(|connection, log| {
        connection.on("text", named);
        connection.on("text", any);
        connection.on("text", named_later);
        connection.on("text", borrowing);
        let mut count = 0;
        connection.on("text", move |text: &str| {
            count += text.len();
            connection.write(format!("{count} bytes"))
        });
        let history = Arc::new(Mutex::new(Vec::new()));
        connection.on("text", async move |text: &str| {
            tokio::task::yield_now().await;
            history.lock().unwrap().push(text.to_owned());
            let all = history.lock().unwrap().join("+");
            connection.write(all);
        });
        connection.on("text", heard(log));
    })
    .await;
    case.hears([text("ab"), text("c")].concat()).await;
    let expected = ["named ab", "any", "later ab", "borrowing ab", "2 bytes", "ab"];
    for text in expected {
        assert_eq!(case.peer.text().await, text);
    }
    for text in ["named c", "any", "later c", "borrowing c", "3 bytes", "ab+c"] {
        assert_eq!(case.peer.text().await, text);
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_a_listener_may_return() {
    #[derive(Debug, thiserror::Error)]
    #[error("an error of the app")]
    struct AppError;
    let mut case = open(|connection, log| {
        connection.on("text", || ());
        connection.on("text", || false);
        connection.on("text", || Ok::<u32, AppError>(7));
        connection.on("text", || -> Result<(), Box<dyn std::error::Error + Send + Sync>> { Ok(()) });
        connection.on("text", |text: &str| -> Result<i32, std::num::ParseIntError> { text.parse() });
        connection.on("text", || Ok::<(), String>(()));
        connection.on("text", |connection: &WebSocketConnection| connection.on("drain", || {}));
        connection.on("text", async || true);
        connection.on("text", async |connection: WebSocketConnection| connection.send("sent").await);
        connection.on("text", |_: Text| async { Ok::<(), AppError>(()) });
        connection.on("text", move || log.add("all"));
    })
    .await;
    assert_eq!(case.hears(text("5")).await, ["all"]);
    assert_eq!(case.peer.text().await, "sent");
    assert_eq!(case.connection.listener_count("drain"), 1);
    log_error(case.connection, case.log);
    assert_eq!(case.hears(text("five")).await, ["a listener failed: invalid digit found in string"]);
}

fn log_error(connection: WebSocketConnection, log: &'static Log) {
    connection.on("error", move |error: &ConnectionError| log.add(error.reason()));
}

#[tokio::test(start_paused = true)]
async fn the_typed_methods_infer_their_arguments() {
    let options = WebSocketOptions::new().write_buffer_soft_limit(1000);
    let mut case = open_with(options, 100, |connection, log| {
        connection.on_text(move |text| log.add(text.len()));
        connection.on_binary(move |bytes| log.add(bytes[0]));
        connection.on_message(move |message| log.add(message.as_bytes().len()));
        connection.on_ping(move |bytes| log.add(format_args!("ping {}", bytes[0])));
        connection.on_pong(move |bytes| log.add(format_args!("pong {}", bytes[0])));
        connection.on_drain(move || log.add("drain"));
        connection.on_end(move || log.add("end"));
        connection.on_error(move |error| log.add(error.close_code()));
        connection.on_close(move |code, reason| log.add(format_args!("{code} {}", reason.len())));
        connection.on_text_async(async move |text| log.add(format_args!("later {}", text.as_str())));
        connection.on_binary_async(async move |bytes| log.add(format_args!("later {}", bytes[0])));
        connection.on_message_async(async move |message| log.add(format_args!("later {}", message.as_bytes().len())));
    })
    .await;
    assert_eq!(case.hears(text("four")).await, ["4", "later four", "4", "later 4"]);
    assert_eq!(case.hears(frame(BINARY, [7, 8])).await, ["7", "later 7", "2", "later 2"]);
    assert_eq!(case.hears([frame(PING, [1]), frame(PONG, [2])].concat()).await, ["ping 1", "pong 2"]);
    case.connection.write("x".repeat(2000));
    case.peer.exactly(3 + 2004).await;
    settle().await;
    assert_eq!(case.log.take(), ["drain"]);
    let id = case.connection.on_end(|| Err::<(), _>("no"));
    assert_eq!(case.hears(close(4000, "bye")).await, ["end", "1011", "1011 21"]);
    case.connection.remove_listener(id);
}
