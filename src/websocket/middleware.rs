mod into_listener;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::emitter::{
    ConcurrentClosure, Contained, EventNames, IntoListenerFuture, ListenerError, ListenerId, Rank, call_once, expect_fit,
    removal_methods,
};
use crate::http::{Middleware, Next, ResponseFuture, ServerRequest, path_as_requested};
use crate::protocol::Opcode;
use crate::runtime::trace;
use crate::websocket::handshake::accept;
use crate::websocket::handshake::check::Intent;
use crate::websocket::options::WebSocketOptions;
use crate::websocket::options::verify::IntoVerifier;
use crate::websocket::state::cork;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::shared::Shared;
use crate::websocket::stats::WebSocketStats;
pub use into_listener::IntoMiddlewareListener;

const EVENTS: EventNames = EventNames {
    object: "a WebSocketMiddleware",
    names: &["connection", "error"],
    aliases: &[("connect", "connection")],
    hints: &[
        (&["open", "upgrade", "request"], "did you mean \"connection\"?"),
        (
            &["text", "binary", "message", "data", "ping", "pong", "drain", "end", "close", "disconnect"],
            "listen to it on the connection, in a listener of \"connection\"",
        ),
    ],
};

/// A middleware that upgrades WebSocket handshakes to connections, and passes all other requests
/// on. A clone is the same middleware.
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `connection` | `WebSocketConnection` | for each valid handshake, **before the 101 response is sent** |
/// | `error` | `WebSocketConnection` | for each refused handshake; [`connection.error()`](WebSocketConnection::error) returns the reason |
///
/// Listeners may be synchronous or asynchronous, and run for many handshakes at the same time.
///
/// A `connection` listener registers the connection's listeners. It may read the
/// [request](WebSocketConnection::request), [write](WebSocketConnection::write) messages that are
/// sent after the 101 response, and [reject](WebSocketConnection::reject) the handshake.
///
/// If a `connection` listener panics or returns `Err`, the client gets a 500. If it does not return
/// within [`handshake_timeout`](WebSocketOptions::handshake_timeout), the client gets a 503. In
/// both cases the middleware and the [`HttpServer`](crate::HttpServer) emit `error`.
///
/// Messages of the client are delivered when the last `connection` listener has returned, so an
/// asynchronous listener may ask a database first. The closure of
/// [`with_verify`](WebSocketMiddleware::with_verify) decides about a handshake before the
/// connection exists.
///
/// ```
/// use react_websocket::{WebSocketConnection, WebSocketMiddleware};
///
/// let websocket = WebSocketMiddleware::new();
/// websocket.on("connection", |connection: WebSocketConnection| {
///     connection.on("text", move |text: &str| connection.write(text));
/// });
/// ```
#[must_use = "a middleware works in the chain of an `HttpServer`"]
#[derive(Clone)]
pub struct WebSocketMiddleware {
    shared: Arc<Shared>,
}

impl WebSocketMiddleware {
    /// Creates a middleware for all paths, with the default options.
    pub fn new() -> WebSocketMiddleware {
        WebSocketMiddleware { shared: Arc::default() }
    }

    /// Sets the limits, timeouts and rules of future connections.
    ///
    /// Call this method before you clone the middleware: an earlier clone keeps its own options.
    /// Both share listeners, connections and counters.
    pub fn with_options(self, options: WebSocketOptions) -> WebSocketMiddleware {
        self.with(|shared| shared.options = options)
    }

    /// Serves only this path. Further calls add paths. The middleware passes on requests for other
    /// paths.
    ///
    /// The path is compared with [`ServerRequest::path`], which is not decoded: `/a b` does not
    /// match `/a%20b`. Non-ASCII characters match in both forms, percent-encoded or not.
    ///
    /// # Panics
    /// If no request can have this path: it does not begin with `/`, or it has a query or a fragment.
    #[track_caller]
    pub fn with_path(self, path: impl Into<String>) -> WebSocketMiddleware {
        let path = path.into();
        let Some(requested) = path_as_requested(&path) else {
            panic!("a path begins with `/`, and has no query and no fragment: {path:?}")
        };
        self.with(|shared| shared.paths.push(requested))
    }

    /// Sets a closure that decides about each valid handshake, before the connection exists: Node's
    /// `verifyClient`. If it is called several times, the last closure is used.
    ///
    /// The closure is `|request: ServerRequest|`, synchronous or asynchronous. It returns a `bool`,
    /// an `Option<T>`, or a `Result<T, E>`. The value in an `Option` or `Result` is attached to the
    /// connection. [`IntoVerdict`](crate::listeners::IntoVerdict) lists the values that it may
    /// return, and their meanings.
    ///
    /// An asynchronous closure must decide within
    /// [`handshake_timeout`](WebSocketOptions::handshake_timeout), together with the `connection`
    /// listeners. If the closure refuses a client, `error` fires and `connection` does not. If the
    /// closure panics or returns an error that is not a `Response`, the client gets a 500, and the
    /// [`HttpServer`](crate::HttpServer) emits `error` too.
    ///
    /// ```
    /// use react_websocket::{Response, ServerRequest, WebSocketConnection, WebSocketMiddleware};
    /// use std::collections::HashMap;
    /// use std::sync::Arc;
    ///
    /// #[derive(Clone)]
    /// struct User { name: String }
    ///
    /// struct Users(HashMap<String, User>);
    ///
    /// impl Users {
    ///     /// Asks a database, perhaps.
    ///     async fn find(&self, token: &str) -> Result<Option<User>, std::io::Error> {
    ///         Ok(self.0.get(token).cloned())
    ///     }
    /// }
    ///
    /// # fn set_up(users: Arc<Users>) {
    /// let websocket = WebSocketMiddleware::new().with_verify(async move |request: ServerRequest| {
    ///     let params = request.query_params();
    ///     let token = params.get("token").ok_or_else(|| Response::plaintext("Log in first").with_status(401))?;
    ///     let user = users.find(token).await.map_err(|_| Response::new(503))?;
    ///     user.ok_or_else(|| Response::new(403))
    /// });
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     connection.on("text", move |text: &str| {
    ///         let user = connection.get::<User>().expect("with_verify found one");
    ///         println!("{}: {text}", user.name);
    ///     });
    /// });
    /// # }
    /// ```
    pub fn with_verify<M>(self, verify: impl IntoVerifier<M>) -> WebSocketMiddleware {
        self.with(|shared| shared.verify = Some(verify.into_verifier()))
    }

    /// Gives a higher layer something to find from a connection.
    pub(crate) fn with_extension(self, extension: Arc<dyn Any + Send + Sync>) -> WebSocketMiddleware {
        self.with(|shared| shared.extension = Some(extension))
    }

    /// Calls `listener` for every future `event`. Returns the id for `remove_listener`.
    ///
    /// The listener is a closure `|connection: WebSocketConnection|`, synchronous or asynchronous,
    /// that returns nothing, a `bool` or a `Result`. It runs for many handshakes at the same time.
    /// An asynchronous closure is cloned for each call, so its captures must be `Clone`, for
    /// example an `Arc`:
    ///
    /// ```
    /// # use react_websocket::{WebSocketConnection, WebSocketMiddleware};
    /// # use std::sync::Arc;
    /// # struct App;
    /// # impl App {
    /// #     async fn greeting(&self) -> Result<String, std::io::Error> { Ok("hello".into()) }
    /// # }
    /// # fn set_up(websocket: WebSocketMiddleware, app: Arc<App>) {
    /// websocket.on("connection", async move |connection: WebSocketConnection| {
    ///     connection.write(app.greeting().await?);
    ///     Ok::<_, std::io::Error>(())
    /// });
    /// # }
    /// ```
    ///
    /// # Panics
    /// If there is no such event. The message lists all events.
    #[track_caller]
    pub fn on<M>(&self, event: &str, listener: impl IntoMiddlewareListener<M>) -> ListenerId {
        expect_fit(self.try_on(event, listener))
    }

    /// Calls `listener` for the next `event` only, after all `on` listeners.
    ///
    /// # Panics
    /// If there is no such event. The message lists all events.
    #[track_caller]
    pub fn once<F, R, K>(&self, event: &str, listener: F) -> ListenerId
    where
        F: FnOnce(WebSocketConnection) -> R + Send + 'static,
        R: IntoListenerFuture<K>,
    {
        expect_fit(self.try_once(event, listener))
    }

    /// Like [`on`](WebSocketMiddleware::on), but returns the error instead of panicking.
    ///
    /// # Errors
    /// [`ListenerError::UnknownEvent`] if there is no such event.
    pub fn try_on<M>(&self, event: &str, listener: impl IntoMiddlewareListener<M>) -> Result<ListenerId, ListenerError> {
        self.add(event, Rank::On, listener.into_listener())
    }

    /// Like [`once`](WebSocketMiddleware::once), but returns the error instead of panicking.
    ///
    /// # Errors
    /// [`ListenerError::UnknownEvent`] if there is no such event.
    pub fn try_once<F, R, K>(&self, event: &str, listener: F) -> Result<ListenerId, ListenerError>
    where
        F: FnOnce(WebSocketConnection) -> R + Send + 'static,
        R: IntoListenerFuture<K>,
    {
        self.add(event, Rank::Once, call_once(listener))
    }

    /// Like `on("connection", …)`, but the compiler infers the argument's type:
    /// `websocket.on_connection(|connection| …)`. The closure may return a future.
    pub fn on_connection<F, R, K>(&self, listener: F) -> ListenerId
    where
        F: Fn(WebSocketConnection) -> R + Send + Sync + 'static,
        R: IntoListenerFuture<K>,
    {
        expect_fit(self.add("connection", Rank::On, Box::new(move |connection| listener(connection).into_call())))
    }

    removal_methods! { EVENTS, |middleware| Some(&middleware.shared.listeners) }

    /// Returns the connections that are open now, like Node's `wss.clients`. A connection is open
    /// when its 101 response was sent. So a `connection` listener does not find its own connection
    /// in the result.
    pub fn connections(&self) -> Vec<WebSocketConnection> {
        self.shared.connections.snapshot()
    }

    /// Returns the number of open connections.
    pub fn len(&self) -> usize {
        self.shared.connections.len()
    }

    /// Returns the counters of the connections. Counting costs almost nothing. This method visits
    /// each open connection, so call it every few seconds, not for every message.
    ///
    /// ```
    /// use react_websocket::WebSocketMiddleware;
    ///
    /// let websocket = WebSocketMiddleware::new();
    /// let stats = websocket.stats();
    /// println!("{} open, {} messages received", stats.open, stats.messages_in);
    /// for (cause, count) in &stats.closed {
    ///     println!("closed, {cause}: {count}");
    /// }
    /// ```
    pub fn stats(&self) -> WebSocketStats {
        self.shared.connections.stats()
    }

    /// Returns whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a text message to all [open connections](WebSocketMiddleware::connections). It never
    /// waits for slow consumers. All connections get the messages of `write_all` and
    /// `write_all_binary` in the same order, also when several threads write.
    pub fn write_all(&self, text: impl AsRef<str>) {
        self.broadcast(Opcode::Text, text.as_ref().as_bytes(), None);
    }

    /// Sends a binary message to all [open connections](WebSocketMiddleware::connections), like
    /// [`write_all`](WebSocketMiddleware::write_all).
    pub fn write_all_binary(&self, bytes: impl AsRef<[u8]>) {
        self.broadcast(Opcode::Binary, bytes.as_ref(), None);
    }

    /// Sends a text message to all open connections except `connection`, like
    /// [`write_all`](WebSocketMiddleware::write_all).
    ///
    /// ```
    /// use react_websocket::{WebSocketConnection, WebSocketMiddleware};
    ///
    /// let websocket = WebSocketMiddleware::new();
    /// let clients = websocket.clone();
    /// websocket.on("connection", move |connection: WebSocketConnection| {
    ///     let clients = clients.clone();
    ///     connection.on("text", move |text: &str| clients.write_except(connection, text));
    /// });
    /// ```
    pub fn write_except(&self, connection: WebSocketConnection, text: impl AsRef<str>) {
        self.broadcast(Opcode::Text, text.as_ref().as_bytes(), Some(connection));
    }

    /// Sends a binary message to all open connections except `connection`.
    pub fn write_binary_except(&self, connection: WebSocketConnection, bytes: impl AsRef<[u8]>) {
        self.broadcast(Opcode::Binary, bytes.as_ref(), Some(connection));
    }

    /// [Closes](WebSocketConnection::close_with) all open connections with this reason and this
    /// code. The reason is the first argument, as in ReactPHP's `closeAll`.
    ///
    /// If another thread calls [`write_all`](WebSocketMiddleware::write_all) at the same time,
    /// either all these connections get the message, or no connection gets it.
    pub fn close_all(&self, reason: impl AsRef<str>, code: u16) {
        let reason = reason.as_ref();
        cork::cork(|| {
            let connections = self.connections();
            let _order = self.shared.connections.order.lock();
            connections.iter().for_each(|connection| connection.close_with(code, reason));
        });
    }

    fn broadcast(&self, opcode: Opcode, payload: &[u8], except: Option<WebSocketConnection>) {
        let connections = self.connections().into_iter().filter(|connection| Some(*connection) != except);
        cork::broadcast(connections, &self.shared.connections.order, opcode, payload);
    }

    fn add(
        &self,
        event: &str,
        rank: Rank,
        listener: ConcurrentClosure<WebSocketConnection>,
    ) -> Result<ListenerId, ListenerError> {
        let listener = Contained::new(listener);
        let event = EVENTS.resolve(event)?;
        Ok(ListenerId::of(event, self.shared.listeners.add(event, rank, listener)))
    }

    /// Returns whether the path of a request is one of the middleware.
    pub(crate) fn serves(&self, request: &ServerRequest) -> bool {
        let paths = &self.shared.paths;
        paths.is_empty() || paths.iter().any(|path| path == request.path())
    }

    /// Counts a handshake that cannot be upgraded.
    pub(crate) fn not_upgraded(&self, cause: &'static str, request: &ServerRequest) {
        self.shared.connections.not_upgraded(cause);
        trace::not_upgraded(cause, request.remote_address());
    }

    fn intent(&self, request: &ServerRequest) -> Intent {
        if self.serves(request) { Intent::of(request) } else { Intent::Other }
    }

    /// Returns whether a server has to be able to upgrade the connection for this request.
    #[cfg(feature = "hyper")]
    pub(crate) fn asks_for_upgrade(&self, request: &ServerRequest) -> bool {
        self.intent(request) == Intent::WebSocket && request.has_header(&http::header::UPGRADE)
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn options(&self) -> &WebSocketOptions {
        &self.shared.options
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> WebSocketMiddleware {
        let mut shared = Arc::unwrap_or_clone(self.shared);
        change(&mut shared);
        WebSocketMiddleware { shared: Arc::new(shared) }
    }
}

impl Default for WebSocketMiddleware {
    fn default() -> Self {
        WebSocketMiddleware::new()
    }
}

impl fmt::Debug for WebSocketMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { options, paths, .. } = &*self.shared;
        f.debug_struct("WebSocketMiddleware").field("paths", paths).field("options", options).finish_non_exhaustive()
    }
}

impl Middleware for WebSocketMiddleware {
    fn handle(&self, request: ServerRequest, next: Next) -> ResponseFuture {
        match self.intent(&request) {
            Intent::WebSocket => accept::decide(request, self.shared.clone()),
            Intent::NotUpgraded(cause) => {
                self.not_upgraded(cause, &request);
                next.run(request)
            }
            Intent::Other => next.run(request),
        }
    }
}
