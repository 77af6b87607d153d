//! The order of listeners, snapshots, removal and counts.

use super::*;

#[tokio::test(start_paused = true)]
async fn on_listeners_run_in_order_and_before_once_listeners() {
    let mut case = open(|connection, log| {
        connection.on("text", move || log.add("A"));
        connection.once("text", move || log.add("B"));
        connection.on("text", move || log.add("C"));
        connection.once("text", move || log.add("D"));
        connection.on("text", move || log.add("E"));
    })
    .await;
    assert_eq!(case.hears(text("")).await, ["A", "C", "E", "B", "D"]);
    assert_eq!(case.hears(text("")).await, ["A", "C", "E"]);
    assert_eq!(case.finish().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_listener_added_during_an_emission_first_runs_at_the_next() {
    let mut case = open(|connection, log| {
        connection.once("text", move |connection: &WebSocketConnection| {
            log.add("A");
            connection.on("text", move || log.add("B"));
            connection.once("text", move || log.add("C"));
        });
        connection.once("text", async move |connection: WebSocketConnection| {
            sleep(Duration::from_millis(1)).await;
            log.add("D");
            connection.on("text", move || log.add("E"));
            sleep(Duration::from_millis(1)).await;
        });
    })
    .await;
    // Two in one segment, and one more.
    case.peer.send([text(""), text("")].concat()).await;
    pass(10).await;
    assert_eq!(case.log.take(), ["A", "D", "B", "E", "C"]);
    assert_eq!(case.hears(text("")).await, ["B", "E"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_listener_added_or_removed_by_a_text_listener_counts_for_that_message_as_message_is_the_next_emission() {
    let mut case = open(|connection, log| {
        let removed = connection.on("message", move || log.add("removed"));
        connection.once("text", move |connection: &WebSocketConnection| {
            connection.remove_listener(removed);
            connection.on("message", move || log.add("added"));
        });
    })
    .await;
    assert_eq!(case.hears(text("")).await, ["added"]);
    let mut case = open(|connection, log| {
        connection.once("text", move |connection: &WebSocketConnection| {
            connection.on("message", move || log.add("the first"));
        });
    })
    .await;
    assert_eq!(case.hears(text("")).await, ["the first"]);
}

/// A listener of any kind: none receives a message before it.
#[tokio::test(start_paused = true)]
async fn a_message_listener_added_while_a_text_listener_runs_receives_the_next_message() {
    let mut case = open(|connection, log| {
        connection.once("text", async move |connection: &WebSocketConnection, _: &str| {
            pass(5).await;
            connection.on("message", move || log.add("told"));
            connection.on("message", move |message: Message| log.add(format_args!("{message:?}")));
        });
    })
    .await;
    case.peer.send(text("a")).await;
    pass(10).await;
    assert_eq!(case.log.take(), [""; 0]);
    assert_eq!(case.hears(text("b")).await, ["told", "Text(\"b\")"]);
}

/// The captured values are not kept until a peer sends something, since a peer may be silent for
/// ever.
#[tokio::test(start_paused = true)]
async fn a_removed_listener_is_dropped_at_once_or_when_the_one_that_runs_is_done() {
    let options = || WebSocketOptions::new().ping_interval(None);
    let case = open_with(options(), 1 << 20, |_, _| {}).await;
    let captured = Arc::new(());
    let capturing = |event| {
        let captured = captured.clone();
        case.connection.on(event, move || _ = &captured)
    };
    for _ in 0..1_000 {
        let removed = capturing("text");
        capturing("binary");
        case.connection.remove_listener(removed);
        case.connection.remove_listener(removed);
        case.connection.remove_all_listeners(Some("binary"));
        assert_eq!(Arc::strong_count(&captured), 1);
    }

    // Where the task has it already.
    let mut case = open_with(options(), 1 << 20, |connection, _| {
        connection.on("text", async |text: &str| pass(if text == "wait" { 10 } else { 0 }).await);
    })
    .await;
    for running in [false, true] {
        let removed = [0; 3].map(|_| {
            let captured = captured.clone();
            case.connection.on("binary", move || _ = &captured)
        });
        case.hears(text("")).await;
        if running {
            case.hears(text("wait")).await;
        }
        case.connection.remove_listener(removed[0]);
        settle().await;
        assert_eq!(Arc::strong_count(&captured), if running { 4 } else { 3 });
        case.connection.remove_all_listeners(Some("binary"));
        pass(20).await;
        assert_eq!(Arc::strong_count(&captured), 1);
    }
    assert_eq!(case.connection.listener_count("text"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_listener_removed_during_an_emission_still_runs_in_it() {
    // How the removal is asked for, by a listener before the removed ones.
    let rows: [fn(&WebSocketConnection, [ListenerId; 3]); 3] = [
        |connection, ids| ids.into_iter().for_each(|id| connection.remove_listener(id)),
        |connection, _| connection.remove_all_listeners(Some("text")),
        |connection, _| connection.remove_all_listeners(None),
    ];
    for remove in rows {
        for later in [false, true] {
            let mut case = open(move |connection, log| {
                let ids = Arc::new(OnceLock::new());
                let removed = ids.clone();
                let first = connection.on("text", move |connection: WebSocketConnection| {
                    let removed = removed.clone();
                    async move {
                        log.add("remover");
                        remove(&connection, *removed.get().unwrap());
                        if later {
                            sleep(Duration::from_millis(1)).await;
                        }
                        assert_eq!(connection.listener_count("text"), 0);
                    }
                });
                let second = connection.on("text", move || log.add("removed"));
                let third = connection.once("text", move || log.add("removed once"));
                ids.set([first, second, third]).unwrap();
            })
            .await;
            case.peer.send([text(""), text("")].concat()).await;
            pass(10).await;
            assert_eq!(case.log.take(), ["remover", "removed", "removed once"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_closure_twice_is_called_twice_and_removed_one_by_one() {
    let mut case = open(|_, _| {}).await;
    let (connection, log) = (case.connection, case.log);
    let listener = move |text: &str| log.add(text);
    let (first, second) = (connection.on("text", listener), connection.on("text", listener));
    let once = connection.once("text", listener);
    assert_ne!(first, second);
    assert_eq!(case.hears(text("a")).await, ["a", "a", "a"]);
    connection.remove_listener(once);
    connection.remove_listener(first);
    assert_eq!(case.hears(text("b")).await, ["b"]);
    connection.remove_listener(second);
    assert_eq!(case.hears(text("c")).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn listener_count_counts_the_registered_listeners() {
    let mut case = open(|_, _| {}).await;
    let connection = case.connection;
    let counts = move || ["text", "ping", "close"].map(|event| connection.listener_count(event));
    let a = connection.on("text", || {});
    connection.once("text", || {});
    connection.on("ping", || {});
    assert_eq!(counts(), [2, 1, 0]);
    case.hears(text("")).await;
    assert_eq!(counts(), [1, 1, 0], "a once listener that has fired is gone");
    connection.on_text(|_| {});
    assert_eq!(counts(), [2, 1, 0]);
    connection.remove_listener(a);
    assert_eq!(counts(), [1, 1, 0]);
    connection.remove_all_listeners(Some("text"));
    assert_eq!(counts(), [0, 1, 0]);
    connection.on("text", || {});
    case.hears(text("")).await;
    assert_eq!(counts(), [1, 1, 0]);
    connection.remove_all_listeners(None);
    assert_eq!(counts(), [0, 0, 0]);
    connection.on("close", || {});
    connection.terminate();
    settle().await;
    assert_eq!(counts(), [0, 0, 0], "listeners are dropped after close");
}

#[tokio::test(start_paused = true)]
async fn removing_a_missing_listener_changes_no_count() {
    let mut case = open(|_, _| {}).await;
    let connection = case.connection;
    let (a, _b) = (connection.on("text", || {}), connection.on("text", || {}));
    connection.remove_listener(a);
    connection.remove_listener(a);
    assert_eq!(connection.listener_count("text"), 1, "removed twice");
    case.hears(text("")).await;
    connection.remove_listener(a);
    assert_eq!(connection.listener_count("text"), 1, "removed again");
    let once = connection.once("text", || {});
    case.hears(text("")).await;
    connection.remove_listener(once);
    assert_eq!(connection.listener_count("text"), 1, "fired before");
}

#[tokio::test(start_paused = true)]
async fn a_once_listener_that_has_fired_is_not_counted_whatever_it_did_and_whatever_the_event() {
    let mut case = open(|connection, log| {
        // It changes the listeners in the emission that it is fired by.
        connection.once("text", |connection: &WebSocketConnection| {
            connection.on("text", || {});
        });
        connection.once("error", || {});
        connection.on("close", move |connection: &WebSocketConnection| log.add(connection.listener_count("error")));
    })
    .await;
    case.hears(text("")).await;
    assert_eq!(case.connection.listener_count("text"), 1);
    assert_eq!(case.connection.listener_count("error"), 1);
    case.peer.send(UNMASKED).await;
    case.peer.stream.shutdown().await.unwrap();
    case.serving.await;
    assert_eq!(case.log.take(), ["0"]);
}
