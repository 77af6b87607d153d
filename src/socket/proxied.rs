//! Connections of proxies that begin with a header of the PROXY protocol.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::error::SocketError;
use super::proxies::{ProxyProtocol, ProxyProtocolFailure};
use super::proxy_protocol::{self, Parsed};
use super::server::SocketEvents;
#[cfg(feature = "__tls")]
use crate::runtime::stream::{ReportFailure, TlsStream, Transport};
use crate::runtime::stream::{Stream, canonical};
#[cfg(feature = "__tls")]
use crate::tls::Tls;

/// A header that is being read.
pub(crate) struct ProxyHeader {
    is_required: bool,
    received: Vec<u8>,
    events: Arc<SocketEvents>,
    #[cfg(feature = "__tls")]
    tls: Option<(Tls, Arc<ReportFailure>)>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoHeader {
    /// The header is missing, malformed or too long.
    Refused(ProxyProtocolFailure),
    /// The proxy left, or the connection failed.
    Ended,
}

impl From<io::Error> for NoHeader {
    fn from(_: io::Error) -> NoHeader {
        NoHeader::Ended
    }
}

impl ProxyHeader {
    pub(super) fn new(
        protocol: &ProxyProtocol,
        events: &Arc<SocketEvents>,
        #[cfg(feature = "__tls")] tls: Option<(Tls, Arc<ReportFailure>)>,
    ) -> ProxyHeader {
        ProxyHeader {
            is_required: protocol.is_required,
            received: Vec::new(),
            events: events.clone(),
            #[cfg(feature = "__tls")]
            tls,
        }
    }

    /// Returns whether a part of the header has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !self.received.is_empty()
    }

    /// Reads the header, and nothing behind it. Afterwards the stream has the client's address.
    pub(crate) fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), NoHeader>> {
        let refused = |failure| Poll::Ready(Err(NoHeader::Refused(failure)));
        loop {
            let missing = match proxy_protocol::parse(&self.received) {
                Ok(Parsed::Incomplete { missing }) => missing,
                Ok(Parsed::Header { client }) => {
                    self.received = Vec::new();
                    if let Some(client) = client {
                        stream.remote = Some(canonical(client));
                    }
                    return Poll::Ready(Ok(()));
                }
                Ok(Parsed::NoHeader) if self.is_required => return refused(ProxyProtocolFailure::Missing),
                Ok(Parsed::NoHeader) => return Poll::Ready(Ok(())),
                Err(malformed) => return refused(malformed.into()),
            };
            let mut bytes = [0; 256];
            let room = bytes.len().min(missing);
            let mut bytes = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut bytes))?;
            if bytes.filled().is_empty() {
                return Poll::Ready(Err(NoHeader::Ended));
            }
            self.received.extend_from_slice(bytes.filled());
        }
    }

    /// Returns the stream behind the header. If the connection has no header, the bytes that were read
    /// belong to the stream: this returns them too, or passes them to the TLS handshake.
    pub(crate) fn finish(self, stream: Stream) -> (Stream, Vec<u8>) {
        #[cfg(feature = "__tls")]
        if let Some((tls, report)) = self.tls {
            let Stream { transport, remote, local } = stream;
            let transport = match transport {
                Transport::Tcp(socket) => {
                    let stream = TlsStream::server(socket, tls.config(), remote, report).behind(self.received);
                    return (Stream { transport: Transport::Tls(Box::new(stream)), remote, local }, Vec::new());
                }
                other => other,
            };
            return (Stream { transport, remote, local }, self.received);
        }
        (stream, self.received)
    }

    /// Emits `error` for a refused connection of this proxy.
    pub(crate) fn report(&self, remote: Option<SocketAddr>, reason: ProxyProtocolFailure) {
        self.events.emit_error(SocketError::ProxyProtocol { remote, reason });
    }
}
