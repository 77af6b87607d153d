use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;

use super::handshake::TestHandshake;
use super::request::TestRequest;
use super::setup::{Setup, add_header};
use super::target::IntoTestServer;
use crate::emitter::Sealed;
use crate::http::Closing;

/// A client of a server that runs in memory: for the tests of an app.
///
/// A clone is another client of the same server. So each user in a test can have a client with headers
/// and an address of its own:
///
/// ```
/// use react_websocket::testing::TestClient;
/// use react_websocket::{Response, ServerRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let router = |request: ServerRequest| match request.header("Authorization") {
///     Some(_) => Response::new(200),
///     None => Response::new(401),
/// };
/// let nobody = TestClient::new(router);
/// let ann = nobody.clone().header("Authorization", "Bearer ann");
/// assert_eq!(nobody.get("/").await.status(), 401);
/// assert_eq!(ann.get("/").await.status(), 200);
/// # }
/// ```
///
/// The server ends when the last client and the last [`TestConnection`](super::TestConnection) are
/// dropped. [`shutdown`](TestClient::shutdown) ends it gracefully.
#[derive(Clone)]
pub struct TestClient {
    setup: Setup,
}

impl TestClient {
    /// Starts a server in memory and returns a client.
    ///
    /// `server` is an [`HttpServer`](crate::HttpServer), or the handlers that
    /// [`HttpServer::new`](crate::HttpServer::new) takes: a router, a
    /// [`WebSocketMiddleware`](crate::WebSocketMiddleware), or a tuple of handlers.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled. `#[tokio::test]` has such a runtime.
    #[track_caller]
    pub fn new<M>(server: impl IntoTestServer<M>) -> TestClient {
        TestClient { setup: Setup::new(server.into_test_server(Sealed)) }
    }

    /// Adds a header to each request and each handshake.
    ///
    /// # Panics
    /// If the name or the value is malformed.
    #[track_caller]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> TestClient {
        add_header(&mut self.setup.headers, name.as_ref(), value.as_ref());
        self
    }

    /// Sets the address of the client that the server sees, for example as
    /// [`remote_address`](crate::WebSocketConnection::remote_address). Default: `127.0.0.1:50000`.
    /// The server's own address is `127.0.0.1:80`.
    pub fn remote_address(mut self, address: SocketAddr) -> TestClient {
        self.setup.remote = address;
        self
    }

    /// Sets the timeout of an expectation, a request or a handshake, in tokio's time. Default: 5 s.
    /// After the timeout the test panics.
    pub fn timeout(mut self, timeout: Duration) -> TestClient {
        self.setup.timeout = timeout;
        self
    }

    /// Sets the size of the pipe between client and server, in bytes for each direction.
    /// Default: 64 KiB.
    ///
    /// The pipe replaces the buffers of both sockets. After
    /// [`pause`](super::TestConnection::pause) the server can send this number of bytes. Further bytes
    /// are unsent bytes of the server's connection.
    ///
    /// # Panics
    /// If the size is 0.
    #[track_caller]
    pub fn buffer_size(mut self, bytes: usize) -> TestClient {
        assert!(bytes > 0, "a buffer of 0 bytes transports nothing");
        self.setup.buffer = bytes;
        self
    }

    /// Begins the handshake of a WebSocket. `path` may contain a query, `/chat?room=lobby`.
    ///
    /// Awaiting the returned [`TestHandshake`] opens the connection. It panics if the server
    /// refuses the handshake; [`expect_refusal`](TestHandshake::expect_refusal) returns the
    /// response instead.
    ///
    /// # Panics
    /// If the path does not begin with `/`, or contains a fragment or control characters.
    #[track_caller]
    pub fn connect(&self, path: impl AsRef<str>) -> TestHandshake {
        TestHandshake::new(self.setup.clone(), path.as_ref(), Location::caller())
    }

    /// Sends a GET request when the returned [`TestRequest`] is awaited.
    ///
    /// # Panics
    /// Like [`connect`](TestClient::connect).
    #[track_caller]
    pub fn get(&self, path: impl AsRef<str>) -> TestRequest {
        self.method("GET", path)
    }

    /// Sends a POST request when the returned [`TestRequest`] is awaited. The methods of
    /// `TestRequest` add the body.
    ///
    /// # Panics
    /// Like [`connect`](TestClient::connect).
    #[track_caller]
    pub fn post(&self, path: impl AsRef<str>) -> TestRequest {
        self.method("POST", path)
    }

    /// Sends a request with any method when the returned [`TestRequest`] is awaited.
    ///
    /// # Panics
    /// Like [`connect`](TestClient::connect), or if the method is not a token (RFC 9110
    /// section 9.1).
    #[track_caller]
    pub fn method(&self, method: impl AsRef<str>, path: impl AsRef<str>) -> TestRequest {
        TestRequest::new(self.setup.clone(), method.as_ref(), path.as_ref(), Location::caller())
    }

    /// Sends an [`http::Request`](https://docs.rs/http/latest/http/request/struct.Request.html)
    /// when the returned [`TestRequest`] is awaited.
    ///
    /// The host of the URI, if it has one, becomes the `Host` header. The version and the
    /// extensions are not used.
    ///
    /// # Panics
    /// Like [`connect`](TestClient::connect).
    #[track_caller]
    pub fn request(&self, request: http::Request<impl Into<Bytes>>) -> TestRequest {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.method(parts.method.as_str(), path).body(body);
        if let Some(authority) = parts.uri.authority().filter(|_| !parts.headers.contains_key(http::header::HOST)) {
            // Without a user and a password.
            request = request.header("Host", authority.as_str().rsplit('@').next().unwrap_or_default());
        }
        for (name, value) in &parts.headers {
            request = request.header(name, value);
        }
        request
    }

    /// Shuts the server down gracefully, like [`Listening::close`](crate::Listening::close): pending requests are answered,
    /// and connections are closed with 1001.
    ///
    /// The shutdown begins at once. The returned future is ready when the server has no task left.
    /// Later requests of all clients of this server fail.
    pub fn shutdown(&self) -> Closing {
        self.setup.shutdown()
    }
}

impl fmt::Debug for TestClient {
    /// Without the headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("remote_address", &self.setup.remote)
            .field("timeout", &self.setup.timeout)
            .field("buffer_size", &self.setup.buffer)
            .finish_non_exhaustive()
    }
}
