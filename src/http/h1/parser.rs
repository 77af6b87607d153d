//! Request heads, from bytes (RFC 9112 sections 2 to 6). Pure: no socket, no clock.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Version};
use httparse::{Error, Header, Request, Status};

use super::request_line::{ConnectionOptions, RequestLine};
use crate::http::HttpError;
use crate::http::context::HeadLimits;
use crate::http::message::{Framing, Head, Names, is_host, uri_of};

/// Number of headers that `httparse` can return without an allocation. Most requests have fewer.
const FEW_HEADERS: usize = 32;

/// The longest header name that `http` takes, in bytes.
const NAME_MAX: usize = u16::MAX as usize;

/// A complete head in a buffer.
#[derive(Debug)]
pub(crate) struct FoundHead {
    pub(crate) range: Range<usize>,
    pub(crate) line: RequestLine,
    method: Method,
    /// Where the target is, from the start of the range.
    target: Range<usize>,
    /// Where the header lines begin, from the start of the range.
    lines: usize,
    names: Names,
    has_body: bool,
}

/// Parses the head at the start of `buffer`.
///
/// # Errors
/// The head is incomplete, malformed or too large. The error is the verdict only if
/// [`HeadScanner`](super::scanner::HeadScanner) has found a complete head. Otherwise the scanner's verdict counts.
pub(crate) fn find_head(buffer: &[u8], limits: &HeadLimits) -> Result<FoundHead, HttpError> {
    let mut few = [MaybeUninit::uninit(); FEW_HEADERS];
    find_with(buffer, limits, &mut few).unwrap_or_else(|| {
        // The shortest header line has four bytes.
        let mut many = Vec::with_capacity(limits.headers.min(buffer.len() / 4));
        let too_many = Err(HttpError::TooManyHeaders { limit: limits.headers });
        find_with(buffer, limits, many.spare_capacity_mut()).unwrap_or(too_many)
    })
}

/// Returns `None` if the head has more headers than `room`.
fn find_with<'a>(
    buffer: &'a [u8],
    limits: &HeadLimits,
    room: &mut [MaybeUninit<Header<'a>>],
) -> Option<Result<FoundHead, HttpError>> {
    let mut request = Request::new(&mut []);
    Some(match request.parse_with_uninit_headers(buffer, room) {
        Ok(Status::Complete(end)) => check(buffer, end, &request, limits),
        Err(Error::TooManyHeaders) => return None,
        // A target that is not UTF-8. The scanner finds all other errors of a request line.
        Err(Error::Token) => Err(HttpError::RequestLine),
        Ok(Status::Partial) | Err(_) => Err(HttpError::Header),
    })
}

/// Checks the rules that `httparse` does not check: limits, CR LF at the end of each line, at most one empty line before the
/// request line, and `Host`.
fn check(buffer: &[u8], end: usize, request: &Request<'_, '_>, limits: &HeadLimits) -> Result<FoundHead, HttpError> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(HttpError::RequestLine);
    };
    let place = |part: &str| part.as_ptr().addr().wrapping_sub(buffer.as_ptr().addr());
    let start = place(method);
    // Section 2.2: an empty line may precede the request line.
    if start != 0 && !(start == 2 && buffer.starts_with(b"\r\n")) {
        return Err(HttpError::LineEnd);
    }
    let target_start = method.len().saturating_add(1);
    let target = target_start..target_start.saturating_add(target.len());
    let line_end = target.end.saturating_add(" HTTP/1.1".len());
    let headers = &*request.headers;
    let size = end.saturating_sub(start);
    if line_end > limits.request_line || size > limits.head || headers.len() > limits.headers {
        return Err(HttpError::HeadTooLarge { limit: limits.head });
    }
    // Each name follows the end of the line before it, which for `httparse` may be a lone LF.
    let ends_line = |place: usize| buffer.get(place.saturating_sub(2)..place) == Some(b"\r\n");
    let mut fields = Fields::default();
    for header in headers {
        if !ends_line(place(header.name)) {
            return Err(HttpError::LineEnd);
        }
        if header.name.len() > NAME_MAX {
            return Err(HttpError::Header);
        }
        fields.add(header.name.as_bytes(), header.value);
    }
    if !ends_line(end) || !ends_line(end.saturating_sub(2)) {
        return Err(HttpError::LineEnd);
    }
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    match fields.hosts {
        0 if version == Version::HTTP_10 => {}
        1 if fields.host.is_some_and(is_host) => {}
        _ => return Err(HttpError::Host),
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| HttpError::RequestLine)?;
    let line = RequestLine { is_head: method == Method::HEAD, version, connection: fields.connection };
    let (lines, names, has_body) = (line_end.saturating_add(2), fields.names, fields.has_body);
    Ok(FoundHead { range: start..end, line, method, target, lines, names, has_body })
}

impl FoundHead {
    /// Returns the head. `bytes` are the bytes of the range; the parts of the head are views of them.
    pub(crate) fn into_head(self, bytes: Bytes) -> Result<Head, HttpError> {
        let target = bytes.get(self.target.clone()).unwrap_or_default();
        let uri = uri_of(&self.method, &bytes, target)?;
        let lines = self.lines..bytes.len();
        let mut head = Head::unparsed(self.method, self.line.version, bytes, self.target, uri, lines, self.names);
        if self.has_body {
            head.framing = framing_of(&head)?;
        }
        Ok(head)
    }
}

/// The headers that describe the message itself.
#[derive(Default)]
struct Fields<'a> {
    names: Names,
    has_body: bool,
    connection: ConnectionOptions,
    host: Option<&'a [u8]>,
    /// The number of `Host` lines. Section 3.2 allows one in HTTP/1.1, and at most one in HTTP/1.0.
    hosts: usize,
}

impl<'a> Fields<'a> {
    fn add(&mut self, name: &[u8], value: &'a [u8]) {
        self.names.add(name);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"Host") => {
                self.hosts = self.hosts.saturating_add(1);
                self.host = Some(value);
            }
            10 if name.eq_ignore_ascii_case(b"Connection") => self.connection.add(value),
            14 => self.has_body |= name.eq_ignore_ascii_case(b"Content-Length"),
            17 => self.has_body |= name.eq_ignore_ascii_case(b"Transfer-Encoding"),
            _ => {}
        }
    }
}

/// How long the body is that these headers announce (section 6.3).
fn framing_of(head: &Head) -> Result<Framing, HttpError> {
    let (mut codings, mut lengths) = (head.values(&TRANSFER_ENCODING), head.values(&CONTENT_LENGTH));
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(HttpError::AmbiguousLength),
        (Some(_), None) if head.version == Version::HTTP_10 => Err(HttpError::TransferEncodingInHttp10),
        (Some(coding), None) if codings.next().is_none() && coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (Some(_), None) => Err(HttpError::TransferEncoding),
        (None, Some(digits)) => {
            if lengths.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(HttpError::ContentLength);
            }
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            length.map(Framing::Length).ok_or(HttpError::ContentLength)
        }
        (None, None) => Ok(Framing::Length(0)),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::test_runner::RngSeed;

    use super::super::scanner::HeadScanner;
    use super::*;

    /// Generates heads from pieces. Most are valid.
    fn head() -> impl Strategy<Value = Vec<u8>> {
        const EMPTY: [&[u8]; 4] = [b"", b"\r\n", b"\n", b"\r\n\r\n"];
        const LINES: [&[u8]; 8] = [
            b"GET / HTTP/1.1\r\n",
            b"HEAD /a?b HTTP/1.0\r\n",
            b"POST http://a/ HTTP/1.1\r\n",
            b"GET /\xC3\xA9 HTTP/1.1\r\n",
            b"GET /\xC3 HTTP/1.1\r\n",
            b"GET / HTTP/1.1\n",
            b"GET  / HTTP/1.1\r\n",
            b"GET / HTTP/1.2\r\n",
        ];
        const NAMES: [&[u8]; 12] =
            [b"Host", b"host", b"A", b"a", b"X-B", b"x-b", b"Cookie", b"Connection", b"Content-Length", b"A ", b" A", b""];
        const VALUES: [&[u8]; 10] =
            [b"a", b" a", b"\ta \t", b"", b" ", b" a: b", b" \xFF", b"a\rb", b"a\x00", b" keep-alive, close"];
        const ENDS: [&[u8]; 6] = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "];
        // The first of each is the usual one.
        let piece = |pieces: &'static [&'static [u8]]| prop_oneof![9 => Just(pieces[0]), 1 => select(pieces)];
        let header = (select(&NAMES[..9]), piece(&[b":", b" :", b""]), select(&VALUES[..7]), piece(&ENDS));
        let any_header = (select(&NAMES[..]), Just(&b":"[..]), select(&VALUES[..]), select(&ENDS[..]));
        let header = prop_oneof![19 => header.boxed(), 1 => any_header.boxed()];
        let host = piece(&[b"Host: a\r\n", b"", b"Host: a b\r\n", b"Host: a\n"]);
        let line = prop_oneof![3 => select(&LINES[..4]), 1 => select(&LINES[..])];
        let headers = prop_oneof![9 => vec(header.clone(), 0..6), 1 => vec(header, 30..36)];
        (piece(&EMPTY), line, host, headers, piece(&[b"\r\n", b"\n", b""]), select(&EMPTY[..])).prop_map(
            |(empty, line, host, headers, end, more)| {
                let headers = headers.into_iter().flat_map(|(name, colon, value, end)| [name, colon, value, end]);
                [empty, line, host].into_iter().chain(headers).chain([end, more]).collect::<Vec<_>>().concat()
            },
        )
    }

    /// Looks up some headers by name: the first value and all values of each.
    fn looked_up(head: &Head) -> Vec<[Vec<Vec<u8>>; 2]> {
        let names = ["host", "a", "x-b", "cookie", "connection", "content-length", "x-absent"];
        let look_up = |name: &'static str| {
            let first = head.value(&name.to_ascii_uppercase()).map(<[u8]>::to_vec);
            [Vec::from_iter(first), head.values(&HeaderName::from_static(name)).map(<[u8]>::to_vec).collect()]
        };
        names.map(look_up).to_vec()
    }

    fn eager(lines: &[u8]) -> HeaderMap {
        let mut parsed = [httparse::EMPTY_HEADER; 64];
        let (_, parsed) = httparse::parse_headers(lines, &mut parsed).unwrap().unwrap();
        let pair = |header: &Header<'_>| {
            let name = HeaderName::from_bytes(header.name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(header.value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in parsed.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 4096,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(0x5EED),
            ..ProptestConfig::default()
        })]

        /// RFC 9112 sections 2.2, 3 and 5: `httparse` accepts more than this server, such as lines that end with a lone LF.
        #[test]
        fn a_head_is_accepted_only_if_the_scanner_accepts_it(
            bytes in head(),
            line in 10..40usize,
            size in prop_oneof![1 => 20..100usize, 3 => Just(1 << 20)],
            headers in prop_oneof![1 => 0..4usize, 3 => Just(100)],
        ) {
            let limits = HeadLimits { request_line: line, head: size, headers };
            let verdict = HeadScanner::default().scan(&bytes, &limits);
            match (verdict, find_head(&bytes, &limits)) {
                (Ok(true), Ok(found)) => {
                    let rest = bytes.get(found.range.clone()).unwrap();
                    prop_assert!(rest.ends_with(b"\r\n\r\n") && !rest.starts_with(b"\r\n"));
                }
                // The scanner does not look into header lines, and knows no UTF-8.
                (Ok(true), Err(HttpError::Header | HttpError::RequestLine | HttpError::Host)) => {}
                (Ok(false) | Err(_), Err(_)) => {}
                (verdict, found) => prop_assert!(false, "{verdict:?}, but {found:?}"),
            }
        }

        /// RFC 9110 sections 5.1 and 5.3: names are case-insensitive, and lines keep their order.
        #[test]
        fn headers_are_the_same_when_looked_up_and_in_a_map_built_at_once(bytes in head()) {
            let limits = HeadLimits { request_line: 8192, head: 16384, headers: 100 };
            if let Ok(found) = find_head(&bytes, &limits) {
                let head = Bytes::copy_from_slice(&bytes[found.range.clone()]);
                let lines = found.lines;
                if let Ok(parsed) = found.into_head(head.clone()) {
                    let before = looked_up(&parsed);
                    prop_assert_eq!(parsed.headers(), &eager(&head[lines..]));
                    prop_assert_eq!(before, looked_up(&parsed));
                }
            }
        }
    }
}
