//! Faults of an app's code and values have no effect elsewhere. Errors and names panic when they
//! are formatted or dropped, rejected closures when they are dropped, and streams in their methods.
//! No event is lost, and no memory is kept.

mod support;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use react_websocket::errors::{ListenerError, report};
use react_websocket::handlers::Next;
use react_websocket::{
    BodyStream, EventEmitter, GroupManager, HttpServer, Loop, Response, ServerRequest, SocketServer, Text, Timer,
    WebSocketMiddleware, WebSocketOptions,
};
use support::bombs::{Bomb, Bombs};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::sleep;

/// The bytes of a name, which panic when they are dropped.
struct Name {
    _bomb: Bomb,
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        b"lobby"
    }
}

/// An error that panics when it is put in words.
#[derive(Debug)]
struct Wordless;

impl fmt::Display for Wordless {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::panic::panic_any("a bomb")
    }
}

impl Error for Wordless {}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n")
}

/// `error` fires at most once, for a fault, and `close` follows always.
#[tokio::test(start_paused = true)]
async fn every_listener_of_error_learns_of_an_error_that_panics_in_words() {
    let _bombs = Bombs::new();
    let Pair { connection, mut peer, log } = Pair::in_memory(WebSocketOptions::new()).await;
    let (reasons, errors, once) = (log.clone(), log.clone(), log.clone());
    connection.on("error", move |reason: Option<&str>| reasons.add(format_args!("reason {}", reason.unwrap())));
    connection.on("error", move |error: &react_websocket::errors::ConnectionError| errors.add(error.cause()));
    connection.once("error", move |reason: Option<&str>, _: Option<u16>| once.add(reason.unwrap().len() > 3));
    connection.on("text", || Err::<(), _>(Wordless));
    peer.send(text("a")).await;
    assert_eq!(peer.closed().await.0, Some(1011));
    drop(peer);
    settle().await;
    assert_eq!(
        log.take(),
        [
            "text a",
            "error 1011 a listener failed",
            "reason a listener failed",
            "listener",
            "true",
            "close 1011 a listener failed"
        ]
    );
}

/// A group exists exactly while it has members: `destroy` fires once for each `create`.
#[tokio::test(start_paused = true)]
async fn a_group_ends_whatever_its_name_does_when_it_is_dropped() {
    let (bombs, log, groups) = (Bombs::new(), Log::default(), GroupManager::new());
    let pair = Pair::in_memory(WebSocketOptions::new()).await;
    let (created, destroyed) = (log.clone(), log.clone());
    groups.on("create", move |group| created.add(format_args!("create {}", group.name())));
    groups.on("destroy", move |group| destroyed.add(format_args!("destroy {}", group.name())));
    let name = || Text::try_from(Bytes::from_owner(Name { _bomb: bombs.one() })).unwrap();
    for _ in 0..2 {
        // The first makes the group, the second finds it.
        let joined = groups.join(name(), pair.connection).unwrap();
        assert_eq!(groups.join(name(), pair.connection), Ok(joined));
        assert_eq!(bombs.left(), 0, "the group keeps a copy");
        assert!(joined.remove(pair.connection));
        assert_eq!(log.take(), ["create lobby", "destroy lobby"]);
    }
    pair.connection.terminate();
    settle().await;
    assert!(groups.join(name(), pair.connection).is_err());
    assert_eq!((groups.len(), bombs.left()), (0, 0));
}

/// A response carries the error of the handler that failed until it is sent.
#[tokio::test(start_paused = true)]
async fn a_response_whose_error_panics_is_dropped_by_any_middleware() {
    let (bombs, log) = (Bombs::new(), Log::default());
    let more = bombs.clone();
    let middleware = async |request: ServerRequest, next: Next| {
        let path = request.path().to_owned();
        let response = next.run(request).await;
        match path.as_str() {
            "/replaced" => Response::plaintext("replaced"),
            "/panic" => panic!("in the middleware"),
            "/broken" => response.with_header("Broken\n", "x"),
            _ => response,
        }
    };
    let http = HttpServer::new((middleware, move |_: ServerRequest| Err::<Response, Bomb>(more.one())));
    let told = log.clone();
    http.on("error", move |error| told.add(report(error)));
    let handled = "the request handler failed: ";
    for (path, status, errors) in [
        ("/", 500, vec![format!("{handled}a bomb")]),
        ("/replaced", 200, vec![]),
        ("/panic", 500, vec![format!("{handled}in the middleware")]),
        ("/broken", 500, vec![format!("{handled}\"Broken\\n\" is not a header name")]),
    ] {
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask(get(path)).await.status(), status, "{path}");
        settle().await;
        assert_eq!((log.take(), bombs.left()), (errors, 0), "{path}");
    }
}

/// `try_on` returns an error, whatever becomes of the closure.
#[tokio::test(start_paused = true)]
async fn a_listener_that_is_refused_is_dropped_in_peace() {
    let bombs = Bombs::new();
    let pair = Pair::in_memory(WebSocketOptions::new()).await;
    let groups = GroupManager::new();
    let group = groups.join("a", pair.connection).unwrap();
    let (websocket, http) = (WebSocketMiddleware::new(), HttpServer::new(router));
    let (socket, stream) = (SocketServer::new("127.0.0.1:0").unwrap(), BodyStream::new());
    let bomb = || bombs.one();
    macro_rules! assert_refused {
        ($object:expr, $($argument:tt)*) => {
            let (on, once) = (bomb(), bomb());
            let refused = $object.try_on("nonsense", move $($argument)* _ = &on);
            assert!(matches!(refused, Err(ListenerError::UnknownEvent { .. })));
            let refused = $object.try_once("nonsense", move $($argument)* _ = &once);
            assert!(matches!(refused, Err(ListenerError::UnknownEvent { .. })));
        };
    }
    assert_refused!(websocket, |_|);
    assert_refused!(groups, |_|);
    assert_refused!(group, |_|);
    assert_refused!(http, |_|);
    assert_refused!(socket, |_|);
    assert_refused!(stream, ||);
    let (on, once) = (bomb(), bomb());
    assert!(pair.connection.try_on("nonsense", move || _ = &on).is_err());
    assert!(pair.connection.try_once("nonsense", move || _ = &once).is_err());
    let (now, later) = (bomb(), Arc::new(bomb()));
    assert!(pair.connection.try_on("text", move |_: u16| _ = &now).is_err());
    let misfit = move |_: u16, _: Text| {
        let later = later.clone();
        async move { drop(later) }
    };
    assert!(pair.connection.try_on("text", misfit).is_err());
    let (closure, emitter) = (bomb(), EventEmitter::<()>::new());
    let empty = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| emitter.on("", move |_| _ = &closure)));
    assert_eq!(empty.unwrap_err().downcast_ref::<&str>(), Some(&"event name is empty"));
    assert_eq!(bombs.left(), 0);
}

/// Which method of a stream panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Read,
    Write,
    Flush,
    Shutdown,
}

/// A stream one of whose methods panics, from when it has been called so often.
struct Panicking(DuplexStream, Method, usize);

impl Panicking {
    fn call(&mut self, method: Method) -> Pin<&mut DuplexStream> {
        if self.1 == method {
            self.2 = self.2.saturating_sub(1);
            if self.2 == 0 {
                std::panic::panic_any("a bomb");
            }
        }
        Pin::new(&mut self.0)
    }
}

impl AsyncRead for Panicking {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.call(Method::Read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Panicking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.call(Method::Write).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.call(Method::Flush).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.call(Method::Shutdown).poll_shutdown(cx)
    }
}

/// `close` fires exactly once, last, however the connection ended, and a `Serving` is ready when it has.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_stream_panics_ends_in_every_phase() {
    let (_bombs, log) = (Bombs::new(), Log::default());
    let watched = log.clone();
    let websocket = websockets(move |connection| watched.watch(connection));
    for method in [Method::Read, Method::Write, Method::Flush, Method::Shutdown] {
        for calls in 1..12 {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let serving = websocket.serve(Panicking(theirs, method, calls));
            let mut peer = Peer::new(ours);
            peer.send([HANDSHAKE.as_bytes(), &text("a")].concat()).await;
            for _ in 0..5 {
                use tokio::io::AsyncWriteExt;
                settle().await;
                let _ = peer.stream.write_all(&frame(0x89, "ping")).await;
            }
            settle().await;
            use tokio::io::AsyncWriteExt;
            let _ = peer.stream.write_all(&close(1000, "")).await;
            settle().await;
            drop(peer);
            tokio::time::timeout(Duration::from_secs(120), serving).await.expect("an end");
            let told = log.take();
            let closes = told.iter().filter(|event| event.starts_with("close")).count();
            let is_over = told.is_empty() || closes == 1 && told.last().unwrap().starts_with("close");
            assert!(is_over, "{method:?} {calls}: {told:?}");
        }
    }
    let (mut peer, _) = Peer::open_in_memory(&websocket).await;
    peer.send(frame(0x89, "ping")).await;
    assert_eq!(peer.frame().await.unwrap().payload, b"ping");
}

/// A periodic timer goes on, whatever its callback returns or panics with.
#[tokio::test(start_paused = true)]
async fn a_periodic_timer_goes_on_whatever_its_callback_returns() {
    let (bombs, log) = (Bombs::new(), Log::default());
    let note = |what: &'static str| {
        let (log, bombs) = (log.clone(), bombs.clone());
        move || {
            log.add(what);
            bombs.one()
        }
    };
    Loop::add_periodic_timer(1, {
        let bomb = note("Err");
        move || Err::<(), Bomb>(bomb())
    });
    Loop::add_periodic_timer(1, {
        let bomb = note("Ok");
        move || Ok::<Bomb, &str>(bomb())
    });
    Loop::add_periodic_timer(1, {
        let bomb = note("panic");
        move || std::panic::panic_any(bomb())
    });
    Loop::add_periodic_timer(1, {
        let bomb = note("async Err");
        async move || Err::<(), Bomb>(bomb())
    });
    Loop::add_periodic_timer(1, {
        let bomb = note("async Ok");
        async move || Ok::<Bomb, &str>(bomb())
    });
    Loop::add_periodic_timer(1, {
        let bomb = note("late Err");
        async move |_: Timer| {
            tokio::task::yield_now().await;
            Err::<(), Bomb>(bomb())
        }
    });
    let words = log.clone();
    Loop::add_periodic_timer(1, move || {
        words.add("words");
        Err::<(), _>(Wordless)
    });
    sleep(Duration::from_millis(3500)).await;
    let told = log.take();
    for what in ["Err", "Ok", "panic", "async Err", "async Ok", "late Err", "words"] {
        assert_eq!(told.iter().filter(|told| *told == what).count(), 3, "{what}: {told:?}");
    }
    assert_eq!(bombs.left(), 0);
}

/// An error that waits, in its words, for another thread that writes to stderr.
#[derive(Debug)]
struct Waiting;

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let _ = std::io::stderr().write_all(b"");
            tell.send(())
        });
        match told.recv_timeout(Duration::from_secs(10)) {
            Ok(()) => f.write_str("it waited"),
            Err(_) => f.write_str("stderr is locked"),
        }
    }
}

impl Error for Waiting {}

/// No callback runs under a lock, and that of stderr is one.
#[tokio::test(start_paused = true)]
async fn an_error_is_put_in_words_before_stderr_is_locked() {
    let Pair { connection, mut peer, log } = Pair::in_memory(WebSocketOptions::new()).await;
    connection.remove_all_listeners(Some("error"));
    connection.on("text", || Err::<(), _>(Waiting));
    peer.send(text("a")).await;
    settle().await;
    assert_eq!(log.take(), ["text a"]);
    drop(peer);
    settle().await;
    assert_eq!(log.take(), ["close 1011 a listener failed: it waited"]);
}
