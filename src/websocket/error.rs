use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::emitter::contain;
use crate::protocol::{ProtocolError, close_code};

/// Why a connection failed: what its `error` event tells of. `close` follows always.
///
/// A peer that leaves, however rudely, is no fault: there is only `close`, with 1006.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke RFC 6455 or a limit.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The peer did not answer a ping, nor send anything else, in time.
    #[error("no pong within {limit:?}")]
    PongTimeout {
        /// [`WebSocketOptions::pong_timeout`](crate::WebSocketOptions::pong_timeout)
        limit: Duration,
    },
    /// The peer took nothing of what was written in time.
    #[error("nothing could be sent for {limit:?}")]
    WriteTimeout {
        /// [`WebSocketOptions::write_timeout`](crate::WebSocketOptions::write_timeout)
        limit: Duration,
    },
    /// The peer reads more slowly than it is written to.
    #[error("{unsent} bytes unsent, the limit is {limit}")]
    SlowReader {
        /// Bytes that waited when one more message was written.
        unsent: usize,
        /// [`WebSocketOptions::write_buffer_hard_limit`](crate::WebSocketOptions::write_buffer_hard_limit), or with
        /// [`SlowMemberPolicy::Close`](crate::SlowMemberPolicy::Close) the soft limit.
        limit: usize,
    },
    /// A listener panicked or returned `Err`.
    #[error("a listener failed: {0}")]
    Listener(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A [`MessageWriter`](crate::MessageWriter) was dropped before its message was complete.
    #[error("a message was not completed")]
    MessageAbandoned,
    /// The network failed.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// The handshake was refused, so there never was a connection. Told by the middleware's `error` event.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl ConnectionError {
    /// The close code of this error: the one that is sent, or 1006 where the connection is dropped without a Close frame.
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

    /// The error in words. Of a listener's error that panics when it is put in words, no more than that a listener failed.
    pub fn reason(&self) -> Cow<'_, str> {
        contain(|| Ok(self.to_string())).map_or("a listener failed".into(), Cow::Owned)
    }

    /// The error in a word, under which [`WebSocketStats`](crate::WebSocketStats) counts it: `protocol`, `pong_timeout`,
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
    /// An upgrade request has no body.
    #[error("an upgrade request with a body")]
    Body,
    /// A page of another site wants to connect, which
    /// [`WebSocketOptions::origins`](crate::WebSocketOptions::origins) does not allow. The client
    /// is told no more than 403.
    #[error("origin {origin:?} is not allowed for host {host:?}; `WebSocketOptions::origins` can allow it")]
    Origin {
        /// The `Origin` header.
        origin: String,
        /// The [host](crate::ServerRequest::host) that the request is for; empty if it named none.
        host: String,
    },
    /// The client offered no subprotocol that the server insists on.
    #[error("no common subprotocol")]
    Subprotocol,
    /// A `connection` listener called [`reject`](crate::WebSocketConnection::reject), or
    /// [`with_verify`](crate::WebSocketMiddleware::with_verify)'s closure decided against it.
    #[error("rejected with status {status}")]
    Rejected {
        /// The status it answered with.
        status: u16,
    },
    /// A `connection` listener, or `with_verify`'s closure, panicked or returned `Err`; or
    /// [`select_subprotocol`](crate::WebSocketOptions::select_subprotocol)'s closure panicked or
    /// selected a subprotocol that the client did not offer.
    #[error("a listener failed: {0}")]
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
    /// The error in a word, under which [`WebSocketStats`](crate::WebSocketStats) counts it: `upgrade`, `key`, `version`,
    /// `body`, `origin`, `subprotocol`, `rejected`, `listener`, `timeout`, `gone`.
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

    /// The status that answers this error; 499, as some servers log it, where nobody is there to be answered.
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

/// What [`send`](crate::WebSocketConnection::send) says of a connection that takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;
