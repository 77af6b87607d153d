use std::time::Duration;

use http::StatusCode;

use crate::emitter::BoxError;

/// The reason why a request got an error page instead of the app's response. The `error` event of
/// an [`HttpServer`](crate::HttpServer) passes this error to its listeners.
///
/// Most variants are errors of the client. The client gets a response with the error's
/// [`status`](HttpError::status). After such a response the connection closes, because the
/// beginning of the next request is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The request line is malformed (RFC 9112 §3).
    #[error("malformed request line")]
    RequestLine,
    /// The request target is malformed, or does not fit the method (RFC 9112 §3.2).
    #[error("invalid request target")]
    Target,
    /// A header line is malformed: no colon, a space before the colon, a folded line, a control
    /// character (RFC 9112 §5).
    #[error("malformed header")]
    Header,
    /// A line does not end in CR LF. A single LF allows request smuggling (RFC 9112 §2.2).
    #[error("line without CR LF")]
    LineEnd,
    /// An HTTP/1.1 request does not name exactly one valid host (RFC 9112 §3.2).
    #[error("missing, repeated or invalid Host")]
    Host,
    /// `Content-Length` is not a number, or given more than once (RFC 9112 §6.3).
    #[error("invalid Content-Length")]
    ContentLength,
    /// The request has two lengths that may disagree, which allows request smuggling (RFC 9112
    /// §6.1).
    #[error("Content-Length together with Transfer-Encoding")]
    AmbiguousLength,
    /// An HTTP/1.0 request has `Transfer-Encoding` (RFC 9112 §6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// A chunk is malformed (RFC 9112 §7.1).
    #[error("malformed chunk")]
    Chunk,
    /// The client sent a FIN in the middle of a request.
    #[error("incomplete request")]
    Incomplete,
    /// `Transfer-Encoding` is not exactly one `chunked` (RFC 9112 §6.1).
    #[error("unsupported Transfer-Encoding")]
    TransferEncoding,
    /// The client asks for a tunnel, and this server is not a proxy (RFC 9110 §9.3.6).
    #[error("CONNECT is not supported")]
    Connect,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// The request line exceeds
    /// [`HttpOptions::max_request_line`](crate::HttpOptions::max_request_line).
    #[error("request line of more than {limit} bytes")]
    RequestLineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head exceeds [`HttpOptions::max_head_size`](crate::HttpOptions::max_head_size).
    #[error("head of more than {limit} bytes")]
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request has more header lines than
    /// [`HttpOptions::max_headers`](crate::HttpOptions::max_headers).
    #[error("more than {limit} headers")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// The body exceeds [`HttpOptions::max_body_size`](crate::HttpOptions::max_body_size).
    #[error("body of more than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head was not complete within [`HttpOptions::header_timeout`](crate::HttpOptions::header_timeout).
    #[error("no complete request head within {limit:?}")]
    HeaderTimeout {
        /// The timeout.
        limit: Duration,
    },
    /// The body made no progress within [`HttpOptions::body_timeout`](crate::HttpOptions::body_timeout).
    #[error("no progress of the request body within {limit:?}")]
    BodyTimeout {
        /// The timeout.
        limit: Duration,
    },
    /// The body arrived more slowly than
    /// [`HttpOptions::min_body_rate`](crate::HttpOptions::min_body_rate).
    #[error("request body slower than `min_body_rate` ({limit} bytes per second)")]
    BodyTooSlow {
        /// The minimum rate in bytes per second.
        limit: u32,
    },
    /// The client disconnected before the response, and the router's future was dropped.
    #[error("the client left before the answer")]
    ClientLeft,
    /// The client acknowledged nothing of the response for [`HttpOptions::write_timeout`](crate::HttpOptions::write_timeout).
    #[error("the client took nothing of the response within {limit:?}")]
    WriteTimeout {
        /// The timeout.
        limit: Duration,
    },
    /// The server already has [`HttpOptions::max_connections`](crate::HttpOptions::max_connections)
    /// open connections. The `error` event does not fire for this error, but the [error
    /// page](crate::HttpOptions::error_page) closure is called.
    #[error("more connections than `max_connections` ({limit})")]
    TooManyConnections {
        /// The limit.
        limit: usize,
    },
    /// The client's address already has
    /// [`HttpOptions::max_connections_per_ip`](crate::HttpOptions::max_connections_per_ip) open
    /// connections. The `error` event does not fire for this error, like for `TooManyConnections`.
    #[error("more connections from one address than `max_connections_per_ip` ({limit})")]
    TooManyFromAddress {
        /// The limit.
        limit: u32,
    },
    /// The form in the request's body is malformed, and a middleware or the router returned the
    /// error of [`parsed_body`](crate::ServerRequest::parsed_body).
    #[error(transparent)]
    Form(FormError),
    /// The request's body is not the JSON that the app expects, and a middleware or the router
    /// returned the error of [`json`](crate::ServerRequest::json).
    #[cfg(feature = "json")]
    #[error(transparent)]
    Json(JsonError),
    /// The app failed: a middleware or the router panicked or returned `Err`, or a response cannot be sent as it is.
    #[error("the request handler failed")]
    Handler(#[source] BoxError),
}

impl HttpError {
    /// The error that a handler returned. A malformed form or JSON is an error of the client.
    pub(crate) fn returned(error: BoxError) -> HttpError {
        #[cfg(feature = "json")]
        let error = match error.downcast() {
            Ok(error) => return HttpError::Json(*error),
            Err(error) => error,
        };
        match error.downcast() {
            Ok(error) => HttpError::Form(*error),
            Err(error) => HttpError::Handler(error),
        }
    }

    /// Returns the error's cause as one word, for the counters of
    /// [`HttpStats`](crate::stats::HttpStats). The words are: `request_line`, `target`, `header`,
    /// `line_end`, `host`, `content_length`, `ambiguous_length`, `chunk`, `incomplete`,
    /// `transfer_encoding`, `connect`, `version`, `too_large`, `timeout`, `client_left`, `full`,
    /// `address`, `form`, `json`, `handler`.
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
            #[cfg(feature = "json")]
            HttpError::Json(_) => "json",
            HttpError::Handler(_) => "handler",
        }
    }

    /// Returns the status of the response to this error. Returns `None` if the client has
    /// disconnected.
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
            #[cfg(feature = "json")]
            HttpError::Json(_) => StatusCode::BAD_REQUEST,
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

/// A body is not the JSON that the app expects: it is malformed, or does not fit the type. The
/// [`source`](std::error::Error::source) has the reason and its line.
///
/// A router or middleware may return this error with `?`. The client then gets a 400, and the
/// server's `error` event has [`HttpError::Json`](crate::errors::HttpError::Json).
#[cfg(feature = "json")]
#[derive(Debug, thiserror::Error)]
#[error("malformed JSON in the request body")]
pub struct JsonError(#[source] serde_json::Error);

#[cfg(feature = "json")]
impl JsonError {
    pub(crate) fn new(error: serde_json::Error) -> JsonError {
        JsonError(error)
    }
}

/// The reason why a `multipart/form-data` body is malformed (RFC 7578, RFC 2046 section 5.1).
///
/// A router or middleware may return this error with `?`. The client then gets a 400, and the
/// server's `error` event has [`HttpError::Form`](crate::errors::HttpError::Form).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// `Content-Type` has no `boundary`, or a boundary that is too long.
    #[error("malformed form: boundary of {length} bytes, not of 1 to {limit}")]
    Boundary {
        /// The boundary's length in bytes. 0 if it is missing.
        length: usize,
        /// The maximum length (RFC 2046 section 5.1.1).
        limit: usize,
    },
    /// The body has no line with the boundary.
    #[error("malformed form: no line with the boundary")]
    NoDelimiter,
    /// The body ends inside a part.
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
