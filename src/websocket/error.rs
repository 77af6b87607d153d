use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::emitter::{contain, report};
use crate::protocol::{ProtocolError, close_code};

/// Why a connection failed: the argument of its `error` event. `close` follows always.
///
/// A peer that leaves without a closing handshake is not an error: only `close` fires, with 1006.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer violated RFC 6455 or exceeded a limit.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The peer neither answered a ping nor sent anything else in time.
    #[error("no pong within {limit:?}")]
    PongTimeout {
        /// [`WebSocketOptions::pong_timeout`](crate::WebSocketOptions::pong_timeout)
        limit: Duration,
    },
    /// The peer accepted none of the unsent bytes in time.
    #[error("nothing could be sent for {limit:?}")]
    WriteTimeout {
        /// [`WebSocketOptions::write_timeout`](crate::WebSocketOptions::write_timeout)
        limit: Duration,
    },
    /// The peer is a slow consumer.
    #[error("{unsent} bytes unsent, the limit is {limit}")]
    SlowReader {
        /// Unsent bytes at the time of the write.
        unsent: usize,
        /// [`WebSocketOptions::write_buffer_hard_limit`](crate::WebSocketOptions::write_buffer_hard_limit),
        /// or the soft limit under [`SlowMemberPolicy::Close`](crate::options::SlowMemberPolicy::Close).
        limit: usize,
    },
    /// A listener panicked or returned `Err`.
    #[error("a listener failed")]
    Listener(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A [`MessageWriter`](crate::message::MessageWriter) was dropped before its message was complete.
    #[error("a message was not completed")]
    MessageAbandoned,
    /// The network failed.
    #[error("the connection failed")]
    Io(#[source] Arc<io::Error>),
    /// The handshake was refused, so no connection was opened. The middleware's `error` event
    /// carries it.
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

    /// Returns the error and its causes in words, like [`report`](crate::errors::report). If the message of a listener's error panics, the text says only
    /// that a listener failed.
    pub fn reason(&self) -> Cow<'_, str> {
        contain(|| Ok(report(self).to_string())).map_or("a listener failed".into(), Cow::Owned)
    }

    /// Returns the error's cause in one word, under which [`WebSocketStats`](crate::stats::WebSocketStats)
    /// counts it: `protocol`, `pong_timeout`, `write_timeout`, `slow_reader`, `listener`,
    /// `message_abandoned`, `io`, `handshake`.
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

    /// What the peer is told, if anything: not what went wrong in the app, whose errors are not even asked.
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

/// Why a handshake was refused (RFC 6455 §4.2).
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
    /// A page of another site tried to connect, and
    /// [`WebSocketOptions::origins`](crate::WebSocketOptions::origins) does not allow it. The client
    /// gets a 403 without the reason.
    #[error("origin {origin:?} is not allowed for host {host:?}; `WebSocketOptions::origins` can allow it")]
    Origin {
        /// The `Origin` header.
        origin: String,
        /// The [host](crate::ServerRequest::host) that the request is for; empty if it named none.
        host: String,
    },
    /// The client offered none of the subprotocols, and the server requires one.
    #[error("no common subprotocol")]
    Subprotocol,
    /// A `connection` listener called [`reject`](crate::WebSocketConnection::reject), or the
    /// closure of [`with_verify`](crate::WebSocketMiddleware::with_verify) refused the handshake.
    #[error("rejected with status {status}")]
    Rejected {
        /// The status of its response.
        status: u16,
    },
    /// A `connection` listener, or `with_verify`'s closure, panicked or returned `Err`; or
    /// [`select_subprotocol`](crate::WebSocketOptions::select_subprotocol)'s closure panicked or
    /// selected a subprotocol that the client did not offer.
    #[error("a listener failed")]
    Listener(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// `with_verify`'s closure and the `connection` listeners did not decide in time.
    #[error("no decision within {limit:?}")]
    Timeout {
        /// [`WebSocketOptions::handshake_timeout`](crate::WebSocketOptions::handshake_timeout)
        limit: Duration,
    },
    /// The client left, or the server ended, while `with_verify`'s closure or the `connection` listeners were deciding.
    #[error("nobody waits for the decision any more")]
    Gone,
}

impl HandshakeError {
    /// Returns the error's cause in one word, under which [`WebSocketStats`](crate::stats::WebSocketStats)
    /// counts it: `upgrade`, `key`, `version`, `body`, `origin`, `subprotocol`, `rejected`,
    /// `listener`, `timeout`, `gone`.
    pub fn cause(&self) -> &'static str {
        match self {
            HandshakeError::Upgrade => "upgrade",
            HandshakeError::Key => "key",
            HandshakeError::Version => "version",
            HandshakeError::Body => "body",
            HandshakeError::Origin { .. } => "origin",
            HandshakeError::Subprotocol => "subprotocol",
            HandshakeError::Rejected { .. } => "rejected",
            HandshakeError::Listener(_) => "listener",
            HandshakeError::Timeout { .. } => "timeout",
            HandshakeError::Gone => "gone",
        }
    }

    /// Returns the status of the response to this error. 499, a convention of some servers, if the
    /// client has gone.
    pub fn status(&self) -> u16 {
        let status = match self {
            HandshakeError::Upgrade | HandshakeError::Key | HandshakeError::Body | HandshakeError::Subprotocol => {
                StatusCode::BAD_REQUEST
            }
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
