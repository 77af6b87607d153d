//! Listeners that misbehave: whatever a listener does, its own connection ends with one `close`,
//! and other connections are not affected.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::time::Duration;

use react_websocket::handlers::Next;
use react_websocket::shutdown::Serving;
use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, Loop, Response, ServerRequest, SocketServer, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const BINARY: u8 = 0x82;

/// A frame that breaks RFC 6455: it is not masked.
const UNMASKED: &[u8] = &[0x81, 1, b'a'];

/// The events of a connection, and what a peer sends to bring each about.
fn events() -> [(&'static str, Vec<u8>); 9] {
    [
        ("text", text("x")),
        ("binary", frame(BINARY, "x")),
        ("message", text("x")),
        ("ping", frame(PING, "x")),
        ("pong", frame(PONG, "x")),
        // The bytes that the `connection` listener writes drain by themselves.
        ("drain", vec![]),
        ("end", close(4000, "bye")),
        ("error", UNMASKED.into()),
        ("close", close(4000, "bye")),
    ]
}

/// What a connection is called in a log: its path.
struct Name(String);

fn name(connection: WebSocketConnection) -> String {
    connection.get::<Name>().map_or("?".to_owned(), |name| name.0.clone())
}

/// A server of an echo. Connections are in the group "all", and those at `/bad` also in "few" and set up by `misbehave`.
struct World {
    http: HttpServer,
    groups: GroupManager,
    log: Log,
}

impl World {
    fn new(misbehave: impl Fn(WebSocketConnection, &GroupManager, &Log) + Send + Sync + 'static) -> World {
        let (groups, log) = (GroupManager::new(), Log::default());
        for event in ["create", "destroy"] {
            let log = log.clone();
            groups.on(event, move |group| {
                log.add(format_args!("{event} {}", group.name()));
                if event == "create" {
                    for event in ["join", "leave"] {
                        let log = log.clone();
                        group.on(event, move |member| log.add(format_args!("{event} {} {}", group.name(), name(member))));
                    }
                }
            });
        }
        let options = WebSocketOptions::new().write_buffer_soft_limit(1000).ping_interval(None);
        let websocket = WebSocketMiddleware::new().with_options(options).with_group_manager(groups.clone());
        let (all, noted) = (groups.clone(), log.clone());
        websocket.on("connection", move |connection: WebSocketConnection| {
            let path = connection.request().map(|request| request.path().to_owned()).unwrap_or_default();
            connection.set(Name(path.trim_start_matches('/').to_owned()));
            connection.set_group(Some("all")).unwrap();
            if path == "/bad" {
                all.join("few", connection).unwrap();
                misbehave(connection, &all, &noted);
            } else {
                connection.on("text", move |text: &str| connection.write(text));
            }
            // After those that misbehave.
            let (log, name) = (noted.clone(), name(connection));
            connection.on("close", move || log.add(format_args!("close {name}")));
        });
        World { http: HttpServer::new((websocket, router)), groups, log }
    }

    async fn open(&self, name: &str) -> (Peer<DuplexStream>, Serving) {
        let (mut peer, serving) = Peer::serve(&self.http);
        peer.send(HANDSHAKE.replace("GET /", &format!("GET /{name}"))).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        (peer, serving)
    }

    /// The neighbour is served: its own messages, and those of the group.
    async fn assert_served(&self, neighbour: &mut Peer<DuplexStream>, case: &str) {
        for expected in ["echo", "news"] {
            match expected {
                "echo" => neighbour.send(text("echo")).await,
                _ => self.groups.write("all", "news"),
            }
            let got = timeout(Duration::from_secs(60), neighbour.frame()).await;
            let got = got.unwrap_or_else(|_| panic!("{case}: the neighbour has to wait"));
            let got = got.unwrap_or_else(|| panic!("{case}: the neighbour is cut off"));
            assert_eq!(String::from_utf8_lossy(&got.payload), expected, "{case}");
        }
    }
}

/// How often each entry is in a log.
fn times(log: &[String], entry: &str) -> usize {
    log.iter().filter(|noted| *noted == entry).count()
}

/// What a listener may do that it should not.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Panic,
    /// With something that is no text.
    PanicOfAnotherType,
    /// With something that panics when it is dropped.
    PanicTwice,
    Err,
    AsyncPanic,
    AsyncErr,
    /// An asynchronous one that is never done.
    Never,
    /// Writes to all and then panics.
    WriteAndPanic,
    /// Everything that can be called on connections and groups.
    Everything,
    /// Like `Everything`, and ends its own connection in all ways.
    EverythingAndEnd,
}

const KINDS: [Kind; 10] = [
    Kind::Panic,
    Kind::PanicOfAnotherType,
    Kind::PanicTwice,
    Kind::Err,
    Kind::AsyncPanic,
    Kind::AsyncErr,
    Kind::Never,
    Kind::WriteAndPanic,
    Kind::Everything,
    Kind::EverythingAndEnd,
];

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("and again");
    }
}

impl Kind {
    fn listen(self, connection: WebSocketConnection, event: &'static str, groups: &GroupManager) {
        let groups = groups.clone();
        match self {
            Kind::Panic => connection.on(event, || panic!("no")),
            Kind::PanicOfAnotherType => connection.on(event, || std::panic::panic_any(7)),
            Kind::PanicTwice => connection.on(event, || std::panic::panic_any(Bomb)),
            Kind::Err => connection.on(event, || Err::<(), _>("no")),
            Kind::AsyncPanic => connection.on(event, async || {
                sleep(Duration::from_millis(1)).await;
                panic!("no");
            }),
            Kind::AsyncErr => connection.on(event, async || {
                sleep(Duration::from_millis(1)).await;
                Err::<(), _>("no")
            }),
            Kind::Never => connection.on(event, async || std::future::pending::<()>().await),
            Kind::WriteAndPanic => connection.on(event, move || {
                groups.write("all", "written before");
                panic!("no");
            }),
            Kind::Everything => connection.on(event, move || call_everything(connection, event, &groups)),
            Kind::EverythingAndEnd => connection.on(event, move || {
                call_everything(connection, event, &groups);
                connection.end();
                connection.close();
                connection.close_with(4001, "again");
                connection.terminate();
                call_everything(connection, event, &groups);
            }),
        };
    }
}

fn call_everything(connection: WebSocketConnection, event: &'static str, groups: &GroupManager) {
    let added = connection.on(event, || {});
    connection.once(event, || {});
    connection.remove_listener(added);
    connection.on("close", || {});
    // After the end they are refused.
    let _ = connection.set_group(Some("third"));
    let _ = connection.set_group(Some("all"));
    let _ = connection.set_group(None);
    let _ = groups.join("third", connection);
    groups.leave("third", connection);
    connection.pause();
    connection.resume();
    connection.write("x");
    connection.ping("x");
    groups.write("few", "x");
    drop(connection.begin_text());
    let _ = (connection.groups(), connection.is_writable(), connection.listener_count(event), groups.groups());
}

#[tokio::test(start_paused = true)]
async fn whatever_a_listener_of_a_connection_does_its_neighbours_are_served_and_it_closes_once() {
    for (event, bytes) in events() {
        for kind in KINDS {
            let case = format!("{kind:?} in {event}");
            let ran = Arc::new(AtomicBool::new(false));
            let has_run = ran.clone();
            let world = World::new(move |connection, groups, _| {
                let ran = has_run.clone();
                connection.on(event, move || ran.store(true, Ordering::SeqCst));
                kind.listen(connection, event, groups);
                if event == "drain" {
                    connection.write("x".repeat(2000));
                }
            });
            let (mut ann, _ann) = world.open("ann").await;
            let (mut bad, serving) = world.open("bad").await;
            // What follows in the same segment is delivered or not, as the listener's connection ends.
            let bytes = [&bytes[..], &text("more"), &frame(PING, "more")].concat();
            // One that drained as soon as it was open may be over already.
            let _ = bad.stream.write_all(&bytes).await;
            settle().await;
            assert!(ran.load(Ordering::SeqCst) || event == "close", "{case}: the listener was not called");
            if let Kind::WriteAndPanic = kind
                && event != "close"
            {
                assert_eq!(ann.text().await, "written before", "{case}");
            }
            if event != "close" {
                world.assert_served(&mut ann, &case).await;
            }
            // The peer leaves. Its connection may have to wait for a listener that is never done, and no longer than it should.
            let _ = bad.stream.write_all(&close(1000, "")).await;
            let _ = bad.stream.shutdown().await;
            timeout(Duration::from_secs(60), serving).await.unwrap_or_else(|_| panic!("{case}: it does not end"));
            drop(bad);
            assert!(ran.load(Ordering::SeqCst), "{case}: the listener was not called");
            if let (Kind::WriteAndPanic, "close") = (kind, event) {
                assert_eq!(ann.text().await, "written before", "{case}");
            }
            world.assert_served(&mut ann, &case).await;
            let log = world.log.take();
            assert_eq!((times(&log, "close bad"), times(&log, "close ann")), (1, 0), "{case}: {log:?}");
            for group in ["all", "few", "third"] {
                let (joins, leaves) =
                    (times(&log, &format!("join {group} bad")), times(&log, &format!("leave {group} bad")));
                assert_eq!(joins, leaves, "{case}: {log:?}");
            }
            let creates = ["few", "third"].map(|group| times(&log, &format!("create {group}")));
            let destroys = ["few", "third"].map(|group| times(&log, &format!("destroy {group}")));
            assert_eq!(creates, destroys, "{case}: {log:?}");
            assert_eq!(times(&log, "destroy all"), 0, "{case}: {log:?}");
            assert_eq!(world.groups.get("all").map_or(0, |group| group.len()), 1, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_listener_of_a_group_does_its_neighbours_are_served_and_every_event_fires_once() {
    for event in ["create", "join", "leave", "destroy", "drop"] {
        for kind in [
            Kind::Panic,
            Kind::PanicOfAnotherType,
            Kind::PanicTwice,
            Kind::Err,
            Kind::WriteAndPanic,
            Kind::EverythingAndEnd,
        ] {
            let case = format!("{kind:?} in {event}");
            let world = World::new(|_, _, _| {});
            let called = Arc::new(AtomicBool::new(false));
            let (groups, ran, ended) = (world.groups.clone(), called.clone(), Arc::new(Mutex::new(None)));
            let bad = ended.clone();
            let misbehave = Arc::new(move |member: Option<WebSocketConnection>| {
                ran.store(true, Ordering::SeqCst);
                if let Some(member) = member {
                    *bad.lock().unwrap() = Some(member);
                }
                match kind {
                    Kind::PanicOfAnotherType => std::panic::panic_any(7),
                    Kind::PanicTwice => std::panic::panic_any(Bomb),
                    Kind::Err => Err("no"),
                    Kind::WriteAndPanic => {
                        groups.write("all", "written before");
                        panic!("no");
                    }
                    Kind::EverythingAndEnd => {
                        if let Some(member) = member {
                            call_everything(member, "text", &groups);
                            member.close();
                            member.terminate();
                        }
                        Ok(())
                    }
                    _ => panic!("no"),
                }
            });
            let listen_to = {
                let misbehave = misbehave.clone();
                move |group: ConnectionGroup| {
                    if group.name() == "few" && event != "create" {
                        group.set_slow_member_policy(react_websocket::options::SlowMemberPolicy::DropNew);
                        let misbehave = misbehave.clone();
                        group.on(event, move |member| misbehave(Some(member)));
                    }
                }
            };
            match event {
                "create" | "destroy" => {
                    world.groups.on(event, move |group| if group.name() == "few" { misbehave(None) } else { Ok(()) })
                }
                _ => world.groups.on("create", listen_to),
            };
            let (mut ann, _ann) = world.open("ann").await;
            let (peer, serving) = Peer::serve_with_capacity(&world.http, 300);
            let mut bad = peer;
            bad.send(HANDSHAKE.replace("GET /", "GET /bad")).await;
            let head = bad.head().await;
            settle().await;
            // It reads nothing of this, so that the later ones are dropped.
            (0..3).for_each(|_| world.groups.write("few", "x".repeat(2000)));
            settle().await;
            drop(bad);
            timeout(Duration::from_secs(60), serving).await.unwrap_or_else(|_| panic!("{case}: it does not end"));
            assert!(called.load(Ordering::SeqCst), "{case}: the listener was not called; {head}");
            settle().await;
            if let Kind::WriteAndPanic = kind {
                while timeout(Duration::from_millis(10), ann.text()).await.is_ok_and(|text| text == "written before") {}
            }
            world.assert_served(&mut ann, &case).await;
            let log = world.log.take();
            assert!(times(&log, "close bad") <= 1, "{case}: {log:?}");
            assert_eq!(times(&log, "close ann"), 0, "{case}: {log:?}");
            for group in ["all", "few", "third"] {
                let count = |event: &str, whom: &str| times(&log, &format!("{event} {group}{whom}"));
                assert_eq!(count("join", " bad"), count("leave", " bad"), "{case}: {log:?}");
                assert!(group == "all" || count("create", "") == count("destroy", ""), "{case}: {log:?}");
            }
            assert_eq!(world.groups.len(), 1, "{case}");
        }
    }
}

/// A thread that blocks may be the one that waits for the sockets of all, so that a listener has to say that it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_that_blocks_in_place_delays_no_other_connection() {
    for event in ["text", "binary", "ping", "pong", "end", "error", "close"] {
        block(event, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocking_listener_delays_other_connections_only_while_it_blocks() {
    for event in ["text", "binary", "ping", "pong", "end", "error", "close"] {
        block(event, false).await;
    }
}

/// Has a listener block until others have been served, or, unless it does so in place, until they have asked for it.
async fn block(event: &'static str, in_place: bool) {
    {
        let bytes = events().into_iter().find(|(name, _)| *name == event).map(|(_, bytes)| bytes).unwrap();
        let (let_go, gate) = blocking::channel::<()>();
        let (enter, entered) = blocking::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let world = World::new(move |connection, groups, _| {
            let (gate, enter, groups) = (gate.clone(), enter.clone(), groups.clone());
            connection.on(event, move || {
                // Its turn is not over, so this thread has not sent it.
                groups.write("all", "from the blocked");
                let _ = enter.send(());
                let wait = || _ = gate.lock().unwrap().recv();
                if in_place { tokio::task::block_in_place(wait) } else { wait() }
            });
        });
        let socket = SocketServer::new("127.0.0.1:0").unwrap();
        let address = socket.local_address().unwrap();
        let listening = world.http.listen(socket);
        let open = |name: &'static str| async move {
            let mut peer = Peer::connect(address).await;
            peer.send(HANDSHAKE.replace("GET /", &format!("GET /{name}"))).await;
            assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
            peer
        };
        let (mut ann, mut bad) = (open("ann").await, open("bad").await);
        bad.send(&bytes).await;
        tokio::task::spawn_blocking(move || entered.recv_timeout(Duration::from_secs(30))).await.unwrap().unwrap();
        // Serves an open connection, a new connection, a broadcast, and the peer of the blocked
        // connection.
        let served = async {
            for n in 0..100 {
                ann.send(text(n.to_string())).await;
                while ann.text().await != n.to_string() {}
            }
            let mut bob = open("bob").await;
            world.groups.write("all", "news");
            assert_eq!(bob.text().await, "news");
            while ann.text().await != "news" {}
            if !["end", "error", "close"].contains(&event) {
                while bad.frame().await.expect("it is open").payload != b"news" {}
            }
            assert_eq!(Peer::connect(address).await.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
        };
        let let_go = in_place.then_some(let_go);
        timeout(Duration::from_secs(30), served).await.unwrap_or_else(|_| panic!("{event}: others have to wait"));
        if in_place {
            assert_eq!(times(&world.log.take(), "close bad"), 0, "{event}: it is still in its listener");
        }
        drop(let_go);
        drop(bad);
        timeout(Duration::from_secs(30), async {
            while world.groups.get("few").is_some() {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it ends");
        let log = world.log.take();
        assert_eq!((times(&log, "close bad"), times(&log, "leave all bad")), (1, 1), "{event}: {log:?}");
        drop(ann);
        listening.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_of_a_group_that_blocks_holds_up_no_join_no_broadcast_and_no_message() {
    let world = World::new(|_, _, _| {});
    let (let_go, gate) = blocking::channel::<()>();
    let (enter, entered) = blocking::channel::<()>();
    let gate = Mutex::new(gate);
    world.groups.on("create", move |group| {
        if group.name() == "few" {
            let _ = enter.send(());
            let _ = gate.lock().unwrap().recv();
        }
    });
    let (mut ann, _ann) = world.open("ann").await;
    let (http, handshake) = (world.http.clone(), HANDSHAKE.replace("GET /", "GET /bad"));
    let bad = tokio::spawn(async move {
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(handshake).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        drop(peer);
        serving.await;
    });
    tokio::task::spawn_blocking(move || entered.recv_timeout(Duration::from_secs(30))).await.unwrap().unwrap();
    let served = async {
        world.assert_served(&mut ann, "a blocked manager").await;
        // A new connection joins and is served. The manager's events about it are delayed.
        let (mut bob, serving) = world.open("bob").await;
        assert_eq!(world.groups.get("all").map_or(0, |group| group.members().len()), 3);
        world.assert_served(&mut bob, "a blocked manager").await;
        (bob, serving)
    };
    let (bob, serving) = timeout(Duration::from_secs(30), served).await.expect("others do not wait");
    assert_eq!(times(&world.log.take(), "join all bob"), 0);
    drop(let_go);
    timeout(Duration::from_secs(30), bad).await.expect("it ends").unwrap();
    drop(bob);
    timeout(Duration::from_secs(30), serving).await.expect("it ends");
    timeout(Duration::from_secs(30), async {
        while world.groups.len() > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it has left");
    let log = world.log.take();
    for entry in ["join all bob", "leave all bob", "join few bad", "leave few bad", "close bad", "close bob", "destroy few"]
    {
        assert_eq!(times(&log, entry), 1, "{entry}: {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn middlewares_and_routers_that_fail_or_never_answer_harm_no_websocket_and_no_other_request() {
    let world = World::new(|_, _, _| {});
    let errors = Log::default();
    let first = |request: ServerRequest, next: Next| {
        let path = request.path().to_owned();
        async move {
            match path.as_str() {
                "/panic" => panic!("no"),
                "/panic-any" => std::panic::panic_any(7),
                "/err" => return Err("no"),
                _ => {}
            }
            Ok(next.run(request).await)
        }
    };
    let last = |request: ServerRequest| {
        let path = request.path().to_owned();
        async move {
            match path.as_str() {
                "/router/panic" => panic!("no"),
                "/router/err" => Err("no"),
                "/router/never" => std::future::pending().await,
                _ => Ok(Response::plaintext("fine")),
            }
        }
    };
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    websocket.on("error", |_| panic!("a listener of the middleware's errors"));
    let http = HttpServer::new((first, websocket, last));
    let noted = errors.clone();
    http.on("error", move |error| noted.add(error));
    http.on("error", |_| std::panic::panic_any(7));
    drop(world);
    let (mut neighbour, _neighbour) = Peer::open_in_memory(&http).await;
    let (mut never, _never) = Peer::serve(&http);
    never.send("GET /router/never HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for path in ["/panic", "/panic-any", "/err", "/router/panic", "/router/err"] {
        let (mut peer, serving) = Peer::serve(&http);
        assert_eq!(peer.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await.status(), 500, "{path}");
        drop(peer);
        serving.await;
        neighbour.send(text(path)).await;
        assert_eq!(neighbour.text().await, path);
        let (mut other, _other) = Peer::serve(&http);
        assert_eq!(other.ask("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "fine", "after {path}");
    }
    assert_eq!(errors.take().len(), 5);
    let refused = HANDSHAKE.replace("Version: 13", "Version: 12");
    assert_eq!(Peer::serve(&http).0.ask(refused).await.status(), 426);
    neighbour.send(text("last")).await;
    assert_eq!(neighbour.text().await, "last");
}

#[tokio::test(start_paused = true)]
async fn a_timer_whose_callback_panics_with_what_panics_again_goes_on() {
    let (log, ticks) = (Log::default(), Log::default());
    let noted = ticks.clone();
    let timer = Loop::add_periodic_timer(1.0, move || -> () {
        noted.add("tick");
        std::panic::panic_any(Bomb)
    });
    let noted = log.clone();
    Loop::add_timer(3.5, move || noted.add("another timer"));
    sleep(Duration::from_millis(4500)).await;
    Loop::cancel_timer(timer);
    assert_eq!((ticks.take().len(), log.take().len()), (4, 1));
}
