use std::fmt;
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use tokio::time::timeout;

use super::event::Shown;
use super::expectation::Expectation;
use super::response::TestResponse;
use super::setup::{Setup, add_header, url_of};
use super::stream::TestStream;
use crate::client::{BodyLength, Exchange, ResponseBody};
use crate::emitter::report;
use crate::runtime::stream::Stream;

/// A request, which the methods of [`TestClient`](super::TestClient) return. Awaiting it sends the request and returns
/// the response.
///
/// Each request has a connection of its own. The future panics if no complete response arrives
/// within the [timeout](super::TestClient::timeout). [`stream`](TestRequest::stream) is for bodies that
/// do not end by themselves. A refusal such as 404 is a response like any other.
///
/// ```
/// use react_websocket::testing::TestClient;
/// use react_websocket::{Response, ServerRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let router = |request: ServerRequest| match request.parsed_body() {
///     Ok(form) => Response::plaintext(format!("Hello {}", form.get("name").unwrap_or("world"))),
///     Err(error) => Response::plaintext(error.to_string()).with_status(400),
/// };
/// let client = TestClient::new(router);
/// assert_eq!(client.post("/").form([("name", "Ann")]).await.text(), "Hello Ann");
/// assert_eq!(client.get("/").header("Accept-Language", "en").await.text(), "Hello world");
/// # }
/// ```
#[must_use = "a request is only sent when it is awaited"]
pub struct TestRequest {
    setup: Setup,
    created: &'static Location<'static>,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl TestRequest {
    #[track_caller]
    pub(super) fn new(setup: Setup, method: &str, path: &str, created: &'static Location<'static>) -> TestRequest {
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { panic!("{method:?} is not a method") };
        let (target, headers) = (url_of(path).target, setup.headers.clone());
        TestRequest { setup, created, method, target, headers, body: Bytes::new() }
    }

    /// Adds a header. `Host` replaces the default, `localhost`. `Content-Length` replaces the
    /// length of the body.
    ///
    /// # Panics
    /// If the name or the value is malformed.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> TestRequest {
        add_header(&mut self.headers, name.as_ref(), value.as_ref());
        self
    }

    /// Sets the body. Default: empty.
    pub fn body(mut self, body: impl Into<Bytes>) -> TestRequest {
        self.body = body.into();
        self
    }

    /// Sets the body to the fields of a form, and adds `Content-Type:
    /// application/x-www-form-urlencoded`.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, fields: impl IntoIterator<Item = (N, V)>) -> TestRequest {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.with_content("application/x-www-form-urlencoded", body.into())
    }

    /// Sets the body to a value as JSON, and adds `Content-Type: application/json`.
    ///
    /// # Panics
    /// If the value cannot be converted to JSON.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> TestRequest {
        match serde_json::to_vec(value) {
            Ok(body) => self.with_content("application/json", body.into()),
            Err(error) => panic!("the value cannot be converted to JSON: {error}"),
        }
    }

    fn with_content(mut self, content_type: &'static str, body: Bytes) -> TestRequest {
        self.headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
        self.body(body)
    }

    /// Returns the bytes of the request (RFC 9112 section 2.1).
    fn encode(&self) -> Vec<u8> {
        let TestRequest { method, target, headers, body, .. } = self;
        let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        if !headers.contains_key(HOST) {
            request.extend_from_slice(b"Host: localhost\r\n");
        }
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                request.extend_from_slice(part);
            }
        }
        let has_length = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        // RFC 9110 section 8.6: methods that usually have a body send the length 0 as well.
        let may_have_body = !matches!(*method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
        if !has_length && (may_have_body || !body.is_empty()) {
            request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        request
    }

    /// Sends the request and returns the response when its head has arrived. The test reads the
    /// body while it arrives: server-sent events, for example.
    ///
    /// The future panics if no head of a response arrives in time.
    #[track_caller]
    pub fn stream(self) -> Expectation<'static, TestStream> {
        let (created, limit) = (Location::caller(), self.setup.timeout);
        let what = self.what();
        Expectation::new(
            created,
            async move { timeout(limit, self.open()).await.unwrap_or_else(|_| Err(late(&what, limit))) },
        )
    }

    fn what(&self) -> String {
        format!("a response to {} {}", self.method, self.target)
    }

    /// Sends the request and reads the head of the response.
    async fn open(self) -> Result<TestStream, String> {
        let mut exchange = Exchange::new(Stream::other(self.setup.open()));
        let head = exchange.request(&self.encode()).await;
        let head = head.map_err(|error| format!("expected {}, but {}", self.what(), report(&error)))?;
        let mut response = http::Response::new(Bytes::new());
        // RFC 9110 sections 9.3.2 and 15.2.2: no body follows.
        let has_body = self.method != Method::HEAD && head.status != StatusCode::SWITCHING_PROTOCOLS;
        let length = if has_body { head.body_length() } else { BodyLength::Exactly(0) };
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        let body = ResponseBody::new(length, usize::MAX);
        Ok(TestStream::new(TestResponse::new(response), exchange, body, self.setup))
    }

    async fn send(self) -> Result<TestResponse, String> {
        let (limit, what) = (self.setup.timeout, self.what());
        let mut opened = None;
        let received = timeout(limit, async { opened.insert(self.open().await?).read_all().await }).await;
        let response = opened.map(TestStream::into_response);
        match (received, response) {
            (Ok(Ok(())), Some(response)) => Ok(response),
            (Ok(Err(problem)), Some(response)) => Err(format!("expected {what}, but {problem}\n{response:?}")),
            (Ok(Err(problem)), None) => Err(problem),
            (Err(_), Some(response)) => {
                Err(format!("expected {what} within {limit:?}, but the body did not end\n{response:?}"))
            }
            (_, None) => Err(late(&what, limit)),
        }
    }
}

fn late(what: &str, limit: Duration) -> String {
    format!("expected {what} within {limit:?}, but nothing arrived")
}

impl IntoFuture for TestRequest {
    type Output = TestResponse;
    type IntoFuture = Expectation<'static, TestResponse>;

    /// The future panics if no complete response arrives in time.
    fn into_future(self) -> Expectation<'static, TestResponse> {
        Expectation::new(self.created, self.send())
    }
}

impl fmt::Debug for TestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRequest")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("body", &format_args!("{}", Shown(&String::from_utf8_lossy(&self.body))))
            .finish_non_exhaustive()
    }
}
