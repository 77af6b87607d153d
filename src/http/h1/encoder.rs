//! Response heads, to bytes (RFC 9112 §4, §6). Pure but for the date.
//!
//! This is the one place that decides about the headers that a server adds: which body the client can expect, and whether
//! the connection goes on.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use http::{HeaderValue, StatusCode, Version};

use super::date::append_date;
use super::request_line::{ConnectionOptions, RequestLine};
use crate::http::message::{BodyKind, Header, Response};

/// How a response is to be sent after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) body: BodyPlan,
    /// Whether the connection goes on with another request.
    pub(crate) keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    /// None, whatever the response has.
    None,
    /// The bytes, or of a stream exactly so many.
    Length(u64),
    /// A stream in chunks.
    Chunked,
    /// A stream to the end of the connection.
    UntilClose,
}

/// Room for a usual head.
const HEAD: usize = 256;

/// The app's own values of headers that the server writes, or that decide about them.
#[derive(Default)]
struct SetByApp<'a> {
    content_length: Option<&'a HeaderValue>,
    server: bool,
    date: bool,
    upgrade: bool,
    connection: ConnectionOptions,
}

impl<'a> SetByApp<'a> {
    fn read(response: &'a Response) -> SetByApp<'a> {
        let mut set = SetByApp::default();
        for (name, value) in &response.headers {
            match name.len() {
                4 => set.date |= name.eq_ignore_ascii_case("Date"),
                6 => set.server |= name.eq_ignore_ascii_case("Server"),
                7 => set.upgrade |= name.eq_ignore_ascii_case("Upgrade"),
                10 if name.eq_ignore_ascii_case("Connection") => set.connection.add(value.as_bytes()),
                14 if name.eq_ignore_ascii_case("Content-Length") => {
                    set.content_length.get_or_insert(value);
                }
                _ => {}
            }
        }
        set
    }
}

/// Writes the response's head and says how to go on. `may_persist` is false where the server wants the connection closed.
pub(crate) fn encode(out: &mut Vec<u8>, response: &Response, request: &RequestLine, may_persist: bool) -> Plan {
    let status = response.status;
    let version = request.version;
    let set = SetByApp::read(response);
    let has_no_body = status.is_informational() || status == StatusCode::NO_CONTENT;
    // RFC 9110 section 15.3.6: a 205 has no content, and `Content-Length: 0`.
    let is_empty = status == StatusCode::RESET_CONTENT;
    let explicit = set.content_length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let length = match &response.body.0 {
        BodyKind::Bytes(bytes) => Some(bytes.len() as u64),
        BodyKind::Stream(_) => None,
    };

    // What Content-Length says: a response to HEAD, and a 304, may say what a GET would get.
    let describes_other_content = request.is_head || status == StatusCode::NOT_MODIFIED;
    let content_length = match length {
        _ if has_no_body => None,
        _ if is_empty => Some(0),
        Some(0) if status == StatusCode::NOT_MODIFIED => explicit,
        Some(_) if describes_other_content && explicit.is_some() => explicit,
        Some(length) => Some(length),
        None => explicit,
    };
    let chunked = length.is_none() && content_length.is_none() && !has_no_body && version == Version::HTTP_11;
    let body = match content_length {
        _ if has_no_body || is_empty || describes_other_content => BodyPlan::None,
        Some(length) => BodyPlan::Length(length),
        None if chunked => BodyPlan::Chunked,
        None => BodyPlan::UntilClose,
    };

    let wants_close = request.connection.close || set.connection.close || !may_persist;
    let keep_alive =
        !wants_close && body != BodyPlan::UntilClose && (version == Version::HTTP_11 || request.connection.keep_alive);
    let connection = match () {
        () if status == StatusCode::SWITCHING_PROTOCOLS => Some("upgrade"),
        // RFC 9110 section 7.8: a message with `Upgrade`, as a 426 has, names it in `Connection`.
        () if wants_close && set.upgrade => Some("close, upgrade"),
        () if wants_close => Some("close"),
        () if keep_alive && version != Version::HTTP_11 => Some("keep-alive"),
        () => None,
    };

    // The order of ReactPHP: the app's headers, Server, Date, then what is about this connection.
    out.reserve(HEAD);
    if (version, status) == (Version::HTTP_11, StatusCode::OK) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(if version == Version::HTTP_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in response
        .headers
        .iter()
        .filter(|header| !is_set_by_server(header, connection.is_some() || version != Version::HTTP_11))
    {
        line(out, name, value.as_bytes());
    }
    if !set.server {
        out.extend_from_slice(b"Server: react-websocket\r\n");
    }
    if !set.date {
        out.extend_from_slice(b"Date: ");
        append_date(out);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(length) = content_length {
        out.extend_from_slice(b"Content-Length: ");
        append_number(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if chunked {
        line(out, "Transfer-Encoding", b"chunked");
    }
    if let Some(connection) = connection {
        line(out, "Connection", connection.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Plan { body, keep_alive }
}

/// Adds a response whose body is bytes, head and body.
pub(crate) fn encode_whole(out: &mut Vec<u8>, response: &Response, line: &RequestLine, may_persist: bool) -> Plan {
    let plan = encode(out, response, line, may_persist);
    if let BodyKind::Bytes(body) = &response.body.0
        && plan.body != BodyPlan::None
    {
        out.extend_from_slice(body);
    }
    plan
}

/// A response whose body is bytes, and which ends its connection.
pub(crate) fn encode_page(response: &Response, line: &RequestLine) -> Vec<u8> {
    let mut out = Vec::new();
    encode_whole(&mut out, response, line, false);
    out
}

/// Returns whether the server writes this header itself, or omits the header because its value is
/// empty. If the server has no `Connection` header for an HTTP/1.1 client, the app's header is
/// sent, as in ReactPHP.
fn is_set_by_server((name, value): &Header, decides_connection: bool) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        4 => value.is_empty() && is("Date"),
        6 => value.is_empty() && is("Server"),
        10 => decides_connection && is("Connection"),
        14 => is("Content-Length"),
        17 => is("Transfer-Encoding"),
        _ => false,
    }
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn append_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut unused = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((number % 10) as u8);
        number /= 10;
        unused = unused.saturating_sub(1);
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(unused..).unwrap_or_default());
}
