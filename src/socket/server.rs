use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::address::Address;
use super::error::SocketError;
use super::options::SocketOptions;
use super::proxies::ProxyProtocol;
use super::tcp;
#[cfg(unix)]
use super::unix_path::UnixPath;
use crate::emitter::{EventNames, SharedEmitter, listener_methods};
use crate::runtime::trace;
#[cfg(feature = "__tls")]
use crate::tls::Tls;

const EVENTS: EventNames = EventNames {
    object: "a SocketServer",
    names: &["error"],
    aliases: &[],
    hints: &[(&["connection", "connect"], "connections go to the `HttpServer` that listens on the socket")],
};
const ERROR: u8 = 0;

/// A listening socket: ReactPHP's `SocketServer`.
///
/// The socket has one event, `error`, whose listeners take `&SocketError`. The event fires when the
/// system cannot accept a connection because descriptors or memory are exhausted, at most once a
/// second. The socket tries again and continues to accept. On a `tls://`
/// socket it also fires for each failed TLS handshake (`SocketError::Tls`), unless the client left
/// before it had sent a message of TLS. With the option `proxy_protocol` it also fires for each
/// connection of a proxy whose header is missing or malformed.
///
/// ```
/// # use react_websocket::errors::SocketError;
/// # use react_websocket::SocketServer;
/// # fn main() -> Result<(), SocketError> {
/// let socket = SocketServer::new("127.0.0.1:0")?;
/// socket.on("error", |error| eprintln!("{error}"));
/// assert_ne!(socket.local_address().map_or(0, |address| address.port()), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a socket is served by `HttpServer::listen`"]
pub struct SocketServer {
    pub(super) listener: Listener,
    pub(super) events: Arc<SocketEvents>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "__tls")]
    pub(super) tls: Option<Tls>,
}

pub(super) enum Listener {
    /// One listener, or several if a name has several addresses.
    Tcp(Vec<TcpListener>),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, Option<UnixPath>),
}

/// The listeners of a socket's events. They stay registered while the socket is served.
#[derive(Default)]
pub(super) struct SocketEvents(SharedEmitter<u8, Arc<SocketError>>);

impl SocketEvents {
    pub(super) fn emit_error(&self, error: SocketError) {
        self.0.emit(ERROR, Arc::new(error), |_, error| trace::listener_failed("error", error));
    }
}

impl SocketServer {
    /// Creates a socket that listens on `uri`: `host:port`, `tcp://host:port`, only a port (on
    /// 127.0.0.1, as in ReactPHP), `unix://path`, or, with the option `tls`, `tls://host:port`.
    ///
    /// An IPv6 address is written in brackets. A link-local address has its zone:
    /// `[fe80::1%eth0]:8000`.
    ///
    /// This method looks up a host name, which may block. If it has several addresses, the socket
    /// listens on all of them: `localhost` has 127.0.0.1 and ::1. Addresses of a family that the
    /// system does not support are skipped.
    ///
    /// With port 0 the system chooses a port, which is the same for all addresses, see
    /// [`local_address`](SocketServer::local_address).
    ///
    /// This method creates the file of a Unix socket. The file is removed when the socket is
    /// dropped or no longer served. A file of a process that has ended is replaced. On Linux, a
    /// path that begins with a NUL is an abstract name, which has no file.
    ///
    /// # Errors
    /// [`SocketError::InvalidAddress`] for a malformed `uri`. [`SocketError::Listen`] with the
    /// system's error if one of the addresses cannot be used.
    pub fn new(uri: impl AsRef<str>) -> Result<SocketServer, SocketError> {
        SocketServer::with_options(uri, SocketOptions::new())
    }

    /// Like [`new`](SocketServer::new), with options.
    ///
    /// # Errors
    /// Like [`new`](SocketServer::new).
    pub fn with_options(uri: impl AsRef<str>, options: SocketOptions) -> Result<SocketServer, SocketError> {
        let uri = uri.as_ref();
        let failed = |source| SocketError::Listen { uri: uri.to_owned(), source: Arc::new(source) };
        let address = Address::parse(uri)?;
        #[cfg(feature = "__tls")]
        match (&address, &options.tls) {
            (Address::Tls(_), None) => return Err(SocketError::NoCertificate { uri: uri.to_owned() }),
            (Address::Tcp(_) | Address::Unix(_), Some(_)) => {
                return Err(SocketError::UnusedCertificate { uri: uri.to_owned() });
            }
            _ => {}
        }
        #[cfg(not(feature = "__tls"))]
        if let Address::Tls(_) = address {
            return Err(SocketError::TlsNotEnabled { uri: uri.to_owned() });
        }
        let listener = match address {
            Address::Tcp(authority) | Address::Tls(authority) => {
                Listener::Tcp(tcp::listen(&authority, &options).map_err(failed)?)
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (listener, path) = UnixPath::listen(path, &options).map_err(failed)?;
                Listener::Unix(listener, Some(path))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => return Err(failed(std::io::ErrorKind::Unsupported.into())),
        };
        let socket = SocketServer { proxy_protocol: options.proxy_protocol, ..SocketServer::of(listener) };
        #[cfg(feature = "__tls")]
        let socket = SocketServer { tls: options.tls, ..socket };
        Ok(socket)
    }

    /// Speaks TLS on a socket that was made elsewhere, such as a socket of systemd. `with_options`
    /// with a `tls://` address does the same for a new socket.
    ///
    /// Needs the feature `tls` or `tls-ring`.
    ///
    /// # Errors
    /// [`SocketError::UnusedCertificate`] for a Unix socket, which has no need of TLS.
    #[cfg(feature = "__tls")]
    pub fn with_tls(self, tls: Tls) -> Result<SocketServer, SocketError> {
        match self.listener {
            Listener::Tcp(_) => Ok(SocketServer { tls: Some(tls), ..self }),
            #[cfg(unix)]
            Listener::Unix(..) => Err(SocketError::UnusedCertificate { uri: "a Unix socket".to_owned() }),
        }
    }

    /// Sets the proxies whose connections begin with a header of the PROXY protocol, for a socket that
    /// was made elsewhere. [`SocketOptions::proxy_protocol`] does the same for a new socket.
    pub fn with_proxy_protocol(self, protocol: ProxyProtocol) -> SocketServer {
        SocketServer { proxy_protocol: Some(protocol), ..self }
    }

    /// Returns the address of the socket as a URI, or the first of several addresses, like ReactPHP's
    /// `getAddress`: `tcp://127.0.0.1:8000`, `tls://[::1]:8443`, `unix:///run/app.sock`. An abstract name is left out.
    ///
    /// ```
    /// # use react_websocket::errors::SocketError;
    /// # use react_websocket::SocketServer;
    /// # fn main() -> Result<(), SocketError> {
    /// let socket = SocketServer::new("127.0.0.1:0")?;
    /// println!("Listening on {}", socket.address());
    /// # Ok(())
    /// # }
    /// ```
    pub fn address(&self) -> String {
        #[cfg(unix)]
        if let Listener::Unix(listener, _) = &self.listener {
            let path = listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.display().to_string()));
            return format!("unix://{}", path.unwrap_or_default());
        }
        let address = self.local_address().map(|address| address.to_string()).unwrap_or_default();
        format!("{}://{address}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        #[cfg(feature = "__tls")]
        if self.tls.is_some() {
            return "tls";
        }
        "tcp"
    }

    /// Returns the address of the socket, or the first of several addresses. Returns `None` for a
    /// Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local_addresses().first().copied()
    }

    /// Returns all addresses of the socket. The result is empty for a Unix socket.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listeners) => listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            #[cfg(unix)]
            Listener::Unix(..) => Vec::new(),
        }
    }

    pub(super) fn of(listener: Listener) -> SocketServer {
        SocketServer {
            listener,
            events: Arc::default(),
            proxy_protocol: None,
            #[cfg(feature = "__tls")]
            tls: None,
        }
    }
}

impl From<TcpListener> for SocketServer {
    fn from(listener: TcpListener) -> SocketServer {
        SocketServer::of(Listener::Tcp(vec![listener]))
    }
}

impl TryFrom<tokio::net::TcpListener> for SocketServer {
    type Error = SocketError;

    /// # Errors
    /// The error of the system if the listener cannot be taken from its runtime.
    fn try_from(listener: tokio::net::TcpListener) -> Result<SocketServer, SocketError> {
        let uri = listener.local_addr().map_or_else(|_| "a TCP listener".to_owned(), |address| format!("tcp://{address}"));
        match listener.into_std() {
            Ok(listener) => Ok(listener.into()),
            Err(source) => Err(SocketError::Listen { uri, source: Arc::new(source) }),
        }
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixListener> for SocketServer {
    /// The file of the socket is not removed when the socket is dropped.
    fn from(listener: std::os::unix::net::UnixListener) -> SocketServer {
        SocketServer::of(Listener::Unix(listener, None))
    }
}

#[cfg(unix)]
impl TryFrom<tokio::net::UnixListener> for SocketServer {
    type Error = SocketError;

    /// # Errors
    /// The error of the system if the listener cannot be taken from its runtime.
    fn try_from(listener: tokio::net::UnixListener) -> Result<SocketServer, SocketError> {
        match listener.into_std() {
            Ok(listener) => Ok(listener.into()),
            Err(source) => Err(SocketError::Listen { uri: "a Unix listener".to_owned(), source: Arc::new(source) }),
        }
    }
}

/// # Listeners
///
/// The only event is `error`.
impl SocketServer {
    listener_methods! {
        EVENTS,
        FnMut(&SocketError),
        |listener, error: &Arc<SocketError>| listener(error),
        |socket| Some(&socket.events.0.listeners),
    }
}

impl fmt::Debug for SocketServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketServer").field("local_addresses", &self.local_addresses()).finish_non_exhaustive()
    }
}
