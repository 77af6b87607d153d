//! Requests and responses as values, whatever protocol carries them.

mod body_listener;
mod body_stream;
mod body_writer;
mod form;
mod forwarding;
mod multipart;
mod params;
mod reduced;
mod request;
mod response;

pub use body_listener::IntoBodyListener;
pub use body_stream::BodyStream;
pub(crate) use body_stream::{BodyReader, Piece};
pub use body_writer::BodyWriter;
pub(crate) use body_writer::{Cut, HARD_LIMIT};
pub use form::{Form, FormError, UploadedFile};
pub(crate) use forwarding::{Forwarding, Source, addresses};
pub use params::Params;
pub use request::ServerRequest;
pub use response::{Body, Response};
pub(crate) use response::{BodyBytes, BodyKind, Header};
