use std::fmt;
use std::panic::Location;

use memchr::memmem;
use tokio::time::timeout;

use super::event::{Shown, ShownBytes};
use super::expectation::Expectation;
use super::response::TestResponse;
use super::setup::Setup;
use crate::client::{Exchange, ResponseBody};

/// A response whose body the test reads while it arrives, which [`TestRequest::stream`] returns.
///
/// The pieces in which the server writes the body do not matter. Dropping the `TestStream`
/// disconnects the client.
///
/// ```
/// use react_websocket::testing::TestClient;
/// use react_websocket::{BodyStream, Loop, Response, ServerRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # tokio::time::pause();
/// let client = TestClient::new(|_request: ServerRequest| {
///     let body = BodyStream::new();
///     let writer = body.writer();
///     Loop::add_periodic_timer(1.0, move || writer.write("data: tick\n\n"));
///     Response::new(200).with_header("Content-Type", "text/event-stream").with_body(body)
/// });
/// let mut events = client.get("/ticks").stream().await;
/// assert_eq!(events.header("Content-Type"), Some("text/event-stream"));
/// events.expect_text("data: tick\n\n").await;
/// assert_eq!(events.read_until("\n\n").await, "data: tick\n\n");
/// # }
/// ```
///
/// [`TestRequest::stream`]: super::TestRequest::stream
pub struct TestStream {
    /// The head, without the body.
    response: TestResponse,
    exchange: Exchange,
    body: ResponseBody,
    /// Bytes of the body that the test has not taken.
    unread: Vec<u8>,
    /// Keeps the server running, and has the timeout.
    setup: Setup,
}

impl TestStream {
    pub(super) fn new(response: TestResponse, exchange: Exchange, body: ResponseBody, setup: Setup) -> TestStream {
        TestStream { response, exchange, body, unread: Vec::new(), setup }
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.response.status()
    }

    /// Returns the value of a header, like [`TestResponse::header`].
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.response.header(name)
    }

    /// Expects that the body continues with this text.
    #[track_caller]
    pub fn expect_text(&mut self, text: impl Into<String>) -> Expectation<'_, ()> {
        let text = text.into();
        let expected = format!("body {}", Shown(&text));
        self.expect(expected, move |unread| {
            let length = unread.len().min(text.len());
            let (begins, rest) = (unread.get(..length)?, unread.get(length..)?);
            match text.as_bytes().strip_prefix(begins) {
                Some([]) => Some(Ok(((), rest.to_vec()))),
                Some(_) => None,
                None => Some(Err(format!("received {}", ShownBytes(unread)))),
            }
        })
    }

    /// Returns the body up to and including this delimiter: `"\n"` for lines, `"\n\n"` for
    /// server-sent events.
    ///
    /// # Panics
    /// If the delimiter is empty.
    #[track_caller]
    pub fn read_until(&mut self, delimiter: impl Into<String>) -> Expectation<'_, String> {
        let delimiter = delimiter.into();
        assert!(!delimiter.is_empty(), "an empty delimiter");
        self.expect(format!("body until {}", Shown(&delimiter)), move |unread| {
            let at = memmem::find(unread, delimiter.as_bytes())?;
            let (read, rest) = unread.split_at_checked(at.checked_add(delimiter.len())?)?;
            match String::from_utf8(read.to_vec()) {
                Ok(text) => Some(Ok((text, rest.to_vec()))),
                Err(_) => Some(Err(format!("received {}, which is not UTF-8", ShownBytes(read)))),
            }
        })
    }

    /// Expects that the body has ended completely, and that the test has read all of it.
    #[track_caller]
    pub fn expect_end(&mut self) -> Expectation<'_, ()> {
        let (created, limit) = (Location::caller(), self.setup.timeout);
        Expectation::new(created, async move {
            let ended = timeout(limit, self.read_all()).await;
            match ended {
                _ if !self.unread.is_empty() => {
                    Err(format!("expected the end of the body, but received {}", ShownBytes(&self.unread)))
                }
                Ok(ended) => ended.map_err(|problem| format!("expected the end of the body, but {problem}")),
                Err(_) => Err(format!("expected the end of the body within {limit:?}, but it did not end")),
            }
        })
    }

    /// `judge` gets the unread bytes. It returns `None` if it needs more bytes, a value and the bytes that
    /// are still unread, or an error's text.
    #[track_caller]
    fn expect<'a, T: Send + 'a>(
        &'a mut self,
        expected: String,
        mut judge: impl FnMut(&[u8]) -> Option<Result<(T, Vec<u8>), String>> + Send + 'a,
    ) -> Expectation<'a, T> {
        let created = Location::caller();
        Expectation::new(created, async move {
            let limit = self.setup.timeout;
            let judged = timeout(limit, async {
                loop {
                    if let Some(judged) = judge(&self.unread) {
                        return judged;
                    }
                    if !self.read_more().await {
                        return Err(format!("the body ended after {}", ShownBytes(&self.unread)));
                    }
                }
            });
            match judged.await {
                Ok(Ok((value, rest))) => {
                    self.unread = rest;
                    Ok(value)
                }
                Ok(Err(problem)) => Err(format!("expected {expected}, but {problem}")),
                Err(_) => {
                    let received = ShownBytes(&self.unread);
                    Err(format!("expected {expected} within {limit:?}, but received only {received}"))
                }
            }
        })
    }

    /// Reads until the end of the body.
    pub(super) async fn read_all(&mut self) -> Result<(), String> {
        while self.read_more().await {}
        if self.body.is_complete() { Ok(()) } else { Err("the connection ended within the body".to_owned()) }
    }

    /// Returns the response with the unread part of the body.
    pub(super) fn into_response(self) -> TestResponse {
        self.response.with_body(self.unread)
    }

    /// Returns `false` at the end.
    async fn read_more(&mut self) -> bool {
        let has_more = !self.body.is_done() && self.exchange.read_part(&mut self.body).await;
        self.unread.append(&mut self.body.take());
        has_more
    }
}

impl fmt::Debug for TestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestStream")
            .field("response", &self.response)
            .field("unread", &format_args!("{}", ShownBytes(&self.unread)))
            .finish_non_exhaustive()
    }
}
