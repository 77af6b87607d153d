//! Request heads, from bytes (RFC 9112 sections 2 to 6). Pure: no socket, no clock.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Version};

use super::find;
use super::request_line::{ConnectionOptions, RequestLine};
use super::scanner::FoundHead;
use crate::http::HttpError;
use crate::http::message::{Framing, Head, Names, is_host, is_token_byte, uri_of};

/// The longest header name that `http` takes, in bytes.
const NAME_MAX: usize = u16::MAX as usize;

/// Parses a head that was found in its place, and returns it with what of it decides how it is answered. The parts are views
/// of `bytes`, nothing is copied.
pub(crate) fn parse_head(bytes: Bytes, found: &FoundHead) -> Result<(Head, RequestLine), HttpError> {
    let part = |range: &Range<usize>| bytes.get(range.clone()).ok_or(HttpError::RequestLine);
    let method = Method::from_bytes(part(&found.method)?).map_err(|_| HttpError::RequestLine)?;
    let target = part(&found.target)?;
    if !target.is_ascii() && std::str::from_utf8(target).is_err() {
        return Err(HttpError::RequestLine);
    }
    let lines = found.headers..bytes.len();
    let fields = Fields::read(bytes.get(lines.clone()).unwrap_or_default())?;
    match fields.hosts {
        0 if found.version == Version::HTTP_10 => {}
        1 if fields.host.is_some_and(is_host) => {}
        _ => return Err(HttpError::Host),
    }
    let (names, has_body) = (fields.names, fields.has_body);
    let line = RequestLine { is_head: method == Method::HEAD, version: found.version, connection: fields.connection };
    let uri = uri_of(&method, &bytes, target)?;
    let mut head = Head::unparsed(method, found.version, bytes, found.target.clone(), uri, lines, names);
    if has_body {
        head.framing = framing_of(&head)?;
    }
    Ok((head, line))
}

/// What the header lines say of the message itself.
#[derive(Default)]
struct Fields<'a> {
    names: Names,
    has_body: bool,
    connection: ConnectionOptions,
    host: Option<&'a [u8]>,
    /// Section 3.2: one in HTTP/1.1, at most one in HTTP/1.0, and it is `host` or `host:port`.
    hosts: usize,
}

impl<'a> Fields<'a> {
    /// Reads header lines, each of which ends with CR LF, and the empty line behind them.
    fn read(mut rest: &'a [u8]) -> Result<Fields<'a>, HttpError> {
        let mut fields = Fields::default();
        loop {
            let name_length = rest.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(rest.len());
            let Some((name, value)) = rest.split_at_checked(name_length) else { return Err(HttpError::Header) };
            // Its value goes as far as to the CR.
            let end = find::control(value).unwrap_or(value.len());
            let Some((value, after)) = value.split_at_checked(end) else { return Err(HttpError::Header) };
            let Some(after) = after.strip_prefix(b"\r\n") else { return Err(HttpError::Header) };
            rest = after;
            match value.strip_prefix(b":") {
                Some(value) if !name.is_empty() && name_length <= NAME_MAX => fields.add(name, value.trim_ascii()),
                None if name.is_empty() && value.is_empty() && rest.is_empty() => return Ok(fields),
                _ => return Err(HttpError::Header),
            }
        }
    }

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
