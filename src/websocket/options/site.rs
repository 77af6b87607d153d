use core::net::Ipv6Addr;

/// The parts of an origin `scheme://host:port`.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a str,
    /// Empty if it is the scheme's own.
    pub(crate) port: &'a str,
}

impl<'a> Site<'a> {
    pub(crate) fn parse(origin: &'a str) -> Option<Site<'a>> {
        let (scheme, authority) = origin.split_once("://")?;
        let (host, port) = split_port(authority, scheme);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_site = !scheme.is_empty() && !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        (is_site && (ipv6(host).is_some() || host.bytes().all(is_host))).then_some(Site { scheme, host, port })
    }
}

/// Whether a page of this origin is of the host that a request is for. The scheme does not count,
/// since a proxy may have taken the TLS away; the scheme's own port may be left out on both sides.
pub(crate) fn is_of_host(origin: &str, host: &str, heeds_port: bool) -> bool {
    let Some(site) = Site::parse(origin) else { return false };
    if !(site.scheme.eq_ignore_ascii_case("http") || site.scheme.eq_ignore_ascii_case("https")) {
        return false;
    }
    let (host, port) = split_port(host, site.scheme);
    is_same_host(site.host, host) && (!heeds_port || site.port == port)
}

/// Separates a host from its port, which is empty if it is the scheme's own.
pub(crate) fn split_port<'a>(authority: &'a str, scheme: &str) -> (&'a str, &'a str) {
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
pub(crate) fn is_same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || ipv6(one).is_some_and(|address| ipv6(other) == Some(address))
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}
