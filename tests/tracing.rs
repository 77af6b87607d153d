//! The events of `tracing`: one line for each rule about the lines that an operator reads.
#![cfg(feature = "tracing")]

mod support;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use react_websocket::errors::HttpError;
use react_websocket::{
    HttpOptions, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::{HANDSHAKE, Peer, close, frame, text};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// Lines, kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

impl Lines {
    /// Those that have come so far and have all these words, and forgets all.
    fn with(&self, words: &[&str]) -> Vec<String> {
        let lines = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        lines.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }
}

/// Runs a test, and keeps what is told meanwhile.
fn listening_at<F: Future<Output = ()>>(level: Level, test: impl FnOnce(Lines) -> F) {
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().with_writer(lines.clone()).with_max_level(level).with_ansi(false).without_time().finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(lines));
}

fn server() -> HttpServer {
    let options = WebSocketOptions::new().slow_listener_warning(Duration::from_millis(30));
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("text", |text: &str| match text {
            "fail" => Err("what a listener says"),
            "block" => {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(60) {}
                Ok(())
            }
            _ => {
                tracing::info!("what the app says");
                Ok(())
            }
        });
    });
    let router = |request: ServerRequest| match request.path() {
        "/fails" => Err("what a router says"),
        _ => Ok(support::router(request)),
    };
    HttpServer::new((websocket, router))
}

async fn open(http: &HttpServer) -> Peer<tokio::io::DuplexStream> {
    let remote = "192.0.2.7:99".parse().ok();
    let (near, far) = tokio::io::duplex(1 << 16);
    let _serving = http.serve_with_addresses(far, remote, None);
    let mut peer = Peer::new(near);
    peer.shake_hands().await;
    peer
}

#[test]
fn each_websocket_has_a_span_with_its_number_within_that_of_its_connection_with_the_address() {
    listening_at(Level::DEBUG, async |lines| {
        let mut peer = open(&server()).await;
        peer.send(text("hello")).await;
        peer.send(close(1000, "by\nebye")).await;
        peer.closed().await;
        assert!(peer.ended().await);
        let all = lines.with(&["connection{remote=192.0.2.7:99}:websocket{id="]);
        let told = |words: &[&str]| all.iter().filter(|line| words.iter().all(|word| line.contains(word))).count();
        assert_eq!(told(&["DEBUG", "connection open"]), 1, "{all:#?}");
        assert_eq!(told(&["INFO", "what the app says"]), 1, "{all:#?}");
        assert_eq!(told(&["DEBUG", "connection closed", "peer", "code=1000", "by\\nebye"]), 1, "{all:#?}");
        assert_eq!(all.len(), 3, "{all:#?}");
    });
}

#[test]
fn faults_of_the_app_are_errors_those_of_peers_information_and_not_without_end() {
    listening_at(Level::INFO, async |lines| {
        let http = server();
        let mut peer = open(&http).await;
        peer.send(text("fail")).await;
        peer.closed().await;
        assert_eq!(lines.with(&["ERROR", "connection failed", "listener", "what a listener says", "websocket{"]).len(), 1);
        let mut peer = open(&http).await;
        peer.send(frame(0xC1, "")).await;
        peer.closed().await;
        assert_eq!(lines.with(&["INFO", "connection failed", "protocol", "websocket{"]).len(), 1);
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 500);
        assert_eq!(lines.with(&["ERROR", "request failed", "handler", "what a router says"]).len(), 1);
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask("GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 400);
        assert_eq!(lines.with(&["INFO", "request refused", "target"]).len(), 1);
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask(HANDSHAKE.replace("Version: 13", "Version: 7")).await.status(), 426);
        assert_eq!(lines.with(&["INFO", "handshake refused", "version"]).len(), 1);
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask(HANDSHAKE.replace("Upgrade\r\n", "Upgrade\r\nOrigin: https://a\r\n")).await.status(), 403);
        let reason = ["https://a", "example.com", "WebSocketOptions::origins"];
        assert_eq!(lines.with(&[&["INFO", "handshake refused", "origin"][..], &reason].concat()).len(), 1);
        let (mut peer, _) = Peer::serve(&http.with_options(HttpOptions::new().max_connections(0)));
        assert_eq!(peer.answer().await.status(), 503);
        assert_eq!(lines.with(&["WARN", "connection refused", "full"]).len(), 1);

        let http = server();
        for _ in 0..200 {
            let (mut peer, _) = Peer::serve(&http);
            peer.ask(HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "none")).await;
        }
        // Ten in a second, and the loop takes few of them, on the slowest machine.
        let lines = lines.with(&["handshake refused", "key"]);
        assert!((8..=150).contains(&lines.len()), "{} lines", lines.len());
    });
}

/// The most common mistake with a proxy: no request is rejected, so no other line reports it.
#[test]
fn a_handshake_that_is_no_upgrade_any_more_is_warned_of_and_not_without_end() {
    listening_at(Level::INFO, async |lines| {
        let http = server();
        for (request, cause) in [
            (HANDSHAKE.replace("Connection: Upgrade\r\n", ""), "connection_header"),
            (HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"), "http_1_0"),
        ] {
            let (client, server) = tokio::io::duplex(1 << 16);
            let _serving = http.serve_with_addresses(server, "192.0.2.7:99".parse().ok(), None);
            assert_eq!(Peer::new(client).ask(request).await.status(), 200);
            let told =
                ["WARN", "WebSocket request without an upgrade", cause, "remote=192.0.2.7:99", "Connection: upgrade"];
            assert_eq!(lines.with(&told).len(), 1, "{cause}");
        }
        let (mut peer, _) = Peer::serve(&http);
        for _ in 0..200 {
            peer.ask(HANDSHAKE.replace("Connection: Upgrade\r\n", "")).await;
        }
        let lines = lines.with(&["without an upgrade"]);
        assert!((8..=150).contains(&lines.len()), "{} lines", lines.len());
    });
}

#[test]
fn a_handshake_that_fails_by_the_app_is_an_error() {
    listening_at(Level::INFO, async |lines| {
        tokio::time::pause();
        let websocket = WebSocketMiddleware::new();
        websocket.on("connection", |connection: WebSocketConnection| async move {
            let path = connection.request().map(|request| request.path().to_owned());
            match path.as_deref() {
                Some("/fails") => Err("what a connection listener says"),
                Some("/never") => std::future::pending().await,
                _ => Ok(()),
            }
        });
        let http = HttpServer::new((websocket, support::router));
        for (path, status, told) in [
            ("/fails", 500, &["ERROR", "handshake failed", "listener", "what a connection listener says"][..]),
            ("/never", 503, &["ERROR", "handshake failed", "timeout"]),
        ] {
            let (mut peer, _) = Peer::serve(&http);
            assert_eq!(peer.ask(HANDSHAKE.replace("GET / ", &format!("GET {path} "))).await.status(), status);
            assert_eq!(lines.with(told).len(), 1, "{path}");
        }
    });
}

/// An error that cannot be put in words.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn an_error_that_panics_when_it_is_put_in_words_is_answered_and_told_like_any_other() {
    listening_at(Level::INFO, async |lines| {
        let websocket = WebSocketMiddleware::new();
        websocket.on("connection", |connection: WebSocketConnection| {
            let is_listening = connection.request().is_some_and(|request| request.path() == "/listens");
            connection.on("text", || Err::<(), _>(Unspeakable));
            if is_listening { Ok(()) } else { Err(Unspeakable) }
        });
        let http = HttpServer::new((websocket, |_: ServerRequest| Err::<Response, _>(Unspeakable)));
        let told = Arc::new(AtomicU32::new(0));
        http.on("error", {
            let told = told.clone();
            move |_: &HttpError| _ = told.fetch_add(1, Ordering::Relaxed)
        });
        let words = "an error that panics when it is put in words";
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 500);
        assert_eq!(lines.with(&["ERROR", "request failed", "handler", words]).len(), 1);
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask(HANDSHAKE).await.status(), 500);
        assert_eq!(lines.with(&["ERROR", "handshake failed", "listener", words]).len(), 1);
        let (mut peer, _) = Peer::serve(&http);
        assert_eq!(peer.ask(HANDSHAKE.replace("GET / ", "GET /listens ")).await.status(), 101);
        peer.send(text("x")).await;
        assert_eq!(peer.closed().await, (Some(1011), "internal error".into()));
        assert_eq!(lines.with(&["ERROR", "connection failed", "listener", words]).len(), 1);
        assert_eq!(told.load(Ordering::Relaxed), 2, "the router's and the `connection` listener's");
    });
}

#[test]
fn a_slow_listener_is_warned_of() {
    listening_at(Level::INFO, async |lines| {
        let mut peer = open(&server()).await;
        peer.send(text("block")).await;
        peer.send(close(1000, "")).await;
        peer.closed().await;
        assert!(!lines.with(&["WARN", "slow_listener_warning", "websocket{"]).is_empty());
    });
}
