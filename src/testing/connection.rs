use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::event::{Event, Shown, ShownBytes};
use super::expectation::Expectation;
use super::setup::Setup;
use super::transcript::Transcript;
use crate::websocket::{Text, WebSocketConnection};

/// The client's end of a WebSocket, which [`TestClient::connect`](super::TestClient::connect) opens.
///
/// The methods that send return at once. The methods that receive return an [`Expectation`], which the
/// test awaits. An expectation waits for the next message, for the
/// [timeout](super::TestClient::timeout) at most. It panics if it is not met.
///
/// Expectations of other events skip pings and pongs. The connection keeps all events in their order
/// until the test receives them.
///
/// Dropping the connection ends it without a Close frame, like a network that fails. The server
/// receives the messages that were sent before, and then its `close` event has the code 1006.
/// [`close`](TestConnection::close) ends the connection with the closing handshake. The handshake
/// continues if the connection is dropped then.
pub struct TestConnection {
    /// Keeps the server running, and has the timeout.
    setup: Setup,
    connection: WebSocketConnection,
    events: UnboundedReceiver<Event>,
    transcript: Transcript,
    /// The test has begun the closing handshake.
    is_closing: bool,
}

/// What an event is to an expectation.
enum Verdict<T> {
    Met(T),
    Skipped,
    Unmet,
}

/// Returns `Met` for a value. Otherwise the expectation skips pings and pongs, and fails at other
/// events.
fn met<T>(value: Option<T>, event: &Event) -> Verdict<T> {
    match value {
        Some(value) => Verdict::Met(value),
        None if event.is_control() => Verdict::Skipped,
        None => Verdict::Unmet,
    }
}

impl TestConnection {
    pub(super) fn new(setup: Setup, connection: WebSocketConnection, events: UnboundedReceiver<Event>) -> TestConnection {
        TestConnection { setup, connection, events, transcript: Transcript::default(), is_closing: false }
    }

    /// Returns the subprotocol that the server has selected, or `None`.
    pub fn subprotocol(&self) -> Option<Arc<str>> {
        self.connection.subprotocol()
    }
}

/// # Sending
impl TestConnection {
    /// Sends a text message.
    ///
    /// # Panics
    /// If the connection is closing or closed.
    #[track_caller]
    pub fn send_text(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.note_sent(format_args!("text {}", Shown(text)));
        self.connection.write(text);
    }

    /// Sends a binary message.
    ///
    /// # Panics
    /// If the connection is closing or closed.
    #[track_caller]
    pub fn send_binary(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.note_sent(format_args!("binary {}", ShownBytes(bytes)));
        self.connection.write_binary(bytes);
    }

    /// Sends a value as JSON, in a text message.
    ///
    /// # Panics
    /// If the connection is closing or closed, or if the value cannot be converted to JSON.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn send_json(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        match serde_json::to_string(value) {
            Ok(text) => self.send_text(text),
            Err(error) => panic!("the value cannot be converted to JSON: {error}"),
        }
    }

    /// Sends a ping. [`expect_pong`](TestConnection::expect_pong) waits for the answer.
    ///
    /// # Panics
    /// If the connection is closing or closed, or if the payload is longer than 125 bytes (RFC 6455
    /// section 5.5).
    #[track_caller]
    pub fn ping(&mut self, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        assert!(payload.len() <= 125, "a ping of {} bytes exceeds 125", payload.len());
        self.note_sent(format_args!("ping {}", ShownBytes(payload)));
        self.connection.ping(payload);
    }

    /// Sends bytes as they are: malformed frames, or a part of a frame.
    ///
    /// ```
    /// use react_websocket::WebSocketMiddleware;
    /// use react_websocket::testing::TestClient;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let mut connection = TestClient::new(WebSocketMiddleware::new()).connect("/").await;
    /// // Opcode 3 is reserved (RFC 6455 section 5.2). The frame is empty and masked.
    /// connection.send_raw(b"\x83\x80\0\0\0\0");
    /// connection.expect_close(1002).await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the connection is closing or closed.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.note_sent(format_args!("raw {}", ShownBytes(bytes)));
        self.connection.write_raw(bytes);
    }

    /// Begins the closing handshake with the code 1000. Messages that arrive later are dropped.
    /// The [`Close`](Event::Close) event follows when the server has answered.
    ///
    /// If the connection is closing or closed, this does nothing.
    pub fn close(&mut self) {
        self.close_with(1000, "");
    }

    /// Like [`close`](TestConnection::close), with this code and this reason. A code or a reason
    /// that RFC 6455 does not allow is replaced, see
    /// [`WebSocketConnection::close_with`](crate::WebSocketConnection::close_with).
    pub fn close_with(&mut self, code: u16, reason: impl AsRef<str>) {
        let reason = reason.as_ref();
        self.transcript.sent(format_args!("close {code} {}", Shown(reason)));
        self.is_closing = true;
        self.connection.close_with(code, reason);
    }

    #[track_caller]
    fn note_sent(&mut self, what: fmt::Arguments<'_>) {
        if !self.connection.is_writable() {
            let message = format!("cannot send {what}: the connection is closing or closed");
            panic!("{}", self.report(&message));
        }
        self.transcript.sent(what);
    }
}

/// # Receiving
impl TestConnection {
    /// Returns the next event, also a ping or a pong.
    #[track_caller]
    pub fn next_event(&mut self) -> Expectation<'_, Event> {
        self.expect("an event".to_owned(), |event| Verdict::Met(event.clone()))
    }

    /// Returns the next message, which must be text.
    #[track_caller]
    pub fn next_text(&mut self) -> Expectation<'_, Text> {
        self.expect("a text message".to_owned(), |event| match event {
            Event::Text(text) => Verdict::Met(text.clone()),
            event => met(None, event),
        })
    }

    /// Returns the next message, which must be binary.
    #[track_caller]
    pub fn next_binary(&mut self) -> Expectation<'_, Bytes> {
        self.expect("a binary message".to_owned(), |event| match event {
            Event::Binary(bytes) => Verdict::Met(bytes.clone()),
            event => met(None, event),
        })
    }

    /// Returns the value of the next message, which must be text with JSON of this type.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn next_json<'a, T: serde::de::DeserializeOwned + Send + 'a>(&'a mut self) -> Expectation<'a, T> {
        self.expect(format!("JSON of type {}", std::any::type_name::<T>()), |event| met(parsed(event), event))
    }

    /// Expects that the next message is this text.
    #[track_caller]
    pub fn expect_text(&mut self, text: impl Into<String>) -> Expectation<'_, ()> {
        let text = text.into();
        self.expect(format!("text {}", Shown(&text)), move |event| {
            met(matches!(event, Event::Text(received) if *received == text).then_some(()), event)
        })
    }

    /// Expects that the next message is binary and has these bytes.
    #[track_caller]
    pub fn expect_binary(&mut self, bytes: impl Into<Bytes>) -> Expectation<'_, ()> {
        let bytes = bytes.into();
        self.expect(format!("binary {}", ShownBytes(&bytes)), move |event| {
            met(matches!(event, Event::Binary(received) if *received == bytes).then_some(()), event)
        })
    }

    /// Expects that the next message is text with the JSON of this value. White space and the order
    /// of the keys do not matter.
    ///
    /// # Panics
    /// If the value cannot be converted to JSON.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn expect_json(&mut self, value: &(impl serde::Serialize + ?Sized)) -> Expectation<'_, ()> {
        let value = match serde_json::to_value(value) {
            Ok(value) => value,
            Err(error) => panic!("the value cannot be converted to JSON: {error}"),
        };
        self.expect(format!("JSON {value}"), move |event| {
            met(parsed::<serde_json::Value>(event).filter(|received| *received == value).map(drop), event)
        })
    }

    /// Expects a ping before the next message. Returns its payload.
    #[track_caller]
    pub fn expect_ping(&mut self) -> Expectation<'_, Bytes> {
        self.expect("a ping".to_owned(), |event| match event {
            Event::Ping(payload) => Verdict::Met(payload.clone()),
            event => met(None, event),
        })
    }

    /// Expects a pong with this payload before the next message. Other pongs are skipped.
    #[track_caller]
    pub fn expect_pong(&mut self, payload: impl Into<Bytes>) -> Expectation<'_, ()> {
        let payload = payload.into();
        self.expect(format!("pong {}", ShownBytes(&payload)), move |event| {
            met(matches!(event, Event::Pong(received) if *received == payload).then_some(()), event)
        })
    }

    /// Expects that the connection ends with this code before another message arrives. Returns the
    /// reason.
    ///
    /// The code of the Close frame is compared, or 1006 if the server ends the connection without a Close
    /// frame (RFC 6455 section 7.1.5).
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> Expectation<'_, Text> {
        self.expect(format!("close {code}"), move |event| match event {
            Event::Close { code: received, reason } if *received == code => Verdict::Met(reason.clone()),
            event => met(None, event),
        })
    }

    /// Expects that no message arrives for this time, and that the connection does not end. A
    /// connection whose `Close` event was received before is silent.
    ///
    /// In paused time a duration of 1 ms waits until no task can run any more.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> Expectation<'_, ()> {
        let created = Location::caller();
        Expectation::new(created, async move {
            let message = async {
                loop {
                    match self.receive().await {
                        Some(event) if event.is_control() => {}
                        Some(event) => return event,
                        // Nothing can arrive any more.
                        None => std::future::pending().await,
                    }
                }
            };
            match timeout(duration, message).await {
                Ok(event) => Err(self.report(&format!("expected silence for {duration:?}, but received {event}"))),
                Err(_) => Ok(()),
            }
        })
    }

    #[track_caller]
    fn expect<'a, T: Send + 'a>(
        &'a mut self,
        expected: String,
        mut judge: impl FnMut(&Event) -> Verdict<T> + Send + 'a,
    ) -> Expectation<'a, T> {
        Expectation::new(Location::caller(), async move {
            let limit = self.setup.timeout;
            let judged = async {
                while let Some(event) = self.receive().await {
                    match judge(&event) {
                        Verdict::Met(value) => return Ok(value),
                        Verdict::Skipped => {}
                        Verdict::Unmet => return Err(format!("expected {expected}, but received {event}")),
                    }
                }
                Err(format!("expected {expected}, but the connection has ended"))
            };
            let judged = timeout(limit, judged).await;
            let judged =
                judged.unwrap_or_else(|_| Err(format!("expected {expected} within {limit:?}, but nothing arrived")));
            judged.map_err(|problem| self.report(&problem))
        })
    }

    /// Returns the next event, or `None` if the last event was received before.
    async fn receive(&mut self) -> Option<Event> {
        let event = self.events.recv().await?;
        self.transcript.received(&event);
        Some(event)
    }

    /// Adds what has happened so far to the message of a panic.
    fn report(&mut self, problem: &str) -> String {
        let mut report = format!("{problem}\nso far:{}", self.transcript);
        if self.transcript.is_empty() {
            report += " nothing";
        }
        let mut unread = Transcript::default();
        while let Ok(event) = self.events.try_recv() {
            unread.received(event);
        }
        if !unread.is_empty() {
            report += &format!("\nreceived after that:{unread}");
        }
        report
    }
}

/// # Slow peers
impl TestConnection {
    /// Stops reading, like a slow consumer. The pipe fills, and then the server's unsent bytes grow:
    /// the server's `write` returns `false`, and `drain` fires after
    /// [`resume`](TestConnection::resume). A small [`TestClient::buffer_size`](super::TestClient::buffer_size) makes the test short.
    ///
    /// A client that does not read does not answer pings either.
    pub fn pause(&mut self) {
        self.connection.pause();
    }

    /// Reads again after [`pause`](TestConnection::pause).
    pub fn resume(&mut self) {
        self.connection.resume();
    }
}

#[cfg(feature = "json")]
fn parsed<T: serde::de::DeserializeOwned>(event: &Event) -> Option<T> {
    match event {
        Event::Text(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

impl Drop for TestConnection {
    fn drop(&mut self) {
        let connection = self.connection;
        if self.is_closing {
            return;
        }
        if connection.buffered_amount() == 0 {
            connection.terminate();
            return;
        }
        self.setup.spawn(async move {
            // It fails if the connection has ended by itself.
            while let Ok(Some(sent)) = connection.room_to_come() {
                sent.await;
            }
            connection.terminate();
        });
    }
}

impl fmt::Debug for TestConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestConnection").field("connection", &self.connection).finish_non_exhaustive()
    }
}
