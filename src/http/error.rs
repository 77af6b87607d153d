use std::time::Duration;

use http::StatusCode;

use crate::emitter::BoxError;

/// Why a request got an error page instead of an answer. It is what the `error` event of an
/// [`HttpServer`](crate::HttpServer) carries.
///
/// Most are the client's fault and answered with the [`status`](HttpError::status) that says so; the connection is closed
/// then, since nobody knows where the next request would begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The request line is none (RFC 9112 §3).
    #[error("malformed request line")]
    RequestLine,
    /// The request target does not fit the method, or is none (RFC 9112 §3.2).
    #[error("invalid request target")]
    Target,
    /// A header line is none: no colon, a space before it, a folded line, a control character (RFC 9112 §5).
    #[error("malformed header")]
    Header,
    /// Lines end in CR LF; a lone LF is how requests are smuggled (RFC 9112 §2.2).
    #[error("line without CR LF")]
    LineEnd,
    /// An HTTP/1.1 request names one host, exactly (RFC 9112 §3.2).
    #[error("missing, repeated or invalid Host")]
    Host,
    /// A length that is not digits, or more than one (RFC 9112 §6.3).
    #[error("invalid Content-Length")]
    ContentLength,
    /// Two lengths that may disagree are how requests are smuggled (RFC 9112 §6.1).
    #[error("Content-Length together with Transfer-Encoding")]
    AmbiguousLength,
    /// HTTP/1.0 has no transfer codings (RFC 9112 §6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// A chunk that is none (RFC 9112 §7.1).
    #[error("malformed chunk")]
    Chunk,
    /// The client said that it sends nothing more, in the middle of a request.
    #[error("incomplete request")]
    Incomplete,
    /// Any coding but a single `chunked` (RFC 9112 §6.1).
    #[error("unsupported Transfer-Encoding")]
    TransferEncoding,
    /// A tunnel is asked for; this is no proxy (RFC 9110 §9.3.6).
    #[error("CONNECT is not supported")]
    Connect,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// More than [`HttpOptions::max_request_line`](crate::HttpOptions::max_request_line).
    #[error("request line of more than {limit} bytes")]
    RequestLineTooLong {
        /// What is allowed.
        limit: usize,
    },
    /// More than [`HttpOptions::max_head_size`](crate::HttpOptions::max_head_size).
    #[error("head of more than {limit} bytes")]
    HeadTooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// More than [`HttpOptions::max_headers`](crate::HttpOptions::max_headers).
    #[error("more than {limit} headers")]
    TooManyHeaders {
        /// What is allowed.
        limit: usize,
    },
    /// More than [`HttpOptions::max_body_size`](crate::HttpOptions::max_body_size).
    #[error("body of more than {limit} bytes")]
    BodyTooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// The head was not complete within [`HttpOptions::header_timeout`](crate::HttpOptions::header_timeout).
    #[error("no complete request head within {limit:?}")]
    HeaderTimeout {
        /// What is allowed.
        limit: Duration,
    },
    /// The body made no progress within [`HttpOptions::body_timeout`](crate::HttpOptions::body_timeout).
    #[error("no progress of the request body within {limit:?}")]
    BodyTimeout {
        /// What is allowed.
        limit: Duration,
    },
    /// The body came more slowly than [`HttpOptions::min_body_rate`](crate::HttpOptions::min_body_rate).
    #[error("request body slower than `min_body_rate` ({limit} bytes per second)")]
    BodyTooSlow {
        /// Bytes per second that are the least.
        limit: u32,
    },
    /// The client left while its request was being answered; the router's future was dropped.
    #[error("the client left before the answer")]
    ClientLeft,
    /// The client acknowledged nothing of the response for [`HttpOptions::write_timeout`](crate::HttpOptions::write_timeout).
    #[error("the client took nothing of the response within {limit:?}")]
    WriteTimeout {
        /// What is allowed.
        limit: Duration,
    },
    /// As many connections as [`HttpOptions::max_connections`](crate::HttpOptions::max_connections) allows are open. The
    /// `error` event does not fire for it, only the [error page](crate::HttpOptions::error_page) is made of it.
    #[error("more connections than `max_connections` ({limit})")]
    TooManyConnections {
        /// What is allowed.
        limit: usize,
    },
    /// As many connections as [`HttpOptions::max_connections_per_ip`](crate::HttpOptions::max_connections_per_ip) allows are
    /// open from the client's address. As with `TooManyConnections`, the `error` event does not fire for it.
    #[error("more connections from one address than `max_connections_per_ip` ({limit})")]
    TooManyFromAddress {
        /// What is allowed.
        limit: u32,
    },
    /// The form in the request's body is malformed, and a middleware or the router returned
    /// [`parsed_body`](crate::ServerRequest::parsed_body)'s error.
    #[error(transparent)]
    Form(FormError),
    /// The app failed: a middleware or the router panicked or returned `Err`, or a response cannot be sent as it is.
    #[error("the request handler failed: {0}")]
    Handler(#[source] BoxError),
}

impl HttpError {
    /// What a handler returned as its error. A malformed form is the client's fault.
    pub(crate) fn returned(error: BoxError) -> HttpError {
        match error.downcast() {
            Ok(error) => HttpError::Form(*error),
            Err(error) => HttpError::Handler(error),
        }
    }

    /// The error in a word, under which [`HttpStats`](crate::HttpStats) counts it: `request_line`, `target`, `header`,
    /// `line_end`, `host`, `content_length`, `ambiguous_length`, `chunk`, `incomplete`, `transfer_encoding`, `connect`,
    /// `version`, `too_large`, `timeout`, `client_left`, `full`, `address`, `form`,
    /// `handler`.
    pub fn cause(&self) -> &'static str {
        match self {
            HttpError::RequestLine => "request_line",
            HttpError::Target => "target",
            HttpError::Header => "header",
            HttpError::LineEnd => "line_end",
            HttpError::Host => "host",
            HttpError::ContentLength => "content_length",
            HttpError::AmbiguousLength => "ambiguous_length",
            HttpError::Chunk => "chunk",
            HttpError::Incomplete => "incomplete",
            HttpError::TransferEncodingInHttp10 | HttpError::TransferEncoding => "transfer_encoding",
            HttpError::Connect => "connect",
            HttpError::Version => "version",
            HttpError::RequestLineTooLong { .. }
            | HttpError::HeadTooLarge { .. }
            | HttpError::TooManyHeaders { .. }
            | HttpError::BodyTooLarge { .. } => "too_large",
            HttpError::HeaderTimeout { .. }
            | HttpError::BodyTimeout { .. }
            | HttpError::BodyTooSlow { .. }
            | HttpError::WriteTimeout { .. } => "timeout",
            HttpError::TooManyConnections { .. } => "full",
            HttpError::TooManyFromAddress { .. } => "address",
            HttpError::ClientLeft => "client_left",
            HttpError::Form(_) => "form",
            HttpError::Handler(_) => "handler",
        }
    }

    /// The status that answers this error; `None` if there is nobody left to answer.
    pub fn status(&self) -> Option<StatusCode> {
        Some(match self {
            HttpError::RequestLine
            | HttpError::Target
            | HttpError::Header
            | HttpError::LineEnd
            | HttpError::Host
            | HttpError::ContentLength
            | HttpError::AmbiguousLength
            | HttpError::TransferEncodingInHttp10
            | HttpError::Chunk
            | HttpError::Incomplete
            | HttpError::Form(_) => StatusCode::BAD_REQUEST,
            HttpError::TransferEncoding | HttpError::Connect => StatusCode::NOT_IMPLEMENTED,
            HttpError::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            HttpError::RequestLineTooLong { .. } => StatusCode::URI_TOO_LONG,
            HttpError::HeadTooLarge { .. } | HttpError::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            HttpError::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            HttpError::HeaderTimeout { .. } | HttpError::BodyTimeout { .. } | HttpError::BodyTooSlow { .. } => {
                StatusCode::REQUEST_TIMEOUT
            }
            HttpError::TooManyConnections { .. } => StatusCode::SERVICE_UNAVAILABLE,
            HttpError::TooManyFromAddress { .. } => StatusCode::TOO_MANY_REQUESTS,
            HttpError::Handler(_) => StatusCode::INTERNAL_SERVER_ERROR,
            HttpError::ClientLeft | HttpError::WriteTimeout { .. } => return None,
        })
    }
}

/// Why a body is not the `multipart/form-data` that its `Content-Type` promises (RFC 7578, RFC 2046
/// section 5.1).
///
/// A router or middleware may return it as its error, by `?`: the client gets a 400 then, and the
/// server's `error` event has [`HttpError::Form`](crate::HttpError::Form).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// `Content-Type` has no `boundary`, or a boundary that is too long.
    #[error("malformed form: boundary of {length} bytes, not of 1 to {limit}")]
    Boundary {
        /// Bytes in the boundary; 0 if there is none.
        length: usize,
        /// The greatest length (RFC 2046 section 5.1.1).
        limit: usize,
    },
    /// No line of the body has the boundary.
    #[error("malformed form: no line with the boundary")]
    NoDelimiter,
    /// The body ends inside of a part.
    #[error("malformed form: part {part} has no end")]
    UnfinishedPart {
        /// The number of the part; the first is 1.
        part: usize,
    },
    /// A header line of a part has no colon, or no name before it.
    #[error("malformed form: part {part} has a malformed header")]
    PartHeader {
        /// The number of the part; the first is 1.
        part: usize,
    },
    /// A part has no `Content-Disposition: form-data` with a `name` (RFC 7578 section 4.2).
    #[error("malformed form: part {part} has no field name")]
    PartName {
        /// The number of the part; the first is 1.
        part: usize,
    },
    /// The form has too many parts.
    #[error("malformed form: more than {limit} parts")]
    TooManyParts {
        /// How many parts a form may have.
        limit: usize,
    },
}
