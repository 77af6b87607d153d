use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{DuplexStream, duplex};

use crate::client::Url;
use crate::http::{Closing, HttpServer, Listening, Shutdown};

/// The settings of a client, and its server.
#[derive(Clone)]
pub(super) struct Setup {
    server: Arc<TestServer>,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) remote: SocketAddr,
    pub(super) buffer: usize,
}

/// A server in memory, which ends when it is dropped.
struct TestServer {
    http: HttpServer,
    shutdown: Arc<Shutdown>,
    listening: Listening,
}

/// The server's address of each connection.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

impl Setup {
    #[track_caller]
    pub(super) fn new(http: HttpServer) -> Setup {
        let (shutdown, listening) = http.listen_in_memory();
        Setup {
            server: Arc::new(TestServer { http, shutdown, listening }),
            headers: HeaderMap::new(),
            timeout: Duration::from_secs(5),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000)),
            buffer: 64 * 1024,
        }
    }

    /// Shuts the server down gracefully.
    pub(super) fn shutdown(&self) -> Closing {
        self.server.listening.close()
    }

    /// Runs a task on the server's runtime.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.server.shutdown.runtime().spawn(task);
    }

    /// Opens a connection to the server.
    pub(super) fn open(&self) -> DuplexStream {
        let (ours, theirs) = duplex(self.buffer);
        let TestServer { http, shutdown, .. } = &*self.server;
        // A server that shuts down accepts nothing: then the other end is dropped.
        if !shutdown.is_closing() {
            http.serve_until(shutdown, theirs, Some(self.remote), Some(LOCAL));
        }
        ours
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.listening.terminate());
    }
}

/// Adds a header, or panics at the caller's line.
#[track_caller]
pub(super) fn add_header(headers: &mut HeaderMap, name: &str, value: &[u8]) {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_bytes(value).ok());
    let is_added = parsed.is_some_and(|(name, value)| headers.try_append(name, value).is_ok());
    assert!(is_added, "header {name:?} with the value {:?} cannot be sent", String::from_utf8_lossy(value));
}

/// Returns the URL of a path, which is percent-encoded where necessary.
#[track_caller]
pub(super) fn url_of(path: &str) -> Url {
    assert!(path.starts_with('/'), "path {path:?} does not begin with `/`");
    match Url::parse(&format!("ws://localhost{path}")) {
        Ok(url) => url,
        Err(error) => panic!("path {path:?} cannot be requested: {error}"),
    }
}
