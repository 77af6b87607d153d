//! The byte streams of connections: TCP, Unix sockets, and all others that read and write.

mod halves;
#[cfg(feature = "__tls")]
mod tls;
#[cfg(feature = "__tls")]
mod tls_halves;
#[cfg(all(feature = "client", feature = "__tls"))]
mod tls_over_stream;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

pub(crate) use halves::{ByteStream, ReadHalf, WriteHalf};
#[cfg(feature = "__tls")]
pub(crate) use tls::{ReportFailure, TlsStream};

#[cfg(feature = "__tls")]
pub(crate) use crate::tls::Opened;

use crate::runtime::acknowledged::{Acknowledged, keep_little_unsent};

/// One accepted connection, with the addresses of both ends if the transport has addresses.
pub(crate) struct Stream {
    pub(crate) transport: Transport,
    pub(crate) remote: Option<SocketAddr>,
    /// Shared, since most connections of a server use the same address.
    pub(crate) local: Option<Arc<SocketAddr>>,
}

/// Returns the address by which a client is known, whatever socket it came to. A socket that
/// listens on `[::]` reports an IPv4 client as `::ffff:192.0.2.1` (RFC 4291 section 2.5.5.2).
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The two kinds of socket that any thread can write to, and all other streams.
pub(crate) enum Transport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(feature = "__tls")]
    Tls(Box<TlsStream>),
    Other(Box<dyn ByteStream>),
}

impl Stream {
    /// A TCP connection that was opened or accepted elsewhere.
    #[cfg(any(feature = "client", feature = "hyper"))]
    pub(crate) fn of_tcp(stream: TcpStream) -> Stream {
        let (remote, local) = (stream.peer_addr().ok().map(canonical), stream.local_addr().ok().map(canonical));
        Stream { transport: Transport::Tcp(stream), remote, local: local.map(Arc::new) }
    }

    /// A Unix socket that was opened or accepted elsewhere.
    #[cfg(all(unix, any(feature = "client", feature = "hyper")))]
    pub(crate) fn of_unix(stream: UnixStream) -> Stream {
        Stream { transport: Transport::Unix(stream), remote: None, local: None }
    }

    /// A stream without addresses.
    pub(crate) fn other(stream: impl ByteStream) -> Stream {
        Stream { transport: Transport::Other(Box::new(stream)), remote: None, local: None }
    }

    /// Returns whether the peer has sent a FIN or a reset, even behind unread bytes. `None` for
    /// other streams, for which this is unknown.
    pub(crate) fn has_ended(&self) -> Option<bool> {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = match &self.transport {
            Transport::Tcp(stream) => pin!(stream.ready(Interest::READABLE)).poll(&mut cx),
            #[cfg(unix)]
            Transport::Unix(stream) => pin!(stream.ready(Interest::READABLE)).poll(&mut cx),
            #[cfg(feature = "__tls")]
            Transport::Tls(stream) => pin!(stream.socket().ready(Interest::READABLE)).poll(&mut cx),
            Transport::Other(_) => return None,
        };
        Some(matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed()))
    }

    /// Sets whether closing the connection resets it, whatever closes it. A reset tells the peer
    /// that the bytes sent so far are not everything. Only TCP has it.
    pub(crate) fn reset_on_close(&self, on: bool) {
        if let Some(stream) = self.tcp() {
            // If this fails, the connection has ended already.
            let _ = socket2::SockRef::from(stream).set_linger(on.then_some(Duration::ZERO));
        }
    }

    /// Returns what the peer has acknowledged of the `written` bytes that the stream has accepted.
    pub(crate) fn acknowledged(&self, written: u64) -> Acknowledged {
        match &self.transport {
            Transport::Tcp(stream) => Acknowledged::of_tcp(stream, written),
            #[cfg(unix)]
            Transport::Unix(stream) => Acknowledged::of_unix(stream, written),
            #[cfg(feature = "__tls")]
            Transport::Tls(stream) => Acknowledged::of_tcp(stream.socket(), written),
            Transport::Other(_) => Acknowledged::accepted(written),
        }
    }

    /// Makes the kernel keep fewer unsent bytes for a slow peer, so that their number is known.
    pub(crate) fn keep_little_unsent(&self) {
        if let Some(stream) = self.tcp() {
            keep_little_unsent(stream);
        }
    }

    /// Returns whether what was written has left, as far as the stream knows. Never known of other
    /// streams.
    pub(crate) fn is_flushed(&self) -> bool {
        match &self.transport {
            Transport::Tcp(_) => true,
            #[cfg(unix)]
            Transport::Unix(_) => true,
            #[cfg(feature = "__tls")]
            Transport::Tls(stream) => stream.is_flushed(),
            Transport::Other(_) => false,
        }
    }

    /// Returns whether the peer sees an orderly end if the stream is closed. Only sockets have this.
    pub(crate) fn ends_by_closing(&self) -> bool {
        match &self.transport {
            Transport::Tcp(_) => true,
            #[cfg(unix)]
            Transport::Unix(_) => true,
            #[cfg(feature = "__tls")]
            Transport::Tls(_) => false,
            Transport::Other(_) => false,
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match &self.transport {
            Transport::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Transport::Unix(_) => None,
            #[cfg(feature = "__tls")]
            Transport::Tls(stream) => Some(stream.socket()),
            Transport::Other(_) => None,
        }
    }

    /// Returns what TLS knows of the peer, after the handshake.
    #[cfg(feature = "__tls")]
    pub(crate) fn tls_peer(&self) -> Option<&Arc<crate::tls::PeerInfo>> {
        match &self.transport {
            Transport::Tls(stream) => stream.peer(),
            _ => None,
        }
    }

    /// Returns whether the TLS handshake is not complete, or has failed.
    #[cfg(feature = "__tls")]
    pub(crate) fn lacks_handshake(&self) -> bool {
        matches!(&self.transport, Transport::Tls(stream) if stream.peer().is_none())
    }

    /// Takes bytes that the stream has received and that were not read.
    #[cfg(feature = "__tls")]
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        match &mut self.transport {
            Transport::Tls(stream) => stream.take_opened(),
            _ => Vec::new(),
        }
    }

    /// Returns the stream of plaintext, after a handshake on this stream.
    #[cfg(all(feature = "client", feature = "__tls"))]
    pub(crate) fn with_tls(self, established: crate::tls::Established) -> Stream {
        let Stream { transport, remote, local } = self;
        let stream: Box<dyn ByteStream> = match transport {
            Transport::Tcp(socket) => {
                let transport = Transport::Tls(Box::new(TlsStream::established(socket, established)));
                return Stream { transport, remote, local };
            }
            #[cfg(unix)]
            Transport::Unix(stream) => Box::new(stream),
            Transport::Tls(stream) => stream,
            Transport::Other(stream) => stream,
        };
        let stream = tls_over_stream::TlsOverStream::established(stream, established);
        Stream { transport: Transport::Other(Box::new(stream)), remote, local }
    }

    /// Splits the stream, so that other threads than the reader's can write to a socket.
    pub(crate) fn into_halves(self) -> (ReadHalf, WriteHalf) {
        match self.transport {
            Transport::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            #[cfg(unix)]
            Transport::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
            #[cfg(feature = "__tls")]
            Transport::Tls(stream) => match stream.into_halves() {
                Some((read, write)) => (ReadHalf::Tls(Box::new(read)), WriteHalf::Tls(Box::new(write))),
                // Nothing can be read or written before the handshake.
                None => (ReadHalf::Other(Box::new(tokio::io::empty())), WriteHalf::Owner),
            },
            Transport::Other(stream) => (ReadHalf::Other(stream), WriteHalf::Owner),
        }
    }
}

macro_rules! each_transport {
    ($self:expr, $stream:ident => $what:expr) => {
        match &mut $self.get_mut().transport {
            Transport::Tcp($stream) => $what,
            #[cfg(unix)]
            Transport::Unix($stream) => $what,
            #[cfg(feature = "__tls")]
            Transport::Tls($stream) => $what,
            Transport::Other($stream) => $what,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each_transport!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each_transport!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        each_transport!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Transport::Unix(stream) => stream.is_write_vectored(),
            #[cfg(feature = "__tls")]
            Transport::Tls(stream) => stream.is_write_vectored(),
            Transport::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_transport!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_transport!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
