//! Request heads, whose headers and URI are built when they are asked for.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, Version};
use memchr::memchr;

/// A request head.
///
/// Most handlers look at the path and one or two headers. So the [`HeaderMap`] and the [`Uri`] are built when they are asked
/// for. A header that is looked up by name is found in the bytes, which are known to be valid.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    /// The head as it arrived, or only the target if the request did not arrive on a connection.
    bytes: Bytes,
    target: Range<usize>,
    uri: OnceLock<Box<Uri>>,
    /// Where the header lines are in `bytes`.
    lines: Range<usize>,
    names: Names,
    headers: OnceLock<Box<HeaderMap>>,
}

/// How long a request's body is (section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A body of this many bytes. 0 if the head announces no body.
    Length(u64),
    Chunked,
}

/// A set that contains the names of a head's headers, and perhaps others. It shows at once that a header is absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names(u64);

impl Names {
    pub(crate) fn add(&mut self, name: &[u8]) {
        self.0 |= Names::bit(name);
    }

    fn may_contain(self, name: &[u8]) -> bool {
        self.0 & Names::bit(name) != 0
    }

    /// Returns the bit of a name, from its length and its first and last letter. With these factors the names of a handshake
    /// have other bits than the headers of most requests.
    fn bit(name: &[u8]) -> u64 {
        let letter = |byte: Option<&u8>| u64::from(byte.copied().unwrap_or_default() | 0x20);
        let (first, last) = (letter(name.first()), letter(name.last()));
        let sum = (name.len() as u64).wrapping_mul(8).wrapping_add(first).wrapping_add(last.wrapping_mul(3));
        1u64.wrapping_shl((sum & 63) as u32)
    }
}

impl Head {
    /// Creates a head from its parts. `uri` may be `None` if [`uri_of`](super::target::uri_of) returns `None`.
    pub(crate) fn new(method: Method, version: Version, target: Bytes, uri: Option<Uri>, headers: HeaderMap) -> Head {
        let range = 0..target.len();
        let head = Head::unparsed(method, version, target, range, uri, usize::MAX..usize::MAX, Names::default());
        Head { headers: OnceLock::from(Box::new(headers)), ..head }
    }

    /// Creates a head that arrived on a connection. `lines` are valid header lines, and `names` has their names.
    pub(crate) fn unparsed(
        method: Method,
        version: Version,
        bytes: Bytes,
        target: Range<usize>,
        uri: Option<Uri>,
        lines: Range<usize>,
        names: Names,
    ) -> Head {
        let uri = uri.map_or_else(OnceLock::new, |uri| OnceLock::from(Box::new(uri)));
        let framing = Framing::Length(0);
        Head { method, version, framing, bytes, target, uri, lines, names, headers: OnceLock::new() }
    }

    /// Returns the target as it arrived.
    pub(crate) fn target(&self) -> &[u8] {
        self.bytes.get(self.target.clone()).unwrap_or_default()
    }

    pub(crate) fn uri(&self) -> &Uri {
        self.uri.get_or_init(|| {
            let target = self.bytes.slice_ref(self.target());
            // A target without a URI is plain, so parsing cannot fail.
            Box::new(Uri::from_maybe_shared(target).unwrap_or_default())
        })
    }

    /// Returns the path and the query as they are in the URI.
    pub(crate) fn path_and_query(&self) -> (&str, Option<&str>) {
        if let Some(uri) = self.uri.get() {
            return (uri.path(), uri.query());
        }
        let target = std::str::from_utf8(self.target()).unwrap_or_default();
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.headers.get_or_init(|| {
            let mut headers = HeaderMap::new();
            for (name, value) in self.lines() {
                let value = HeaderValue::from_maybe_shared(self.bytes.slice_ref(value));
                if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
                    // `max_headers` accepts no more headers than a map can hold.
                    let _ = headers.try_append(name, value);
                }
            }
            Box::new(headers)
        })
    }

    /// Returns the URI if it is built. A target whose URI is not built is a plain path and query,
    /// without a scheme and an authority.
    pub(crate) fn built_uri(&self) -> Option<&Uri> {
        self.uri.get().map(|uri| &**uri)
    }

    /// Returns the values of a header, over all its lines, in their order.
    pub(crate) fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // Looked at once: another thread may build the map meanwhile.
        let headers = self.headers.get();
        let parsed = headers.map(|headers| headers.get_all(name).iter().map(HeaderValue::as_bytes));
        let bytes = name.as_str().as_bytes();
        let lines = (headers.is_none() && self.names.may_contain(bytes)).then(|| self.lines());
        let unparsed = lines.into_iter().flatten().filter(move |(other, _)| other.eq_ignore_ascii_case(bytes));
        parsed.into_iter().flatten().chain(unparsed.map(|(_, value)| value))
    }

    /// Returns the first value of a header. The name may be in any case.
    pub(crate) fn value(&self, name: &str) -> Option<&[u8]> {
        if let Some(headers) = self.headers.get() {
            return headers.get(name).map(HeaderValue::as_bytes);
        }
        let name = name.as_bytes();
        if !self.names.may_contain(name) {
            return None;
        }
        self.lines().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.get(self.lines.clone()).unwrap_or_default();
        std::iter::from_fn(move || {
            let (line, after) = rest.split_at_checked(memchr(b'\n', rest)?.saturating_add(1))?;
            rest = after;
            let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
            Some((name, value.get(1..)?.trim_ascii()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &'static str) -> Head {
        let mut names = Names::default();
        lines.lines().filter_map(|line| line.split_once(':')).for_each(|(name, _)| names.add(name.as_bytes()));
        let bytes = Bytes::from_static(lines.as_bytes());
        Head::unparsed(Method::GET, Version::HTTP_11, bytes, 0..0, None, 0..lines.len(), names)
    }

    /// RFC 9110 section 5.1: names are case-insensitive; section 5.5: white space around a value is not part of it.
    #[test]
    fn a_header_is_the_same_in_the_lines_and_in_the_map() {
        let head = head("Host: a\r\nX-B:\t1 \r\nx-b:2\r\nEmpty:\r\n\r\n");
        let name = HeaderName::from_static("x-b");
        let all = |head: &Head| head.values(&name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let looked_up =
            |head: &Head| ["HOST", "x-b", "X-B", "empty", "x-c", ""].map(|name| head.value(name).map(<[u8]>::to_vec));
        let before = (all(&head), looked_up(&head));
        assert_eq!(before.0, [b"1", b"2"]);
        assert_eq!(
            before.1,
            [Some(b"a".to_vec()), Some(b"1".to_vec()), Some(b"1".to_vec()), Some(b"".to_vec()), None, None]
        );
        assert_eq!(head.headers().len(), 4);
        assert_eq!(before, (all(&head), looked_up(&head)));
    }
}
