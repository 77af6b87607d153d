//! The URLs of WebSockets (RFC 6455 section 3) and of proxies. Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::error::UrlError;

/// Where to connect, and what to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether the connection uses TLS.
    pub(crate) is_secure: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The path and the query.
    pub(crate) target: String,
    /// The value of an `Authorization` header (RFC 7617).
    pub(crate) authorization: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

/// Characters that are percent-encoded in a path and a query (RFC 3986 section 3.3).
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

impl Url {
    /// Reads the URL of a WebSocket.
    pub(crate) fn parse(url: &str) -> Result<Url, UrlError> {
        Url::parse_as(url, &[("ws", 80, false), ("wss", 443, true)], "`ws` or `wss`")
    }

    /// Reads the URL of a proxy.
    pub(crate) fn parse_proxy(url: &str) -> Result<Url, UrlError> {
        Url::parse_as(url, &[("http", 80, false)], "`http`")
    }

    /// `schemes`: each with its default port, and whether it uses TLS.
    fn parse_as(url: &str, schemes: &[(&str, u16, bool)], expected: &'static str) -> Result<Url, UrlError> {
        if let Some(character) = url.chars().find(|character| character.is_control()) {
            return Err(UrlError::Character { character });
        }
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let known = schemes.iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name));
        let Some(&(_, default_port, is_secure)) = known else {
            return Err(UrlError::Scheme { scheme: scheme.to_owned(), expected });
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or_default();
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = split_port(address);
        let port = match port {
            None | Some("") => default_port,
            Some(port) => parse_port(port)?,
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{}", utf8_percent_encode(target, ENCODED));
        Ok(Url { is_secure, host: Host::parse(host)?, port, target, authorization: user.map(basic) })
    }

    /// The value of a `Host` header: without the default port (RFC 9110 section 7.2).
    pub(crate) fn host_header(&self) -> String {
        let default = if self.is_secure { 443 } else { 80 };
        if self.port == default { self.host.to_string() } else { self.authority() }
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Splits at the colon before the port, which is not one within an IPv6 address.
fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    }
}

fn parse_port(port: &str) -> Result<u16, UrlError> {
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|number| is_number && *number != 0);
    number.ok_or_else(|| UrlError::Port { port: port.to_owned() })
}

/// Credentials of the user information `user:password`, both percent-encoded.
fn basic(user: &str) -> String {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    format!("Basic {}", STANDARD.encode([decoded(user), b":".to_vec(), decoded(password)].concat()))
}

impl Host {
    fn parse(host: &str) -> Result<Host, UrlError> {
        let invalid = || UrlError::Host { host: host.to_owned() };
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
            return address.map(|address| Host::Address(address.into())).ok_or_else(invalid);
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Host::Address(address.into()));
        }
        let is_in_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(is_in_names) {
            return Err(invalid());
        }
        Ok(Host::Name(host.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (bool, String, String, String) {
        let url = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        (url.is_secure, url.authority(), url.host_header(), url.target)
    }

    #[test]
    fn host_port_and_target() {
        let cases = [
            ("ws://example.com", (false, "example.com:80", "example.com", "/")),
            ("WS://Example.COM:80/", (false, "example.com:80", "example.com", "/")),
            ("ws://example.com:/a/b?c=d&e=%20", (false, "example.com:80", "example.com", "/a/b?c=d&e=%20")),
            ("wss://example.com", (true, "example.com:443", "example.com", "/")),
            ("wss://example.com:80/", (true, "example.com:80", "example.com:80", "/")),
            ("ws://example.com:443", (false, "example.com:443", "example.com:443", "/")),
            ("ws://a_b-c.example:8000?x", (false, "a_b-c.example:8000", "a_b-c.example:8000", "/?x")),
            ("ws://127.0.0.1:9/@:[]", (false, "127.0.0.1:9", "127.0.0.1:9", "/@:[]")),
            ("ws://[::1]", (false, "[::1]:80", "[::1]", "/")),
            ("wss://[0:0::1]:8443/x", (true, "[::1]:8443", "[::1]:8443", "/x")),
            ("ws://h/ä b\"<>`{}|\\^", (false, "h:80", "h", "/%C3%A4%20b%22%3C%3E%60%7B%7D%7C%5C%5E")),
        ];
        for (url, (is_secure, authority, host, target)) in cases {
            let expected = (is_secure, authority.to_owned(), host.to_owned(), target.to_owned());
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    /// RFC 7617 section 2.
    #[test]
    fn user_information_is_basic_authorization() {
        let authorization = |url| Url::parse(url).unwrap().authorization;
        assert_eq!(authorization("ws://example.com"), None);
        assert_eq!(authorization("ws://Aladdin:open%20sesame@h"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".into()));
        assert_eq!(authorization("ws://u:p:q@h/").unwrap(), format!("Basic {}", STANDARD.encode("u:p:q")));
        assert_eq!(authorization("ws://u@h/").unwrap(), format!("Basic {}", STANDARD.encode("u:")));
        assert_eq!(authorization("ws://a@b:c@h/").unwrap(), format!("Basic {}", STANDARD.encode("a@b:c")));
    }

    /// RFC 6455 section 3: no fragment. RFC 3986 section 3.2.
    #[test]
    fn what_is_no_url_of_a_websocket() {
        let host = |host: &str| UrlError::Host { host: host.into() };
        let port = |port: &str| UrlError::Port { port: port.into() };
        let scheme = |scheme: &str| UrlError::Scheme { scheme: scheme.into(), expected: "`ws` or `wss`" };
        let cases = [
            ("", scheme("")),
            ("example.com", scheme("")),
            ("http://example.com", scheme("http")),
            (" ws://example.com", scheme(" ws")),
            ("ws://h/#", UrlError::Fragment),
            ("ws://h/?a#b", UrlError::Fragment),
            ("ws://h#b", UrlError::Fragment),
            ("ws://", host("")),
            ("ws:///a", host("")),
            ("ws://:80", host("")),
            ("ws://u@", host("")),
            ("ws://bücher.example", host("bücher.example")),
            ("ws://a b", host("a b")),
            ("ws://::1", host(":")),
            ("ws://[::1", host("[:")),
            ("ws://[::1]x", host("[::1]x")),
            ("ws://[fe80::1%25eth0]", host("[fe80::1%25eth0]")),
            ("ws://[1.2.3.4]", host("[1.2.3.4]")),
            ("ws://h:0", port("0")),
            ("ws://h:65536", port("65536")),
            ("ws://h:+80", port("+80")),
            ("ws://h:8a/", port("8a")),
            ("ws://h/a\r\nX: y", UrlError::Character { character: '\r' }),
            ("ws://h/\u{7f}", UrlError::Character { character: '\u{7f}' }),
        ];
        for (url, error) in cases {
            assert_eq!(Url::parse(url), Err(error), "{url:?}");
        }
    }

    #[test]
    fn a_proxy_has_http() {
        assert_eq!(Url::parse_proxy("http://u:p@proxy:3128").unwrap().authority(), "proxy:3128");
        assert_eq!(Url::parse_proxy("http://proxy").unwrap().port, 80);
        assert!(matches!(Url::parse_proxy("https://proxy"), Err(UrlError::Scheme { expected: "`http`", .. })));
    }
}
