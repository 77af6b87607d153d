//! The example `middleware`, as an app would be tested: a password, two WebSocket endpoints, and server-sent events.
#![cfg(feature = "testing")]

#[path = "../examples/middleware.rs"]
#[allow(dead_code, reason = "its `main` listens on a socket")]
mod example;

use react_websocket::testing::TestClient;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn admins_need_the_password() {
    let nobody = TestClient::new(example::server());
    let ann = nobody.clone().header("Authorization", "Basic YW5uOnNlY3JldA==");
    let refusal = nobody.get("/admin").await.expect_status(401);
    assert_eq!((refusal.text(), refusal.header("WWW-Authenticate")), ("Who are you?", Some("Basic")));
    assert_eq!(ann.get("/admin").await.expect_status(200).text(), "Hello Ann");
    assert_eq!(nobody.get("/").await.expect_status(200).text(), "<h1>Hello</h1>");
}

#[tokio::test(start_paused = true)]
async fn all_responses_pass_the_first_middleware() {
    let client = TestClient::new(example::server());
    for (path, status) in [("/", 200), ("/admin", 401), ("/elsewhere", 404)] {
        let response = client.get(path).await.expect_status(status);
        assert_eq!(response.header("X-Served-By"), Some("middleware example"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_its_path() {
    let client = TestClient::new(example::server());
    let (mut echo, mut shout) = (client.connect("/echo").await, client.connect("/shout").await);
    echo.send_text("hello");
    echo.expect_text("hello").await;
    shout.send_text("hello");
    shout.expect_text("HELLO").await;
    client.connect("/elsewhere").expect_refusal().await.expect_status(404);
    // Without a handshake the router answers.
    client.get("/echo").await.expect_status(404);
}

/// Server-sent events: one each second, until the server shuts down.
#[tokio::test(start_paused = true)]
async fn the_clock_ticks_until_the_server_shuts_down() {
    let (client, start) = (TestClient::new(example::server()), Instant::now());
    let mut clock = client.get("/clock").stream().await;
    assert_eq!((clock.status(), clock.header("Content-Type")), (200, Some("text/event-stream")));
    for second in 1..=3 {
        assert!(clock.read_until("\n\n").await.starts_with("data: "));
        assert_eq!(start.elapsed().as_secs(), second);
    }
    client.shutdown().await;
    clock.expect_end().await;
    assert_eq!(start.elapsed().as_secs(), 3);
}
