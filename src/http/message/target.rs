//! Request targets and hosts (RFC 9112 section 3.2), from bytes. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use core::net::Ipv6Addr;

use super::token::letters_digits_and;
use crate::http::HttpError;
use bytes::Bytes;
use http::Method;
use http::uri::{Authority, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// Characters that `http` accepts in no part of a URI, or in some parts only. Browsers send them
/// percent-encoded, some clients do not.
const NOT_IN_URIS: &AsciiSet = &CONTROLS.add(b'"').add(b'<').add(b'>').add(b'`');

/// The longest URI that `http` takes, in bytes.
pub(crate) const URI_MAX: usize = 65_534;

/// Bytes of a host's name, or of an IPv4 address.
const HOST: [bool; 256] = letters_digits_and(b".-");

/// Whether bytes are `host` or `host:port`.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let name = host.iter().position(|byte| HOST.get(usize::from(*byte)) != Some(&true)).unwrap_or(host.len());
    match host.get(name..) {
        Some([]) if name > 0 => return true,
        Some([b':', port @ ..]) if name > 0 => return is_port(port),
        _ => {}
    }
    // An address in brackets, or what is rarer still.
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host();
    let port = authority.as_str().get(name.len()..).unwrap_or_default();
    let port = port.strip_prefix(':').unwrap_or(port);
    let is_name = !name.is_empty() && !host.contains(&b'@') && (!name.starts_with('[') || is_ipv6_literal(name));
    is_name && is_port(port.as_bytes())
}

/// Whether a host is an IPv6 address in brackets (RFC 3986 section 3.2.2), perhaps with the zone
/// that a client should have removed (RFC 6874 section 4).
fn is_ipv6_literal(host: &str) -> bool {
    let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) else { return false };
    let (address, zone) = address.split_once('%').unwrap_or((address, "%"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.strip_prefix("25").unwrap_or(zone).is_empty()
}

/// RFC 3986 section 3.2.3: digits, perhaps none.
fn is_port(port: &[u8]) -> bool {
    let digit = |byte: &u8| char::from(*byte).to_digit(10).and_then(|digit| u16::try_from(digit).ok());
    port.iter().try_fold(0u16, |value, byte| value.checked_mul(10)?.checked_add(digit(byte)?)).is_some()
}

/// Whether a target has the absolute form (section 3.2.2) of a URI that this server can be meant
/// by.
fn is_absolute(target: &[u8]) -> bool {
    let begins = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    [&b"http://"[..], b"https://", b"ws://", b"wss://"].into_iter().any(begins)
}

/// What [`ServerRequest::path`](crate::ServerRequest::path) is of a request for `path`. `None` if there is no such request.
pub(crate) fn path_as_requested(path: &str) -> Option<String> {
    let target = Bytes::copy_from_slice(path.as_bytes());
    let uri = parse_target(&Method::GET, &target).ok().filter(|_| path.starts_with('/') && !path.contains('?'))?;
    Some(uri.path().to_owned())
}

/// Returns the URI of a target, as [`parse_target`] does. `None` for a plain path and query, which is always valid: its URI is
/// built when it is asked for. `target` is a part of `head`.
pub(crate) fn uri_of(method: &Method, head: &Bytes, target: &[u8]) -> Result<Option<Uri>, HttpError> {
    let is_plain = target.first() == Some(&b'/')
        && target.len() <= URI_MAX
        && *method != Method::CONNECT
        && target.iter().all(|byte| PLAIN.get(usize::from(*byte)) == Some(&true));
    if is_plain { Ok(None) } else { parse_target(method, &head.slice_ref(target)).map(Some) }
}

/// Bytes that are valid in a path and in a query (RFC 3986 sections 3.3 and 3.4), and `?`.
const PLAIN: [bool; 256] = letters_digits_and(b"-._~!$&'()*+,;=:@/?%");

/// The four forms of section 3.2.
pub(crate) fn parse_target(method: &Method, target: &Bytes) -> Result<Uri, HttpError> {
    if *method == Method::CONNECT {
        let is_authority = Authority::try_from(&target[..]).is_ok_and(|authority| authority.port().is_some());
        return Err(if is_authority { HttpError::Connect } else { HttpError::Target });
    }
    let is_origin = target.starts_with(b"/");
    let is_asterisk = *method == Method::OPTIONS && target[..] == *b"*";
    if !(is_origin || is_asterisk || is_absolute(target)) || target.contains(&b'#') {
        return Err(HttpError::Target);
    }
    // Without an early exit the compiler looks at many bytes at once.
    let is_in_uris = |byte: &u8| byte.is_ascii() & !matches!(byte, b'"' | b'<' | b'>' | b'`');
    let encoded = match target.iter().fold(true, |all, byte| all & is_in_uris(byte)) {
        true => target.clone(),
        false => percent_encode(target, NOT_IN_URIS).to_string().into(),
    };
    if encoded.len() > URI_MAX {
        return Err(HttpError::RequestLineTooLong { limit: URI_MAX });
    }
    let uri = Uri::from_maybe_shared(encoded).map_err(|_| HttpError::Target)?;
    if uri.authority().is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return Err(HttpError::Target);
    }
    Ok(uri)
}
