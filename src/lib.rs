//! WebSocket servers with callbacks: the API of ReactPHP's WebSocket servers as an async tokio crate.
//!
//! ```no_run
#![doc = include_str!("../examples/echo.rs")]
//! ```
//!
//! In this example a [`WebSocketMiddleware`] upgrades WebSocket handshakes to connections, and
//! calls its `connection` listeners. A `connection` listener registers the listeners of each
//! [`WebSocketConnection`]. A router answers all other requests. An [`HttpServer`] passes each
//! request through these handlers in their order. A [`SocketServer`] listens for the server's
//! connections.
//!
//! A listener that returns `Err` or panics fails its own connection with 1011; all other
//! connections go on. Listeners of one connection run one at a time. Listeners of two connections
//! can run at the same time.
//!
//! # Where to look
//!
//! * **Connections**: [`WebSocketConnection`] has a table of the events,
//!   [`IntoListener`](listeners::IntoListener) lists the closures that fit, and
//!   [`WebSocketOptions`] has the limits and timeouts.
//! * **Groups**: [`GroupManager`] and [`ConnectionGroup`]. The module [`cluster`] joins the groups of
//!   several processes.
//! * **HTTP**: [`ServerRequest`], [`Response`], [`BodyStream`]; [`HttpServer::new`] explains
//!   middlewares and routers, and [`HttpOptions`] has the limits.
//! * **Shutdown**: [`Listening::close`].
//! * **The loop**: [`Loop`] has timers and signals; [`EventEmitter`] is for events of your own.
//! * **Errors**: [`errors`] has the error types of each layer; [`Error`] is their union, for `?` in
//!   `main`.
//! * **RFC 6455 without I/O**: [`protocol`], for programs with their own I/O.
//! * **Guides**: a [course](guide) for users of the crate, which begins with a [tutorial](guide::tutorial). It has pages
//!   about [connections](guide::connections), [groups](guide::groups), [timeouts and limits](guide::limits),
//!   [errors](guide::errors), [deployment](guide::deployment) and others.
#![cfg_attr(feature = "__tls", doc = "* **TLS**: the module [`tls`], and its [guide](guide::tls).")]
#![cfg_attr(feature = "client", doc = "* **Client**: [`client::connect`], and the [guide](guide::client) to it.")]
#![cfg_attr(
    feature = "hyper",
    doc = "* **axum and tower**: the module [`hyper`](mod@hyper), and its [guide](guide::axum)."
)]
#![cfg_attr(
    feature = "testing",
    doc = "* **Tests**: [`testing`] has a client in memory; the [guide](guide::testing) shows tests of an app."
)]
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `client` | a WebSocket client with the same callbacks: the module `client` |
//! | `deflate` | permessage-deflate (RFC 7692): [`WebSocketOptions`] gets `compression`, which is off by default |
//! | `hyper` | WebSockets inside axum and other tower servers, and tower services as routers: the module `hyper` |
//! | `json` | [`Response::json`](Response), [`ServerRequest::json`](ServerRequest), `write_json` of connections and groups, and [`Text`] as a value, on serde |
//! | `testing` | a client in memory for the tests of an app: the module `testing`. It turns on `client` |
//! | `tls` | the module `tls`: servers on `tls://` sockets, and `wss://` for the client, by rustls and aws-lc-rs |
//! | `tls-ring` | the same by ring, which is smaller, unless `tls` is on as well |
//! | `tracing` | a span for each connection and each WebSocket, and events for refusals, failures, closes and slow listeners |
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, missing_debug_implementations, clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
mod emitter;
mod error;
mod event_loop;
mod groups;
pub mod guide;
mod http;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod protocol;
mod runtime;
mod socket;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "__tls")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
pub mod tls;
mod websocket;

#[cfg(models)]
#[path = "../models/src/inside.rs"]
pub mod inside;

pub use emitter::EventEmitter;
pub use error::Error;
pub use event_loop::{Loop, Signal, Timer};
pub use groups::{ConnectionGroup, GroupManager};
pub use http::{BodyStream, HttpOptions, HttpServer, Listening, Response, ServerRequest};
pub use socket::{SocketOptions, SocketServer};
pub use websocket::{Message, Text, WebSocketConnection, WebSocketMiddleware, WebSocketOptions, cork};
// Messages and bodies consist of `Bytes`. With this export an app does not need the crate `bytes`.
pub use ::bytes::Bytes;

/// Bodies of requests and responses, besides [`BodyStream`].
pub mod body {
    pub use crate::http::{Body, BodyWriter, IntoBodyListener};
}

/// The errors of each layer. [`Error`] is their union.
///
/// An error prints only its own level, and returns its cause as
/// [`source`](std::error::Error::source). [`report`](errors::report) returns the text of the error
/// and of all its causes. The errors of RFC 6455 are in
/// [`protocol`](crate::protocol::ProtocolError).
pub mod errors {
    pub use crate::emitter::{BoxError, ListenerError, report};
    pub use crate::groups::GroupError;
    #[cfg(feature = "json")]
    pub use crate::http::JsonError;
    pub use crate::http::{FormError, HttpError};
    pub use crate::socket::{ProxyProtocolFailure, SocketError};
    pub use crate::websocket::{Closed, ConnectionError, HandshakeError};
}

/// Middlewares, routers, and the chains that they form.
pub mod handlers {
    pub use crate::http::{
        Chain, ChainPart, IntoChain, IntoMiddleware, IntoResponse, IntoRouter, Middleware, Next, ResponseFuture,
        middleware, router,
    };
}

/// The traits of listeners: the closures that fit, the values that they may return, and the handles
/// of listeners.
pub mod listeners {
    pub use crate::emitter::{IntoListenerFuture, ListenerId, ListenerOutput};
    pub use crate::event_loop::{IntoCallback, IntoOnceCallback, SignalListener};
    pub use crate::websocket::{ConnectionListener, IntoListener, IntoMiddlewareListener, IntoVerdict, IntoVerifier};
}

/// Payloads of messages, and messages that are written in pieces.
pub mod message {
    pub use crate::websocket::{BinaryPayload, MessageWriter, Payload, TextPayload};
}

/// The values of options.
pub mod options {
    pub use crate::event_loop::Delay;
    pub use crate::http::TrustedProxies;
    pub use crate::protocol::rate::ControlRate;
    pub use crate::socket::ProxyProtocol;
    #[cfg(feature = "deflate")]
    pub use crate::websocket::Compression;
    pub use crate::websocket::{Origins, SlowMemberPolicy};
}

/// The parts of a request, and how to build one.
pub mod request {
    pub use crate::http::{Form, Params, RequestBuilder, UploadedFile};
}

/// Handles for serving without a [`SocketServer`], and for ending a server.
pub mod shutdown {
    pub use crate::http::{Closing, Serving, Sockets};
}

/// Counters of servers, middlewares and groups, as snapshots.
pub mod stats {
    pub use crate::groups::GroupStats;
    pub use crate::http::HttpStats;
    pub use crate::websocket::WebSocketStats;
}

/// Types of the crate `http` that requests and responses use, so that an app does not need that
/// crate.
pub mod types {
    pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
}

/// This compiles the examples of the README. The doctests of the guides are in their own module.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
