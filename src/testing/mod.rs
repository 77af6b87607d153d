//! A client in memory, for the tests of an app.
//!
//! A [`TestClient`] sends requests and opens WebSockets without a socket. Its server is the
//! [`HttpServer`](crate::HttpServer) of the app, with all middlewares, limits and timeouts. A pipe in
//! memory replaces the socket. So a test needs no port, and can pause tokio's time:
//!
//! ```
//! use react_websocket::testing::TestClient;
//! use react_websocket::{HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware};
//!
//! fn server() -> HttpServer {
//!     let websocket = WebSocketMiddleware::new();
//!     websocket.on("connection", |connection: WebSocketConnection| {
//!         connection.on("text", move |text: &str| connection.write(text.to_uppercase()));
//!     });
//!     HttpServer::new((websocket, |request: ServerRequest| Response::plaintext(request.path())))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // The body of a test with `#[tokio::test(start_paused = true)]`.
//! let client = TestClient::new(server());
//! assert_eq!(client.get("/hello").await.text(), "/hello");
//!
//! let mut ann = client.connect("/").await;
//! ann.send_text("hi");
//! ann.expect_text("HI").await;
//! ann.close();
//! ann.expect_close(1000).await;
//! # }
//! ```
//!
//! An expectation that is not met panics at the line of its `.await`. The panic's message contains the
//! expected event, the received event, and the events before. Default timeout of an expectation: 5 s,
//! see [`TestClient::timeout`]. In paused time this takes no real time.
//!
//! The guide `docs/testing.md` shows how to test time, slow peers, refusals and groups.

mod client;
mod connection;
mod event;
mod expectation;
mod handshake;
mod request;
mod response;
mod setup;
mod stream;
mod target;
mod transcript;

pub use client::TestClient;
pub use connection::TestConnection;
pub use event::Event;
pub use expectation::Expectation;
pub use handshake::TestHandshake;
pub use request::TestRequest;
pub use response::TestResponse;
pub use stream::TestStream;
pub use target::IntoTestServer;
