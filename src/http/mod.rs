//! An HTTP/1.1 and 1.0 server, with the types of the `http` crate. A connection may go on as
//! something else ([`Upgrade`](lifecycle::Upgrade)), of which this module knows nothing.

mod context;
mod error;
mod h1;
mod handlers;
mod lifecycle;
mod message;
mod server;

pub use context::{HttpOptions, TrustedProxies};
#[cfg(feature = "json")]
pub use error::JsonError;
pub use error::{FormError, HttpError};
#[cfg(feature = "client")]
pub(crate) use h1::BodyDecoder;
pub use handlers::{
    Chain, ChainPart, IntoChain, IntoMiddleware, IntoResponse, IntoRouter, Middleware, Next, ResponseFuture, middleware,
    router,
};
#[cfg(models)]
pub(crate) use lifecycle::Admission;
pub use lifecycle::HttpStats;
#[cfg(feature = "hyper")]
pub(crate) use lifecycle::TaskGuard;
pub(crate) use lifecycle::{ConnectionPermit, Shutdown, Upgrade, Upgraded, UpgradedConnections};
#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) use lifecycle::{Phase, Shutdowns};
#[cfg(feature = "client")]
pub(crate) use message::Framing;
pub use message::{
    Body, BodyStream, BodyWriter, Form, IntoBodyListener, Params, RequestBuilder, Response, ServerRequest, UploadedFile,
};
#[cfg(feature = "hyper")]
pub(crate) use message::{BodyKind, BodyReader, Cut, Piece};
pub(crate) use message::{is_token, path_as_requested};
#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) use server::{AppStream, spawn_upgraded};
pub use server::{Closing, HttpServer, Listening, Serving, Sockets};
