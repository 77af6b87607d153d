//! The client's side of the opening handshake (RFC 6455 section 4.1). Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};

use super::error::ResponseError;
use super::url::Url;
#[cfg(feature = "deflate")]
use crate::protocol::deflate::{self, AgreedParams, InvalidResponse, Preferences};
use crate::protocol::handshake::{accept_key, has_token, only};

/// Headers that the handshake sets, or that a request without a body cannot have.
const RESERVED: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Returns whether an app may set this header.
pub(crate) fn is_free(name: &HeaderName) -> bool {
    !RESERVED.contains(name)
}

/// The handshake of one connection.
pub(crate) struct Handshake {
    /// The value of `Sec-WebSocket-Key`.
    key: String,
    /// What permessage-deflate is offered with, if it is.
    #[cfg(feature = "deflate")]
    deflate: Option<Preferences>,
}

impl Handshake {
    /// `nonce`: 16 random bytes.
    pub(crate) fn new(nonce: [u8; 16]) -> Handshake {
        Handshake {
            key: STANDARD.encode(nonce),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Offers permessage-deflate (RFC 7692).
    #[cfg(feature = "deflate")]
    pub(crate) fn offer_deflate(&mut self, preferences: Preferences) {
        self.deflate = Some(preferences);
    }

    /// Returns the request. `headers` are the app's.
    pub(crate) fn request(&self, url: &Url, headers: &HeaderMap, subprotocols: &[Arc<str>]) -> Vec<u8> {
        let mut request = format!("GET {} HTTP/1.1\r\n", url.target).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                request.extend_from_slice(part);
            }
        };
        // RFC 9112 section 3.2: the first header.
        match headers.get(HOST) {
            Some(host) => line("Host", host.as_bytes()),
            None => line("Host", url.host_header().as_bytes()),
        }
        line("Upgrade", b"websocket");
        line("Connection", b"Upgrade");
        line("Sec-WebSocket-Key", self.key.as_bytes());
        line("Sec-WebSocket-Version", b"13");
        if !subprotocols.is_empty() {
            line("Sec-WebSocket-Protocol", subprotocols.join(", ").as_bytes());
        }
        #[cfg(feature = "deflate")]
        if let Some(preferences) = self.deflate {
            line("Sec-WebSocket-Extensions", deflate::offer(preferences).as_bytes());
        }
        if let Some(authorization) = url.authorization.as_ref().filter(|_| !headers.contains_key(AUTHORIZATION)) {
            line("Authorization", authorization.as_bytes());
        }
        if !headers.contains_key(USER_AGENT) {
            line("User-Agent", concat!("react-websocket/", env!("CARGO_PKG_VERSION")).as_bytes());
        }
        for (name, value) in headers.iter().filter(|(name, _)| *name != HOST) {
            line(name.as_str(), value.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// Checks a 101. Returns the subprotocol that the server has selected.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        offered: &[Arc<str>],
        is_required: bool,
    ) -> Result<Option<Arc<str>>, ResponseError> {
        if !only(lines(headers, UPGRADE)).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(ResponseError::Upgrade);
        }
        if !has_token(lines(headers, CONNECTION), "upgrade") {
            return Err(ResponseError::Connection);
        }
        if only(lines(headers, SEC_WEBSOCKET_ACCEPT)) != Some(accept_key(self.key.as_bytes()).as_bytes()) {
            return Err(ResponseError::Accept);
        }
        if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) && !self.offers_extensions() {
            return Err(ResponseError::Extension { name: text(headers, SEC_WEBSOCKET_EXTENSIONS) });
        }
        if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            return if is_required { Err(ResponseError::NoSubprotocol) } else { Ok(None) };
        }
        let name = only(lines(headers, SEC_WEBSOCKET_PROTOCOL));
        let selected = offered.iter().find(|offer| Some(offer.as_bytes()) == name);
        selected
            .cloned()
            .map(Some)
            .ok_or_else(|| ResponseError::Subprotocol { name: text(headers, SEC_WEBSOCKET_PROTOCOL) })
    }
}

#[cfg(feature = "deflate")]
impl Handshake {
    fn offers_extensions(&self) -> bool {
        self.deflate.is_some()
    }

    /// Checks the extensions of a 101 (RFC 7692 section 5.1). Returns what the server has agreed on.
    pub(crate) fn check_extensions(&self, headers: &HeaderMap) -> Result<Option<AgreedParams>, ResponseError> {
        let Some(preferences) = self.deflate else { return Ok(None) };
        deflate::check_response(lines(headers, SEC_WEBSOCKET_EXTENSIONS), preferences)
            .map_err(|InvalidResponse| ResponseError::Extension { name: text(headers, SEC_WEBSOCKET_EXTENSIONS) })
    }
}

#[cfg(not(feature = "deflate"))]
impl Handshake {
    fn offers_extensions(&self) -> bool {
        false
    }
}

/// Returns the values of a header for an error.
fn text(headers: &HeaderMap, name: HeaderName) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    String::from_utf8_lossy(&lines.join(&b", "[..])).into_owned()
}

/// Returns the values of a header, one for each line.
fn lines(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455 section 1.3.
    fn handshake() -> Handshake {
        Handshake::new(*b"the sample nonce")
    }

    fn request(url: &str, headers: &[(&str, &str)], subprotocols: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let subprotocols: Vec<Arc<str>> = subprotocols.iter().map(|name| Arc::from(*name)).collect();
        String::from_utf8(handshake().request(&Url::parse(url).unwrap(), &map, &subprotocols)).unwrap()
    }

    #[test]
    fn the_request_has_what_the_rfc_demands() {
        let agent = concat!("User-Agent: react-websocket/", env!("CARGO_PKG_VERSION"), "\r\n");
        let start = |target: &str, host: &str| {
            format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            )
        };
        assert_eq!(request("ws://h:80", &[], &[]), format!("{}{agent}\r\n", start("/", "h")));
        assert_eq!(
            request("ws://u:p@h:8000/a?b", &[("Origin", "https://o"), ("X", "1"), ("x", "2")], &["a", "b"]),
            format!(
                "{}Sec-WebSocket-Protocol: a, b\r\nAuthorization: Basic dTpw\r\n{agent}origin: https://o\r\nx: 1\r\nx: 2\r\n\r\n",
                start("/a?b", "h:8000")
            )
        );
        let own = [("Authorization", "Bearer x"), ("Host", "virtual"), ("User-Agent", "me")];
        assert_eq!(
            request("ws://u:p@h/", &own, &[]),
            format!("{}authorization: Bearer x\r\nuser-agent: me\r\n\r\n", start("/", "virtual"))
        );
    }

    const GOOD: [(&str, &str); 3] = [
        ("Upgrade", "WebSocket"),
        ("Connection", "keep-alive, UPGRADE"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];

    fn check(lines: &[(&str, &str)], offered: &[&str], is_required: bool) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let offered: Vec<Arc<str>> = offered.iter().map(|name| Arc::from(*name)).collect();
        let checked = handshake().check(&headers, &offered, is_required);
        checked.map(|name| name.map(|name| name.to_string())).map_err(|error| error.to_string())
    }

    /// RFC 6455 section 4.1, the checks of the server's response, 2 to 6.
    #[test]
    fn a_101_must_have_what_the_rfc_demands() {
        assert_eq!(check(&GOOD, &[], false), Ok(None));
        let without = |name: &str| GOOD.into_iter().filter(|(other, _)| *other != name).collect::<Vec<_>>();
        let with = |name, value| [without(name), vec![(name, value)]].concat();
        let and = |name, value| [GOOD.to_vec(), vec![(name, value)]].concat();
        let upgrade = Err("no `Upgrade: websocket`".to_owned());
        let connection = Err("no `Connection: upgrade`".to_owned());
        let accept = Err("missing or wrong Sec-WebSocket-Accept".to_owned());
        for (lines, result) in [
            (without("Upgrade"), &upgrade),
            (with("Upgrade", "h2c"), &upgrade),
            (with("Upgrade", "websocket, h2c"), &upgrade),
            (and("Upgrade", "websocket"), &upgrade),
            (without("Connection"), &connection),
            (with("Connection", "close"), &connection),
            (with("Connection", "upgraded"), &connection),
            (without("Sec-WebSocket-Accept"), &accept),
            (with("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOp="), &accept),
            (with("Sec-WebSocket-Accept", "S3PPLMBITXAQ9KYGZZHZRBK+XOO="), &accept),
            (with("Sec-WebSocket-Accept", "dGhlIHNhbXBsZSBub25jZQ=="), &accept),
            (and("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), &accept),
        ] {
            assert_eq!(check(&lines, &[], false), *result, "{lines:?}");
        }
        let extension = check(&and("Sec-WebSocket-Extensions", "permessage-deflate"), &[], false);
        assert_eq!(extension, Err("extension \"permessage-deflate\" was not offered".into()));
    }

    #[test]
    fn the_subprotocol_is_one_that_was_offered() {
        let with = |value| [GOOD.to_vec(), vec![("Sec-WebSocket-Protocol", value)]].concat();
        assert_eq!(check(&with("b"), &["a", "b"], true), Ok(Some("b".into())));
        assert_eq!(check(&with(" b "), &["a", "b"], false), Ok(Some("b".into())));
        assert_eq!(check(&GOOD, &["a"], false), Ok(None));
        assert_eq!(check(&GOOD, &["a"], true), Err("no common subprotocol".into()));
        for (value, offered) in [("c", &["a", "b"][..]), ("A", &["a"]), ("a, b", &["a", "b"]), ("", &["a"]), ("a", &[])] {
            let error = format!("subprotocol {value:?} was not offered");
            assert_eq!(check(&with(value), offered, false), Err(error), "{value:?} of {offered:?}");
        }
        let twice = [with("a"), vec![("Sec-WebSocket-Protocol", "a")]].concat();
        assert_eq!(check(&twice, &["a"], false), Err("subprotocol \"a, a\" was not offered".into()));
    }
}
