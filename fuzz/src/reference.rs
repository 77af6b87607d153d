//! HTTP requests, read in the plainest way: RFC 9112, and the stricter rules of the crate. Whole input, no speed, no
//! limits but that of the body.

use react_websocket::types::Version;

use crate::exchange::Exchange;

/// A request head. Names are in lower case.
#[derive(Debug)]
pub struct Head {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub is_http_10: bool,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Bytes in the request line, and from there to the end.
    pub line_length: usize,
    pub length: usize,
    /// Where the request line starts: behind an empty line, perhaps.
    pub start: usize,
}

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// The body, and how many bytes it took.
    Complete(Vec<u8>, usize),
    Incomplete,
    /// It is no chunked body.
    Malformed,
    TooLarge,
}

impl Head {
    /// The head at the start of `bytes`. `None` if it is missing or malformed.
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let bytes = &bytes[start..];
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let mut lines = split(&bytes[..end], b"\r\n").into_iter();
        let line = lines.next()?;
        let words = split(line, b" ");
        let [method, target, version] = words[..] else { return None };
        let is_http_10 = match version {
            b"HTTP/1.0" => true,
            b"HTTP/1.1" => false,
            _ => return None,
        };
        if !is_token(method) || target.is_empty() || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7F) {
            return None;
        }
        let mut headers = Vec::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
            if !is_token(name) || !value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F)) {
                return None;
            }
            headers.push((String::from_utf8(name.to_ascii_lowercase()).ok()?, value.to_vec()));
        }
        let (method, target) = (method.to_vec(), target.to_vec());
        Some(Head { method, target, is_http_10, headers, line_length: line.len(), length: end + 4, start })
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| &value[..]).collect()
    }

    /// Whether Host, Content-Length and Transfer-Encoding leave no doubt: `None` if they do, else the length, or
    /// chunked.
    pub fn framing(&self) -> Option<Framing> {
        match self.all("host")[..] {
            [] if self.is_http_10 => {}
            [host] if !host.is_empty() => {}
            _ => return None,
        }
        match (&self.all("transfer-encoding")[..], &self.all("content-length")[..]) {
            ([], []) => Some(Framing::Length(0)),
            ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(length).ok()?.parse().ok().map(Framing::Length)
            }
            ([coding], []) if !self.is_http_10 && coding.eq_ignore_ascii_case(b"chunked") => Some(Framing::Chunked),
            _ => None,
        }
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

impl Framing {
    /// The body at the start of `bytes`.
    pub fn body(self, bytes: &[u8], limit: usize) -> Body {
        match self {
            Framing::Length(length) if length > limit as u64 => Body::TooLarge,
            Framing::Length(length) => match bytes.get(..length as usize) {
                Some(body) => Body::Complete(body.to_vec(), body.len()),
                None => Body::Incomplete,
            },
            Framing::Chunked => chunked(bytes, limit),
        }
    }
}

/// RFC 9112 §7.1. A chunk's size has at most 16 digits; extensions are lines of anything that can be shown, and trailers are
/// fields (§7.1.2).
fn chunked(bytes: &[u8], limit: usize) -> Body {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_hexdigit) {
            at += 1;
        }
        if at - start > 16 {
            return Body::Malformed;
        }
        let Some(after) = bytes.get(at) else { return Body::Incomplete };
        let Ok(size) = u64::from_str_radix(&String::from_utf8_lossy(&bytes[start..at]), 16) else {
            return Body::Malformed;
        };
        if *after == b';' {
            at += 1;
        } else if *after != b'\r' {
            return Body::Malformed;
        }
        let extension = match text_line(&bytes[at..]) {
            Ok(length) => length,
            Err(body) => return body,
        };
        at += extension;
        if size == 0 {
            break;
        }
        if size.saturating_add(body.len() as u64) > limit as u64 {
            return Body::TooLarge;
        }
        let Some(chunk) = bytes.get(at..at + size as usize) else { return Body::Incomplete };
        body.extend_from_slice(chunk);
        at += chunk.len();
        match &bytes[at..] {
            [] | [b'\r'] => return Body::Incomplete,
            [b'\r', b'\n', ..] => at += 2,
            _ => return Body::Malformed,
        }
    }
    loop {
        match trailer(&bytes[at..]) {
            Ok(2) => return Body::Complete(body, at + 2),
            Ok(length) => at += length,
            Err(body) => return body,
        }
    }
}

/// How many bytes a trailer has, or the empty line behind the last one: CR LF included.
fn trailer(bytes: &[u8]) -> Result<usize, Body> {
    let name = bytes.iter().take_while(|byte| is_token(&[**byte])).count();
    match bytes.get(name) {
        None => Err(Body::Incomplete),
        Some(b'\r') if name == 0 => text_line(bytes),
        Some(b':') if name > 0 => text_line(&bytes[name..]).map(|length| name + length),
        Some(_) => Err(Body::Malformed),
    }
}

/// How many bytes a line has, its CR LF included.
fn text_line(bytes: &[u8]) -> Result<usize, Body> {
    let is_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7F);
    let length = bytes.iter().take_while(|byte| is_text(**byte)).count();
    match &bytes[length..] {
        [] | [b'\r'] => Err(Body::Incomplete),
        [b'\r', b'\n', ..] => Ok(length + 2),
        _ => Err(Body::Malformed),
    }
}

/// RFC 9110 §5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Without spaces and tabs around it.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// What a server is told to take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub line: usize,
    pub head: usize,
    pub headers: usize,
    pub body: usize,
}

impl Limits {
    pub fn allow(&self, head: &Head) -> bool {
        head.line_length <= self.line && head.length <= self.head && head.headers.len() <= self.headers
    }
}

/// Checks that each request that the router got stands in the bytes, one behind the other, within the limits, and in no
/// doubt about where it ends. Returns what follows them.
pub fn check<'a>(bytes: &'a [u8], exchange: &Exchange, limits: &Limits) -> &'a [u8] {
    let mut rest = bytes;
    for request in &exchange.requests {
        let head =
            Head::read(rest).unwrap_or_else(|| panic!("taken, and not in order: {:?}", String::from_utf8_lossy(rest)));
        assert!(limits.allow(&head), "{head:?} is over {limits:?}");
        assert_eq!(request.method.as_str().as_bytes(), head.method);
        assert_eq!(request.target, String::from_utf8_lossy(&head.target));
        assert_eq!(request.version == Version::HTTP_10, head.is_http_10);
        assert_eq!(request.headers.len(), head.headers.len());
        for name in request.headers.keys() {
            let values: Vec<_> = request.headers.get_all(name).iter().map(|value| value.as_bytes()).collect();
            assert_eq!(values, head.all(name.as_str()), "{name}");
        }
        for (name, value) in &request.looked_up {
            let first = head.all(&name.to_ascii_lowercase()).first().copied();
            assert_eq!(value.as_deref(), first.and_then(|first| std::str::from_utf8(first).ok()), "{name}");
        }
        let [before, after] = &request.before_and_after;
        assert_eq!(before, after);
        let framing = head.framing().unwrap_or_else(|| panic!("taken, and in doubt: {head:?}"));
        let Body::Complete(body, length) = framing.body(&rest[head.start + head.length..], limits.body) else {
            panic!("taken, and the body is none: {head:?}");
        };
        assert_eq!(request.body, body);
        assert!(body.len() <= limits.body);
        rest = &rest[head.start + head.length + length..];
    }
    rest
}
