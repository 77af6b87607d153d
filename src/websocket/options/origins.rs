use std::sync::Arc;

use http::header::{HeaderMap, ORIGIN};

use crate::websocket::options::origin_pattern::Pattern;
use crate::websocket::options::site::is_of_host;

/// The web pages that may open a connection (RFC 6455 section 10.2).
///
/// A browser sends the site of a page in the header `Origin`, and also sends the user's cookies.
/// Without a rule, any web page could use your service in the name of your users. A client without
/// `Origin` is not a browser, and is always allowed. Authenticate such clients with a token or a
/// password.
///
/// A page that is not allowed gets a 403 without the reason. The middleware's `error` event has the
/// reason, [`HandshakeError::Origin`](crate::errors::HandshakeError::Origin), and the feature
/// `tracing` logs it.
///
/// ```
/// use react_websocket::options::Origins;
///
/// let origins = Origins::list(["https://example.com", "https://*.example.com", "http://localhost:*"]);
/// ```
#[must_use = "origins are for `WebSocketOptions::origins`"]
#[derive(Clone, Debug)]
pub struct Origins(Rule);

#[derive(Clone, Debug)]
enum Rule {
    SameHost,
    SameHostAnyPort,
    Any,
    List(Arc<[Pattern]>),
}

impl Origins {
    /// Allows pages of the same [host](crate::ServerRequest::host) and port as the request. The
    /// default.
    ///
    /// If a proxy changes `Host`, no page has the same host. There are three solutions: the proxy
    /// passes `Host` on, the proxy writes the client's host for
    /// [`TrustedProxies`](crate::options::TrustedProxies), or the app uses a
    /// [`list`](Origins::list).
    pub fn same_host() -> Origins {
        Origins(Rule::SameHost)
    }

    /// Allows pages of the same [host](crate::ServerRequest::host) as the request, on any port. Use
    /// it if a page on port 80 opens WebSockets on port 8080, as is usual with PHP.
    ///
    /// The price: a page of any server on another port of the host may connect in the name of its
    /// users. Cookies do not depend on the port (RFC 6265 section 8.5), so such a page could
    /// already read most cookies of the host. `localhost` and `127.0.0.1` are two hosts.
    pub fn same_host_any_port() -> Origins {
        Origins(Rule::SameHostAnyPort)
    }

    /// Allows all pages. Use it for public services that do not identify their clients by cookies.
    pub fn any() -> Origins {
        Origins(Rule::Any)
    }

    /// Allows pages of these origins, and no others. The list replaces the default, so it must also
    /// name the site of the server itself.
    ///
    /// | Entry | Allows |
    /// |---|---|
    /// | `https://example.com`, `http://localhost:3000` | this origin; case, a slash at the end and the default port of the scheme do not matter |
    /// | `https://*.example.com` | all subdomains of `example.com`, but not `example.com` itself |
    /// | `http://localhost:*` | any port |
    /// | `null`, `file://` | the values that browsers send for pages without a host |
    /// | `app://localhost`, `chrome-extension://…` | other schemes in the same way |
    ///
    /// # Panics
    /// If an entry could never match.
    #[track_caller]
    pub fn list<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Origins {
        let mut patterns = Vec::new();
        for entry in origins {
            let entry = entry.as_ref();
            match Pattern::parse(&entry.to_ascii_lowercase()) {
                Ok(pattern) => patterns.push(pattern),
                Err(cure) => panic!("{entry:?} is not an origin: {cure}"),
            }
        }
        Origins(Rule::List(patterns.into()))
    }

    /// `Err` with the origin if it is not allowed. `host`: what the request is for.
    pub(crate) fn check<'a>(&self, headers: &HeaderMap, host: impl FnOnce() -> Option<&'a str>) -> Result<(), String> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let text = origin.to_str().ok().filter(|_| origins.next().is_none());
        let allowed = match (&self.0, text) {
            (Rule::Any, _) => true,
            (_, None) => false,
            (Rule::SameHost, Some(origin)) => host().is_some_and(|host| is_of_host(origin, host, true)),
            (Rule::SameHostAnyPort, Some(origin)) => host().is_some_and(|host| is_of_host(origin, host, false)),
            (Rule::List(patterns), Some(origin)) => patterns.iter().any(|pattern| pattern.matches(origin)),
        };
        if allowed { Ok(()) } else { Err(String::from_utf8_lossy(origin.as_bytes()).into_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &Origins, host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        origins.check(&headers, || Some(host)).is_ok()
    }

    #[test]
    fn the_same_host_and_perhaps_port() {
        let (same, any_port) = (Origins::same_host(), Origins::same_host_any_port());
        // Whether it is allowed, and whether it is on any port.
        for (host, origin, allowed, on_any_port) in [
            ("example.com", "http://example.com", true, true),
            ("example.com", "https://example.com", true, true),
            ("Example.com:80", "http://EXAMPLE.com", true, true),
            ("example.com:", "http://example.com", true, true),
            ("example.com", "https://example.com:443", true, true),
            ("localhost:8000", "http://localhost:8000", true, true),
            ("localhost:8000", "http://localhost:3000", false, true),
            ("localhost:8080", "HTTP://LOCALHOST", false, true),
            ("example.com:443", "http://example.com", false, true),
            ("example.com:80", "https://example.com", false, true),
            ("[::1]:8000", "http://[::1]:8000", true, true),
            ("[0:0::1]:8000", "http://[::1]:8000", true, true),
            ("[::1]:8000", "http://[::1]", false, true),
            ("[::1]", "http://[::2]", false, false),
            ("localhost", "http://127.0.0.1", false, false),
            ("example.com", "http://example.com.evil.org", false, false),
            ("example.com", "http://evil.org", false, false),
            ("example.com", "http://a.example.com", false, false),
            ("example.com", "http://example.com@evil.org", false, false),
            ("example.com", "http://evil.org/http://example.com", false, false),
            ("example.com", "http://example.com/", false, false),
            ("example.com", "ftp://example.com", false, false),
            ("example.com", "example.com", false, false),
            ("example.com", "http://", false, false),
            ("example.com", "://example.com", false, false),
            ("example.com", "null", false, false),
            ("example.com", "", false, false),
            ("example.com", "file://", false, false),
            ("[::1", "http://[::1", false, false),
        ] {
            assert_eq!(allows(&same, host, origin), allowed, "{origin} at {host}");
            assert_eq!(allows(&any_port, host, origin), on_any_port, "{origin} at any port of {host}");
        }
    }

    #[test]
    fn without_a_host_no_page_is_of_it() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, "http://a".parse().unwrap());
        assert!(Origins::same_host().check(&headers, || None).is_err());
        assert!(Origins::list(["http://a"]).check(&headers, || None).is_ok());
    }

    #[test]
    fn an_entry_allows_what_its_author_means() {
        for (entry, allowed, refused) in [
            (
                "https://example.com/",
                &["https://example.com", "HTTPS://Example.com:443"][..],
                &["http://example.com", "https://example.com:8443", "https://a.example.com", "https://example.org"][..],
            ),
            ("HTTPS://Example.COM:443", &["https://example.com"], &["http://example.com", "https://example.com:80"]),
            ("http://example.com:443", &["http://example.com:443"], &["http://example.com", "https://example.com"]),
            ("http://localhost:3000", &["http://localhost:3000"], &["http://localhost", "http://localhost:30000"]),
            (
                "http://localhost:*",
                &["http://localhost", "http://localhost:80", "http://localhost:3000"],
                &["https://localhost", "http://localhost.evil.org", "http://a.localhost:1"],
            ),
            (
                "https://*.Example.org",
                &["https://a.example.org", "https://a.b.example.org", "https://A.EXAMPLE.ORG"],
                &[
                    "https://example.org",
                    "https://.example.org",
                    "https://evilexample.org",
                    "http://a.example.org",
                    "https://a.example.org:8443",
                    "https://evil.org/a.example.org",
                    "https://evil.org?.example.org",
                    "https://evil@a.example.org",
                    "https://a.example.org.evil.org",
                ],
            ),
            ("https://*.example.org:8443", &["https://a.example.org:8443"], &["https://a.example.org"]),
            (
                "https://*.example.org:*",
                &["https://a.example.org:8443", "https://a.example.org"],
                &["https://example.org:1"],
            ),
            ("http://[0:0:0:0:0:0:0:1]:8080", &["http://[::1]:8080"], &["http://[::1]", "http://[::2]:8080"]),
            ("http://127.0.0.1:8080", &["http://127.0.0.1:8080"], &["http://localhost:8080"]),
            ("null", &["null", "NULL"], &["http://null", ""]),
            ("file://", &["file://"], &["null", "file://a"]),
            ("file:///", &["file://"], &["null"]),
            ("app://localhost", &["app://localhost"], &["http://localhost", "app://localhost:80"]),
            ("app://.", &["app://."], &["app://a"]),
            ("chrome-extension://abcdefghijklmnop", &["chrome-extension://abcdefghijklmnop"], &["chrome-extension://a"]),
            ("capacitor://localhost:80", &["capacitor://localhost:80"], &["capacitor://localhost"]),
            ("https://my_host", &["https://my_host"], &["https://myhost"]),
        ] {
            let list = Origins::list([entry]);
            for origin in allowed {
                assert!(allows(&list, "server", origin), "{entry} allows {origin}");
            }
            for origin in refused {
                assert!(!allows(&list, "server", origin), "{entry} refuses {origin}");
            }
        }
        assert!(!allows(&Origins::list([""; 0]), "server", "http://server"), "an empty list");
    }

    #[test]
    fn an_entry_that_could_never_match_panics_and_names_the_cure() {
        for (entry, cure) in [
            ("*", "Origins::any()"),
            ("", "scheme"),
            ("example.com", "`https://example.com`"),
            ("localhost:3000", "`https://example.com`"),
            ("//example.com", "scheme"),
            ("http:/example.com", "scheme"),
            ("*://example.com", "one scheme"),
            ("http*://example.com", "one scheme"),
            (" https://example.com", "one scheme"),
            ("wss://example.com", "`https://`"),
            ("https://", "host is malformed"),
            ("https:///", "host is malformed"),
            ("https://example.com ", "host is malformed"),
            ("https://exa mple.com", "host is malformed"),
            ("https://u@example.com", "host is malformed"),
            ("https://a,https://b", "no path"),
            ("https://example.com/app", "no path"),
            ("https://example.com//", "no path"),
            ("https://example.com?a", "no path"),
            ("https://example.com#a", "no path"),
            ("https://b\u{fc}cher.example", "xn--"),
            ("https://*", "subdomains"),
            ("https://*example.com", "subdomains"),
            ("https://a.*.example.com", "subdomains"),
            ("https://*.*.example.com", "subdomains"),
            ("https://*.", "host is malformed"),
            ("https://*.[::1]", "no subdomains"),
            ("https://*.127.0.0.1", "no subdomains"),
            ("https://[::1", "host is malformed"),
            ("https://::1", "host is malformed"),
            ("https://127.1", "host is malformed"),
            ("https://256.0.0.1", "host is malformed"),
            ("http://localhost:0", "port is a number"),
            ("http://localhost:080", "port is a number"),
            ("http://localhost:65536", "port is a number"),
            ("http://localhost:3000-3010", "port is a number"),
            ("http://localhost:300*", "port is a number"),
            ("http://localhost:+80", "port is a number"),
        ] {
            let made = std::panic::catch_unwind(|| Origins::list([entry]));
            let panic = *made.expect_err(entry).downcast::<String>().unwrap();
            assert!(panic.starts_with(&format!("{entry:?} is not an origin: ")) && panic.contains(cure), "{panic}");
        }
    }

    #[test]
    fn no_origin_is_no_browser_and_two_are_no_browser_either() {
        let mut headers = HeaderMap::new();
        assert!(Origins::same_host().check(&headers, || None).is_ok());
        headers.append(ORIGIN, "http://a".parse().unwrap());
        headers.append(ORIGIN, "http://b".parse().unwrap());
        assert!(Origins::list(["http://a", "http://b"]).check(&headers, || None).is_err());
        assert!(Origins::any().check(&headers, || None).is_ok());
    }
}
