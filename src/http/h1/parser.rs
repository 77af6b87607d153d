//! Request heads, from bytes (RFC 9112 sections 2 to 6). Pure: no socket, no clock.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Version};
use memchr::memchr_iter;

use super::scanner::FoundHead;
use crate::http::HttpError;
use crate::http::message::{Framing, Head, is_host, parse_target};

/// Most requests have fewer headers than this, and then nothing is allocated to note where they are.
const FEW_HEADERS: usize = 32;

/// Parses a head that was found in its place. The parts are views of `bytes`, nothing is
/// copied.
pub(crate) fn parse_head(bytes: &Bytes, found: &FoundHead) -> Result<Head, HttpError> {
    let part = |range: &Range<usize>| bytes.get(range.clone()).ok_or(HttpError::RequestLine);
    let method = Method::from_bytes(part(&found.method)?).map_err(|_| HttpError::RequestLine)?;
    let target = bytes.slice_ref(part(&found.target)?);
    if !target.is_ascii() && std::str::from_utf8(&target).is_err() {
        return Err(HttpError::RequestLine);
    }
    let version = found.version;
    let lines = bytes.get(found.headers..).unwrap_or_default();
    let mut few = [httparse::EMPTY_HEADER; FEW_HEADERS];
    let mut many;
    let mut parsed = httparse::parse_headers(lines, &mut few);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many = vec![httparse::EMPTY_HEADER; memchr_iter(b'\n', lines).count()];
        parsed = httparse::parse_headers(lines, &mut many);
    }
    let Ok(httparse::Status::Complete((_, parsed))) = parsed else { return Err(HttpError::Header) };
    let mut headers = HeaderMap::with_capacity(parsed.len());
    let mut has_body = false;
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| HttpError::Header)?;
        has_body |= name == CONTENT_LENGTH || name == TRANSFER_ENCODING;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        headers.append(name, value.map_err(|_| HttpError::Header)?);
    }
    check_host(&headers, version)?;
    let uri = parse_target(&method, &target)?;
    let framing = if has_body { framing_of(&headers, version)? } else { Framing::Length(0) };
    Ok(Head { method, target, uri, version, headers, framing })
}

/// How long the body is that these headers announce (section 6.3).
fn framing_of(headers: &HeaderMap, version: Version) -> Result<Framing, HttpError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(HttpError::AmbiguousLength),
        (Some(_), None) if version == Version::HTTP_10 => Err(HttpError::TransferEncodingInHttp10),
        (Some(coding), None) if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        (Some(_), None) => Err(HttpError::TransferEncoding),
        (None, Some(length)) => {
            let digits = length.as_bytes();
            if lengths.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(HttpError::ContentLength);
            }
            let length = length.to_str().ok().and_then(|digits| digits.parse().ok());
            length.map(Framing::Length).ok_or(HttpError::ContentLength)
        }
        (None, None) => Ok(Framing::Length(0)),
    }
}

/// Section 3.2: one Host in HTTP/1.1, at most one in HTTP/1.0, and it is `host` or `host:port`.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), HttpError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(HttpError::Host),
    }
}
