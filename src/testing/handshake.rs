use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use http::header::HeaderMap;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::connection::TestConnection;
use super::event::{Event, Shown};
use super::expectation::Expectation;
use super::response::TestResponse;
use super::setup::{Setup, add_header, url_of};
use crate::client::{ConnectError, Connector};
use crate::emitter::report;
use crate::websocket::{Text, WebSocketConnection, WebSocketOptions};

/// The handshake of a WebSocket, which [`TestClient::connect`](super::TestClient::connect) returns. Awaiting it opens the
/// connection.
///
/// ```
/// use react_websocket::testing::TestClient;
/// use react_websocket::{WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let options = WebSocketOptions::new().subprotocols(["chat.v2", "chat.v1"]);
/// let websocket = WebSocketMiddleware::new().with_options(options);
/// websocket.on("connection", |connection: WebSocketConnection| {
///     connection.write("welcome");
/// });
/// let client = TestClient::new(websocket);
///
/// let mut ann = client.connect("/chat?name=ann").subprotocols(["chat.v1"]).header("Authorization", "Bearer ann").await;
/// assert_eq!(ann.subprotocol().as_deref(), Some("chat.v1"));
/// ann.expect_text("welcome").await;
///
/// // The default of `WebSocketOptions::origins` refuses the pages of other hosts.
/// let refusal = client.connect("/chat").origin("https://other.example").expect_refusal().await;
/// assert_eq!(refusal.status(), 403);
/// # }
/// ```
#[must_use = "a handshake is only sent when it is awaited"]
pub struct TestHandshake {
    setup: Setup,
    created: &'static Location<'static>,
    path: String,
    headers: HeaderMap,
    subprotocols: Vec<Arc<str>>,
    auto_pong: bool,
}

/// Maximum size of a message that a client of a test receives, and of the bytes that it has not
/// sent. A test may send more to a server than an app would.
const MAX: usize = 1 << 30;

impl TestHandshake {
    #[track_caller]
    pub(super) fn new(setup: Setup, path: &str, created: &'static Location<'static>) -> TestHandshake {
        let (path, headers) = (url_of(path).target, setup.headers.clone());
        TestHandshake { setup, created, path, headers, subprotocols: Vec::new(), auto_pong: true }
    }

    /// Adds a header to the handshake. `Host` replaces the default, `localhost`.
    ///
    /// # Panics
    /// If the name or the value is malformed.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> TestHandshake {
        add_header(&mut self.headers, name.as_ref(), value.as_ref());
        self
    }

    /// Sets the `Origin` header, as browsers do: `https://example.com`. Default: none.
    ///
    /// # Panics
    /// If the origin cannot be the value of a header.
    #[track_caller]
    pub fn origin(mut self, origin: impl AsRef<str>) -> TestHandshake {
        self.headers.remove(http::header::ORIGIN);
        self.header("Origin", origin.as_ref())
    }

    /// Sets the subprotocols that the client offers, the most wanted first. Default: none.
    pub fn subprotocols<S: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = S>) -> TestHandshake {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether the client answers pings (RFC 6455 section 5.5.3). Default: `true`. The server drops
    /// the connection of a client that does not answer, after
    /// [`WebSocketOptions::pong_timeout`](crate::WebSocketOptions::pong_timeout).
    pub fn auto_pong(mut self, on: bool) -> TestHandshake {
        self.auto_pong = on;
        self
    }

    /// Sends the handshake and returns the response that refuses it. The body has up to 64 KiB.
    ///
    /// The future panics if the server accepts the handshake, or sends no valid response in time.
    #[track_caller]
    pub fn expect_refusal(self) -> Expectation<'static, TestResponse> {
        let created = Location::caller();
        Expectation::new(created, async move {
            let (path, opened) = self.open().await;
            match opened {
                Err(ConnectError::Refused { response }) => Ok(TestResponse::new(*response)),
                Err(error) => Err(format!("expected a refusal of {path}, but {}", report(&error))),
                Ok(_) => Err(format!("expected a refusal of {path}, but the server accepted the connection")),
            }
        })
    }

    async fn open(self) -> (String, Result<TestConnection, ConnectError>) {
        let TestHandshake { setup, path, headers, subprotocols, auto_pong, .. } = self;
        let (sender, events) = unbounded_channel();
        let opening = async {
            let connector = connector(headers, subprotocols, auto_pong)?.timeout(setup.timeout);
            let listener = move |connection: WebSocketConnection| forward(connection, &sender);
            connector.connect_on(setup.open(), format!("ws://localhost{path}"), listener).await
        };
        let opened = opening.await;
        (path, opened.map(|connection| TestConnection::new(setup, connection, events)))
    }
}

/// Returns a connector that never pings or ends a connection by itself, so that only the test and the
/// server decide what happens.
fn connector(headers: HeaderMap, subprotocols: Vec<Arc<str>>, auto_pong: bool) -> Result<Connector, ConnectError> {
    let options = WebSocketOptions::new()
        .auto_pong(auto_pong)
        .ping_interval(None)
        .write_timeout(None)
        .control_rate(None)
        .slow_listener_warning(None)
        .max_message_size(MAX)
        .max_frame_size(MAX)
        .max_fragments(u32::MAX)
        // The drop of a connection waits until everything is sent.
        .write_buffer_soft_limit(1)
        .write_buffer_hard_limit(MAX);
    let connector = Connector::new().with_options(options).subprotocols(subprotocols);
    headers.iter().try_fold(connector, |connector, (name, value)| connector.header(name, value))
}

/// Sends the events of a connection to the test.
fn forward(connection: WebSocketConnection, to: &UnboundedSender<Event>) {
    let send = || {
        let to = to.clone();
        // The receiver is gone if the test has dropped the connection.
        move |event: Event| _ = to.send(event)
    };
    let (on_message, on_ping, on_pong, on_close) = (send(), send(), send(), send());
    connection.on_message(move |message| on_message(message.into()));
    connection.on_ping(move |bytes| on_ping(Event::Ping(bytes.to_vec().into())));
    connection.on_pong(move |bytes| on_pong(Event::Pong(bytes.to_vec().into())));
    connection.on_close(move |code, reason| on_close(Event::Close { code, reason: Text::from(reason) }));
}

impl IntoFuture for TestHandshake {
    type Output = TestConnection;
    type IntoFuture = Expectation<'static, TestConnection>;

    /// The future panics if the server refuses the handshake, or does not answer in time.
    fn into_future(self) -> Expectation<'static, TestConnection> {
        Expectation::new(self.created, async move {
            let (path, opened) = self.open().await;
            opened.map_err(|error| match &error {
                ConnectError::Refused { response } => {
                    let body = String::from_utf8_lossy(response.body());
                    format!("expected a connection to {path}, but {error}\nbody: {}", Shown(&body))
                }
                error => format!("expected a connection to {path}, but {}", report(error)),
            })
        })
    }
}

impl fmt::Debug for TestHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHandshake").field("path", &self.path).finish_non_exhaustive()
    }
}
