//! Heads of responses, from bytes (RFC 9112 section 4). Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use memchr::memchr_iter;

use super::error::ResponseError;

/// Maximum size of a response's head, with all interim responses before it.
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// The head of a response of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// The length of a response's body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Exactly(u64),
    Chunked,
    UntilEnd,
}

/// Returns the length of the head at the start of `bytes`, or `None` while it is not complete. `searched`: the
/// number of bytes that an earlier call got. `room`: what the heads before this one have left of [`HEAD_MAX`].
///
/// # Errors
/// This is not the beginning of an HTTP response, or the head is too large.
pub(crate) fn find_end(bytes: &[u8], searched: usize, room: usize) -> Result<Option<usize>, ResponseError> {
    const START: &[u8] = b"HTTP/1.";
    if bytes.iter().zip(START).any(|(byte, expected)| byte != expected) {
        return Err(ResponseError::Malformed);
    }
    // The end of a line, and an empty line.
    let from = searched.saturating_sub(2);
    let end = memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()).find_map(|at| {
        let after = from.saturating_add(at).saturating_add(1);
        match bytes.get(after..)? {
            [b'\n', ..] => Some(after.saturating_add(1)),
            [b'\r', b'\n', ..] => Some(after.saturating_add(2)),
            _ => None,
        }
    });
    if end.unwrap_or(bytes.len()) > room {
        return Err(ResponseError::HeadTooLarge { limit: HEAD_MAX });
    }
    Ok(end)
}

/// Parses a complete head.
pub(crate) fn parse(bytes: &[u8]) -> Result<ResponseHead, ResponseError> {
    let mut slots = vec![httparse::EMPTY_HEADER; memchr_iter(b'\n', bytes).count()];
    let mut response = httparse::Response::new(&mut slots);
    if !matches!(response.parse(bytes), Ok(httparse::Status::Complete(length)) if length == bytes.len()) {
        return Err(ResponseError::Malformed);
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(ResponseError::Malformed)?;
    // HTTP/1.0 has no 101 (RFC 9110 section 15.2).
    if status == StatusCode::SWITCHING_PROTOCOLS && response.version != Some(1) {
        return Err(ResponseError::Malformed);
    }
    let mut headers = HeaderMap::new();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| ResponseError::Malformed)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| ResponseError::Malformed)?;
        headers.try_append(name, value).map_err(|_| ResponseError::Malformed)?;
    }
    Ok(ResponseHead { status, headers })
}

impl ResponseHead {
    /// Whether another response follows, which is the answer.
    pub(crate) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// The length of the body, as far as it can be told.
    pub(crate) fn body_length(&self) -> BodyLength {
        if matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return BodyLength::Exactly(0);
        }
        if let Some(coding) = self.headers.get_all(TRANSFER_ENCODING).iter().next_back() {
            let last = coding.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
            let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            return if is_chunked { BodyLength::Chunked } else { BodyLength::UntilEnd };
        }
        let length = self.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.map_or(BodyLength::UntilEnd, BodyLength::Exactly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is found when the bytes come in pieces of `size`.
    fn found(bytes: &[u8], size: usize) -> Result<Option<usize>, String> {
        let mut searched = 0;
        for end in (0..bytes.len()).step_by(size).skip(1).chain([bytes.len()]) {
            if let Some(found) = find_end(&bytes[..end], searched, HEAD_MAX).map_err(|error| error.to_string())? {
                return Ok(Some(found));
            }
            searched = end;
        }
        Ok(None)
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_comes() {
        for (bytes, end) in [
            (&b"HTTP/1.1 101 x\r\nA: b\r\n\r\nframes"[..], Some(24)),
            (b"HTTP/1.1 101 x\nA: b\n\nframes\n\n", Some(21)),
            (b"HTTP/1.1 101\r\n\n", Some(15)),
            (b"HTTP/1.1 101 x\r\nA: b\r\n\r", None),
            (b"HTTP/1", None),
            (b"", None),
        ] {
            for size in 1..=bytes.len().max(1) {
                assert_eq!(found(bytes, size), Ok(end), "{bytes:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_not_http_is_refused_at_once() {
        for bytes in [&b"h"[..], b"SSH-2.0", b"HTTP/2", b"HTTP/1,", b"\r\nHTTP/1.1"] {
            assert!(matches!(find_end(bytes, 0, HEAD_MAX), Err(ResponseError::Malformed)), "{bytes:?}");
        }
    }

    #[test]
    fn a_head_that_is_too_large() {
        let head = |size: usize| {
            let start = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
            let filler = vec![b'a'; size - start.len() - 4];
            [start, filler, b"\r\n\r\n".to_vec()].concat()
        };
        assert!(matches!(find_end(&head(HEAD_MAX), 0, HEAD_MAX), Ok(Some(HEAD_MAX))));
        assert!(matches!(find_end(&head(HEAD_MAX + 1), 0, HEAD_MAX), Err(ResponseError::HeadTooLarge { limit: HEAD_MAX })));
        let unfinished = &head(2 * HEAD_MAX)[..=HEAD_MAX];
        assert!(matches!(find_end(unfinished, 0, HEAD_MAX), Err(ResponseError::HeadTooLarge { .. })));
    }

    #[test]
    fn heads() {
        let head = parse(b"HTTP/1.1 404 Not Found\r\nA: 1\r\nB: \r\na:2\r\n\r\n").unwrap();
        assert_eq!((head.status, head.headers.get_all("a").iter().count()), (StatusCode::NOT_FOUND, 2));
        assert_eq!(parse(b"HTTP/1.0 200\r\n\r\n").unwrap().status, 200);
        for malformed in [
            &b"HTTP/1.1 20 OK\r\n\r\n"[..],
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/1.0 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n",
        ] {
            assert!(parse(malformed).is_err(), "{:?}", String::from_utf8_lossy(malformed));
        }
    }

    /// RFC 9112 section 6.3.
    #[test]
    fn lengths_of_bodies() {
        for (lines, length) in [
            ("200 OK", BodyLength::UntilEnd),
            ("200 OK\r\nContent-Length: 5", BodyLength::Exactly(5)),
            ("200 OK\r\nContent-Length: many", BodyLength::UntilEnd),
            ("200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, Chunked", BodyLength::Chunked),
            ("200 OK\r\nTransfer-Encoding: gzip", BodyLength::UntilEnd),
            ("204 No Content\r\nContent-Length: 5", BodyLength::Exactly(0)),
            ("304 Not Modified", BodyLength::Exactly(0)),
        ] {
            let head = parse(format!("HTTP/1.1 {lines}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(head.body_length(), length, "{lines}");
        }
    }
}
