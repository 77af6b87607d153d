//! `EventEmitter`, and the events of middlewares and servers.

use super::*;

#[test]
fn an_event_emitter_keeps_evenements_order_and_snapshots() {
    let (log, emitter) = (log(), EventEmitter::<u32>::new());
    emitter.on("data", move |n| log.add(format_args!("A{n}")));
    emitter.once("data", move |n| log.add(format_args!("B{n}")));
    let c = emitter.on("data", move |n| log.add(format_args!("C{n}")));
    let (inner, removed) = (emitter.clone(), c);
    emitter.once("data", move |n: &u32| {
        log.add(format_args!("D{n}"));
        inner.remove_listener(removed);
        let again = inner.clone();
        inner.on("data", move |n: &u32| {
            log.add(format_args!("E{n}"));
            if *n == 2 {
                again.remove_all_listeners(Some("data"));
                assert_eq!(again.listener_count("data"), 0);
            }
        });
    });
    emitter.on("other", move |n| log.add(format_args!("other{n}")));
    assert_eq!((emitter.listener_count("data"), emitter.listener_count("other"), emitter.listener_count("")), (4, 1, 0));
    // Clones are the same emitter.
    emitter.clone().emit("data", 1);
    assert_eq!(log.take(), ["A1", "C1", "B1", "D1"]);
    assert_eq!(emitter.listener_count("data"), 2, "A and E");
    emitter.on("data", move |n| log.add(format_args!("F{n}")));
    emitter.emit("data", 2);
    assert_eq!(log.take(), ["A2", "E2", "F2"], "removed during an emission, it still runs in it");
    emitter.emit("data", 3);
    emitter.emit("Other", 3);
    assert_eq!(log.take(), [""; 0]);
    emitter.emit("other", 4);
    emitter.remove_all_listeners(None);
    emitter.emit("other", 5);
    assert_eq!(log.take(), ["other4"]);
}

/// Évenement throws an `InvalidArgumentException`.
#[test]
fn an_event_of_an_event_emitter_has_a_name() {
    let emitter = EventEmitter::<u32>::new();
    let panic = |call: &dyn Fn()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
        panic.downcast_ref::<&str>().copied().unwrap_or_default()
    };
    assert_eq!(panic(&|| _ = emitter.on("", |_| {})), "event name is empty");
    assert_eq!(panic(&|| _ = emitter.once("", |_| {})), "event name is empty");
    emitter.emit("", 1);
    assert_eq!(emitter.listener_count(""), 0);
}

#[test]
fn events_that_a_listener_of_an_emitter_emits_follow_and_its_failure_is_its_own() {
    let (log, emitter) = (log(), EventEmitter::<u32>::new());
    let inner = emitter.clone();
    emitter.on("data", move |n: &u32| {
        log.add(format_args!("{n} begins"));
        if *n > 0 {
            inner.emit("data", n - 1);
        }
        log.add(format_args!("{n} ends"));
    });
    emitter.once("data", |_| panic!("no"));
    emitter.on("data", |_| Err::<(), _>("no"));
    emitter.on("data", move |n| log.add(format_args!("{n} again")));
    emitter.emit("data", 1);
    assert_eq!(log.take(), ["1 begins", "1 ends", "1 again", "0 begins", "0 ends", "0 again"]);
    assert_eq!(emitter.listener_count("data"), 3);
}

#[test]
fn threads_that_emit_share_one_order_and_listeners_keep_their_state_without_a_lock() {
    let (log, emitter) = (log(), EventEmitter::<(usize, usize)>::new());
    let mut last = [0; 4];
    let (checked, mut calls) = (Arc::new(AtomicUsize::new(0)), 0);
    let count = checked.clone();
    emitter.on("data", move |(thread, n): &(usize, usize)| {
        if last[*thread] + 1 != *n {
            log.add(format_args!("thread {thread}: {n} after {}", last[*thread]));
        }
        last[*thread] = *n;
        calls += 1;
        count.store(calls, Ordering::SeqCst);
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let emitter = emitter.clone();
            scope.spawn(move || (1..=1000).for_each(|n| emitter.emit("data", (thread, n))));
        }
    });
    assert_eq!((log.take(), checked.load(Ordering::SeqCst)), (vec![], 4000));
    assert_eq!(Arc::strong_count(&checked), 2);
    drop(emitter);
    assert_eq!(Arc::strong_count(&checked), 1);
}

#[tokio::test(start_paused = true)]
async fn connection_listeners_of_a_middleware_run_for_many_handshakes_at_the_same_time() {
    let (log, websocket) = (log(), WebSocketMiddleware::new());
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = most.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let (inside, most) = (inside.clone(), highest.clone());
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            pass(1000).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            connection.write("decided");
        }
    });
    websocket.on("connection", move |connection: WebSocketConnection| {
        connection.write("after it");
        connection.on("text", move |text: &str| log.add(text));
    });
    let http = HttpServer::new((websocket, router));
    let mut peers: Vec<_> = (0..3).map(|_| Peer::serve(&http)).collect();
    for (peer, _) in &mut peers {
        // What comes with the handshake is delivered when the listeners are done.
        peer.send([HANDSHAKE.as_bytes(), &text("early")].concat()).await;
    }
    settle().await;
    assert_eq!((most.load(Ordering::SeqCst), log.take()), (3, vec![]));
    for (peer, _) in &mut peers {
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        assert_eq!((peer.text().await, peer.text().await), ("decided".into(), "after it".into()));
    }
    settle().await;
    assert_eq!(log.take(), ["early"; 3]);
}

#[tokio::test(start_paused = true)]
async fn listeners_of_a_middleware_are_ordered_counted_and_removed() {
    let (log, websocket) = (log(), WebSocketMiddleware::new());
    let http = HttpServer::new((websocket.clone(), router));
    let open = async || {
        drop(Peer::open_in_memory(&http).await);
        log.take().concat()
    };
    let a = websocket.on("connection", move |_| log.add("A"));
    websocket.once("connection", move |_| log.add("B"));
    websocket.on("connection", move |_| async move { log.add("C") });
    websocket.once("connection", async move |_| log.add("D"));
    websocket.try_on("error", move |_| log.add("error")).unwrap();
    assert_eq!((websocket.listener_count("connection"), websocket.listener_count("error")), (4, 1));
    assert_eq!(open().await, "ACBD");
    assert_eq!(websocket.listener_count("connection"), 2);
    // One that is added or removed by a listener: from the next on, or not in the next any more.
    let inner = websocket.clone();
    websocket.once("connection", move |_| {
        log.add("E");
        inner.remove_listener(a);
        inner.on("connection", move |_| log.add("F"));
    });
    websocket.on("connection", move |_| log.add("G"));
    assert_eq!(open().await, "ACGE");
    assert_eq!(open().await, "CGF");
    websocket.remove_listener(a);
    assert_eq!(websocket.listener_count("connection"), 3, "removing twice is no harm");
    websocket.remove_all_listeners(Some("connection"));
    assert_eq!((websocket.listener_count("connection"), websocket.listener_count("error")), (0, 1));
    assert_eq!(open().await, "");
    websocket.remove_all_listeners(None);
    assert_eq!(websocket.listener_count("error"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_a_middleware_that_is_removed_by_an_earlier_one_still_runs_for_that_handshake() {
    let (log, websocket) = (log(), WebSocketMiddleware::new());
    let inner = websocket.clone();
    websocket.on("connection", move |_| {
        inner.remove_all_listeners(None);
        async move { pass(1).await }
    });
    websocket.on("connection", move |_| log.add("removed"));
    websocket.once("connection", move |_| log.add("removed once"));
    let http = HttpServer::new((websocket, router));
    drop(Peer::open_in_memory(&http).await);
    assert_eq!(log.take(), ["removed", "removed once"]);
    drop(Peer::open_in_memory(&http).await);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_once_listener_of_a_middleware_is_called_for_one_of_many_handshakes() {
    let (log, websocket) = (log(), WebSocketMiddleware::new());
    // All handshakes have taken their snapshot when the once listener's turn comes.
    websocket.on("connection", async |_| pass(1000).await);
    websocket.once("connection", move |_| log.add("once"));
    let http = HttpServer::new((websocket, router));
    let mut peers: Vec<_> = (0..3).map(|_| Peer::serve(&http)).collect();
    for (peer, _) in &mut peers {
        peer.send(HANDSHAKE).await;
    }
    for (peer, _) in &mut peers {
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    }
    assert_eq!(log.take(), ["once"]);
}

#[tokio::test(start_paused = true)]
async fn on_connection_infers_its_argument_and_takes_closures_of_both_kinds() {
    let (log, websocket) = (log(), WebSocketMiddleware::new());
    let id = websocket.on_connection(move |connection| log.add(connection.request().unwrap().path()));
    websocket.on_connection(move |connection| async move {
        pass(10).await;
        log.add(format_args!("later {}", connection.is_writable()));
    });
    let (mut peer, _serving) = Peer::serve(&HttpServer::new((websocket.clone(), router)));
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 101);
    assert_eq!(log.take(), ["/", "later true"]);
    websocket.remove_listener(id);
    assert_eq!(websocket.listener_count("connection"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_middleware_that_rejects_calls_all_its_error_listeners() {
    let (log, websocket) = (log(), WebSocketMiddleware::new());
    websocket.on("connection", |_| Err::<(), _>("not today"));
    websocket.on("connection", move |_| log.add("not called"));
    websocket.on("error", |_| panic!("no"));
    websocket.on("error", |_| Err::<(), _>("no"));
    websocket.on("error", async |_| panic!("no"));
    websocket.on("error", async move |connection: WebSocketConnection| {
        pass(10).await;
        log.add(format_args!("later {}", connection.error().unwrap().reason()));
    });
    websocket.on("error", move |connection: WebSocketConnection| {
        let request = connection.request().unwrap();
        log.add(format_args!("{} {} {}", connection.error().unwrap().reason(), request.path(), connection.write("nobody")));
    });
    let (mut peer, _serving) = Peer::serve(&HttpServer::new((websocket.clone(), router)));
    assert_eq!(peer.ask(HANDSHAKE).await.status(), 500);
    assert_eq!(log.take(), ["a listener failed: not today / false", "later a listener failed: not today"]);
    assert!(websocket.is_empty());
}

#[tokio::test(start_paused = true)]
async fn error_listeners_of_an_http_server_are_called_in_order_and_can_be_removed() {
    let (log, http) = (log(), HttpServer::new(router));
    let first = http.on("error", move |error| log.add(format_args!("1 {error}")));
    http.on("error", |_| panic!("no"));
    http.on("error", move |error| log.add(format_args!("2 {error}")));
    let ask = async || {
        let (mut peer, _serving) = Peer::serve(&http);
        assert_eq!(peer.ask("nonsense\r\n\r\n").await.status(), 400);
        log.take()
    };
    assert_eq!(ask().await, ["1 malformed request line", "2 malformed request line"]);
    http.remove_listener(first);
    assert_eq!(ask().await, ["2 malformed request line"]);
}
