//! Every object is used from everywhere: in each kind of callback, in the destructor of each kind
//! of value, and in the destructors of a thread that ends. They are also used while a runtime ends,
//! and after that. No lock is held there, no event is lost or emitted twice, and no memory is kept.

mod support;

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use bytes::Bytes;
use react_websocket::body::BodyWriter;
use react_websocket::handlers::Next;
use react_websocket::{
    BodyStream, EventEmitter, GroupManager, HttpOptions, HttpServer, Loop, Response, ServerRequest, Text,
    WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::*;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// The objects of an app. All callbacks and destructors use them.
struct App {
    websocket: WebSocketMiddleware,
    groups: GroupManager,
    emitter: EventEmitter<Option<Uses>>,
    http: Mutex<Option<HttpServer>>,
    connections: Mutex<Vec<WebSocketConnection>>,
    writers: Mutex<Vec<BodyWriter>>,
    uses: AtomicUsize,
    values: AtomicUsize,
    log: Log,
}

impl App {
    fn new() -> Arc<App> {
        let groups = GroupManager::new();
        Arc::new(App {
            websocket: WebSocketMiddleware::new().with_group_manager(groups.clone()),
            groups,
            emitter: EventEmitter::new(),
            http: Mutex::default(),
            connections: Mutex::default(),
            writers: Mutex::default(),
            uses: AtomicUsize::new(0),
            values: AtomicUsize::new(0),
            log: Log::default(),
        })
    }

    /// Uses everything that the app has, in every way that ends nothing.
    fn use_everything(&self) {
        self.uses.fetch_add(1, Ordering::SeqCst);
        let connections = self.connections.lock().unwrap().clone();
        for connection in connections {
            let id = connection.on("text", || {});
            connection.remove_listener(id);
            connection.once("drain", || {});
            connection.remove_all_listeners(Some("drain"));
            connection.set(1u8);
            connection.write("used");
            connection.ping("used");
            connection.pause();
            connection.resume();
            let _ = self.groups.join("used", connection);
            self.groups.leave("used", connection);
            let _ = connection.set_group(Some("chosen"));
            let _ = connection.set_group(None);
            _ = (connection.request(), connection.error(), connection.buffered_amount(), format!("{connection:?}"));
        }
        let id = self.websocket.on("connection", |_: WebSocketConnection| {});
        self.websocket.remove_listener(id);
        self.websocket.write_all("used");
        _ = (self.websocket.stats(), self.websocket.connections(), format!("{:?}", self.websocket));
        let id = self.groups.on("create", |group| {
            group.on("join", |_| {});
        });
        self.groups.remove_listener(id);
        self.groups.write("used", "used");
        _ = (self.groups.stats(), format!("{:?}", self.groups));
        let id = self.emitter.on("used", |_| {});
        self.emitter.emit("used", None);
        self.emitter.remove_listener(id);
        let http = self.http.lock().unwrap().clone();
        if let Some(http) = http {
            let id = http.on("error", |_| {});
            http.remove_listener(id);
            _ = (http.stats(), format!("{http:?}"));
        }
        let writers = self.writers.lock().unwrap().clone();
        for writer in writers {
            let id = writer.on("drain", || {});
            writer.remove_listener(id);
            writer.write("used");
            _ = (writer.is_writable(), writer.buffered_amount(), format!("{writer:?}"));
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            Loop::future_tick(|| {});
            Loop::cancel_timer(Loop::add_timer(0, || {}));
            Loop::add_timer(0, || {});
        }
        react_websocket::cork(|| self.websocket.write_all("corked"));
    }

    /// A value that uses everything when it is dropped.
    fn value(self: &Arc<App>) -> Uses {
        self.values.fetch_add(1, Ordering::SeqCst);
        Uses(Arc::downgrade(self), Arc::new(AtomicUsize::new(USES)))
    }
}

/// How often a value and its clones use all objects. Each use causes further events, so a limit is
/// needed.
const USES: usize = 6;

#[derive(Debug)]
struct Uses(Weak<App>, Arc<AtomicUsize>);

impl Uses {
    fn call(&self) {
        let may_use = |left: usize| left.checked_sub(1);
        if let Some(app) = self.0.upgrade()
            && self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, may_use).is_ok()
        {
            app.use_everything();
        }
    }

    fn app(&self) -> Arc<App> {
        self.0.upgrade().expect("the app")
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        if let Some(app) = self.0.upgrade() {
            app.values.fetch_sub(1, Ordering::SeqCst);
        }
        self.call();
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call();
        f.write_str("used")
    }
}

impl Error for Uses {}

impl Clone for Uses {
    fn clone(&self) -> Uses {
        self.call();
        self.app().values.fetch_add(1, Ordering::SeqCst);
        Uses(self.0.clone(), self.1.clone())
    }
}

impl AsRef<[u8]> for Uses {
    fn as_ref(&self) -> &[u8] {
        b"used"
    }
}

impl AsRef<str> for Uses {
    fn as_ref(&self) -> &str {
        self.call();
        "used"
    }
}

/// Runs in a thread of its own, which would take the test with it if it hung.
fn in_time<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(test()));
    told.recv_timeout(Duration::from_secs(60)).expect("an end: a lock is held, or the test has failed")
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

const EVENTS: [&str; 9] = ["text", "binary", "message", "ping", "pong", "drain", "end", "error", "close"];

/// Listeners of each kind that use everything when they are called, cloned and dropped, and data.
fn plant(app: &Arc<App>, connection: WebSocketConnection) {
    for event in EVENTS {
        let (on, once, later) = (app.value(), app.value(), app.value());
        connection.on(event, move || on.call());
        connection.once(event, move || once.call());
        connection.on(event, async move || {
            tokio::task::yield_now().await;
            later.call();
        });
    }
    connection.set(app.value());
    connection.set(app.value());
    let log = app.log.clone();
    connection.on("close", move |code: u16| log.add(format_args!("close {code}")));
    app.connections.lock().unwrap().push(connection);
}

/// A server, all of whose callbacks and values use everything.
fn serve(app: &Arc<App>) -> HttpServer {
    let value = || app.value();
    let (verify, select, page, limit, passing, failed) = (value(), value(), value(), value(), value(), value());
    let options = WebSocketOptions::new().ping_interval(None).select_subprotocol(move |_, offered| {
        select.call();
        offered.first().copied()
    });
    let owner = Arc::downgrade(app);
    let websocket = app.websocket.clone().with_options(options).with_verify(move |request: ServerRequest| {
        verify.call();
        match request.path() {
            "/refused" => Err(verify.clone()),
            _ => Ok(verify.clone()),
        }
    });
    websocket.on("connection", move |connection: WebSocketConnection| plant(&owner.upgrade().unwrap(), connection));
    let (now, later, once) = (value(), value(), value());
    websocket.on("connection", async move |connection: WebSocketConnection| {
        tokio::task::yield_now().await;
        later.call();
        if connection.request().is_some_and(|request| request.path() == "/rejected") {
            connection.reject(Response::plaintext(Bytes::from_owner(later.clone())));
            connection.reject(Response::plaintext(Bytes::from_owner(later.clone())));
        }
    });
    websocket.on("error", move |_: WebSocketConnection| {
        now.call();
        Err::<(), _>(now.clone())
    });
    websocket.once("error", move |_: WebSocketConnection| drop(once));
    let owner = Arc::downgrade(app);
    let middleware = move |request: ServerRequest, next: Next| {
        passing.call();
        let app = owner.upgrade().unwrap();
        next.run(request.with_attribute(app.value()).with_attribute(app.value()))
    };
    let owner = Arc::downgrade(app);
    let router = async move |request: ServerRequest| {
        let app = owner.upgrade().unwrap();
        tokio::task::yield_now().await;
        app.use_everything();
        match request.path() {
            "/failing" => Err(app.value()),
            "/panic" => std::panic::panic_any(app.value()),
            "/stream" => {
                let stream = BodyStream::new();
                app.writers.lock().unwrap().push(stream.writer());
                for event in ["drain", "shutdown", "close"] {
                    let (on, once) = (app.value(), app.value());
                    stream.on(event, move || on.call());
                    stream.once(event, move || Err::<(), _>(once.clone()));
                }
                let (told, writer) = (app.log.clone(), stream.writer());
                stream.on("close", move || told.add("stream closed"));
                writer.write(vec![b'x'; 100_000]);
                Loop::add_timer(1, move || writer.end());
                Ok(Response::new(200).with_body(stream))
            }
            _ => Ok(Response::plaintext(Bytes::from_owner(app.value()))),
        }
    };
    let options = HttpOptions::new()
        .error_page(move |_error, plain| {
            page.call();
            plain
        })
        .max_body_size_for(move |_request| {
            limit.call();
            1000
        });
    let http = HttpServer::new((middleware, websocket, router)).with_options(options);
    http.on("error", move |_| {
        failed.call();
        Err::<(), _>(failed.clone())
    });
    *app.http.lock().unwrap() = Some(http.clone());
    http
}

fn handshake(path: &str) -> String {
    HANDSHAKE.replace("GET /", &format!("GET {path}")).replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
}

/// All that can happen, once.
async fn live(app: &Arc<App>, http: &HttpServer) {
    for event in ["create", "destroy"] {
        let (on, once) = (app.value(), app.value());
        app.groups.on(event, move |group| {
            on.call();
            for event in ["join", "leave"] {
                let listener = on.clone();
                group.on(event, move |_| {
                    listener.call();
                });
            }
        });
        app.groups.once(event, move |_| Err::<(), _>(once.clone()));
    }
    for _ in 0..2 {
        let listener = app.value();
        app.emitter.on("data", move |_| {
            listener.call();
            Err::<(), _>(listener.clone())
        });
    }
    app.emitter.emit("data", Some(app.value()));
    for every in [1.0, 2.0] {
        let (once, again, tick, later) = (app.value(), app.value(), app.value(), app.value());
        Loop::add_timer(every, move || Err::<(), _>(once));
        let timer = Loop::add_periodic_timer(every, move || Err::<(), _>(again.clone()));
        Loop::future_tick(move || Err::<(), _>(tick));
        let other = Loop::add_periodic_timer(every, async move || Err::<(), _>(later.clone()));
        Loop::add_timer(5.0, move || {
            Loop::cancel_timer(timer);
            Loop::cancel_timer(other);
        });
    }
    for (path, status) in [("/", 200), ("/failing", 500), ("/panic", 500), ("/stream", 200)] {
        let (mut peer, _) = Peer::serve(http);
        let post = format!("POST {path} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(peer.ask(post).await.status(), status, "{path}");
    }
    for (path, status) in [("/refused", 500), ("/rejected", 200)] {
        let (mut peer, _) = Peer::serve(http);
        assert_eq!(peer.ask(handshake(path)).await.status(), status, "{path}");
    }
    for code in [4000, 4001] {
        let (mut peer, _) = Peer::serve(http);
        peer.send(handshake("/")).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101"));
        let connection = *app.connections.lock().unwrap().last().unwrap();
        app.groups.join(Text::try_from(Bytes::from_owner(app.value())).unwrap(), connection).unwrap();
        connection.write(AsStr(app.value()));
        app.groups.write("used", AsStr(app.value()));
        peer.send([text("a"), frame(0x82, "b"), frame(0x89, ""), frame(0x8A, "")].concat()).await;
        sleep(Duration::from_secs(1)).await;
        if code == 4001 {
            let error = app.value();
            connection.on("text", move || Err::<(), _>(error.clone()));
            peer.send(text("fails")).await;
        }
        peer.send(close(code, "")).await;
        sleep(Duration::from_secs(20)).await;
    }
}

struct AsStr(Uses);

impl AsRef<str> for AsStr {
    fn as_ref(&self) -> &str {
        self.0.as_ref()
    }
}

#[test]
fn everything_is_used_in_every_callback_and_destructor() {
    in_time(|| {
        let app = App::new();
        paused().block_on(async {
            let http = serve(&app);
            live(&app, &http).await;
            app.emitter.remove_all_listeners(None);
            app.groups.remove_all_listeners(None);
            app.websocket.remove_all_listeners(None);
            app.http.lock().unwrap().take();
            app.writers.lock().unwrap().clear();
            drop(http);
            settle().await;
        });
        assert_eq!(app.log.take(), ["stream closed", "close 4000", "close 1011"]);
        assert_eq!((app.groups.len(), app.groups.stats().joined), (0, app.groups.stats().left));
        assert_eq!(app.values.load(Ordering::SeqCst), 0, "all values are dropped");
        let uses = app.uses.load(Ordering::SeqCst);
        assert!(uses > 200, "{uses}");
    });
}

/// A thread's destructors run when other values of it are gone already, and a panic in them would end the process.
#[test]
fn everything_is_used_in_the_destructors_of_a_thread() {
    thread_local! {
        static LAST: RefCell<Vec<AtExit>> = const { RefCell::new(Vec::new()) };
    }
    /// Uses everything when its thread ends.
    struct AtExit(Arc<App>, mpsc::Sender<()>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            self.0.use_everything();
            let http = self.0.http.lock().unwrap().clone().unwrap();
            assert!(http.stats().requests > 0);
            let _ = self.1.send(());
        }
    }
    in_time(|| {
        let app = App::new();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (tell, told) = mpsc::channel();
        // Before the crate's own thread locals and after, since the first that is made is the last that is dropped.
        let at_exit = |app: &Arc<App>| {
            let app = app.clone();
            LAST.with_borrow_mut(|last| last.push(AtExit(app, tell.clone())));
        };
        runtime.block_on(async {
            let http = serve(&app);
            let (mut peer, _) = Peer::serve(&http);
            peer.send(handshake("/")).await;
            assert!(peer.head().await.starts_with("HTTP/1.1 101"));
            for is_before in [true, false] {
                let (app, at_exit, handle) = (app.clone(), &at_exit, tokio::runtime::Handle::current());
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        if is_before {
                            at_exit(&app);
                        }
                        app.use_everything();
                        let _entered = handle.enter();
                        app.use_everything();
                        if !is_before {
                            at_exit(&app);
                        }
                    });
                });
                told.recv_timeout(Duration::from_secs(10)).expect("a destructor that has run");
            }
            peer.send(text("still there")).await;
            while !peer.frame().await.expect("a message").payload.starts_with(b"used") {}
            drop(peer);
        });
        drop(runtime);
        assert_eq!(app.log.take(), ["close 1006"]);
    });
}

/// Where a runtime is ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Text,
    AsyncText,
    Create,
    Router,
    Timer,
    AsyncTick,
    Emitter,
}

/// A runtime that any callback can end.
#[derive(Clone)]
struct Ends(Arc<Mutex<Option<Runtime>>>, Place);

impl Ends {
    fn at(&self, place: Place) {
        if place == self.1
            && let Some(runtime) = self.0.lock().unwrap().take()
        {
            runtime.shutdown_background();
        }
    }
}

/// `close` fires exactly once, last, also if the runtime was dropped, and a `Listening` is ready then.
#[test]
fn any_callback_may_end_the_runtime_that_it_runs_on() {
    use Place::*;
    for place in [Text, AsyncText, Create, Router, Timer, AsyncTick, Emitter] {
        for threads in [1, 2] {
            in_time(move || end_at(place, threads));
        }
    }
}

fn end_at(place: Place, threads: usize) {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let ends = Ends(Arc::new(Mutex::new(Some(runtime))), place);
    let (log, token, groups, emitter) = (Log::default(), Arc::new(()), GroupManager::new(), EventEmitter::new());
    let create = ends.clone();
    groups.on("create", move |_| create.at(Place::Create));
    let data = ends.clone();
    emitter.on("data", move |()| data.at(Place::Emitter));
    let (on, watched, held) = (ends.clone(), log.clone(), token.clone());
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", move |connection: WebSocketConnection| {
        watched.watch(connection);
        let (text, groups, emitter, held) = (on.clone(), groups.clone(), emitter.clone(), held.clone());
        connection.on("text", move || {
            _ = &held;
            text.at(Place::Text);
            let _ = groups.join("a", connection);
            emitter.emit("data", ());
            let (timer, tick) = (text.clone(), text.clone());
            Loop::add_timer(0, move || timer.at(Place::Timer));
            Loop::future_tick(async move || {
                tokio::task::yield_now().await;
                tick.at(Place::AsyncTick);
            });
        });
        let text = on.clone();
        connection.on("text", async move || {
            tokio::task::yield_now().await;
            text.at(Place::AsyncText);
        });
    });
    let router = move |_request: ServerRequest| {
        ends.at(Place::Router);
        Response::new(204)
    };
    let (address, listening) = {
        let _entered = handle.enter();
        listen_with(HttpServer::new((websocket, router)))
    };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut peer = Peer::open(address).await;
        match place {
            Place::Router => Peer::connect(address).await.send(get("/")).await,
            _ => peer.send(text("a")).await,
        }
        peer.rest().await;
        listening.closing().await;
    });
    // The last listener is dropped when the last event has been told.
    while Arc::strong_count(&token) > 1 {
        std::thread::yield_now();
    }
    let told: &[&str] = if place == Place::Router { &["close 1006 "] } else { &["text a", "close 1006 "] };
    assert_eq!(log.take(), told, "{place:?} with {threads} threads");
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")
}
