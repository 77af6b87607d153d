use core::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::header::{HeaderMap, ORIGIN};

/// Which web pages may open a connection (RFC 6455 section 10.2).
///
/// A browser sends in `Origin` which site a page is of, and it sends the visitor's cookies along.
/// Without a rule, any page in the world could use your service in your visitors' name. A client
/// without `Origin` is not a browser, and always passes: a token or a password tells such clients
/// apart.
///
/// A page that is not allowed gets a 403 that says no more. The reason is in the middleware's
/// `error` event, in [`HandshakeError::Origin`](crate::HandshakeError::Origin), and in the lines of
/// the feature `tracing`.
///
/// ```
/// use react_websocket::Origins;
///
/// let origins = Origins::list(["https://example.com", "https://*.example.com", "http://localhost:*"]);
/// ```
#[derive(Clone, Debug)]
pub struct Origins(Rule);

#[derive(Clone, Debug)]
enum Rule {
    SameHost,
    SameHostAnyPort,
    Any,
    List(Arc<[Pattern]>),
}

/// An entry of a list, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// An origin without a host.
    Whole(&'static str),
    Site {
        scheme: String,
        /// Without the `*.`.
        host: String,
        subdomains: bool,
        port: Port,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    Any,
    /// Empty if it is the scheme's own.
    Only(String),
}

impl Origins {
    /// Allows pages of the [host](crate::ServerRequest::host) and port that the request itself is
    /// for. The default.
    ///
    /// Behind a proxy that changes `Host` no page is of that host. Have the proxy pass `Host` on,
    /// or have it write the client's host for [`TrustedProxies`](crate::TrustedProxies), or use a
    /// [`list`](Origins::list).
    pub fn same_host() -> Origins {
        Origins(Rule::SameHost)
    }

    /// Allows pages of the [host](crate::ServerRequest::host) that the request itself is for, on
    /// any port. This fits a page on port 80 whose WebSockets are on port 8080, as is usual with
    /// PHP.
    ///
    /// The price: whatever serves pages on another port of the host may connect, in the name of its
    /// visitors. Cookies do not heed ports either (RFC 6265 section 8.5), so such a page could read
    /// most cookies of the host anyway. `localhost` and `127.0.0.1` are two hosts.
    pub fn same_host_any_port() -> Origins {
        Origins(Rule::SameHostAnyPort)
    }

    /// Allows all pages: for public services that know their clients by something else than
    /// cookies.
    pub fn any() -> Origins {
        Origins(Rule::Any)
    }

    /// Allows pages of these origins.
    ///
    /// | Entry | Allows |
    /// |---|---|
    /// | `https://example.com`, `http://localhost:3000` | this origin; case, a slash at the end and the scheme's own port do not count |
    /// | `https://*.example.com` | all subdomains of `example.com`, but not `example.com` itself |
    /// | `http://localhost:*` | any port |
    /// | `null`, `file://` | what browsers send for pages without a host |
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

/// The parts of an origin `scheme://host:port`.
#[derive(Clone, Copy)]
struct Site<'a> {
    scheme: &'a str,
    host: &'a str,
    /// Empty if it is the scheme's own.
    port: &'a str,
}

impl<'a> Site<'a> {
    fn parse(origin: &'a str) -> Option<Site<'a>> {
        let (scheme, authority) = origin.split_once("://")?;
        let (host, port) = split_port(authority, scheme);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_site = !scheme.is_empty() && !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        (is_site && (ipv6(host).is_some() || host.bytes().all(is_host))).then_some(Site { scheme, host, port })
    }
}

/// Whether a page of this origin is of the host that a request is for. The scheme does not count,
/// since a proxy may have taken the TLS away; the scheme's own port may be left out on both sides.
fn is_of_host(origin: &str, host: &str, heeds_port: bool) -> bool {
    let Some(site) = Site::parse(origin) else { return false };
    if !(site.scheme.eq_ignore_ascii_case("http") || site.scheme.eq_ignore_ascii_case("https")) {
        return false;
    }
    let (host, port) = split_port(host, site.scheme);
    is_same_host(site.host, host) && (!heeds_port || site.port == port)
}

/// Separates a host from its port, which is empty if it is the scheme's own.
fn split_port<'a>(authority: &'a str, scheme: &str) -> (&'a str, &'a str) {
    let after_host = authority.find(']').map_or(0, |end| end + 1);
    let (host, port) = match authority.get(after_host..).and_then(|rest| rest.find(':')) {
        Some(colon) => authority.split_at(after_host + colon),
        None => (authority, ""),
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let is = |name: &str, own: &str| scheme.eq_ignore_ascii_case(name) && port == own;
    (host, if is("http", "80") || is("https", "443") { "" } else { port })
}

/// Addresses of IPv6 have many spellings.
fn is_same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || ipv6(one).is_some_and(|address| ipv6(other) == Some(address))
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl Pattern {
    /// Parses an entry in lower case. `Err` says what to write instead.
    fn parse(entry: &str) -> Result<Pattern, &'static str> {
        match entry {
            "*" => return Err("use `Origins::any()` to allow all pages"),
            "null" => return Ok(Pattern::Whole("null")),
            "file://" | "file:///" => return Ok(Pattern::Whole("file://")),
            _ => {}
        }
        let Some((scheme, authority)) = entry.split_once("://") else {
            return Err("it begins with its scheme, as in `https://example.com`");
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if matches!(scheme, "ws" | "wss") {
            return Err("it is that of the page, which begins with `http://` or `https://`");
        }
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            return Err("write one scheme, as in `https://example.com`");
        }
        if authority.contains(['/', '?', '#']) {
            return Err("it ends with its host or port and has no path");
        }
        if !authority.is_ascii() {
            return Err("write its host as browsers send it, as in `https://xn--bcher-kva.example`");
        }
        let (host, port) = split_port(authority, scheme);
        let name = host.strip_prefix("*.");
        let (host, subdomains) = (name.unwrap_or(host), name.is_some());
        if host.contains('*') {
            return Err(
                "`*` stands for subdomains, as in `https://*.example.com`, or for a port, as in `http://localhost:*`",
            );
        }
        if Site::parse(&format!("{scheme}://{host}")).is_none() || is_malformed_ipv4(host) {
            return Err("its host is malformed");
        }
        if subdomains && (host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()) {
            return Err("an address has no subdomains");
        }
        let port = match port {
            "*" => Port::Any,
            "" => Port::Only(String::new()),
            port if !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok() => Port::Only(port.to_owned()),
            _ => return Err("its port is a number from 1 to 65535, or `*`"),
        };
        Ok(Pattern::Site { scheme: scheme.to_owned(), host: host.to_owned(), subdomains, port })
    }

    fn matches(&self, origin: &str) -> bool {
        let (scheme, host, subdomains, port) = match self {
            Pattern::Whole(whole) => return origin.eq_ignore_ascii_case(whole),
            Pattern::Site { scheme, host, subdomains, port } => (scheme, host, *subdomains, port),
        };
        let Some(site) = Site::parse(origin) else { return false };
        let is_host = match subdomains {
            false => is_same_host(host, site.host),
            true => {
                let end = site.host.len().checked_sub(host.len());
                let split = end.and_then(|end| site.host.split_at_checked(end));
                split.is_some_and(|(subdomain, domain)| {
                    domain.eq_ignore_ascii_case(host) && subdomain.len() > 1 && subdomain.ends_with('.')
                })
            }
        };
        let is_port = match port {
            Port::Any => true,
            Port::Only(port) => port == site.port,
        };
        is_host && is_port && site.scheme.eq_ignore_ascii_case(scheme)
    }
}

/// Browsers take a host whose last label is a number for an IPv4 address, and send that in its
/// usual form.
fn is_malformed_ipv4(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err()
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
