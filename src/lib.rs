//! WebSocket servers with callbacks: the API of ReactPHP's WebSocket servers as an async tokio crate.
//!
//! ```no_run
#![doc = include_str!("../examples/echo.rs")]
//! ```
//!
//! Line by line: a [`WebSocketMiddleware`] turns WebSocket handshakes into connections and calls
//! its `connection` listeners. These register the listeners of each [`WebSocketConnection`]. A
//! router answers all other requests. An [`HttpServer`] passes each request through these handlers
//! in their order. A [`SocketServer`] listens for the server's connections.
//!
//! # Where to look
//!
//! * **Connections**: [`WebSocketConnection`] has the table of their events, [`IntoListener`] the closures that fit, and
//!   [`WebSocketOptions`] their limits and timeouts.
//! * **Groups**: [`GroupManager`] and [`ConnectionGroup`].
//! * **HTTP**: [`ServerRequest`], [`Response`], [`BodyStream`]; [`HttpServer::new`] tells what middlewares and routers are,
//!   [`HttpOptions`] the limits.
//! * **The end**: [`Listening::close`].
//! * **The loop**: [`Loop`] has timers and signals; [`EventEmitter`] is for events of your own.
//! * **Errors**: each layer has its own; [`Error`] is the union, for `?` in `main`.
//! * [`protocol`] is RFC 6455 as pure code, for those who want to drive it themselves.
//!
//! The guides, in the folder `docs`: `porting.md`, `events.md`, `testing.md`, `tls.md`, `operations.md`, `security.md`, `performance.md`,
//! `ARCHITECTURE.md`, `DESIGN.md`.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `json` | [`Response::json`](Response), `write_json` of connections and groups, and [`Text`] as a value, on serde |
//! | `tls` | the module `tls`: servers on `tls://` sockets, by rustls and aws-lc-rs |
//! | `tls-ring` | the same by ring, which is smaller, unless `tls` is on as well |
//! | `tracing` | a span for each connection and each WebSocket, and events for refusals, faults, closes and slow listeners |
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod emitter;
mod error;
mod event_loop;
mod groups;
mod http;
pub mod protocol;
mod runtime;
mod socket;
#[cfg(feature = "__tls")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "tls", feature = "tls-ring"))))]
pub mod tls;
mod websocket;

pub use emitter::{BoxError, EventEmitter, IntoListenerFuture, ListenerError, ListenerId, ListenerOutput};
pub use error::Error;
pub use event_loop::{Delay, IntoCallback, IntoOnceCallback, Loop, Signal, SignalListener, Timer};
pub use groups::{ConnectionGroup, GroupError, GroupManager, GroupStats};
pub use http::{
    Body, BodyStream, BodyWriter, Chain, ChainPart, Closing, Form, FormError, HttpError, HttpOptions, HttpServer,
    HttpStats, IntoBodyListener, IntoChain, IntoMiddleware, IntoResponse, IntoRouter, Listening, Middleware, Next, Params,
    RequestBuilder, Response, ResponseFuture, ServerRequest, Serving, Sockets, TrustedProxies, UploadedFile, middleware,
    router,
};
// What requests, responses and messages are made of, so that an app need not depend on the crates they are from.
pub use ::bytes::Bytes;
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
pub use protocol::rate::ControlRate;
pub use protocol::{ProtocolError, close_code};
pub use socket::{SocketError, SocketOptions, SocketServer};
pub use websocket::{
    BinaryPayload, Closed, ConnectionError, ConnectionListener, HandshakeError, IntoListener, IntoMiddlewareListener,
    IntoVerdict, IntoVerifier, Message, MessageWriter, Origins, Payload, SlowMemberPolicy, Text, TextPayload,
    WebSocketConnection, WebSocketMiddleware, WebSocketOptions, WebSocketStats, cork,
};

/// What a reader copies from these pages is compiled.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/events.md")]
    mod events {}
    #[doc = include_str!("../docs/operations.md")]
    mod operations {}
    #[doc = include_str!("../docs/porting.md")]
    mod porting {}
    #[doc = include_str!("../docs/security.md")]
    mod security {}
    #[doc = include_str!("../docs/testing.md")]
    mod testing {}
    #[cfg(feature = "__tls")]
    #[doc = include_str!("../docs/tls.md")]
    mod tls {}
}
