use std::sync::Arc;

use http::Uri;
use http::header::{HOST, HeaderMap, ORIGIN};

/// Which web pages may open a connection (RFC 6455 §10.2).
///
/// A browser says in `Origin` which site a page is of, and sends the visitor's cookies along; without a rule, any page in
/// the world could use your service in your visitors' name. A client without `Origin` is no browser, and this is no
/// protection against it: those are told apart by a token or a password.
///
/// ```
/// use react_websocket::Origins;
///
/// let origins = Origins::list(["https://example.com", "https://*.example.com"]);
/// ```
#[derive(Clone, Debug)]
pub struct Origins(Rule);

#[derive(Clone, Debug)]
enum Rule {
    SameHost,
    Any,
    List(Arc<[String]>),
}

impl Origins {
    /// Pages of the host (and port) that the request itself is for. The default.
    ///
    /// Behind a proxy that changes `Host` no page is of that host: have the proxy pass it on, or use a
    /// [`list`](Origins::list).
    pub fn same_host() -> Origins {
        Origins(Rule::SameHost)
    }

    /// All pages: for public services that know their clients by something else than cookies.
    pub fn any() -> Origins {
        Origins(Rule::Any)
    }

    /// Pages of these origins, written as browsers do: `https://example.com`, `http://localhost:3000`. With
    /// `https://*.example.com` all subdomains of `example.com` are meant, but not `example.com` itself.
    pub fn list<S: Into<String>>(origins: impl IntoIterator<Item = S>) -> Origins {
        let normal = |origin: S| origin.into().trim_end_matches('/').to_ascii_lowercase();
        Origins(Rule::List(origins.into_iter().map(normal).collect()))
    }

    /// `Err` with the origin if it is not allowed.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let only = origin.to_str().ok().filter(|_| origins.next().is_none()).map(str::to_ascii_lowercase);
        let allowed = match (&self.0, only) {
            (Rule::Any, _) => true,
            (_, None) => false,
            (Rule::SameHost, Some(origin)) => {
                headers.get(HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| is_host_of(&origin, host))
            }
            (Rule::List(list), Some(origin)) => list.iter().any(|pattern| matches(pattern, &origin)),
        };
        if allowed { Ok(()) } else { Err(String::from_utf8_lossy(origin.as_bytes()).into_owned()) }
    }
}

/// Whether `Host: host` is where a page of this origin comes from. The scheme does not count, since a proxy may have taken
/// the TLS away; the port does, and the scheme's own may be left out.
fn is_host_of(origin: &str, host: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    let default_port = match uri.scheme_str() {
        Some("http") => ":80",
        Some("https") => ":443",
        _ => return false,
    };
    let host = host.to_ascii_lowercase();
    let without_port = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_owned();
    without_port(authority.as_str()) == without_port(&host)
}

fn matches(pattern: &str, origin: &str) -> bool {
    match pattern.split_once("://*.") {
        None => pattern == origin,
        Some((scheme, domain)) => {
            let host = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
            let subdomain = host.and_then(|host| host.strip_suffix(domain)).and_then(|rest| rest.strip_suffix('.'));
            subdomain.is_some_and(|subdomain| !subdomain.is_empty() && !subdomain.contains(['/', '@', ':']))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &Origins, host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers.insert(ORIGIN, origin.parse().unwrap());
        origins.check(&headers).is_ok()
    }

    #[test]
    fn the_same_host_and_port() {
        let same = Origins::same_host();
        for (host, origin, allowed) in [
            ("example.com", "http://example.com", true),
            ("example.com", "https://example.com", true),
            ("Example.com:80", "http://EXAMPLE.com", true),
            ("example.com", "https://example.com:443", true),
            ("localhost:8000", "http://localhost:8000", true),
            ("localhost:8000", "http://localhost:3000", false),
            ("example.com:443", "http://example.com", false),
            ("example.com", "http://example.com.evil.org", false),
            ("example.com", "http://evil.org", false),
            ("example.com", "null", false),
            ("example.com", "", false),
            ("example.com", "file://", false),
        ] {
            assert_eq!(allows(&same, host, origin), allowed, "{origin} at {host}");
        }
    }

    #[test]
    fn a_list_with_subdomains() {
        let list = Origins::list(["https://example.com/", "https://*.Example.org", "http://localhost:3000"]);
        for (origin, allowed) in [
            ("https://example.com", true),
            ("http://example.com", false),
            ("https://a.example.com", false),
            ("https://a.example.org", true),
            ("https://a.b.example.org", true),
            ("https://example.org", false),
            ("https://.example.org", false),
            ("https://evilexample.org", false),
            ("https://evil.org/a.example.org", false),
            ("http://localhost:3000", true),
            ("http://localhost", false),
        ] {
            assert_eq!(allows(&list, "server", origin), allowed, "{origin}");
        }
    }

    #[test]
    fn no_origin_is_no_browser_and_two_are_no_browser_either() {
        let mut headers = HeaderMap::new();
        assert!(Origins::same_host().check(&headers).is_ok());
        headers.append(ORIGIN, "http://a".parse().unwrap());
        headers.append(ORIGIN, "http://b".parse().unwrap());
        assert!(Origins::list(["http://a", "http://b"]).check(&headers).is_err());
        assert!(Origins::any().check(&headers).is_ok());
    }
}
