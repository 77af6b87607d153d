//! What listeners may do, what is left after the end, and handles.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_listener_may_register_remove_write_and_close() {
    let mut case = open(|connection, log| {
        let id = Arc::new(OnceLock::new());
        let own = id.clone();
        let _ = id.set(connection.on("text", move |connection: &WebSocketConnection, text: &str| {
            log.add(format_args!("first {text}"));
            connection.remove_listener(*own.get().unwrap());
            connection.on("text", move |connection: &WebSocketConnection, text: &str| {
                log.add(format_args!("second {text}"));
                connection.write(text);
                if text == "b" {
                    connection.write("last");
                    connection.close_with(4000, "enough");
                    assert!(!connection.write("too late"));
                }
            });
            connection.once("close", move |connection: &WebSocketConnection, code: u16| {
                log.add(code);
                assert!(!connection.write("too late"));
                connection.close();
                connection.terminate();
                connection.on("close", move || log.add("not called"));
                connection.remove_all_listeners(None);
            });
        }));
    })
    .await;
    assert_eq!(case.hears([text("a"), text("b"), text("c")].concat()).await, ["first a", "second b"]);
    assert_eq!((case.peer.text().await, case.peer.text().await), ("b".into(), "last".into()));
    assert_eq!(case.peer.closed().await, (Some(4000), "enough".into()));
    assert_eq!(case.hears(close(4000, "")).await, ["4000"]);
    case.serving.await;
}

#[tokio::test(start_paused = true)]
async fn listeners_and_what_they_captured_are_dropped_when_they_have_run_for_the_last_time() {
    let ends: [fn(WebSocketConnection); 3] = [|c| c.terminate(), |_| {}, |c| _ = c.on("text", || panic!("no"))];
    for end in ends {
        let token = Arc::new(());
        let (held, fresh) = (token.clone(), token.clone());
        let mut case = open(move |connection, _| {
            let held = || held.clone();
            for event in ["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"] {
                let (a, b, c, d) = (held(), held(), held(), held());
                connection.on(event, move || drop(a.clone()));
                connection.once(event, move || drop(b.clone()));
                connection.on(event, async move || drop(c.clone()));
                connection.on(event, async move || {
                    pass(1).await;
                    drop(d.clone());
                });
            }
            connection.set(held());
        })
        .await;
        // The middleware's listener holds one, and so does `fresh`.
        assert_eq!(Arc::strong_count(&token), 3 + 9 * 4 + 1);
        case.peer.send(text("")).await;
        pass(10).await;
        assert_eq!(Arc::strong_count(&token), 3 + 9 * 4 + 1 - 2, "once listeners of text and message are gone");
        end(case.connection);
        // One that has never been looked at, as nothing has happened since.
        case.connection.on("pong", move || drop(fresh.clone()));
        let _ = case.peer.stream.write_all(&[text(""), close(1000, "")].concat()).await;
        case.leave();
        case.serving.await;
        assert_eq!(Arc::strong_count(&token), 1, "all but ours");
    }
}

#[tokio::test(start_paused = true)]
async fn captured_values_of_a_listener_may_use_the_connection_when_they_are_dropped() {
    struct Last(WebSocketConnection, &'static Log);
    impl Drop for Last {
        fn drop(&mut self) {
            let Last(connection, log) = self;
            connection.write("dropped");
            connection.remove_listener(connection.on("text", || {}));
            connection.get::<()>();
            log.add(format_args!("dropped {}", connection.listener_count("text")));
        }
    }
    let mut case = open(|connection, log| {
        let last = || Last(connection, log);
        let (a, b, c, d) = (last(), last(), last(), last());
        connection.set(last());
        connection.once("text", move || _ = &a);
        let id = connection.on("text", move || _ = &b);
        connection.remove_listener(id);
        connection.on("ping", move || _ = &c);
        connection.on("ping", |connection: &WebSocketConnection| connection.remove_all_listeners(Some("ping")));
        connection.on("close", move || _ = &d);
    })
    .await;
    assert_eq!(case.hears(text("")).await.len(), 2);
    assert_eq!(case.hears([frame(PING, ""), frame(PING, "")].concat()).await, ["dropped 0"]);
    assert_eq!(case.hears(close(1000, "")).await, ["dropped 0", "dropped 0"]);
    // The connection is gone when it takes none.
    let (connection, log) = (case.connection, case.log);
    case.serving.await;
    let last = Last(connection, log);
    connection.on("text", move || _ = &last);
    assert_eq!(log.take(), ["dropped 0"]);

    let emitter = EventEmitter::<()>::new();
    struct LastOfEmitter(EventEmitter<()>);
    impl Drop for LastOfEmitter {
        fn drop(&mut self) {
            self.0.remove_listener(self.0.on("dropped", |_| {}));
            self.0.emit("dropped", ());
        }
    }
    emitter.on("dropped", move |_| log.add("dropped"));
    let (a, b) = (LastOfEmitter(emitter.clone()), LastOfEmitter(emitter.clone()));
    emitter.once("x", move |_| _ = &a);
    let id = emitter.on("x", move |_| _ = &b);
    emitter.emit("x", ());
    emitter.remove_listener(id);
    assert_eq!(log.take(), ["dropped", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_accepts_listeners_and_drops_them() {
    let case = open(|_, _| {}).await;
    let (connection, token) = (case.connection, Arc::new(()));
    connection.terminate();
    case.serving.await;
    for _ in 0..2 {
        let (a, b, c, d) = (token.clone(), token.clone(), token.clone(), token.clone());
        let ids = [
            connection.on("text", move || drop(a.clone())),
            connection.once("close", move || drop(b.clone())),
            connection.try_on("text", async move || drop(c.clone())).unwrap(),
            connection.on_close(move |_, _| drop(d.clone())),
        ];
        assert_eq!(Arc::strong_count(&token), 1);
        ids.into_iter().for_each(|id| connection.remove_listener(id));
        connection.remove_all_listeners(None);
        assert_eq!(connection.listener_count("text"), 0);
    }
}

#[test]
fn a_handle_is_a_small_copy_that_can_be_hashed_and_sent() {
    fn is_plain<T: Copy + Eq + Hash + Send + Sync + Unpin + 'static>() -> usize {
        size_of::<T>()
    }
    assert_eq!(is_plain::<WebSocketConnection>(), 16);
    assert!(is_plain::<react_websocket::ConnectionGroup>() <= 16);
    is_plain::<ListenerId>();
}

#[tokio::test(start_paused = true)]
async fn a_stale_handle_reaches_no_later_connection() {
    let (handles, token) = (Arc::new(Mutex::new(Vec::new())), Arc::new(()));
    let opened = handles.clone();
    let http = websockets(move |connection| {
        opened.lock().unwrap().push(connection);
        connection.set("mine");
        connection.on("text", move |text: &str| connection.write(text));
    });
    for _ in 0..50 {
        let (mut peer, serving) = Peer::open_in_memory(&http).await;
        peer.send(text("a")).await;
        assert_eq!(peer.text().await, "a");
        peer.send(close(1000, "")).await;
        serving.await;
    }
    // More than other tests of this process can take the free places of.
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(Peer::open_in_memory(&http).await);
    }
    let handles = handles.lock().unwrap().clone();
    let (stale, fresh) = handles.split_at(50);
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 60, "no two are equal");
    assert_eq!(handles.iter().map(WebSocketConnection::id).collect::<HashSet<_>>().len(), 60);
    for handle in stale {
        assert!(!handle.write("x") && !handle.write_binary("x") && !handle.ping("x") && !handle.pong("x"));
        assert!(!handle.is_writable() && !handle.is_readable() && !handle.set(1u8));
        assert!(!handle.reject(Response::plaintext("no")));
        assert!(handle.send("x").await.is_err() && handle.send_binary("x").await.is_err());
        assert!(handle.get::<&str>().is_none() && handle.take::<&str>().is_none());
        assert!(handle.request().is_none() && handle.remote_address().is_none() && handle.local_address().is_none());
        assert!(handle.subprotocol().is_none() && handle.error().is_none());
        assert_eq!((handle.buffered_amount(), handle.dropped(), handle.listener_count("text")), (0, 0, 0));
        let held = token.clone();
        let id = handle.on("text", move || drop(held.clone()));
        handle.remove_listener(id);
        handle.remove_all_listeners(None);
        handle.begin_text().write("x");
        handle.pause();
        handle.end_with("x");
        handle.close();
        handle.terminate();
    }
    settle().await;
    assert_eq!(Arc::strong_count(&token), 1);
    for ((peer, _), handle) in open.iter_mut().zip(fresh) {
        assert_eq!((handle.listener_count("text"), handle.get::<&str>().as_deref()), (1, Some(&"mine")));
        peer.send(text("untouched")).await;
        assert_eq!(peer.text().await, "untouched");
    }
}

#[tokio::test]
async fn a_handle_can_be_used_from_any_thread() {
    let (address, listening) = listen_with(websockets(|connection| {
        std::thread::spawn(move || {
            connection.write("before the 101, or after it");
            connection.on("text", move |text: &str| {
                let text = text.to_owned();
                std::thread::spawn(move || connection.write(text)).join().unwrap()
            });
        })
        .join()
        .unwrap();
    }));
    let mut peer = Peer::open(address).await;
    assert_eq!(peer.text().await, "before the 101, or after it");
    peer.send(text("hi")).await;
    assert_eq!(timeout(Duration::from_secs(10), peer.text()).await.as_deref(), Ok("hi"));
    drop(peer);
    listening.close().await;
}
