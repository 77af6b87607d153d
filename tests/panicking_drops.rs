//! Values of an app that panic when they are dropped. Each place that takes one gets two: the second would panic while the first
//! one's panic unwinds, which aborts the process. The server lives, `close`, `leave` and `destroy` fire, nothing is kept, and
//! all other connections go on.

mod support;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use react_websocket::errors::BoxError;
use react_websocket::handlers::{Middleware, Next};
use react_websocket::options::SlowMemberPolicy;
use react_websocket::{
    BodyStream, EventEmitter, GroupManager, HttpServer, Loop, Response, ServerRequest, SocketServer, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};
use support::bombs::{Bomb, Bombs};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::time::sleep;

/// Ready at once with a bomb as an error, and holds another until it is dropped. (Of an `async` block both would be dropped within
/// the app's own code.)
struct Failing(Bomb);

impl Future for Failing {
    type Output = Result<(), Bomb>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Bomb>> {
        Poll::Ready(Err(self.0.clone()))
    }
}

/// Ready with an answer, if there is one, and holds a bomb until it is dropped.
struct Deciding(Option<bool>, #[allow(dead_code, reason = "it is there to be dropped")] Bomb);

impl Future for Deciding {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<bool> {
        self.0.map_or(Poll::Pending, Poll::Ready)
    }
}

/// Never ready, and holds a bomb.
async fn never(bomb: Bomb) {
    let _bomb = &bomb;
    std::future::pending().await
}

const EVENTS: [&str; 9] = ["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"];

/// Bombs in two listeners of each kind for each event of a connection, and in two values that are attached to it.
fn plant(connection: WebSocketConnection, bombs: &Bombs) {
    struct First(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    struct Second(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    for event in EVENTS {
        for _ in 0..2 {
            let (on, once, later) = (bombs.one(), bombs.one(), bombs.one());
            connection.on(event, move || _ = &on);
            connection.once(event, move || _ = &once);
            connection.on(event, async move || _ = &later);
        }
    }
    connection.set(First(bombs.one()));
    connection.set(Second(bombs.one()));
}

/// A server whose connections are set up by `each`, and one connection that echoes.
struct Bystander {
    http: HttpServer,
    websocket: WebSocketMiddleware,
    peer: Peer<DuplexStream>,
}

impl Bystander {
    async fn new() -> Bystander {
        Bystander::with(WebSocketMiddleware::new()).await
    }

    async fn with(websocket: WebSocketMiddleware) -> Bystander {
        let websocket = websocket.with_options(WebSocketOptions::new().ping_interval(None));
        let id = websocket.on("connection", |connection: WebSocketConnection| {
            connection.on("text", move |text: &str| connection.write(text));
        });
        let http = HttpServer::new((websocket.clone(), router));
        let (peer, _) = Peer::open_in_memory(&http).await;
        websocket.remove_listener(id);
        Bystander { http, websocket, peer }
    }

    /// A connection that is set up so.
    async fn open(
        &self,
        set_up: impl Fn(WebSocketConnection) + Send + Sync + 'static,
    ) -> (WebSocketConnection, Peer<DuplexStream>) {
        let (open, opened) = std::sync::mpsc::channel();
        self.websocket.once("connection", move |connection: WebSocketConnection| {
            set_up(connection);
            open.send(connection).is_ok()
        });
        let (peer, _) = Peer::open_in_memory(&self.http).await;
        (opened.recv().unwrap(), peer)
    }

    /// It is still there.
    async fn echoes(&mut self) {
        self.peer.send(text("still there")).await;
        assert_eq!(self.peer.text().await, "still there");
    }
}

/// Notes `close` of a connection.
fn watch(connection: WebSocketConnection, log: &Log) {
    let log = log.clone();
    connection.on("close", move |code: u16| log.add(format_args!("close {code}")));
}

#[tokio::test(start_paused = true)]
async fn in_listeners_and_data_of_connections_however_they_end() {
    let (bombs, log, mut bystander) = (Bombs::new(), Log::default(), Bystander::new().await);
    let ends: [fn(WebSocketConnection); 4] =
        [|c| c.terminate(), |c| c.close(), |c| c.remove_all_listeners(None), |c| _ = c.write("x".repeat(10 << 20))];
    for end in ends {
        let (connection, mut peer) = bystander.open(|_| {}).await;
        plant(connection, &bombs);
        // Some of them are with the task, and are called.
        peer.send([text("a"), frame(0x82, "b"), frame(0x89, ""), frame(0x8A, "")].concat()).await;
        settle().await;
        plant(connection, &bombs);
        watch(connection, &log);
        end(connection);
        settle().await;
        watch(connection, &log);
        // It may be gone.
        let _ = peer.stream.write_all(&close(4000, "")).await;
        settle().await;
        drop(peer);
        sleep(Duration::from_secs(60)).await;
        assert!(log.take().iter().any(|event| event.starts_with("close")));
        assert_eq!(bombs.left(), 0);
        // On one that has ended.
        plant(connection, &bombs);
        assert_eq!(bombs.left(), 0);
    }
    bystander.echoes().await;
}

#[tokio::test(start_paused = true)]
async fn in_listeners_that_are_removed_one_by_one_by_event_or_all() {
    let (bombs, mut bystander) = (Bombs::new(), Bystander::new().await);
    let (connection, mut peer) = bystander.open(|_| {}).await;
    for is_with_task in [false, true] {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (on, once) = (bombs.one(), bombs.one());
            ids.push(connection.on("text", move || _ = &on));
            ids.push(connection.once("text", move || _ = &once));
        }
        let (binary, pong) = ([bombs.one(), bombs.one()], [bombs.one(), bombs.one()]);
        binary.into_iter().for_each(|bomb| _ = connection.on("binary", move || _ = &bomb));
        pong.into_iter().for_each(|bomb| _ = connection.on("pong", move || _ = &bomb));
        if is_with_task {
            peer.send(frame(0x89, "")).await;
            settle().await;
        }
        ids.into_iter().for_each(|id| connection.remove_listener(id));
        connection.remove_all_listeners(Some("binary"));
        settle().await;
        assert_eq!(bombs.left(), 2);
        connection.remove_all_listeners(None);
        settle().await;
        assert_eq!(bombs.left(), 0);
    }
    assert!(connection.is_writable());
    bystander.echoes().await;
}

#[tokio::test(start_paused = true)]
async fn in_return_values_and_panics_of_listeners() {
    let (bombs, log, mut bystander) = (Bombs::new(), Log::default(), Bystander::new().await);
    for kind in 0..7 {
        let (connection, mut peer) = bystander.open(|_| {}).await;
        let bomb = bombs.clone();
        match kind {
            0 => connection.on("text", move || Err::<(), Bomb>(bomb.one())),
            1 => connection.on("text", async move || Err::<(), Bomb>(bomb.one())),
            2 => connection.on("text", async move |_: &str| Err::<(), Bomb>(bomb.one())),
            3 => connection.on("text", move || Ok::<Bomb, BoxError>(bomb.one())),
            4 => connection.on("text", async move |_: &str| Ok::<Bomb, BoxError>(bomb.one())),
            5 => connection.on("text", move || Failing(bomb.one())),
            _ => connection.on("text", move || std::panic::panic_any(bomb.one())),
        };
        for event in ["error", "close"] {
            for _ in 0..2 {
                let (now, later, failing) = (bombs.clone(), bombs.clone(), bombs.clone());
                connection.on(event, move || Err::<(), Bomb>(now.one()));
                connection.on(event, async move || {
                    sleep(Duration::from_secs(1)).await;
                    Err::<(), Bomb>(later.one())
                });
                let next = log.clone();
                connection.on(event, async move || {
                    sleep(Duration::from_secs(1)).await;
                    next.add(format_args!("{event} was waited for"));
                });
                connection.on(event, move || Failing(failing.one()));
            }
        }
        watch(connection, &log);
        peer.send(text("a")).await;
        // The listeners of `error` take a second.
        sleep(Duration::from_secs(2)).await;
        drop(peer);
        sleep(Duration::from_secs(60)).await;
        let told = log.take();
        let count = |what: &str| told.iter().filter(|told| *told == what).count();
        assert_eq!(count("close 1011"), 1, "kind {kind}: {told:?}");
        assert_eq!([count("error was waited for"), count("close was waited for")], [2, 2], "kind {kind}: {told:?}");
        assert_eq!(bombs.left(), 0, "kind {kind}");
    }
    bystander.echoes().await;
}

#[tokio::test(start_paused = true)]
async fn in_asynchronous_listeners_that_run_when_their_connection_ends() {
    let (bombs, log, mut bystander) = (Bombs::new(), Log::default(), Bystander::new().await);
    let ends: [fn(WebSocketConnection); 3] = [|c| c.terminate(), |c| c.close(), |_| {}];
    for end in ends {
        let (connection, mut peer) = bystander.open(|_| {}).await;
        for event in ["text", "error", "close"] {
            for _ in 0..2 {
                let bomb = bombs.one();
                connection.on(event, async move || {
                    _ = &bomb;
                    std::future::pending::<()>().await
                });
            }
        }
        watch(connection, &log);
        peer.send(text("a")).await;
        settle().await;
        end(connection);
        settle().await;
        drop(peer);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(log.take(), ["close 1006"]);
        assert_eq!(bombs.left(), 0);
    }
    bystander.echoes().await;
}

/// One such listener would keep the member in its other groups.
#[tokio::test(start_paused = true)]
async fn in_listeners_of_groups_and_managers() {
    let (bombs, log, mut bystander) = (Bombs::new(), Log::default(), Bystander::new().await);
    let groups = GroupManager::new();
    let (created, destroyed) = (log.clone(), log.clone());
    groups.on("create", move |group| {
        let log = created.clone();
        group.on("leave", move |_| log.add(format_args!("leave {}", group.name())));
    });
    groups.on("destroy", move |group| destroyed.add(format_args!("destroy {}", group.name())));
    for _ in 0..2 {
        let bomb = bombs.one();
        groups.on("create", move |_| _ = &bomb);
        let bomb = bombs.one();
        groups.once("destroy", move |_| _ = &bomb);
        let more = bombs.clone();
        groups.on("create", move |_| Err::<(), Bomb>(more.one()));
    }
    let (connection, peer) = bystander.open(|_| {}).await;
    watch(connection, &log);
    for name in ["a", "b", "c"] {
        let group = groups.join(name, connection).unwrap();
        group.set_slow_member_policy(SlowMemberPolicy::DropNew);
        for event in ["join", "leave", "drop"] {
            for _ in 0..2 {
                let bomb = bombs.one();
                group.on(event, move |_| _ = &bomb);
                let bomb = bombs.one();
                group.once(event, move |_| _ = &bomb);
            }
        }
        let more = bombs.clone();
        group.on("leave", move |_| Err::<(), Bomb>(more.one()));
        let id = group.on("leave", |_| {});
        group.remove_listener(id);
    }
    drop(peer);
    settle().await;
    let mut told = log.take();
    told.sort();
    assert_eq!(
        told,
        ["close 1006", "destroy a", "destroy b", "destroy c", "leave a", "leave b", "leave c"],
        "it is out of all its groups"
    );
    assert_eq!((groups.len(), groups.stats().left, connection.groups().len()), (0, 3, 0));
    // On a group that is gone.
    let (connection, _peer) = bystander.open(|_| {}).await;
    let gone = groups.join("d", connection).unwrap();
    gone.remove(connection);
    let bomb = bombs.one();
    gone.on("join", move |_| _ = &bomb);
    groups.remove_all_listeners(Some("destroy"));
    drop(groups);
    assert_eq!(bombs.left(), 0);
    bystander.echoes().await;
}

#[tokio::test(start_paused = true)]
async fn in_listeners_and_arguments_of_an_event_emitter() {
    let bombs = Bombs::new();
    let emitter = EventEmitter::<Bomb>::new();
    emitter.emit("nobody listens", bombs.one());
    assert_eq!(bombs.left(), 0);
    for _ in 0..2 {
        let bomb = bombs.one();
        emitter.on("data", move |_| _ = &bomb);
        let bomb = bombs.one();
        emitter.once("data", move |_| _ = &bomb);
        let bomb = bombs.one();
        emitter.on("other", move |_| Err::<(), Bomb>(bomb.clone()));
    }
    let (again, more) = (emitter.clone(), bombs.clone());
    emitter.once("data", move |_| (0..2).for_each(|_| again.emit("other", more.one())));
    emitter.emit("data", bombs.one());
    emitter.emit("data", bombs.one());
    emitter.remove_all_listeners(Some("data"));
    drop(emitter);
    assert_eq!(bombs.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_listeners_of_a_middleware() {
    let (bombs, mut bystander) = (Bombs::new(), Bystander::new().await);
    let websocket = &bystander.websocket;
    let plant = || {
        for event in ["connection", "error"] {
            for _ in 0..2 {
                let bomb = bombs.one();
                websocket.on(event, move |_| _ = &bomb);
                let bomb = bombs.one();
                websocket.once("error", move |_| _ = &bomb);
                let more = bombs.clone();
                websocket.on(event, move |_| Deciding(Some(true), more.one()));
            }
        }
    };
    plant();
    let (_, peer) = bystander.open(|_| {}).await;
    drop(peer);
    let (mut refused, _) = Peer::serve(&bystander.http);
    refused.send(HANDSHAKE.replace("Version: 13", "Version: 12")).await;
    assert!(refused.head().await.starts_with("HTTP/1.1 426"));
    drop(refused);
    websocket.remove_all_listeners(Some("connection"));
    websocket.remove_all_listeners(None);
    settle().await;
    assert_eq!(bombs.left(), 0);
    plant();
    bystander.echoes().await;
    let Bystander { http, websocket, peer } = bystander;
    drop((http, websocket, peer));
    settle().await;
    assert_eq!(bombs.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_listeners_of_connection_and_of_its_refusal() {
    let bombs = Bombs::new();
    for kind in 0..5 {
        let mut bystander = Bystander::new().await;
        let websocket = &bystander.websocket;
        let (other, one, more, planted) = (bombs.one(), bombs.clone(), bombs.clone(), bombs.clone());
        websocket.on("connection", move |connection| plant(connection, &planted));
        match kind {
            0 => websocket.on("connection", move |_| Err::<(), Bomb>(one.one())),
            1 => websocket.on("connection", move |_| Failing(one.one())),
            2 => websocket.on("connection", move |_| never(one.one())),
            3 => websocket.on("connection", move |_| std::panic::panic_any(one.one())),
            _ => websocket.on("connection", move |connection: WebSocketConnection| {
                let page = || Response::new(400).with_body(Bytes::from_owner(one.one()));
                connection.reject(page());
                connection.reject(page())
            }),
        };
        for _ in 0..2 {
            let [never_ending, more, failing] = [more.clone(), more.clone(), more.clone()];
            websocket.on("error", move |_| never(never_ending.one()));
            websocket.on("error", move |_| Err::<(), Bomb>(more.one()));
            websocket.on("error", move |_| Failing(failing.one()));
        }
        websocket.on("connection", move |_| _ = &other);
        for leaves in [false, true] {
            let (mut refused, _) = Peer::serve(&bystander.http);
            refused.send(HANDSHAKE).await;
            settle().await;
            if leaves {
                drop(refused);
            } else {
                assert!(!refused.head().await.starts_with("HTTP/1.1 101"), "kind {kind}");
            }
            sleep(Duration::from_secs(60)).await;
        }
        websocket.remove_all_listeners(None);
        settle().await;
        assert_eq!(bombs.left(), 0, "kind {kind}");
        bystander.echoes().await;
    }
}

/// Ready with an error or without, and holds a bomb until it is dropped.
struct Verifying(bool, Bomb);

impl Future for Verifying {
    type Output = Result<(), Bomb>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Bomb>> {
        Poll::Ready(if self.0 { Ok(()) } else { Err(self.1.clone()) })
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_closure_that_verifies_handshakes_its_future_and_its_error() {
    let bombs = Bombs::new();
    for kind in 0..4 {
        let (replaced, dropped, more) = (bombs.one(), bombs.one(), bombs.clone());
        let middleware = WebSocketMiddleware::new().with_verify(move |_: ServerRequest| replaced.as_ref().is_empty());
        drop(WebSocketMiddleware::new().with_verify(move |_: ServerRequest| dropped.as_ref().is_empty()));
        let is_bystander = |request: &ServerRequest| request.path() == "/";
        let websocket = match kind {
            0 => middleware.with_verify(move |request: ServerRequest| match is_bystander(&request) {
                true => Ok(()),
                false => Err::<(), Bomb>(more.one()),
            }),
            1 => middleware.with_verify(move |request: ServerRequest| Verifying(is_bystander(&request), more.one())),
            2 => middleware
                .with_verify(move |request: ServerRequest| Deciding(is_bystander(&request).then_some(true), more.one())),
            _ => middleware.with_verify(move |request: ServerRequest| match is_bystander(&request) {
                true => true,
                false => std::panic::panic_any(more.one()),
            }),
        };
        // A second one, which is dropped together with the first.
        let second = bombs.one();
        websocket.on("error", move |_| _ = &second);
        let mut bystander = Bystander::with(websocket).await;
        for leaves in [false, true] {
            let (mut refused, _) = Peer::serve(&bystander.http);
            refused.send(HANDSHAKE.replace("GET /", "GET /bomb")).await;
            settle().await;
            if !leaves {
                assert!(!refused.head().await.starts_with("HTTP/1.1 101"), "kind {kind}");
            }
            drop(refused);
            sleep(Duration::from_secs(60)).await;
        }
        bystander.echoes().await;
        let Bystander { http, websocket, peer } = bystander;
        drop((http, websocket, peer));
        settle().await;
        assert_eq!(bombs.left(), 0, "kind {kind}");
    }
}

/// A middleware of the app's own type.
struct OwnMiddleware(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);

impl Middleware for OwnMiddleware {
    fn handle(&self, request: ServerRequest, next: Next) -> react_websocket::handlers::ResponseFuture {
        next.run(request)
    }
}

#[tokio::test(start_paused = true)]
async fn in_the_chain_of_a_server_its_futures_errors_attributes_and_bodies() {
    struct First(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    struct Second(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    let bombs = Bombs::new();
    let (captured, attributes, more) = (bombs.one(), bombs.clone(), bombs.clone());
    let middleware = move |request: ServerRequest, next: Next| {
        _ = &captured;
        next.run(request.with_attribute(First(attributes.one())).with_attribute(Second(attributes.one())))
    };
    let router = move |request: ServerRequest| Answering(request, more.one());
    let http = HttpServer::new((OwnMiddleware(bombs.one()), OwnMiddleware(bombs.one()), middleware, router));
    for _ in 0..2 {
        let bomb = bombs.one();
        http.on("error", move |_| _ = &bomb);
        let more = bombs.clone();
        http.on("error", move |_| Err::<(), Bomb>(more.one()));
    }
    for (path, status) in
        [("/", Some(200)), ("/error", Some(500)), ("/panic", Some(500)), ("/never", None), ("/large", None)]
    {
        let (mut peer, _) = Peer::serve_with_capacity(&http, 1 << 16);
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")).await;
        settle().await;
        if let Some(status) = status {
            assert_eq!(peer.answer().await.status(), status);
        }
        drop(peer);
        sleep(Duration::from_secs(60)).await;
    }
    let (mut peer, _) = Peer::serve(&http);
    for _ in 0..2 {
        assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await.text(), "a bomb");
        peer.send("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n").await;
        assert!(peer.head().await.starts_with("HTTP/1.1 200"));
    }
    drop((peer, http));
    settle().await;
    assert_eq!(bombs.left(), 0);
}

/// The answer to a request, and a bomb beside it. The request has two more.
struct Answering(ServerRequest, Bomb);

impl Future for Answering {
    type Output = Result<Response, Bomb>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        let large = || {
            static BYTES: [u8; 1 << 20] = [b'x'; 1 << 20];
            struct Large(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
            impl AsRef<[u8]> for Large {
                fn as_ref(&self) -> &[u8] {
                    &BYTES
                }
            }
            Bytes::from_owner(Large(self.1.clone()))
        };
        Poll::Ready(match self.0.path() {
            "/error" => Err(self.1.clone()),
            "/panic" => std::panic::panic_any(self.1.clone()),
            "/never" => return Poll::Pending,
            "/large" => Ok(Response::new(200).with_body(large())),
            _ => Ok(Response::new(200).with_body(Bytes::from_owner(self.1.clone()))),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn in_listeners_of_body_streams_and_sockets() {
    let bombs = Bombs::new();
    let (stream, unsent) = (BodyStream::new(), BodyStream::new());
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    for _ in 0..2 {
        for stream in [&stream, &unsent] {
            for event in ["drain", "close"] {
                let bomb = bombs.one();
                stream.on(event, move || _ = &bomb);
                let bomb = bombs.one();
                stream.once(event, move || Err::<(), Bomb>(bomb));
            }
        }
        let bomb = bombs.one();
        socket.on("error", move |_| _ = &bomb);
    }
    let (writer, body) = (stream.writer(), std::sync::Mutex::new(Some(stream)));
    let http = HttpServer::new(move |_: ServerRequest| match body.lock().unwrap().take() {
        Some(body) => Response::new(200).with_body(body),
        None => Response::new(404),
    });
    let (mut peer, _) = Peer::serve(&http);
    peer.send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n").await;
    writer.end_with("x");
    assert_eq!(peer.answer().await.text(), "x");
    settle().await;
    drop((http, writer, unsent, socket, peer));
    settle().await;
    assert_eq!(bombs.left(), 0);
}

/// A stream of bytes that panics when it is dropped.
struct OwnStream(DuplexStream, #[allow(dead_code, reason = "it is there to be dropped")] Bomb);

impl AsyncRead for OwnStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for OwnStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn in_served_streams_and_their_pending_requests() {
    let (bombs, log) = (Bombs::new(), Log::default());
    let (more, watched) = (bombs.clone(), log.clone());
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection| watch(connection, &watched));
    let router = move |request: ServerRequest| {
        let bomb = more.one();
        async move {
            if request.path() == "/never" {
                never(bomb).await;
            }
            Response::new(204)
        }
    };
    let http = HttpServer::new((websocket, router));
    let serve = || {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        (Peer::new(ours), http.serve(OwnStream(theirs, bombs.one())))
    };
    for request in
        ["", "GARBAGE\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /never HTTP/1.1\r\nHost: a\r\n\r\n", HANDSHAKE]
    {
        let ((mut peer, leaves), (mut stays, serving)) = (serve(), serve());
        peer.send(request).await;
        stays.send(request).await;
        settle().await;
        drop(peer);
        leaves.await;
        serving.close().await;
    }
    assert_eq!(log.take(), ["close 1006", "close 1006"]);
    drop(http);
    settle().await;
    assert_eq!(bombs.left(), 0);
}

#[test]
fn in_everything_when_the_runtime_is_dropped() {
    let (bombs, log, groups) = (Bombs::new(), Log::default(), GroupManager::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let destroyed = log.clone();
    groups.on("destroy", move |_| destroyed.add("destroy"));
    runtime.block_on(async {
        let bystander = Bystander::new().await;
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (connection, mut peer) = bystander.open(|_| {}).await;
            plant(connection, &bombs);
            watch(connection, &log);
            for _ in 0..2 {
                let group = groups.join("a", connection).unwrap();
                let bomb = bombs.one();
                group.on("leave", move |_| _ = &bomb);
                let bomb = bombs.one();
                connection.on("text", move || never(bomb.clone()));
            }
            peer.send(text("a")).await;
            tokio::task::yield_now().await;
            peers.push(peer);
        }
        for _ in 0..2 {
            let bomb = bombs.one();
            Loop::add_timer(1000.0, move || _ = &bomb);
            let bomb = bombs.one();
            Loop::add_periodic_timer(1000.0, move || _ = &bomb);
        }
        std::mem::forget(peers);
    });
    drop(runtime);
    assert_eq!(log.take().iter().filter(|event| event.starts_with("close")).count(), 2);
    assert_eq!((groups.len(), bombs.left()), (0, 0));
}
