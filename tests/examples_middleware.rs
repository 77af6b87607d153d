//! The example `middleware`, as an app would be tested: a password, two WebSocket endpoints, and server-sent events.
#![cfg(feature = "testing")]

#[path = "../examples/middleware.rs"]
#[allow(dead_code, reason = "its `main` listens on a socket")]
mod example;

use std::time::Duration;

use react_websocket::testing::TestClient;
use tokio::time::sleep;

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

/// An event each second, until the server shuts down.
#[tokio::test(start_paused = true)]
async fn the_clock_ends_with_the_server() {
    let client = TestClient::new(example::server());
    let (response, ()) = tokio::join!(client.get("/clock"), async {
        sleep(Duration::from_millis(3500)).await;
        client.shutdown().await;
    });
    assert_eq!(response.header("Content-Type"), Some("text/event-stream"));
    assert_eq!(response.text().matches("data: ").count(), 3, "{response:?}");
}
