//! Faults of the app that no listener takes are reported on stderr, as panics are. With the feature `tracing` they are lines there.
#![cfg(not(feature = "tracing"))]

mod support;

use std::process::Command;

use react_websocket::WebSocketOptions;
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
fn the_error_of_a_listener_is_on_stderr_if_nobody_listens() {
    let stderr = stderr_of("child_without_a_listener");
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("react-websocket: ")).collect();
    assert!(lines[0].starts_with("react-websocket: connection failed: a listener failed: no such user"), "{stderr}");
    assert!((10..30).contains(&lines.len()), "at most ten a second: {stderr}");
    assert!(!stderr_of("child_with_a_listener").contains("react-websocket: "));
}
