use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::SocketError;
use super::proxied::ProxyHeader;
use super::proxies::ProxyProtocol;
use super::server::{Listener, SocketEvents, SocketServer};
#[cfg(unix)]
use super::unix_path::UnixPath;
#[cfg(feature = "__tls")]
use crate::runtime::stream::{ReportFailure, TlsStream};
use crate::runtime::stream::{Stream, Transport, canonical};
#[cfg(feature = "__tls")]
use crate::tls::Tls;

/// A socket that is being served.
pub(crate) struct Acceptor {
    listener: Accepting,
    no_delay: NoDelay,
    events: Arc<SocketEvents>,
    back_off: BackOff,
    proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "__tls")]
    tls: Option<(Tls, Arc<ReportFailure>)>,
}

enum Accepting {
    Tcp(Listeners),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] Option<UnixPath>),
}

/// The listeners of all addresses of a name, usually one. The listener that has accepted a
/// connection becomes the last, so that each has its turn.
struct Listeners(Vec<(TcpListener, LocalAddress)>);

impl Acceptor {
    /// Begins to accept on the present runtime.
    pub(crate) fn new(socket: SocketServer) -> Result<Acceptor, SocketError> {
        let name = socket.local_address().map_or_else(|| "a Unix socket".to_owned(), |address| format!("tcp://{address}"));
        let listener = match socket.listener {
            Listener::Tcp(listeners) => {
                let registered = listeners.into_iter().map(|listener| {
                    let local = LocalAddress::new(listener.local_addr().ok());
                    listener.set_nonblocking(true)?;
                    Ok((TcpListener::from_std(listener)?, local))
                });
                registered.collect::<io::Result<_>>().map(|all| Accepting::Tcp(Listeners(all)))
            }
            #[cfg(unix)]
            Listener::Unix(listener, path) => {
                let registered = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
                registered.map(|listener| Accepting::Unix(listener, path))
            }
        };
        match listener {
            Ok(listener) => Ok(Acceptor {
                listener,
                proxy_protocol: socket.proxy_protocol,
                no_delay: NoDelay::default(),
                #[cfg(feature = "__tls")]
                tls: socket.tls.map(|tls| (tls, report_to(&socket.events))),
                events: socket.events,
                back_off: BackOff::default(),
            }),
            Err(source) => Err(SocketError::Listen { uri: name, source: Arc::new(source) }),
        }
    }

    /// Returns the next connection, and the header that it begins with if it is one of a proxy.
    /// Waits as long as the system cannot accept one.
    ///
    /// Cancel safe: no connection is lost when the future is dropped.
    pub(crate) async fn accept(&mut self) -> (Stream, Option<Box<ProxyHeader>>) {
        loop {
            let accepted = match &mut self.listener {
                Accepting::Tcp(listeners) => listeners.accept().await.map(|(stream, remote, local)| {
                    self.no_delay.ensure(&stream);
                    let remote = Some(canonical(remote));
                    #[cfg(feature = "__tls")]
                    if let Some((tls, report)) = &self.tls
                        && !trusts(&self.proxy_protocol, remote)
                    {
                        let stream = TlsStream::server(stream, tls.config(), remote, report.clone());
                        return Stream { transport: Transport::Tls(Box::new(stream)), remote, local };
                    }
                    Stream { transport: Transport::Tcp(stream), remote, local }
                }),
                #[cfg(unix)]
                Accepting::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream {
                    transport: Transport::Unix(stream),
                    remote: None,
                    local: None,
                }),
            };
            match accepted {
                Ok(stream) => {
                    self.back_off.succeeded();
                    let header = self.header(&stream);
                    return (stream, header);
                }
                // The connection ended before it was accepted.
                Err(error) if is_of_the_connection(&error) => {}
                Err(source) => {
                    let (wait, tell) = self.back_off.failed(Instant::now());
                    if tell {
                        self.events.emit_error(SocketError::Accept { source: Arc::new(source) });
                    }
                    sleep(wait).await;
                }
            }
        }
    }

    /// Returns the header to read first, if this is a connection of a proxy.
    fn header(&self, stream: &Stream) -> Option<Box<ProxyHeader>> {
        let protocol = self.proxy_protocol.as_ref().filter(|protocol| protocol.trusts(stream.remote))?;
        #[cfg(feature = "__tls")]
        return Some(Box::new(ProxyHeader::new(protocol, &self.events, self.tls.clone())));
        #[cfg(not(feature = "__tls"))]
        Some(Box::new(ProxyHeader::new(protocol, &self.events)))
    }
}

/// Returns whether a connection from this address begins with a header.
#[cfg(feature = "__tls")]
fn trusts(protocol: &Option<ProxyProtocol>, remote: Option<SocketAddr>) -> bool {
    protocol.as_ref().is_some_and(|protocol| protocol.trusts(remote))
}

/// Emits `error` for handshakes that fail.
#[cfg(feature = "__tls")]
fn report_to(events: &Arc<SocketEvents>) -> Arc<ReportFailure> {
    let events = events.clone();
    Arc::new(move |remote, reason, source| events.emit_error(SocketError::Tls { remote, reason, source }))
}

impl Listeners {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr, Option<Arc<SocketAddr>>)> {
        let Listeners(all) = self;
        poll_fn(|cx| {
            for (place, (listener, local)) in all.iter_mut().enumerate() {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    let accepted = accepted.map(|(stream, remote)| {
                        let local = local.of(&stream);
                        (stream, remote, local)
                    });
                    all.rotate_left(place + 1);
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The address that connections come to. The system has to be asked only if the socket listens on
/// all addresses. Even then the last address is usually right again, so that connections share it.
struct LocalAddress {
    is_known: bool,
    last: Option<Arc<SocketAddr>>,
}

impl LocalAddress {
    fn new(listener: Option<SocketAddr>) -> LocalAddress {
        LocalAddress {
            is_known: listener.is_none_or(|address| !address.ip().is_unspecified()),
            last: listener.map(canonical).map(Arc::new),
        }
    }

    fn of(&mut self, stream: &TcpStream) -> Option<Arc<SocketAddr>> {
        if !self.is_known
            && let Ok(address) = stream.local_addr().map(canonical)
            && self.last.as_deref() != Some(&address)
        {
            self.last = Some(Arc::new(address));
        }
        self.last.clone()
    }
}

/// Sets `TCP_NODELAY`. Frames are written when they are complete, so delaying a small one has no
/// use. On most systems sockets inherit the option from their listener, which has it set. The first
/// socket shows whether this is so.
#[derive(Default)]
struct NoDelay {
    is_inherited: Option<bool>,
}

impl NoDelay {
    fn ensure(&mut self, stream: &TcpStream) {
        if !*self.is_inherited.get_or_insert_with(|| stream.nodelay().unwrap_or(false)) {
            let _ = stream.set_nodelay(true);
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    // Linux also returns network errors that the new connection already has: see accept(2).
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
    )
}

/// How long to wait when the system has no descriptors or memory. The connection that could not be
/// accepted is still there. Accepting it at once would fail again, in a loop that occupies a core.
#[derive(Debug, Default)]
struct BackOff {
    wait: Duration,
    reported: Option<Instant>,
}

const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl BackOff {
    fn succeeded(&mut self) {
        self.wait = Duration::ZERO;
    }

    /// Returns how long to wait, and whether to report the error: at most once a second.
    fn failed(&mut self, now: Instant) -> (Duration, bool) {
        self.wait = (self.wait * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        let report = self.reported.is_none_or(|before| now.duration_since(before) >= LONGEST_WAIT);
        if report {
            self.reported = Some(now);
        }
        (self.wait, report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_that_is_accepted_is_held_back() {
        let ours = || SocketServer::new("127.0.0.1:0").unwrap();
        let foreign = || SocketServer::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        for socket in [ours(), foreign()] {
            let address = socket.local_address().unwrap();
            let mut acceptor = Acceptor::new(socket).unwrap();
            for _ in 0..2 {
                let _client = TcpStream::connect(address).await.unwrap();
                let accepted = acceptor.accept().await.0.transport;
                assert!(matches!(accepted, Transport::Tcp(stream) if stream.nodelay().unwrap()));
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn several_listeners_have_their_turns() {
        let listeners =
            ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"].map(|address| std::net::TcpListener::bind(address).unwrap());
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let mut acceptor = Acceptor::new(SocketServer::of(Listener::Tcp(listeners.into()))).unwrap();
        let mut clients = Vec::new();
        for address in &addresses {
            for _ in 0..3 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
        }
        let mut came = Vec::new();
        for _ in 0..9 {
            came.push(*acceptor.accept().await.0.local.unwrap());
        }
        assert_eq!(came, addresses.repeat(3));
    }

    #[test]
    fn waits_double_to_a_second_and_start_anew_after_a_success() {
        let mut back_off = BackOff::default();
        let now = Instant::now();
        let waits: Vec<_> = (0..10).map(|_| back_off.failed(now).0.as_millis()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        back_off.succeeded();
        assert_eq!(back_off.failed(now).0.as_millis(), 5);
    }

    #[test]
    fn a_second_passes_between_two_reports() {
        let mut back_off = BackOff::default();
        let now = Instant::now();
        let tells: Vec<_> =
            [0, 1, 999, 1000, 1001, 2000].map(|ms| back_off.failed(now + Duration::from_millis(ms)).1).into();
        assert_eq!(tells, [true, false, false, true, false, true]);
    }
}
