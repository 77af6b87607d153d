use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::app_stream::AppStream;
use super::connection_task::{ConnectionTask, accept};
use super::handle::{Listening, Serving};
use super::sockets::Sockets;
use crate::emitter::{Contained, EventNames, Sealed, listener_methods};
use crate::http::HttpError;
use crate::http::context::{HttpOptions, ServerContext, ServerEvents};
use crate::http::handlers::{Chain, IntoChain};
use crate::http::lifecycle::{HttpStats, Shutdown};
use crate::http::message::{Response, ServerRequest};
use crate::runtime::stream::{Stream, canonical};
use crate::socket::Acceptor;

const EVENTS: EventNames = EventNames {
    object: "an HttpServer",
    names: &["error"],
    aliases: &[],
    hints: &[(&["request", "connection"], "requests go to the router")],
};

/// An HTTP/1.1 and HTTP/1.0 server: ReactPHP's `HttpServer`. A clone is the same server.
///
/// The server has one event, `error`, which fires once for each failed request. Its listeners take
/// `&HttpError`. A request fails in these cases:
///
/// * The request is malformed, too large or too slow.
/// * A middleware or the router panics or returns an error, or a `connection` listener of a
///   [`WebSocketMiddleware`](crate::WebSocketMiddleware) fails.
/// * The client disconnects before the response, or acknowledges nothing of it.
/// * The app misuses a [`BodyStream`](crate::BodyStream), for example exceeds its hard limit.
///
/// Without a listener and without the feature `tracing`, failures of the app are printed on stderr,
/// at most ten times a second. Failures of clients are not printed.
///
/// ```no_run
/// use react_websocket::errors::report;
/// use react_websocket::{HttpServer, Response, ServerRequest, SocketServer};
///
/// # async fn run() -> Result<(), react_websocket::Error> {
/// let http = HttpServer::new(|_request: ServerRequest| Response::plaintext("Hello"));
/// http.on("error", |error| eprintln!("{}", report(error)));
/// http.listen(SocketServer::new("127.0.0.1:8000")?).await
/// # }
/// ```
#[derive(Clone)]
pub struct HttpServer {
    pub(super) inner: Arc<ServerContext>,
}

impl HttpServer {
    /// Creates a server whose requests pass through `handlers`: a tuple of middlewares with the
    /// router last, or only a router.
    ///
    /// * A router is `|request: ServerRequest| …`.
    /// * A middleware is `|request: ServerRequest, next: Next| …`, or a
    ///   [`WebSocketMiddleware`](crate::WebSocketMiddleware). It returns its own response, or the
    ///   response of [`next.run(request)`](crate::handlers::Next::run).
    ///
    /// Both may be asynchronous, and return a [`Response`](crate::Response) or a `Result` with a
    /// response, see [`IntoResponse`](crate::handlers::IntoResponse). If a handler panics or
    /// returns an error, the client gets a 500, and the server emits `error`. An asynchronous
    /// closure is cloned for each request, so its captures must be `Clone`, for example an `Arc`:
    ///
    /// ```
    /// use react_websocket::{HttpServer, Response, ServerRequest};
    /// use std::sync::Arc;
    ///
    /// struct App { greeting: String }
    ///
    /// impl App {
    ///     async fn greet(&self, name: &str) -> String {
    ///         format!("{} {name}", self.greeting)
    ///     }
    /// }
    ///
    /// let app = Arc::new(App { greeting: "Hello".into() });
    /// HttpServer::new(async move |request: ServerRequest| Response::plaintext(app.greet(request.path()).await));
    /// ```
    ///
    /// If the client disconnects before the response, the futures of the handlers are dropped at an
    /// `.await`. Put work that must always finish into [`tokio::spawn`]:
    ///
    /// ```
    /// use react_websocket::errors::BoxError;
    /// use react_websocket::{HttpServer, Response, ServerRequest};
    ///
    /// # async fn charge(_: ServerRequest) -> Result<String, BoxError> { Ok(String::new()) }
    /// HttpServer::new(|request: ServerRequest| async {
    ///     // The task continues if the client disconnects.
    ///     let receipt = tokio::spawn(charge(request)).await??;
    ///     Ok::<_, BoxError>(Response::plaintext(receipt))
    /// });
    /// ```
    ///
    /// For a chain that is built at run time, see [`IntoChain`].
    pub fn new<M>(handlers: impl IntoChain<M>) -> HttpServer {
        HttpServer::of(handlers.into_chain(Sealed), HttpOptions::new(), Arc::default())
    }

    /// Returns a server with the same handlers and listeners, and with other limits and timeouts.
    /// Sockets on which `self` already listens keep their limits and timeouts.
    ///
    /// The returned server has new counters. [`stats`](HttpServer::stats) of an earlier clone
    /// excludes its requests.
    pub fn with_options(self, options: HttpOptions) -> HttpServer {
        HttpServer::of(self.inner.chain.clone(), options, self.inner.events.clone())
    }

    /// Accepts and serves connections of a [`SocketServer`](crate::SocketServer), or of a `Vec` or
    /// an array of them.
    ///
    /// Serving has begun when this method returns. The returned [`Listening`] can be awaited or
    /// closed. Dropping it does not stop the server.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    #[track_caller]
    pub fn listen(&self, sockets: impl Into<Sockets>) -> Listening {
        let shutdown = Shutdown::new(true);
        let mut failed = None;
        let mut addresses = Vec::new();
        for socket in sockets.into().0 {
            addresses.extend(socket.local_addresses());
            match Acceptor::new(socket) {
                Ok(acceptor) => {
                    let accepting = accept(shutdown.track_task(), acceptor, self.inner.clone(), shutdown.clone());
                    tokio::spawn(accepting);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let options = &self.inner.options;
        Listening::new(shutdown, failed, addresses, (options.shutdown_grace, options.shutdown_spread))
    }

    /// Serves one connection on any stream of bytes: for example TLS, a pipe in a test, or a socket
    /// that another server accepted.
    ///
    /// A separate task serves the connection. The returned [`Serving`] can be awaited or closed.
    /// Dropping it does not stop the connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Serving {
        self.serve_with_addresses(stream, None, None)
    }

    /// Like [`serve`](HttpServer::serve), with the addresses of the stream. Its requests and
    /// connections then have these addresses.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn serve_with_addresses(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) -> Serving {
        let shutdown = Shutdown::new(false);
        self.serve_until(&shutdown, stream, remote, local);
        let options = &self.inner.options;
        Serving::new(shutdown, (options.shutdown_grace, options.shutdown_spread))
    }

    /// Serves a connection that belongs to `shutdown`.
    pub(crate) fn serve_until(
        &self,
        shutdown: &Arc<Shutdown>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: Option<SocketAddr>,
        local: Option<SocketAddr>,
    ) {
        let local = local.map(|local| Arc::new(canonical(local)));
        let stream = Stream { remote, local, ..Stream::other(AppStream(Contained::new(stream))) };
        tokio::spawn(ConnectionTask::new(shutdown.track_task(), stream, self.inner.clone()));
    }

    /// Begins to serve without a socket: [`serve_until`](HttpServer::serve_until) adds the connections.
    #[cfg(feature = "testing")]
    #[track_caller]
    pub(crate) fn listen_in_memory(&self) -> (Arc<Shutdown>, Listening) {
        let shutdown = Shutdown::new(false);
        let options = &self.inner.options;
        let limits = (options.shutdown_grace, options.shutdown_spread);
        (shutdown.clone(), Listening::new(shutdown, None, Vec::new(), limits))
    }

    /// Passes a request through the middlewares and the router, without a connection. Use it in
    /// unit tests, and behind another server.
    ///
    /// `request` is a [`ServerRequest`], for example from [`ServerRequest::builder`], or an
    /// [`http::Request`](https://docs.rs/http/latest/http/request/struct.Request.html) whose body
    /// is bytes.
    ///
    /// The future returns the response that a client would get, without the headers that the server
    /// adds, such as `Date` and `Content-Length`. If a handler fails, the response is the [error
    /// page](HttpOptions::error_page), and `error` fires, as on a connection. The handlers start at
    /// the first poll of the future. Dropping the future drops the futures of the handlers.
    ///
    /// The only option of [`HttpOptions`] that applies is `error_page`: limits, timeouts and
    /// trusted proxies belong to connections. The response to a WebSocket handshake is the 101.
    /// When this response is dropped, the WebSocket closes with 1006.
    ///
    /// ```
    /// use react_websocket::handlers::Next;
    /// use react_websocket::{HttpServer, Response, ServerRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), react_websocket::errors::HttpError> {
    /// let guard = |request: ServerRequest, next: Next| match request.header("Authorization") {
    ///     Some("Bearer secret") => next.run(request),
    ///     _ => Response::new(401).into(),
    /// };
    /// let http = HttpServer::new((guard, |_request: ServerRequest| Response::plaintext("Hello")));
    ///
    /// let request = ServerRequest::builder().uri("/hello");
    /// assert_eq!(http.handle(request.build()?).await.status(), 401);
    /// let request = ServerRequest::builder().uri("/hello").header("Authorization", "Bearer secret");
    /// assert_eq!(http.handle(request.build()?).await.status(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn handle<R: Into<ServerRequest>>(&self, request: R) -> impl Future<Output = Response> + Send + use<R> {
        let (server, request) = (self.inner.clone(), request.into());
        async move {
            server.admission.counts.requested();
            let response = server.chain.run(request).await;
            server.finish(response).0
        }
    }

    /// Returns the counters of the server. A server that [`with_options`](HttpServer::with_options)
    /// returned has its own counters.
    pub fn stats(&self) -> HttpStats {
        self.inner.admission.stats()
    }

    /// Emits `error` for a response that was handed over and then failed.
    #[cfg(feature = "hyper")]
    pub(crate) fn report(&self, error: HttpError) {
        self.inner.emit_error(error);
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn events(&self) -> &ServerEvents {
        &self.inner.events
    }

    fn of(chain: Chain, options: HttpOptions, events: Arc<ServerEvents>) -> HttpServer {
        HttpServer { inner: Arc::new(ServerContext { chain, options, admission: Arc::default(), events }) }
    }
}

/// # Listeners
///
/// The only event is `error`.
impl HttpServer {
    listener_methods! {
        EVENTS,
        FnMut(&HttpError),
        |listener, error: &Arc<HttpError>| listener(error),
        |server| Some(&server.inner.events.listeners),
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
