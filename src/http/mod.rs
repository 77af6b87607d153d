//! An HTTP/1.1 and 1.0 server on httparse, with the vocabulary of the `http` crate.
//!
//! `scanner`, `parser`, `body`, `encoder`, `form`, `multipart` and `params` are pure: bytes in,
//! values out. A connection may end as something else ([`Upgrade`]); what that is, nobody here
//! knows.

mod admission;
mod answer;
mod body;
mod body_listener;
mod body_stream;
mod body_writer;
mod chain;
mod connection;
mod date;
mod encoder;
mod error;
mod form;
mod forwarding;
mod hooks;
mod leaving;
mod lifetime;
mod lingering;
mod listening;
mod middleware;
mod multipart;
mod options;
mod params;
mod parser;
mod pending;
mod proxies;
mod reduced;
mod request;
mod request_body;
mod response;
mod scanner;
mod sending;
mod server;
mod stats;
mod upgrade;
mod write_deadline;

pub(crate) use admission::Place;
pub use answer::{Answer, IntoAnswer};
pub use body_listener::IntoBodyListener;
pub use body_stream::BodyStream;
pub use body_writer::BodyWriter;
pub use chain::{ChainPart, IntoChain, IntoMiddleware, IntoRouter, middleware, router};
pub use error::HttpError;
pub use form::{Form, FormError, UploadedFile};
pub(crate) use lifetime::{Lifetime, UpgradedConnections};
pub use listening::{Closing, Listening, Serving};
pub use middleware::{Chain, Middleware, Next};
pub use options::HttpOptions;
pub use params::Params;
pub(crate) use parser::path_as_requested;
pub use proxies::TrustedProxies;
pub use request::ServerRequest;
pub use response::{Body, Response};
pub(crate) use scanner::is_token;
pub use server::{HttpServer, Sockets};
pub use stats::HttpStats;
pub(crate) use upgrade::{Upgrade, Upgraded};
