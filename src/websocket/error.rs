use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::emitter::{contain, report};
use crate::protocol::{ProtocolError, close_code};

/// The reason why a connection failed: the argument of its `error` event. `close` always follows.
///
/// If a peer disconnects without a closing handshake, this is not an error: only `close` fires,
/// with 1006.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer violated RFC 6455 or exceeded a limit.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The peer sent nothing within [`pong_timeout`](crate::WebSocketOptions::pong_timeout) after a
    /// ping.
    #[error("no pong within {limit:?}")]
    PongTimeout {
        /// The timeout, [`WebSocketOptions::pong_timeout`](crate::WebSocketOptions::pong_timeout).
        limit: Duration,
    },
    /// The peer acknowledged no byte for [`write_timeout`](crate::WebSocketOptions::write_timeout),
    /// while it had bytes to acknowledge.
    #[error("nothing could be sent for {limit:?}")]
    WriteTimeout {
        /// The timeout,
        /// [`WebSocketOptions::write_timeout`](crate::WebSocketOptions::write_timeout).
        limit: Duration,
    },
    /// The peer is a slow consumer: the unsent bytes have reached a limit.
    #[error("{unsent} bytes unsent, the limit is {limit}")]
    SlowReader {
        /// Unsent bytes at the time of the write.
        unsent: usize,
        /// The limit in bytes:
        /// [`WebSocketOptions::write_buffer_hard_limit`](crate::WebSocketOptions::write_buffer_hard_limit),
        /// or the soft limit under
        /// [`SlowMemberPolicy::Close`](crate::options::SlowMemberPolicy::Close).
        limit: usize,
    },
    /// A listener panicked or returned `Err`.
    #[error("a listener failed")]
    Listener(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A [`MessageWriter`](crate::message::MessageWriter) was dropped before the end of its
    /// message.
    #[error("a message was not completed")]
    MessageAbandoned,
    /// The network failed.
    #[error("the connection failed")]
    Io(#[source] Arc<io::Error>),
    /// The handshake was refused, so no connection was opened. In the middleware's `error` event,
    /// [`error`](crate::WebSocketConnection::error) returns this variant.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl ConnectionError {
    /// Returns the close code of this error: the code of the Close frame, or 1006 if the connection
    /// is dropped without a Close frame.
    pub fn close_code(&self) -> u16 {
        match self {
            ConnectionError::Protocol(error) => error.close_code(),
            ConnectionError::SlowReader { .. } => close_code::TRY_AGAIN_LATER,
            ConnectionError::Listener(_) | ConnectionError::MessageAbandoned => close_code::INTERNAL,
            ConnectionError::PongTimeout { .. }
            | ConnectionError::WriteTimeout { .. }
            | ConnectionError::Io(_)
            | ConnectionError::Handshake(_) => close_code::ABNORMAL,
        }
    }

    /// Returns the error and its causes as text, like [`report`](crate::errors::report). If
    /// formatting a listener's error panics, the text only says that a listener failed.
    pub fn reason(&self) -> Cow<'_, str> {
        contain(|| Ok(report(self).to_string())).map_or("a listener failed".into(), Cow::Owned)
    }

    /// Returns the error's cause as one word, for the counters of
    /// [`WebSocketStats`](crate::stats::WebSocketStats): `protocol`, `pong_timeout`,
    /// `write_timeout`, `slow_reader`, `listener`, `message_abandoned`, `io`, `handshake`.
    pub fn cause(&self) -> &'static str {
        match self {
            ConnectionError::Protocol(_) => "protocol",
            ConnectionError::PongTimeout { .. } => "pong_timeout",
            ConnectionError::WriteTimeout { .. } => "write_timeout",
            ConnectionError::SlowReader { .. } => "slow_reader",
            ConnectionError::Listener(_) => "listener",
            ConnectionError::MessageAbandoned => "message_abandoned",
            ConnectionError::Io(_) => "io",
            ConnectionError::Handshake(_) => "handshake",
        }
    }

    /// Returns the reason of our Close frame. It has nothing of the app's errors, whose texts are not even formatted.
    pub(crate) fn public_reason(&self) -> Cow<'_, str> {
        match self {
            ConnectionError::Protocol(error) => error.to_string().into(),
            ConnectionError::SlowReader { .. } => "reading too slowly".into(),
            ConnectionError::Listener(_) | ConnectionError::MessageAbandoned => "internal error".into(),
            ConnectionError::PongTimeout { .. }
            | ConnectionError::WriteTimeout { .. }
            | ConnectionError::Io(_)
            | ConnectionError::Handshake(_) => "".into(),
        }
    }
}

/// The reason why a handshake was refused (RFC 6455 §4.2).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A request with `Sec-WebSocket-Key` and `Connection: upgrade` has no `Upgrade: websocket`.
    #[error("missing Upgrade: websocket")]
    Upgrade,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 22 characters of base64 and `==`.
    #[error("missing or invalid Sec-WebSocket-Key")]
    Key,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// The upgrade request has a body.
    #[error("an upgrade request with a body")]
    Body,
    /// `Sec-WebSocket-Extensions` is malformed (RFC 6455 §9.1). The header is only read if
    /// `WebSocketOptions::compression` is on.
    #[error("malformed Sec-WebSocket-Extensions")]
    Extensions,
    /// [`WebSocketOptions::origins`](crate::WebSocketOptions::origins) does not allow the web page
    /// that tried to connect. The client gets a 403 without the reason.
    #[error("origin {origin:?} is not allowed for host {host:?}; `WebSocketOptions::origins` can allow it")]
    Origin {
        /// The `Origin` header.
        origin: String,
        /// The [host](crate::ServerRequest::host) of the request. Empty if the request has no host.
        host: String,
    },
    /// The client offered no subprotocol that the server accepts, and the server requires a
    /// subprotocol.
    #[error("no common subprotocol")]
    Subprotocol,
    /// A `connection` listener called [`reject`](crate::WebSocketConnection::reject), or the
    /// closure of [`with_verify`](crate::WebSocketMiddleware::with_verify) refused the handshake.
    #[error("rejected with status {status}")]
    Rejected {
        /// The status of its response.
        status: u16,
    },
    /// A closure of the app failed. A `connection` listener or the closure of `with_verify`
    /// panicked or returned `Err`. Or the closure of
    /// [`select_subprotocol`](crate::WebSocketOptions::select_subprotocol) panicked, or selected a
    /// subprotocol that the client did not offer.
    #[error("a listener failed")]
    Listener(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The closure of `with_verify` and the `connection` listeners did not return within
    /// [`handshake_timeout`](crate::WebSocketOptions::handshake_timeout).
    #[error("no decision within {limit:?}")]
    Timeout {
        /// The timeout,
        /// [`WebSocketOptions::handshake_timeout`](crate::WebSocketOptions::handshake_timeout).
        limit: Duration,
    },
    /// The client disconnected, or the server ended, while the closure of `with_verify` or the
    /// `connection` listeners were running.
    #[error("nobody waits for the decision any more")]
    Gone,
}

impl HandshakeError {
    /// Returns the error's cause as one word, for the counters of
    /// [`WebSocketStats`](crate::stats::WebSocketStats): `upgrade`, `key`, `version`, `body`,
    /// `extensions`, `origin`, `subprotocol`, `rejected`, `listener`, `timeout`, `gone`.
    pub fn cause(&self) -> &'static str {
        match self {
            HandshakeError::Upgrade => "upgrade",
            HandshakeError::Key => "key",
            HandshakeError::Version => "version",
            HandshakeError::Body => "body",
            HandshakeError::Extensions => "extensions",
            HandshakeError::Origin { .. } => "origin",
            HandshakeError::Subprotocol => "subprotocol",
            HandshakeError::Rejected { .. } => "rejected",
            HandshakeError::Listener(_) => "listener",
            HandshakeError::Timeout { .. } => "timeout",
            HandshakeError::Gone => "gone",
        }
    }

    /// Returns the status of the response to this error. If the client has disconnected, returns
    /// 499, a convention of some servers.
    pub fn status(&self) -> u16 {
        let status = match self {
            HandshakeError::Upgrade
            | HandshakeError::Key
            | HandshakeError::Body
            | HandshakeError::Extensions
            | HandshakeError::Subprotocol => StatusCode::BAD_REQUEST,
            HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
            HandshakeError::Origin { .. } => StatusCode::FORBIDDEN,
            HandshakeError::Rejected { status } => return *status,
            HandshakeError::Gone => return 499,
            HandshakeError::Listener(_) => StatusCode::INTERNAL_SERVER_ERROR,
            HandshakeError::Timeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        status.as_u16()
    }
}

/// The connection is closed or closing: the error of [`send`](crate::WebSocketConnection::send).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;
