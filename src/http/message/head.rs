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
    /// So many bytes; none if there was no word of a body.
    Length(u64),
    Chunked,
}
