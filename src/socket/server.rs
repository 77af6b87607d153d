use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::acceptor::Acceptor;
use super::address::Address;
use super::error::SocketError;
#[cfg(unix)]
use super::unix_path::UnixPath;
use crate::emitter::{EventNames, Listeners, Turnstile, listener_methods};

const EVENTS: EventNames = EventNames {
    object: "a SocketServer",
    names: &["error"],
    aliases: &[],
    hints: &[(&["connection", "connect"], "connections go to the `HttpServer` that listens on the socket")],
};
const ERROR: u8 = 0;

/// A socket that is listened on: ReactPHP's `SocketServer`.
///
/// It has one event, `error`: the system could not hand out a connection (no descriptors, no memory). It fires at most
/// once a second, and accepting goes on by itself when the system can again.
///
/// ```
/// # use react_websocket::{SocketError, SocketServer};
/// # fn main() -> Result<(), SocketError> {
/// let socket = SocketServer::new("127.0.0.1:0")?;
/// socket.on("error", |error| eprintln!("{error}"));
/// assert_ne!(socket.local_address().map_or(0, |address| address.port()), 0);
/// # Ok(())
/// # }
/// ```
pub struct SocketServer {
    pub(super) listener: Listener,
    pub(super) events: Arc<SocketEvents>,
}

pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, Option<UnixPath>),
}

/// The listeners of a socket's events, which go on when the socket is being served.
#[derive(Default)]
pub(super) struct SocketEvents {
    listeners: Listeners<u8, Arc<SocketError>>,
    turnstile: Turnstile<Arc<SocketError>>,
}

impl SocketEvents {
    pub(super) fn emit_error(&self, error: SocketError) {
        self.turnstile.push(Arc::new(error));
        self.turnstile.pass(|error| self.listeners.emit(&ERROR, &error, |_| {}));
    }
}

/// How a [`SocketServer`] is set up.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    backlog: i32,
    reuse_port: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions::new()
    }
}

impl SocketOptions {
    /// A backlog of 4,096, the port not shared.
    pub fn new() -> SocketOptions {
        SocketOptions { backlog: 4096, reuse_port: false }
    }

    /// How many connections may wait to be accepted. The system may have a lower bound of its own (`somaxconn`).
    ///
    /// 4,096: what Linux allows by default, so that a burst of clients that come back after a restart is not refused.
    pub fn backlog(mut self, connections: u32) -> SocketOptions {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Lets several sockets listen on the same port (`SO_REUSEPORT`), the system spreading connections over them: one
    /// runtime for each core. Off by default, as a second server on the port by accident should be told. Only Unix has it.
    pub fn reuse_port(mut self, on: bool) -> SocketOptions {
        self.reuse_port = on;
        self
    }
}

impl SocketServer {
    /// Listens on `uri`: `host:port`, `tcp://host:port`, a port alone (on 127.0.0.1, as in ReactPHP), or `unix://path`.
    ///
    /// Port 0 lets the system choose, see [`local_address`](SocketServer::local_address). The file of a Unix socket is
    /// made here and removed when the socket is dropped or no longer served; one that a dead process left is replaced.
    /// A host name is looked up, which may block.
    ///
    /// # Errors
    /// [`SocketError::InvalidAddress`], or [`SocketError::Listen`] with what the system said.
    pub fn new(uri: impl AsRef<str>) -> Result<SocketServer, SocketError> {
        SocketServer::with_options(uri, SocketOptions::new())
    }

    /// The same with options. They do not concern Unix sockets, but for the backlog.
    ///
    /// # Errors
    /// As [`new`](SocketServer::new).
    pub fn with_options(uri: impl AsRef<str>, options: SocketOptions) -> Result<SocketServer, SocketError> {
        let uri = uri.as_ref();
        let failed = |source| SocketError::Listen { uri: uri.to_owned(), source: Arc::new(source) };
        let listener = match Address::parse(uri)? {
            Address::Tcp(authority) => Listener::Tcp(listen_tcp(&authority, &options).map_err(failed)?),
            #[cfg(unix)]
            Address::Unix(path) => {
                let (listener, path) = UnixPath::listen(path, options.backlog).map_err(failed)?;
                Listener::Unix(listener, Some(path))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => return Err(failed(io::ErrorKind::Unsupported.into())),
        };
        Ok(SocketServer::of(listener))
    }

    /// The address that is listened on; `None` for a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Listener::Unix(..) => None,
        }
    }

    /// Begins to accept, on the present runtime.
    pub(crate) fn into_acceptor(self) -> Result<Acceptor, SocketError> {
        Acceptor::new(self)
    }

    pub(super) fn of(listener: Listener) -> SocketServer {
        SocketServer { listener, events: Arc::default() }
    }
}

fn listen_tcp(authority: &str, options: &SocketOptions) -> io::Result<TcpListener> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match listen_at(address, options) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen_at(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(unix)]
    {
        // A port whose last connections still linger can be had again at once.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(options.reuse_port)?;
    }
    // For those that come to it. If it cannot be had, each of them is asked to.
    let _ = socket.set_tcp_nodelay(true);
    socket.bind(&SockAddr::from(address))?;
    socket.listen(options.backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl From<TcpListener> for SocketServer {
    fn from(listener: TcpListener) -> SocketServer {
        SocketServer::of(Listener::Tcp(listener))
    }
}

impl TryFrom<tokio::net::TcpListener> for SocketServer {
    type Error = SocketError;

    /// # Errors
    /// If the listener cannot be taken from its runtime.
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
    /// The socket's file is its maker's to remove.
    fn from(listener: std::os::unix::net::UnixListener) -> SocketServer {
        SocketServer::of(Listener::Unix(listener, None))
    }
}

#[cfg(unix)]
impl TryFrom<tokio::net::UnixListener> for SocketServer {
    type Error = SocketError;

    /// # Errors
    /// If the listener cannot be taken from its runtime.
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
        |socket| Some(&socket.events.listeners),
    }
}

impl fmt::Debug for SocketServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketServer").field("local_address", &self.local_address()).finish_non_exhaustive()
    }
}
