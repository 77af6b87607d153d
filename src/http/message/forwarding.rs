//! What proxies write into `X-Forwarded-*` and `Forwarded` (RFC 7239), read from the end of the
//! list.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::target::is_host;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The header in which proxies write a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// No header is believed.
    Nowhere,
    XForwarded,
    Forwarded,
}

/// Where a request has what its trusted proxies wrote about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarding {
    /// The place of the outermost trusted proxy's element, counted from the end of the list.
    pub(crate) place: u32,
    pub(crate) proto: Source,
    pub(crate) host: Source,
}

impl Forwarding {
    /// Returns the scheme of the client's request, if the proxies wrote one.
    pub(crate) fn scheme(&self, headers: &HeaderMap) -> Option<&'static str> {
        scheme(self.value(self.proto, headers, &X_FORWARDED_PROTO, b"proto=")?)
    }

    /// Returns the host of the client's request, if the proxies wrote one.
    pub(crate) fn host<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let host = self.value(self.host, headers, &X_FORWARDED_HOST, b"host=")?;
        std::str::from_utf8(host).ok().filter(|host| is_host(host.as_bytes()))
    }

    fn value<'a>(&self, source: Source, headers: &'a HeaderMap, name: &HeaderName, parameter: &[u8]) -> Option<&'a [u8]> {
        let place = usize::try_from(self.place).ok()?;
        match source {
            Source::Nowhere => None,
            Source::Forwarded => forwarded_parameter(elements(headers, &FORWARDED).nth(place)?, parameter),
            Source::XForwarded => {
                // Some proxies add to the list, some replace it, some pass it on. Which of the
                // trusted proxies wrote which of the last elements is unknown. So the elements
                // count only if they agree.
                let mut written = elements(headers, name).take(place.saturating_add(1)).map(<[u8]>::trim_ascii);
                let value = written.next()?;
                written.all(|other| other.eq_ignore_ascii_case(value)).then_some(value)
            }
        }
    }
}

/// Returns the addresses that proxies have added, the last first. `None` is an element without an
/// address.
pub(crate) fn addresses(source: Source, headers: &HeaderMap) -> impl Iterator<Item = Option<SocketAddr>> {
    let name = match source {
        Source::Forwarded => FORWARDED,
        Source::XForwarded | Source::Nowhere => X_FORWARDED_FOR,
    };
    elements(headers, &name).map(move |element| {
        let node = match source {
            Source::Forwarded => forwarded_parameter(element, b"for=")?,
            Source::XForwarded | Source::Nowhere => element,
        };
        address(std::str::from_utf8(node).ok()?.trim_ascii())
    })
}

/// The schemes that proxies name, as those of HTTP. Traefik writes `ws` and `wss` for WebSocket
/// requests.
pub(crate) fn scheme(proto: &[u8]) -> Option<&'static str> {
    let is = |name: &str| proto.eq_ignore_ascii_case(name.as_bytes());
    match () {
        () if is("https") || is("wss") => Some("https"),
        () if is("http") || is("ws") => Some("http"),
        () => None,
    }
}

/// The elements of a list, over all lines of the field, the last first.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().rev().flat_map(|line| {
        let mut rest = Some(line.as_bytes());
        std::iter::from_fn(move || {
            let (before, element) = split_last(rest?, b',');
            rest = before;
            Some(element)
        })
    })
}

/// The value of a parameter, which must not be there twice (RFC 7239 section 4). `name` is in lower
/// case and ends in `=`.
fn forwarded_parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (mut found, mut rest) = (None, Some(element));
    while let Some(pairs) = rest {
        let (before, pair) = split_last(pairs, b';');
        if let Some((other, value)) = pair.trim_ascii().split_at_checked(name.len())
            && other.eq_ignore_ascii_case(name)
        {
            let quoted = value.strip_prefix(b"\"").map(|value| value.strip_suffix(b"\""));
            if found.replace(quoted.unwrap_or(Some(value))?).is_some() {
                return None;
            }
        }
        rest = before;
    }
    found
}

/// Splits a list at its last separator outside of quotes. Returns the part behind it and the part
/// before it.
///
/// It searches from the end. A client may have written the beginning, and may have opened a
/// quotation without closing it.
fn split_last(list: &[u8], separator: u8) -> (Option<&[u8]>, &[u8]) {
    let mut quoted = false;
    for (place, byte) in list.iter().enumerate().rev() {
        let (before, rest) = list.split_at(place);
        if *byte == b'"' {
            let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
            quoted = !quoted || backslashes % 2 == 1;
        } else if *byte == separator && !quoted {
            return (Some(before), rest.split_first().map_or(rest, |(_, last)| last));
        }
    }
    (None, list)
}

/// An address with its port, or with port 0 if the port is missing or only has a name (RFC 7239
/// section 6).
fn address(node: &str) -> Option<SocketAddr> {
    let node = node.rsplit_once(":_").map_or(node, |(address, _)| address);
    if let Ok(address) = node.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let address: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(address.to_canonical(), 0))
}
