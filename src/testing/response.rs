use std::fmt;

use bytes::Bytes;
use http::header::HeaderMap;

use super::event::Shown;

/// A response whose body has arrived completely.
///
/// `http::Response::<Bytes>::from` converts it.
#[derive(Clone)]
pub struct TestResponse {
    response: http::Response<Bytes>,
}

impl TestResponse {
    pub(super) fn new(response: http::Response<Bytes>) -> TestResponse {
        TestResponse { response }
    }

    pub(super) fn with_body(mut self, body: Vec<u8>) -> TestResponse {
        *self.response.body_mut() = body.into();
        self
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns the value of a header. Returns `None` if the header is missing or is not ASCII.
    /// Returns the first value if there are several.
    pub fn header(&self, name: impl AsRef<str>) -> Option<&str> {
        self.response.headers().get(name.as_ref())?.to_str().ok()
    }

    /// Returns all headers, also those that the server adds, such as `Date`.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        self.response.body()
    }

    /// Returns the body as text.
    ///
    /// # Panics
    /// If the body is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(self.body()) {
            Ok(text) => text,
            Err(error) => panic!("the body is not UTF-8: {error}\n{self:?}"),
        }
    }

    /// Parses the body as JSON.
    ///
    /// # Panics
    /// If the body is not JSON of this type.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(self.body()) {
            Ok(value) => value,
            Err(error) => panic!("the body is not JSON of type {}: {error}\n{self:?}", std::any::type_name::<T>()),
        }
    }

    /// Checks the status. Returns the response, so that calls can be chained.
    ///
    /// ```
    /// # use react_websocket::testing::TestClient;
    /// # use react_websocket::{Response, ServerRequest};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let client = TestClient::new(|_request: ServerRequest| Response::plaintext("Hello"));
    /// assert_eq!(client.get("/").await.expect_status(200).text(), "Hello");
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the response has another status. The message contains the response.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> TestResponse {
        assert!(self.status() == status, "expected status {status}, but received {}\n{self:?}", self.status());
        self
    }
}

impl From<TestResponse> for http::Response<Bytes> {
    fn from(response: TestResponse) -> http::Response<Bytes> {
        response.response
    }
}

impl fmt::Debug for TestResponse {
    /// Prints the status, the headers, and the beginning of the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(self.body());
        f.debug_struct("TestResponse")
            .field("status", &self.status())
            .field("headers", self.headers())
            .field("body", &format_args!("{}", Shown(&body)))
            .finish()
    }
}
