//! How a request becomes a connection (RFC 6455 section 4.2).

pub(crate) mod accept;
pub(crate) mod check;
#[cfg(feature = "deflate")]
pub(crate) mod extensions;
pub(crate) mod kept_request;
#[cfg(feature = "client")]
pub(crate) mod opening;
