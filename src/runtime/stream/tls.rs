//! TLS over a TCP socket, while one task owns both directions.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::{ServerConfig, UnbufferedServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::tls_halves::{TlsReadHalf, TlsWriteHalf};
use crate::tls::{Established, Failure, Handshake, HandshakeFailure, Opener, PeerInfo, Sealer};

/// Called with the client of a handshake that has failed, and the error of rustls if it has one.
pub(crate) type ReportFailure = dyn Fn(Option<SocketAddr>, HandshakeFailure, Option<rustls::Error>) + Send + Sync;

/// A TCP socket over which TLS is spoken. The first read makes the handshake.
pub(crate) struct TlsStream {
    socket: TcpStream,
    phase: Phase,
}

enum Phase {
    Handshake(Box<Pending>),
    Open(Open),
    /// The handshake has failed. What the client still sends is dropped until it ends the
    /// connection: closing the socket with unread bytes would be a reset, and the client might not
    /// get the alert.
    Failed {
        dropped: usize,
    },
}

/// A handshake that the client has to begin.
struct Pending {
    config: Arc<ServerConfig>,
    handshake: Option<Handshake<UnbufferedServerConnection>>,
    /// Bytes of the client that were read before the handshake.
    received: Vec<u8>,
    remote: Option<SocketAddr>,
    report: Arc<ReportFailure>,
}

pub(super) struct Open {
    sealer: Sealer,
    opener: Opener,
    /// What was opened and not read.
    plaintext: Vec<u8>,
    /// The bytes before this index have been read.
    at: usize,
    peer: Arc<PeerInfo>,
}

/// Bytes that are received at a time: a record.
const RECEIVE: usize = 18 * 1024;

/// Maximum number of bytes that are dropped after a handshake that has failed.
const DROPPED_MAX: usize = 64 * 1024;

impl TlsStream {
    /// A server's end. `report` is called if the handshake fails.
    pub(crate) fn server(
        socket: TcpStream,
        config: Arc<ServerConfig>,
        remote: Option<SocketAddr>,
        report: Arc<ReportFailure>,
    ) -> TlsStream {
        let pending = Pending { config, handshake: None, received: Vec::new(), remote, report };
        TlsStream { socket, phase: Phase::Handshake(Box::new(pending)) }
    }

    /// Sets the bytes of the client that were read before the handshake.
    pub(crate) fn behind(mut self, received: Vec<u8>) -> TlsStream {
        if let Phase::Handshake(pending) = &mut self.phase {
            pending.received = received;
        }
        self
    }

    /// An end whose handshake is done.
    #[cfg(feature = "client")]
    pub(super) fn established(socket: TcpStream, established: Established) -> TlsStream {
        TlsStream { socket, phase: Phase::Open(established.into()) }
    }

    /// The socket, which must not be read or written.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Returns what is known of the peer, after the handshake.
    pub(crate) fn peer(&self) -> Option<&Arc<PeerInfo>> {
        match &self.phase {
            Phase::Open(open) => Some(&open.peer),
            Phase::Handshake(_) | Phase::Failed { .. } => None,
        }
    }

    /// Returns whether the socket has taken everything that was written.
    pub(crate) fn is_flushed(&self) -> bool {
        match &self.phase {
            Phase::Open(open) => open.sealer.is_flushed(),
            Phase::Handshake(_) | Phase::Failed { .. } => true,
        }
    }

    /// Takes what was opened and not read.
    pub(crate) fn take_opened(&mut self) -> Vec<u8> {
        match &mut self.phase {
            Phase::Open(open) => {
                let mut plaintext = std::mem::take(&mut open.plaintext);
                plaintext.drain(..std::mem::take(&mut open.at));
                plaintext
            }
            Phase::Handshake(_) | Phase::Failed { .. } => Vec::new(),
        }
    }

    /// Splits the stream. `None` before the handshake.
    pub(crate) fn into_halves(self) -> Option<(TlsReadHalf, TlsWriteHalf)> {
        let Phase::Open(open) = self.phase else { return None };
        let (read, write) = self.socket.into_split();
        Some((TlsReadHalf::new(read, open.opener), TlsWriteHalf::new(write, open.sealer)))
    }
}

impl From<Established> for Open {
    fn from(established: Established) -> Open {
        let Established { sealer, opener, plaintext, peer } = established;
        Open { sealer, opener, plaintext, at: 0, peer }
    }
}

impl Pending {
    /// Ready when the handshake is over. `None` if it has failed.
    fn poll(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Option<Established>>> {
        let handshake = match &mut self.handshake {
            Some(handshake) => handshake,
            none => match UnbufferedServerConnection::new(self.config.clone()) {
                Ok(connection) => none.insert(Handshake::new(connection).behind(std::mem::take(&mut self.received))),
                Err(error) => {
                    (self.report)(self.remote, HandshakeFailure::Other, Some(error));
                    return Poll::Ready(Ok(None));
                }
            },
        };
        let result = ready!(handshake.poll(socket, cx));
        let (is_plain_http, has_message) = (handshake.is_plain_http(), handshake.has_message());
        match result {
            Ok(()) => Poll::Ready(Ok(self.handshake.take().map(Handshake::finish))),
            Err(Failure::Tls(error)) => {
                let reason = HandshakeFailure::of(&error, is_plain_http, has_message);
                (self.report)(self.remote, reason, Some(error));
                Poll::Ready(Ok(None))
            }
            Err(Failure::Io(error)) => {
                // Scanners and health checks connect and leave. That is not worth an event.
                if has_message {
                    (self.report)(self.remote, HandshakeFailure::ClientLeft, None);
                }
                Poll::Ready(Err(error))
            }
        }
    }
}

/// The stream under TLS.
pub(super) trait Carrier {
    /// Receives some bytes, or `WouldBlock`.
    fn receive(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> io::Result<usize>;

    /// Ready when [`receive`](Carrier::receive) may succeed, after it has returned `WouldBlock`.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Sends some bytes, or `WouldBlock`.
    fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize>;

    /// Ready when [`send`](Carrier::send) may succeed, after it has returned `WouldBlock`.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Carrier for TcpStream {
    fn receive(&mut self, _: &mut Context<'_>, room: &mut [u8]) -> io::Result<usize> {
        self.try_read(room)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn send(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }
}

impl Open {
    pub(super) fn poll_read(
        &mut self,
        carrier: &mut impl Carrier,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let rest = self.plaintext.get(self.at..).unwrap_or_default();
            if !rest.is_empty() {
                let taken = rest.get(..buf.remaining()).unwrap_or(rest);
                buf.put_slice(taken);
                self.at += taken.len();
                if self.at >= self.plaintext.len() {
                    (self.plaintext, self.at) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            let receive = |room: &mut [u8]| {
                let size = room.len().min(RECEIVE);
                carrier.receive(cx, room.get_mut(..size).unwrap_or_default())
            };
            match self.opener.read(&mut self.plaintext, receive) {
                Ok(opened) => {
                    if let Some(end) = opened.end
                        && self.plaintext.is_empty()
                    {
                        self.sealer.send_alert(|alert| carrier.send(cx, alert));
                        return Poll::Ready(Option::from(end).map_or(Ok(()), Err));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(carrier.poll_readable(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Takes as much as is sealed at a time. Some of it may be left for `poll_flush`.
    pub(super) fn poll_write(
        &mut self,
        carrier: &mut impl Carrier,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(carrier, cx))?;
        Poll::Ready(self.sealer.write_buffered(bytes, |records| carrier.send(cx, records)))
    }

    pub(super) fn poll_flush(&mut self, carrier: &mut impl Carrier, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealer.flush(|records| carrier.send(cx, records))? {
            ready!(carrier.poll_writable(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a close_notify.
    pub(super) fn poll_close(&mut self, carrier: &mut impl Carrier, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(carrier, cx))?;
        while !self.sealer.close(|records| carrier.send(cx, records))? {
            ready!(carrier.poll_writable(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let TlsStream { socket, phase } = self.get_mut();
        loop {
            match phase {
                Phase::Open(open) => return open.poll_read(socket, cx, buf),
                Phase::Handshake(pending) => match ready!(pending.poll(socket, cx))? {
                    Some(established) => *phase = Phase::Open(established.into()),
                    None => {
                        *phase = Phase::Failed { dropped: 0 };
                        let _ = Pin::new(&mut *socket).poll_shutdown(cx);
                    }
                },
                Phase::Failed { dropped } => {
                    let mut bytes = [0; 2048];
                    match socket.try_read(&mut bytes) {
                        Ok(read @ 1..) if *dropped < DROPPED_MAX => *dropped += read,
                        Ok(_) => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_read_ready(cx))?,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let TlsStream { socket, phase: Phase::Open(open) } = self.get_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        open.poll_write(socket, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TlsStream { socket, phase: Phase::Open(open) } => open.poll_flush(socket, cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends a close_notify and a FIN.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let TlsStream { socket, phase } = self.get_mut();
        let closed = match phase {
            Phase::Open(open) => ready!(open.poll_close(socket, cx)),
            Phase::Handshake(_) | Phase::Failed { .. } => Ok(()),
        };
        ready!(Pin::new(socket).poll_shutdown(cx))?;
        Poll::Ready(closed)
    }
}
