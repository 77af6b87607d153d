//! Faults of the app that no listener takes are reported on stderr, as panics are. With the feature `tracing` they are lines there.
#![cfg(not(feature = "tracing"))]

mod support;

use std::process::Command;

use react_websocket::{
    BodyStream, GroupManager, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::*;

/// What a test of this file, run in a process of its own, has written to stderr.
fn stderr_of(test: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "run by the tests below"]
fn child_without_a_listener() {
    run(false);
}

#[test]
#[ignore = "run by the tests below"]
fn child_with_a_listener() {
    run(true);
}

fn run(listens: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for _ in 0..30 {
            let mut pair = Pair::in_memory(WebSocketOptions::new()).await;
            pair.connection.remove_all_listeners(None);
            pair.connection.on("text", |_: &str| Err::<(), _>("no such user"));
            if listens {
                pair.connection.on("error", |_: Option<&str>| {});
            }
            pair.peer.send(text("x")).await;
            assert_eq!(pair.peer.closed().await.0, Some(1011));
        }
    });
}

#[test]
fn the_error_of_a_listener_is_on_stderr_if_no_error_listener_exists() {
    let stderr = stderr_of("child_without_a_listener");
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("react-websocket: ")).collect();
    assert!(lines[0].starts_with("react-websocket: connection failed: a listener failed: no such user"), "{stderr}");
    assert!((10..30).contains(&lines.len()), "at most ten a second: {stderr}");
    assert!(!stderr_of("child_with_a_listener").contains("react-websocket: "));
}

#[test]
#[ignore = "run by the tests below"]
fn child_with_failing_listeners() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let groups = GroupManager::new();
        groups.on("create", |group| {
            group.on("leave", |_| Err::<(), _>("in leave"));
            Err::<(), _>("in create")
        });
        groups.on("destroy", |_| Err::<(), _>("in destroy"));
        let websocket = WebSocketMiddleware::new().with_group_manager(groups);
        websocket.on("error", |_: WebSocketConnection| Err::<(), _>("in the middleware's"));
        websocket.on("error", |_: WebSocketConnection| async { Err::<(), _>("in the middleware's, later") });
        websocket.on("connection", |connection: WebSocketConnection| {
            connection.set_group(Some("a")).unwrap();
            connection.on("error", async || Err::<(), _>("in error, later"));
            connection.on("close", || Err::<(), _>("in close"));
            connection.on("close", || -> () { panic!("in close, a panic") });
        });
        let http = HttpServer::new((websocket, |request: ServerRequest| {
            if request.path() == "/error" {
                return Err("no such page");
            }
            let stream = BodyStream::new();
            stream.on("close", || Err::<(), _>("in the body's close"));
            stream.end();
            Ok(Response::new(200).with_body(stream))
        }));
        http.on("error", |_| Err::<(), _>("in the server's"));
        let (mut peer, serving) = Peer::serve(&http);
        peer.send(HANDSHAKE).await;
        assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
        peer.send([0x83, 0x80, 0, 0, 0, 0]).await;
        assert_eq!(peer.closed().await.0, Some(1002));
        drop(peer);
        serving.await;
        for request in [
            &HANDSHAKE.replace("Version: 13", "Version: 7"),
            "GET /body HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /error HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let (mut peer, _) = Peer::serve(&http);
            peer.send(request).await;
            peer.answer().await;
        }
    });
}

/// Errors that listeners return are also reported where they have no other consequence.
#[test]
fn each_error_of_a_listener_is_a_line_on_stderr() {
    let stderr = stderr_of("child_with_failing_listeners");
    let lines: Vec<_> = stderr.lines().filter_map(|line| line.strip_prefix("react-websocket: a listener of ")).collect();
    assert_eq!(
        lines,
        [
            "`create` failed: in create",
            "`error` failed: in error, later",
            "`close` failed: in close",
            "`close` failed: in close, a panic",
            "`leave` failed: in leave",
            "`destroy` failed: in destroy",
            "`error` failed: in the middleware's",
            "`error` failed: in the middleware's, later",
            "`close` failed: in the body's close",
            "`error` failed: in the server's",
        ]
    );
}

#[test]
#[ignore = "run by the tests below"]
fn child_with_failing_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for [on_middleware, on_server] in [[false, false], [true, false], [false, true]] {
            let websocket = WebSocketMiddleware::new();
            websocket.on("connection", |_: WebSocketConnection| Err::<(), _>("no database"));
            if on_middleware {
                websocket.on("error", |_: WebSocketConnection| {});
            }
            let http = HttpServer::new((websocket, |_: ServerRequest| Err::<Response, _>("no template")));
            if on_server {
                http.on("error", |_| {});
            }
            for request in [HANDSHAKE, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
                eprintln!("middleware: {on_middleware}, server: {on_server}");
                let (mut peer, _) = Peer::serve(&http);
                peer.send(request).await;
                assert!(peer.head().await.starts_with("HTTP/1.1 500 "));
            }
        }
    });
}

/// An exception in a `connection` listener or in a handler is an `error` of ReactPHP's `HttpServer`.
#[test]
fn a_failing_handshake_or_request_without_listeners_is_one_line_on_stderr() {
    let stderr = stderr_of("child_with_failing_requests");
    let lines: Vec<_> =
        stderr.lines().filter(|line| line.contains("react-websocket: ") || line.contains("server: ")).collect();
    let hint = "; handle it in a listener of the server's `error` event";
    assert_eq!(
        lines,
        [
            "middleware: false, server: false",
            &format!("react-websocket: request failed: the request handler failed: a listener failed: no database{hint}"),
            "middleware: false, server: false",
            &format!("react-websocket: request failed: the request handler failed: no template{hint}"),
            "middleware: true, server: false",
            "middleware: true, server: false",
            &format!("react-websocket: request failed: the request handler failed: no template{hint}"),
            "middleware: false, server: true",
            "middleware: false, server: true",
        ]
    );
}

#[test]
#[ignore = "run by the tests below"]
fn child_with_refused_pages() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for listens in [false, true] {
            let websocket = WebSocketMiddleware::new();
            if listens {
                websocket.on("error", |_: WebSocketConnection| {});
            }
            let socket = SocketServer::new("127.0.0.1:0").unwrap();
            let address = socket.local_address().unwrap();
            HttpServer::new((websocket, router)).listen(socket);
            for origin in ["http://localhost:5173", "http://127.0.0.1:3000", "https://evil.example"] {
                let origin = format!("\r\nOrigin: {origin}/{listens}\r\n\r\n");
                let mut peer = Peer::connect(address).await;
                assert_eq!(peer.ask(HANDSHAKE.replace("\r\n\r\n", &origin)).await.status(), 403);
            }
        }
    });
}

/// The author of a page on a development server looks for the reason there. Other pages leave no trace.
#[test]
fn the_refused_page_of_a_development_server_is_on_stderr() {
    let stderr = stderr_of("child_with_refused_pages");
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("react-websocket: ")).collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(
        lines[0].starts_with("react-websocket: handshake refused: origin \"http://localhost:5173/false\" is not allowed")
    );
    assert!(lines[0].ends_with("`WebSocketOptions::origins` can allow it"), "{stderr}");
    assert!(lines[1].contains("127.0.0.1:3000/false"), "{stderr}");
}
