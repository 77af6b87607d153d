//! Requests and responses as values, whatever carries them. `form`, `forwarding`, `multipart`, `params`, `target` and `token`
//! are pure: bytes in, values out.

mod body_listener;
mod body_source;
mod body_stream;
mod body_writer;
mod form;
mod forwarding;
mod head;
mod multipart;
mod params;
mod reduced;
mod request;
mod request_builder;
mod response;
mod response_conversion;
mod target;
#[cfg(feature = "__tls")]
mod tls;
mod token;

pub use body_listener::IntoBodyListener;
pub use body_stream::BodyStream;
pub(crate) use body_stream::{BodyReader, Piece};
pub use body_writer::BodyWriter;
pub(crate) use body_writer::{Cut, HARD_LIMIT};
pub use form::{Form, UploadedFile};
pub(crate) use forwarding::{Forwarding, Source, addresses};
pub(crate) use head::{Framing, Head, Names};
pub use params::Params;
pub use request::ServerRequest;
pub use request_builder::RequestBuilder;
pub use response::{Body, Response};
pub(crate) use response::{BodyBytes, BodyKind, Header};
pub(crate) use target::{URI_MAX, is_host, path_as_requested, uri_of};
pub(crate) use token::{is_token, is_token_byte};
