//! Proxies that open a tunnel by `CONNECT` (RFC 9110 section 9.3.6). Pure.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use core::fmt;

use super::error::UrlError;
use super::url::Url;

/// An HTTP proxy that connections go through, by `CONNECT`.
///
/// ```
/// use react_websocket::client::{Connector, Proxy};
///
/// # fn main() -> Result<(), react_websocket::client::UrlError> {
/// let connector = Connector::new().proxy(Proxy::http("http://user:password@proxy.example:3128")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy(Url);

impl Proxy {
    /// Creates a proxy from its URL, `http://host:port`. Default port: 80. User and password in the URL are sent
    /// to the proxy as `Proxy-Authorization: Basic …`.
    ///
    /// # Errors
    /// The URL is not valid, or its scheme is not `http`.
    pub fn http(url: impl AsRef<str>) -> Result<Proxy, UrlError> {
        Url::parse_proxy(url.as_ref()).map(Proxy)
    }

    /// Where the proxy is.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The request for a tunnel.
    pub(crate) fn encode_request(&self, destination: &Url) -> Vec<u8> {
        let authority = destination.authority();
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(authorization) = &self.0.authorization {
            request += &format!("Proxy-Authorization: {authorization}\r\n");
        }
        request += "\r\n";
        request.into_bytes()
    }
}

impl fmt::Debug for Proxy {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.0.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_destination_with_its_port() {
        let encoded = |proxy: &str, url: &str| {
            String::from_utf8(Proxy::http(proxy).unwrap().encode_request(&Url::parse(url).unwrap())).unwrap()
        };
        assert_eq!(
            encoded("http://proxy", "ws://example.com/secret"),
            "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"
        );
        assert_eq!(
            encoded("http://u:p@proxy:3128", "wss://[::1]:8443"),
            "CONNECT [::1]:8443 HTTP/1.1\r\nHost: [::1]:8443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
    }

    #[test]
    fn the_password_is_not_printed() {
        assert_eq!(format!("{:?}", Proxy::http("http://u:p@proxy:3128").unwrap()), "Proxy(proxy:3128)");
    }
}
