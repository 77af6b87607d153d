//! The protocol of the example `dashboard`, which its `feed.rs` describes, and the server that it watches.
#![cfg(feature = "testing")]

#[path = "../examples/dashboard/feed.rs"]
mod feed;
#[path = "../examples/dashboard/work.rs"]
mod work;

use feed::{INTERVAL, PAGES, SOFT_LIMIT};
use react_websocket::testing::{Event, TestClient, TestConnection};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use work::MESSAGE;

const INTERVAL_MS: u64 = INTERVAL.as_millis() as u64;

fn server() -> TestClient {
    TestClient::new(work::server())
}

/// A page that has read the first message.
async fn open(server: &TestClient) -> (TestConnection, Value) {
    let mut page = server.connect("/stats").await;
    let start = next(&mut page, "start").await;
    (page, start)
}

async fn next(page: &mut TestConnection, kind: &str) -> Value {
    let message: Value = serde_json::from_str(&page.next_text().await).expect("JSON");
    assert_eq!(message["type"], kind);
    message
}

/// The counters of the next message.
async fn stats(page: &mut TestConnection) -> Value {
    next(page, "stats").await["stats"].clone()
}

/// The messages that arrive within this time.
async fn received(page: &mut TestConnection, time: Duration) -> Vec<String> {
    let (end, mut texts) = (Instant::now() + time, Vec::new());
    while let Ok(event) = tokio::time::timeout_at(end, page.next_event()).await {
        match event {
            Event::Text(text) => texts.push(text.to_string()),
            event => assert!(event.is_control(), "{event}"),
        }
    }
    texts
}

fn time(stats: &Value) -> u64 {
    stats["time"].as_u64().expect("a time")
}

#[tokio::test(start_paused = true)]
async fn a_page_gets_all_counters_at_once_and_then_after_each_interval() {
    let server = server();
    sleep(Duration::from_secs(5)).await;
    let begin = Instant::now();
    let (mut page, start) = open(&server).await;
    assert!(begin.elapsed() < Duration::from_millis(100));
    assert_eq!(start["interval"], INTERVAL_MS);
    let mut last = start["stats"].clone();
    assert!((5000..5100).contains(&time(&last)), "{last}");
    for _ in 0..5 {
        let current = stats(&mut page).await;
        let passed = time(&current) - time(&last);
        assert!((INTERVAL_MS..INTERVAL_MS + 20).contains(&passed), "{passed} ms");
        last = current;
    }
}

#[tokio::test(start_paused = true)]
async fn the_counters_are_those_of_the_watched_server() {
    let server = server();
    let (mut page, start) = open(&server).await;
    // The page itself is a connection and a request of the HTTP server, and no watched WebSocket.
    let start = &start["stats"];
    assert_eq!((&start["http"]["open"], &start["http"]["requests"]), (&json!(1), &json!(1)));
    assert_eq!((&start["websocket"]["open"], &start["groups"]["open"]), (&json!(0), &json!(0)));

    let mut ann = server.connect("/work?room=tea").await;
    let mut ben = server.connect("/work?room=tea").await;
    let cleo = server.connect("/work?room=cake").await;
    ann.send_text("hello");
    ann.expect_text("hello").await;
    ben.expect_text("hello").await;
    drop(cleo);
    server.connect("/work").origin("http://elsewhere.example").expect_refusal().await.expect_status(403);
    server.get("/missing").await.expect_status(404);

    let stats = stats(&mut page).await;
    let websocket = &stats["websocket"];
    let numbers = |value: &Value, names: &[&str]| names.iter().map(|name| value[name].clone()).collect::<Vec<_>>();
    assert_eq!(numbers(websocket, &["open", "accepted", "messages_in", "messages_out"]), [2, 3, 1, 2]);
    // Frames with a payload of 5 bytes: a header of 2 bytes, and 4 bytes for the mask (RFC 6455 section 5.2).
    assert_eq!(numbers(websocket, &["bytes_in", "bytes_out", "unsent", "dropped"]), [11, 14, 0, 0]);
    assert_eq!((&websocket["closed"], &websocket["refused"]), (&json!({"lost": 1}), &json!({"origin": 1})));
    assert_eq!(numbers(&stats["groups"], &["open", "members", "created", "joined", "left"]), [1, 2, 2, 3, 1]);
    assert_eq!(numbers(&stats["http"], &["open", "pending", "requests"]), [3, 0, 6]);
}

#[tokio::test(start_paused = true)]
async fn unsent_bytes_and_a_slow_client_that_is_closed_are_seen() {
    let server = server().buffer_size(1024);
    let (mut page, _) = open(&server).await;
    let mut slow = server.connect("/work?room=tea").await;
    let mut fast = server.connect("/work?room=tea").await;
    slow.pause();
    let big = "x".repeat(50_000);
    fast.send_text(&big);
    fast.expect_text(&big).await;
    let unsent = stats(&mut page).await["websocket"]["unsent"].as_u64().unwrap();
    assert!((40_000..=50_010).contains(&unsent), "{unsent}");
    // The write that finds too much unsent fails the connection.
    for _ in 0..4 {
        fast.send_text(&big);
        fast.expect_text(&big).await;
    }
    // It does not read its Close frame either, so the write timeout of 30 s ends it.
    for _ in 0..45 {
        let websocket = &stats(&mut page).await["websocket"];
        eprintln!("{websocket}");
        if websocket["closed"] == json!({"slow_reader": 1}) {
            assert_eq!((&websocket["open"], &websocket["unsent"]), (&json!(1), &json!(0)));
            return;
        }
    }
    panic!("the slow client is still connected");
}

#[tokio::test(start_paused = true)]
async fn all_pages_get_the_same_message_of_one_timer() {
    let server = server();
    let (mut first, _) = open(&server).await;
    sleep(INTERVAL / 2).await;
    let (mut second, _) = open(&server).await;
    for _ in 0..3 {
        assert_eq!(first.next_text().await, second.next_text().await);
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_come_and_go_do_not_change_the_interval() {
    let server = server();
    // Each page leaves before its next message is due, and the next page comes at once or later.
    for pause in [Duration::ZERO, INTERVAL / 4, INTERVAL * 3] {
        let (page, _) = open(&server).await;
        drop(page);
        sleep(pause).await;
    }
    let (mut page, _) = open(&server).await;
    let messages = received(&mut page, INTERVAL * 10 + INTERVAL / 2).await;
    assert_eq!(messages.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_slow_page_gets_the_latest_message_instead_of_all() {
    let server = server().buffer_size(256);
    let (mut slow, start) = open(&server).await;
    let (mut fast, _) = open(&server).await;
    slow.pause();
    let all = received(&mut fast, INTERVAL * 18 + INTERVAL / 2).await;
    assert_eq!(all.len(), 18);
    slow.resume();
    let some = received(&mut slow, Duration::from_millis(1)).await;
    let most = SOFT_LIMIT / all[0].len() + 3;
    assert!(some.len() <= most, "{} of at most {most}", some.len());
    assert_eq!(some.last(), all.last());
    // The rates are right all the same: the counters and their times are those of one moment.
    let latest: Value = serde_json::from_str(some.last().unwrap()).unwrap();
    assert!((18 * INTERVAL_MS..18 * INTERVAL_MS + 200).contains(&(time(&latest["stats"]) - time(&start["stats"]))));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_pages_is_limited() {
    let server = server();
    let mut pages = Vec::new();
    for _ in 0..PAGES {
        pages.push(open(&server).await);
    }
    server.connect("/stats").expect_refusal().await.expect_status(503);
    pages.pop();
    sleep(Duration::from_millis(1)).await;
    open(&server).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_sends_a_message_is_closed() {
    let (mut page, _) = open(&server()).await;
    page.send_text("hello");
    // RFC 6455 section 7.4.1: too big, since nothing is expected.
    page.expect_close(1009).await;
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_are_refused() {
    for origin in ["http://example.com", "null"] {
        server().connect("/stats").origin(origin).expect_refusal().await.expect_status(403);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_closes_the_pages_with_1001() {
    let server = server();
    let (mut page, _) = open(&server).await;
    let closing = server.shutdown();
    page.expect_close(1001).await;
    closing.await;
}

#[tokio::test(start_paused = true)]
async fn work_is_sent_to_the_room_or_back_and_ends_with_bye() {
    let server = server();
    let (mut ann, mut ben) = (server.connect("/work?room=tea").await, server.connect("/work?room=cake").await);
    let mut alone = server.connect("/work").await;
    ann.send_text("tea");
    ann.expect_text("tea").await;
    alone.send_text("echo");
    alone.expect_text("echo").await;
    ben.expect_silence(Duration::from_secs(5)).await;
    ben.send_text("bye");
    ben.expect_close(1000).await;
    ann.send_text("x".repeat(MESSAGE + 1));
    // RFC 6455 section 7.4.1.
    ann.expect_close(1009).await;
}

#[tokio::test(start_paused = true)]
async fn each_file_of_the_page_is_served_with_a_strict_policy() {
    let server = server();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
        ("/measures.js", "text/javascript; charset=utf-8"),
        ("/chart.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status(), answer.header("Content-Type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(answer.header("Referrer-Policy"), Some("no-referrer"));
        let policy = answer.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }
    server.get("/other").await.expect_status(404);
}
