use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

/// A request head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// The target as it came.
    pub(crate) target: Bytes,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
}

/// How long a request's body is (section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A body of this many bytes. 0 if the head announces no body.
    Length(u64),
    Chunked,
}
