//! The shared state of a connection: its slot, its unsent bytes, and how they are sent. Locks are
//! taken here.

pub(crate) mod address;
pub(crate) mod buffers;
pub(crate) mod cork;
#[cfg(feature = "deflate")]
pub(crate) mod deflate;
#[cfg(feature = "deflate")]
pub(crate) mod deflating;
pub(crate) mod event;
pub(crate) mod flags;
pub(crate) mod flush;
pub(crate) mod framing;
pub(crate) mod handle;
pub(crate) mod held;
pub(crate) mod log;
pub(crate) mod masking;
pub(crate) mod order;
pub(crate) mod outbox;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod slot;
pub(crate) mod streaming;
