use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::{self, Deadline};
use super::ending::{end, refused, send_close, unless_closed};
use super::error::{ConnectError, ConnectPhase};
use super::exchange::Exchange;
#[cfg(feature = "deflate")]
use super::extensions;
use super::handshake::{Handshake, is_free};
use super::proxy::Proxy;
use super::secure::Security;
use super::url::Url;
use crate::emitter::IntoListenerFuture;
use crate::groups::GroupManager;
use crate::http::{ConnectionPermit, Shutdown, Shutdowns, Upgraded, is_token, spawn_upgraded};
use crate::protocol::Role;
use crate::runtime::stream::Transport;
use crate::runtime::trace;
use crate::sync::global;
#[cfg(feature = "__tls")]
use crate::tls::ClientTls;
use crate::websocket::{Opening, Shared, WebSocketConnection, WebSocketOptions, WebSocketStats};

/// Opens a connection with the default settings, like `\Ratchet\Client\connect`.
///
/// `url` begins with `ws://`, or with `wss://` for TLS, which needs the feature `tls` or `tls-ring`. `listener` is
/// the client's `connection` listener: a closure `|connection: WebSocketConnection|`, synchronous or asynchronous.
/// It is called once, after the server's response has been checked and before any message is delivered, so that
/// listeners that it registers miss nothing. Its writes are sent first. Messages are delivered when it is done.
///
/// Returns the connection. Dropping the future gives up, dropping the handle does not end the connection. It
/// runs on the present runtime.
///
/// ```no_run
/// use react_websocket::WebSocketConnection;
/// use react_websocket::client::connect;
///
/// # async fn run() -> Result<(), react_websocket::client::ConnectError> {
/// let connection = connect("ws://127.0.0.1:8000", |connection: WebSocketConnection| {
///     connection.on("text", |text: &str| println!("{text}"));
///     connection.on("close", |code: u16, reason: &str| println!("closed: {code} {reason}"));
/// })
/// .await?;
/// connection.write("hello");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ConnectError`] lists them. Default timeout: 10 s for everything.
///
/// # Panics
/// Outside of a tokio runtime with I/O and time enabled.
pub async fn connect<F, R, K>(url: impl AsRef<str>, listener: F) -> Result<WebSocketConnection, ConnectError>
where
    F: FnOnce(WebSocketConnection) -> R,
    R: IntoListenerFuture<K>,
{
    global! { static DEFAULT: OnceLock<Connector> = OnceLock::new(); }
    DEFAULT.get_or_init(Connector::new).connect(url, listener).await
}

/// Opens connections with common settings, and counts them. Clones are the same connector.
///
/// ```no_run
/// use react_websocket::client::Connector;
/// use react_websocket::{WebSocketConnection, WebSocketOptions};
/// use std::time::Duration;
///
/// # async fn run(token: &str) -> Result<(), react_websocket::client::ConnectError> {
/// let connector = Connector::new()
///     .subprotocols(["chat.v2", "chat.v1"])
///     .header("Authorization", format!("Bearer {token}"))?
///     .timeout(Duration::from_secs(5))
///     .with_options(WebSocketOptions::new().max_message_size(64 * 1024));
/// let connection = connector.connect("ws://127.0.0.1:8000/chat", |connection: WebSocketConnection| {
///     connection.on("text", |text: &str| println!("{text}"));
/// });
/// println!("{:?}", connection.await?.subprotocol());
/// # Ok(())
/// # }
/// ```
#[must_use = "a connector does something when `connect` is called"]
#[derive(Clone)]
pub struct Connector {
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    shared: Arc<Shared>,
    shutdowns: Arc<Shutdowns>,
    headers: HeaderMap,
    subprotocols: Vec<Arc<str>>,
    timeout: Option<Duration>,
    proxy: Option<Proxy>,
    #[cfg(feature = "__tls")]
    tls: ClientTls,
}

impl Settings {
    /// Returns the shutdown of new connections on the present runtime. `has_io`: on sockets.
    #[track_caller]
    fn shutdown(&self, has_io: bool) -> Result<Arc<Shutdown>, ConnectError> {
        self.shutdowns.of_runtime(has_io).ok_or(ConnectError::Closed)
    }
}

impl Connector {
    /// Creates a connector with the default settings.
    pub fn new() -> Connector {
        let settings = Settings {
            shared: Arc::new(Shared { role: Role::Client, ..Shared::default() }),
            shutdowns: Arc::default(),
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            timeout: Some(Duration::from_secs(10)),
            proxy: None,
            #[cfg(feature = "__tls")]
            tls: ClientTls::new(),
        };
        Connector { settings: Arc::new(settings) }
    }

    /// Sets the limits and timeouts of connections that are opened from now on. They mean what they mean on a
    /// server.
    ///
    /// [`subprotocols`](WebSocketOptions::subprotocols), [`select_subprotocol`](WebSocketOptions::select_subprotocol),
    /// [`origins`](WebSocketOptions::origins) and [`handshake_timeout`](WebSocketOptions::handshake_timeout) concern
    /// servers only. With [`require_subprotocol`](WebSocketOptions::require_subprotocol), a server that selects no
    /// subprotocol is an error.
    pub fn with_options(self, options: WebSocketOptions) -> Connector {
        self.with(|settings| {
            let mut shared = Shared::clone(&settings.shared);
            shared.options = options;
            settings.shared = Arc::new(shared);
        })
    }

    /// The subprotocols that are offered, the most wanted first. Default: none.
    /// [`subprotocol`](WebSocketConnection::subprotocol) returns the one that the server has selected.
    ///
    /// # Panics
    /// If a name is not a token (RFC 6455 section 4.1).
    #[track_caller]
    pub fn subprotocols<S: Into<Arc<str>>>(self, names: impl IntoIterator<Item = S>) -> Connector {
        let names: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        if let Some(name) = names.iter().find(|name| !is_token(name.as_bytes())) {
            panic!("{name:?} is not a subprotocol: a name has no spaces, commas or quotes and is not empty");
        }
        self.with(|settings| settings.subprotocols = names)
    }

    /// Adds a header to each handshake. It may be added several times. `Host` and `User-Agent` replace the
    /// defaults; `Authorization` replaces the user and password of the URL.
    ///
    /// # Errors
    /// [`ConnectError::Header`]: the name or the value is invalid, or the handshake sets this header itself.
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<Connector, ConnectError> {
        let name = name.as_ref();
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().filter(is_free);
        let value = HeaderValue::from_bytes(value.as_ref()).ok();
        let (Some(parsed), Some(value)) = (parsed, value) else {
            return Err(ConnectError::Header { name: name.to_owned() });
        };
        // A map of headers has 32,768 at most.
        let mut is_added = false;
        let connector = self.with(|settings| is_added = settings.headers.try_append(parsed, value).is_ok());
        if is_added { Ok(connector) } else { Err(ConnectError::Header { name: name.to_owned() }) }
    }

    /// Sets the `Origin` header, which browsers send. Default: none. Some servers demand one.
    ///
    /// # Errors
    /// [`ConnectError::Header`]: it cannot be the value of a header.
    pub fn origin(self, origin: impl AsRef<str>) -> Result<Connector, ConnectError> {
        let origin = HeaderValue::from_str(origin.as_ref());
        let origin = origin.map_err(|_| ConnectError::Header { name: "Origin".to_owned() })?;
        Ok(self.with(|settings| _ = settings.headers.insert(ORIGIN, origin)))
    }

    /// Sets the manager of the connections' groups, which
    /// [`set_group`](WebSocketConnection::set_group) needs. It may be that of a server: a group has connections of
    /// both kinds.
    pub fn with_group_manager(self, groups: GroupManager) -> Connector {
        self.with(|settings| {
            let mut shared = Shared::clone(&settings.shared);
            shared.extension = Some(Arc::new(groups));
            settings.shared = Arc::new(shared);
        })
    }

    /// How long a [`connect`](Connector::connect) may take as a whole, from the look-up of the address to the end
    /// of the closure. Default: 10 s. A longer one is a [`ConnectError::Timeout`]. The end of a TLS connection that
    /// was not accepted may take 1 s more.
    pub fn timeout(self, timeout: impl Into<Option<Duration>>) -> Connector {
        self.with(|settings| settings.timeout = timeout.into())
    }

    /// Connects through an HTTP proxy. Default: none.
    pub fn proxy(self, proxy: impl Into<Option<Proxy>>) -> Connector {
        self.with(|settings| settings.proxy = proxy.into())
    }

    /// Sets which servers `wss://` connections trust, and the certificate of the client. Default: the authorities that
    /// the platform trusts, and no certificate of the client.
    ///
    /// Needs the feature `tls` or `tls-ring`.
    #[cfg(feature = "__tls")]
    pub fn tls(self, tls: ClientTls) -> Connector {
        self.with(|settings| settings.tls = tls)
    }

    /// Opens a connection, as [`connect`](super::connect) does.
    ///
    /// # Errors
    /// [`ConnectError`] lists them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect<F, R, K>(&self, url: impl AsRef<str>, listener: F) -> Result<WebSocketConnection, ConnectError>
    where
        F: FnOnce(WebSocketConnection) -> R,
        R: IntoListenerFuture<K>,
    {
        let opening = async {
            let (url, shutdown) = (Url::parse(url.as_ref())?, self.settings.shutdown(true)?);
            let deadline = Deadline::after(self.settings.timeout);
            let opening = async {
                let security = self.security(&url)?;
                let exchange = dial::dial(&url, self.settings.proxy.as_ref(), deadline).await?;
                let exchange = security.secure(exchange, deadline).await?;
                self.open(exchange, &url, deadline, &shutdown, listener).await
            };
            unless_closed(&shutdown, opening).await
        };
        self.count(opening.await)
    }

    /// Opens a connection on a stream that leads to the server already: a Unix socket, a tunnel, a pipe in a
    /// test. The URL has the host, the path and the credentials that are sent. No proxy is used. With `wss://`, TLS
    /// is negotiated on the stream.
    ///
    /// # Errors
    /// [`ConnectError`] lists them.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub async fn connect_on<F, R, K>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        url: impl AsRef<str>,
        listener: F,
    ) -> Result<WebSocketConnection, ConnectError>
    where
        F: FnOnce(WebSocketConnection) -> R,
        R: IntoListenerFuture<K>,
    {
        let exchange = Exchange::new(dial::app_stream(stream));
        let has_io = !matches!(exchange.stream.transport, Transport::Other(_));
        let opening = async {
            let (url, shutdown) = (Url::parse(url.as_ref())?, self.settings.shutdown(has_io)?);
            let deadline = Deadline::after(self.settings.timeout);
            let opening = async {
                let exchange = self.security(&url)?.secure(exchange, deadline).await?;
                self.open(exchange, &url, deadline, &shutdown, listener).await
            };
            unless_closed(&shutdown, opening).await
        };
        self.count(opening.await)
    }

    /// Closes all connections of this connector with 1001, and gives up those that are being opened. It cannot
    /// open any more: [`ConnectError::Closed`].
    ///
    /// This begins at once. The future, which need not be awaited, is ready when all connections have ended. What
    /// has not ended within [`close_timeout`](WebSocketOptions::close_timeout) is cut.
    pub fn close(&self) -> impl Future<Output = ()> + Send + use<> {
        self.settings.shutdowns.close(self.settings.shared.options.close_timeout, Duration::ZERO)
    }

    /// Returns the connections that are open now.
    pub fn connections(&self) -> Vec<WebSocketConnection> {
        self.settings.shared.connections.snapshot()
    }

    /// Returns what the connections have done so far, and how they ended. `accepted` counts the connections that
    /// were opened, `refused` the failures of [`connect`](Connector::connect), each under its
    /// [cause](ConnectError::cause).
    pub fn stats(&self) -> WebSocketStats {
        self.settings.shared.connections.stats()
    }

    #[cfg(feature = "__tls")]
    fn security(&self, url: &Url) -> Result<Security<'_>, ConnectError> {
        Security::of(url, &self.settings.tls)
    }

    #[cfg(not(feature = "__tls"))]
    fn security(&self, url: &Url) -> Result<Security, ConnectError> {
        Security::of(url)
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Connector {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        change(&mut settings);
        Connector { settings: Arc::new(settings) }
    }

    /// Counts a failure.
    fn count(&self, opened: Result<WebSocketConnection, ConnectError>) -> Result<WebSocketConnection, ConnectError> {
        opened.inspect_err(|error| self.settings.shared.connections.refused(error.cause()))
    }

    /// Shakes hands, calls the listener and starts the connection.
    async fn open<F, R, K>(
        &self,
        mut exchange: Exchange,
        url: &Url,
        deadline: Deadline,
        shutdown: &Arc<Shutdown>,
        listener: F,
    ) -> Result<WebSocketConnection, ConnectError>
    where
        F: FnOnce(WebSocketConnection) -> R,
        R: IntoListenerFuture<K>,
    {
        let Settings { shared, headers, subprotocols, .. } = &*self.settings;
        let handshake = Handshake::new(rand::random());
        #[cfg(feature = "deflate")]
        let (handshake, share) = extensions::offer(handshake, &shared.options);
        let request = handshake.request(url, headers, subprotocols);
        let head = deadline.within(ConnectPhase::Handshake, exchange.request(&request)).await?;
        let head = match head {
            Ok(head) => head,
            Err(error) => return Err(end(exchange, url, ConnectError::no_response(error)).await),
        };
        if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(head, exchange, url, deadline).await);
        }
        let subprotocol = handshake.check(&head.headers, subprotocols, shared.options.require_subprotocol);
        let subprotocol = match subprotocol {
            Ok(subprotocol) => subprotocol,
            Err(error) => return Err(end(exchange, url, ConnectError::Handshake(error)).await),
        };
        #[cfg(feature = "deflate")]
        let agreement = match extensions::check(&handshake, &head.headers, share) {
            Ok(agreement) => agreement,
            Err(error) => return Err(end(exchange, url, ConnectError::Handshake(error)).await),
        };
        let request = exchange.sent_request(url, headers);
        let addresses = (exchange.stream.remote, exchange.stream.local.clone());
        #[cfg_attr(not(feature = "__tls"), expect(unused_mut))]
        let Exchange { mut stream, mut received, .. } = exchange;
        #[cfg(feature = "__tls")]
        received.extend(stream.take_received());
        let opening = Opening::begin(shared.clone(), request, subprotocol.as_deref(), addresses);
        #[cfg(feature = "deflate")]
        opening.begin_deflate(agreement);
        let listened = deadline.within(ConnectPhase::Listener, opening.call(listener)).await;
        let listened = listened.and_then(|listened| listened.map_err(|error| ConnectError::Listener(error.into())));
        let task = listened.and_then(|()| self.settings.shutdowns.track(shutdown).ok_or(ConnectError::Closed));
        let permit = match task {
            Ok(task) => ConnectionPermit::without_limit(task),
            Err(error) => {
                drop(opening);
                send_close(&mut stream).await;
                return Err(error);
            }
        };
        let remote = stream.remote;
        let (connection, task) = opening.start(Upgraded { stream, read_ahead: received, permit });
        spawn_upgraded(trace::in_connection(remote, task));
        Ok(connection)
    }
}

impl Default for Connector {
    fn default() -> Connector {
        Connector::new()
    }
}

impl fmt::Debug for Connector {
    /// Without the headers, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { shared, subprotocols, timeout, proxy, .. } = &*self.settings;
        f.debug_struct("Connector")
            .field("subprotocols", subprotocols)
            .field("timeout", timeout)
            .field("proxy", proxy)
            .field("options", &shared.options)
            .finish_non_exhaustive()
    }
}
