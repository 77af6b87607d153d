//! Request heads, from bytes (RFC 9112 §2 to §6). Pure: no socket, no clock.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Uri};
use http::{Method, Version};
use memchr::memchr_iter;

use super::HttpError;

/// How large a request head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Bytes in the request line, without its CR LF.
    pub(crate) request_line: usize,
    /// Bytes from the request line to the empty line, that included.
    pub(crate) head: usize,
    /// Header lines.
    pub(crate) headers: usize,
}

/// Looks for the end of a head in a buffer that grows, and at every byte once.
///
/// It judges lines as they come, so that what can never become a request is refused at once: nobody waits for the rest of
/// a TLS greeting.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    /// Where the request line begins: after the one empty line that may precede it (§2.2).
    start: usize,
    line_start: usize,
    scanned: usize,
    lines: usize,
}

impl HeadScanner {
    /// The head in `buffer`, if it is complete: where it starts and ends. `buffer` begins as it did the last time.
    pub(crate) fn scan(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<std::ops::Range<usize>>, HttpError> {
        let fresh = buffer.get(self.scanned..).unwrap_or_default();
        for found in memchr_iter(b'\n', fresh) {
            let end = self.scanned.saturating_add(found);
            let line = buffer.get(self.line_start..end).unwrap_or_default();
            let Some(line) = line.strip_suffix(b"\r") else {
                // The first mistake counts, as if the line came byte by byte.
                self.check_size(line, end, limits)?;
                return Err(HttpError::LineEnd);
            };
            self.line_start = end.saturating_add(1);
            if line.is_empty() && self.lines == 0 {
                if self.start > 0 {
                    return Err(HttpError::RequestLine);
                }
                self.start = self.line_start;
                continue;
            }
            self.check_size(line, self.line_start, limits)?;
            if line.is_empty() {
                return Ok(Some(self.start..self.line_start));
            }
            self.lines = self.lines.saturating_add(1);
            if self.lines.saturating_sub(1) > limits.headers {
                return Err(HttpError::TooManyHeaders { limit: limits.headers });
            }
        }
        self.scanned = buffer.len();
        let unfinished = buffer.get(self.line_start..).unwrap_or_default();
        // The CR of a line that is just long enough may be there already.
        self.check_size(unfinished.strip_suffix(b"\r").unwrap_or(unfinished), self.scanned, limits)?;
        Ok(None)
    }

    fn check_size(&self, line: &[u8], end: usize, limits: &HeadLimits) -> Result<(), HttpError> {
        if self.lines == 0 {
            if line.first().is_some_and(|first| !is_token_byte(*first)) {
                return Err(HttpError::RequestLine);
            }
            if line.len() > limits.request_line {
                return Err(HttpError::RequestLineTooLong { limit: limits.request_line });
            }
        }
        if end.saturating_sub(self.start) > limits.head {
            return Err(HttpError::HeadTooLarge { limit: limits.head });
        }
        Ok(())
    }
}

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

/// How long a request's body is (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; none if there was no word of a body.
    Length(u64),
    Chunked,
}

/// Most requests have fewer headers than this, and then nothing is allocated to note where they are.
const FEW_HEADERS: usize = 32;

impl Head {
    /// Reads a complete head, as [`HeadScanner`] found it. The parts are views of `bytes`, nothing is copied.
    pub(crate) fn parse(bytes: &Bytes) -> Result<Head, HttpError> {
        let mut few = [httparse::EMPTY_HEADER; FEW_HEADERS];
        let mut many;
        let mut request = httparse::Request::new(&mut few);
        let mut parsed = request.parse(bytes);
        if parsed == Err(httparse::Error::TooManyHeaders) {
            many = vec![httparse::EMPTY_HEADER; memchr_iter(b'\n', bytes).count()];
            request = httparse::Request::new(&mut many);
            parsed = request.parse(bytes);
        }
        match parsed {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(HttpError::RequestLine),
            Err(error) => return Err(syntax_error(error, bytes)),
        }
        let (Some(method), Some(path), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(HttpError::RequestLine);
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| HttpError::RequestLine)?;
        let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        let mut has_body = false;
        for header in request.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| HttpError::Header)?;
            has_body |= name == CONTENT_LENGTH || name == TRANSFER_ENCODING;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
            headers.append(name, value.map_err(|_| HttpError::Header)?);
        }
        check_host(&headers, version)?;
        let target = bytes.slice_ref(path.as_bytes());
        let uri = parse_target(&method, &target)?;
        let framing = if has_body { Framing::of(&headers, version)? } else { Framing::Length(0) };
        Ok(Head { method, target, uri, version, headers, framing })
    }
}

impl Framing {
    fn of(headers: &HeaderMap, version: Version) -> Result<Framing, HttpError> {
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
}

/// §3.2: one Host in HTTP/1.1, at most one in HTTP/1.0, and it is `host` or `host:port`.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), HttpError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(HttpError::Host),
    }
}

fn is_host(host: &[u8]) -> bool {
    let mut parts = host.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    if !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')) {
        return is_port(parts.next().unwrap_or_default());
    }
    // An address in brackets, or what is rarer still.
    let Ok(authority) = Authority::try_from(host) else { return false };
    let port = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    let port = port.strip_prefix(':').unwrap_or(port);
    !authority.host().is_empty() && !host.contains(&b'@') && is_port(port.as_bytes())
}

/// RFC 3986 §3.2.3: digits, perhaps none.
fn is_port(port: &[u8]) -> bool {
    let digit = |byte: &u8| char::from(*byte).to_digit(10).and_then(|digit| u16::try_from(digit).ok());
    port.iter().try_fold(0u16, |value, byte| value.checked_mul(10)?.checked_add(digit(byte)?)).is_some()
}

/// The four forms of §3.2.
pub(super) fn parse_target(method: &Method, target: &Bytes) -> Result<Uri, HttpError> {
    if *method == Method::CONNECT {
        let is_authority = Authority::try_from(&target[..]).is_ok_and(|authority| authority.port().is_some());
        return Err(if is_authority { HttpError::Connect } else { HttpError::Target });
    }
    let is_origin = target.starts_with(b"/");
    let is_absolute = target.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://"));
    let is_asterisk = *method == Method::OPTIONS && target[..] == *b"*";
    if !(is_origin || is_absolute || is_asterisk) || target.contains(&b'#') {
        return Err(HttpError::Target);
    }
    let uri = if target.is_ascii() {
        Uri::from_maybe_shared(target.clone())
    } else {
        Uri::from_maybe_shared(Bytes::from(percent_encode(target)))
    };
    let uri = uri.map_err(|_| HttpError::Target)?;
    if uri.authority().is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return Err(HttpError::Target);
    }
    Ok(uri)
}

/// Bytes beyond ASCII have no place in a URI; browsers send them encoded, some clients do not.
fn percent_encode(target: &[u8]) -> Vec<u8> {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value & 0xF)).copied().unwrap_or_default();
    target
        .iter()
        .flat_map(|byte| match byte.is_ascii() {
            true => [Some(*byte), None, None],
            false => [Some(b'%'), Some(digit(byte >> 4)), Some(digit(*byte))],
        })
        .flatten()
        .collect()
}

fn syntax_error(error: httparse::Error, head: &[u8]) -> HttpError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let version = words.by_ref().nth(2);
    let version = version.filter(|_| words.next().is_none()).and_then(|version| version.strip_prefix(b"HTTP/"));
    match (error, version) {
        (httparse::Error::Version, Some([major, b'.', minor])) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            HttpError::Version
        }
        (httparse::Error::Version | httparse::Error::Token | httparse::Error::Status, _) => HttpError::RequestLine,
        // What follows the version is not the end of the line.
        (httparse::Error::NewLine, _) if version != Some(b"1.0") && version != Some(b"1.1") => HttpError::RequestLine,
        (httparse::Error::NewLine, _) => HttpError::LineEnd,
        _ => HttpError::Header,
    }
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
