//! An HTTP/1.1 and 1.0 server on httparse, with the vocabulary of the `http` crate.
//!
//! `parser`, `body`, `encoder`, `form` and `params` are pure: bytes in, values out. A connection may end as something else
//! ([`Upgrade`]); what that is, nobody here knows.

mod admission;
mod body;
mod body_stream;
mod connection;
mod date;
mod encoder;
mod error;
mod form;
mod leaving;
mod lifetime;
mod listening;
mod middleware;
mod options;
mod params;
mod parser;
mod proxies;
mod request;
mod response;
mod sending;
mod server;
mod stats;
mod upgrade;

pub(crate) use admission::Place;
pub use body_stream::BodyStream;
pub use error::HttpError;
pub use form::{Form, UploadedFile};
pub(crate) use lifetime::{Lifetime, UpgradedConnections};
pub use listening::{Closing, Listening, Serving};
pub use middleware::{Answer, Chain, IntoAnswer, IntoChain, IntoMiddleware, IntoRouter, Middleware, Next};
pub use options::HttpOptions;
pub use params::Params;
pub use proxies::TrustedProxies;
pub use request::ServerRequest;
pub use response::{Body, Response};
pub use server::{HttpServer, Sockets};
pub use stats::HttpStats;
pub(crate) use upgrade::{Upgrade, Upgraded};
