use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;

/// Why no connection was opened.
///
/// An error prints its own level only. [`source`](Error::source) has the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one of a WebSocket. Nothing was sent.
    #[error("invalid WebSocket URL")]
    Url(#[from] UrlError),
    /// A header has an invalid name or value, or the handshake itself sets it. Nothing was sent.
    #[error("header {name:?} cannot be sent")]
    Header {
        /// The name of the header.
        name: String,
    },
    /// The name of the host, or of the proxy, has no address.
    #[error("no address of {host:?}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system reported.
        source: io::Error,
    },
    /// No address of the host, or of the proxy, accepted a TCP connection.
    #[error("no connection to {address}")]
    Connect {
        /// The address that was tried first.
        address: SocketAddr,
        /// What the system reported of that address.
        source: io::Error,
    },
    /// The proxy refused the tunnel: 407 if it wants other credentials.
    #[error("the proxy refused the connection with status {status}")]
    Proxy {
        /// The status of the proxy's response.
        status: u16,
    },
    /// The proxy sent no valid response.
    #[error("no valid response of the proxy")]
    ProxyResponse(#[source] ResponseError),
    /// The URL begins with `wss://`, and the crate was built with neither `tls` nor `tls-ring`. Nothing was sent.
    #[error("`wss://` needs the feature `tls` or `tls-ring` of the crate react-websocket")]
    NoTls,
    /// The TLS handshake failed, for example because the server's certificate was refused. In TLS 1.3 the server may
    /// refuse the client's certificate after the handshake.
    #[cfg(feature = "__tls")]
    #[error("no TLS connection to the server")]
    Tls(#[source] crate::tls::TlsConnectError),
    /// The server answered with another status than 101. Redirects (3xx) and requests for credentials (401) are
    /// refusals too: they are never followed.
    #[error("the server refused the handshake with status {}", response.status())]
    Refused {
        /// The response: status, headers, and up to 64 KiB of the body.
        response: Box<Response<Bytes>>,
    },
    /// The server sent no valid response to the handshake (RFC 6455 section 4.1).
    #[error("the handshake failed")]
    Handshake(#[source] ResponseError),
    /// The connection was not open in time.
    #[error("no connection within {limit:?}, {phase} has not ended")]
    Timeout {
        /// [`Connector::timeout`](super::Connector::timeout)
        limit: Duration,
        /// What was under way.
        phase: ConnectPhase,
    },
    /// The closure of `connect` panicked or returned `Err`. The server gets a Close frame with 1011.
    #[error("the `connection` listener failed")]
    Listener(#[source] Arc<dyn Error + Send + Sync>),
    /// The [`Connector`](super::Connector) was closed.
    #[error("the connector is closed")]
    Closed,
}

impl ConnectError {
    /// Returns the error's cause in one word, under which [`Connector::stats`](super::Connector::stats) counts
    /// it: `url`, `header`, `resolve`, `connect`, `proxy`, `tls`, `refused`, `handshake`, `timeout`, `listener`,
    /// `closed`.
    pub fn cause(&self) -> &'static str {
        match self {
            ConnectError::Url(_) => "url",
            ConnectError::Header { .. } => "header",
            ConnectError::Resolve { .. } => "resolve",
            ConnectError::Connect { .. } => "connect",
            ConnectError::Proxy { .. } | ConnectError::ProxyResponse(_) => "proxy",
            ConnectError::NoTls => "tls",
            #[cfg(feature = "__tls")]
            ConnectError::Tls(_) => "tls",
            ConnectError::Refused { .. } => "refused",
            ConnectError::Handshake(_) => "handshake",
            ConnectError::Timeout { .. } => "timeout",
            ConnectError::Listener(_) => "listener",
            ConnectError::Closed => "closed",
        }
    }

    /// Returns the error of a response that did not arrive.
    pub(super) fn no_response(error: ResponseError) -> ConnectError {
        #[cfg(feature = "__tls")]
        if let ResponseError::Io(io) = &error
            && let Some(error) = io.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>())
        {
            return ConnectError::Tls(crate::tls::TlsConnectError::of(error.clone()));
        }
        ConnectError::Handshake(error)
    }

    /// Returns the status of the server's response if the server refused the handshake.
    pub fn status(&self) -> Option<u16> {
        match self {
            ConnectError::Refused { response } => Some(response.status().as_u16()),
            _ => None,
        }
    }
}

/// What a [`connect`](super::connect) does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectPhase {
    /// The addresses of the host, or of the proxy, are looked up.
    Resolve,
    /// A TCP connection is opened.
    Connect,
    /// The proxy opens a tunnel.
    Proxy,
    /// TLS is negotiated.
    Tls,
    /// The server has been sent the handshake, and answers.
    Handshake,
    /// The closure of `connect` is running.
    Listener,
}

impl fmt::Display for ConnectPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectPhase::Resolve => "the look-up of the address",
            ConnectPhase::Connect => "the TCP connection",
            ConnectPhase::Proxy => "the proxy's response",
            ConnectPhase::Tls => "the TLS handshake",
            ConnectPhase::Handshake => "the WebSocket handshake",
            ConnectPhase::Listener => "the `connection` listener",
        })
    }
}

/// Why a URL is not one of a WebSocket (RFC 6455 section 3), or not one of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is not `ws` or `wss`; that of a proxy is not `http`.
    #[error("scheme {scheme:?} is not {expected}")]
    Scheme {
        /// The scheme. Empty if the URL has none.
        scheme: String,
        /// The schemes that are possible.
        expected: &'static str,
    },
    /// The URL has a fragment, `#` and what follows, which RFC 6455 section 3 forbids.
    #[error("a fragment")]
    Fragment,
    /// The host is missing, or is neither a name nor an address. A name with other characters than ASCII is
    /// given in its ASCII form, `xn--…`.
    #[error("invalid host {host:?}")]
    Host {
        /// The host.
        host: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("invalid port {port:?}")]
    Port {
        /// The port.
        port: String,
    },
    /// The URL has a control character.
    #[error("control character {character:?}")]
    Character {
        /// The character.
        character: char,
    },
}

/// Why a response is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The connection ended before the response was complete.
    #[error("the connection ended before the response")]
    Ended,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The response is not HTTP/1.1.
    #[error("malformed HTTP response")]
    Malformed,
    /// The head of the response is too large.
    #[error("response head exceeds {limit} bytes")]
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The 101 has no `Upgrade: websocket`.
    #[error("no `Upgrade: websocket`")]
    Upgrade,
    /// The 101 has no `Connection: upgrade`.
    #[error("no `Connection: upgrade`")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing or wrong, so the server may not have understood the handshake.
    #[error("missing or wrong Sec-WebSocket-Accept")]
    Accept,
    /// The server has selected a subprotocol that was not offered, or several.
    #[error("subprotocol {name:?} was not offered")]
    Subprotocol {
        /// What the server has selected.
        name: String,
    },
    /// The server has selected none of the offered subprotocols, and
    /// [`WebSocketOptions::require_subprotocol`](crate::WebSocketOptions::require_subprotocol) is on.
    #[error("no common subprotocol")]
    NoSubprotocol,
    /// The server uses an extension that was not offered, or parameters that do not fit the offer.
    #[error("extension {name:?} was not offered")]
    Extension {
        /// What the server uses.
        name: String,
    },
}
