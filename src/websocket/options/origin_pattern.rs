use core::net::Ipv4Addr;

use crate::websocket::options::site::{Site, is_same_host, split_port};

/// An entry of a list, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
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
pub(crate) enum Port {
    Any,
    /// Empty if it is the scheme's own.
    Only(String),
}

impl Pattern {
    /// Parses an entry in lower case. `Err` is the advice what to write instead.
    pub(crate) fn parse(entry: &str) -> Result<Pattern, &'static str> {
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

    pub(crate) fn matches(&self, origin: &str) -> bool {
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
