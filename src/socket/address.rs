use std::path::PathBuf;

use super::SocketError;

/// The address of a server, parsed from ReactPHP's form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `host:port`. The host is an address or a name.
    Tcp(String),
    /// Like `Tcp`, for TLS.
    Tls(String),
    Unix(PathBuf),
}

impl Address {
    /// Parses `host:port`, `tcp://host:port` or `tls://host:port`, a port alone (on 127.0.0.1, as in
    /// ReactPHP), or `unix://path`.
    pub(super) fn parse(uri: &str) -> Result<Address, SocketError> {
        let invalid = || SocketError::InvalidAddress { uri: uri.to_owned() };
        let (address, authority): (fn(String) -> Address, &str) = match uri.split_once("://") {
            Some(("unix", path)) if is_path(path) => return Ok(Address::Unix(path.into())),
            Some(("tcp", authority)) => (Address::Tcp, authority),
            Some(("tls", authority)) => (Address::Tls, authority),
            Some(_) => return Err(invalid()),
            None => (Address::Tcp, uri),
        };
        if is_port(authority) {
            return Ok(address(format!("127.0.0.1:{authority}")));
        }
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && is_port(port) => Ok(address(authority.to_owned())),
            _ => Err(invalid()),
        }
    }
}

/// Whether a Unix socket can have this path. The system reads a path up to its first NUL. On Linux
/// a NUL at the beginning makes an abstract name, which may contain more of them: see unix(7).
fn is_path(path: &str) -> bool {
    let is_abstract = cfg!(any(target_os = "linux", target_os = "android")) && path.starts_with('\0');
    !path.is_empty() && (is_abstract || !path.contains('\0'))
}

/// Returns whether a text consists of digits. `parse` alone would accept a sign.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (uri, address) in [
            ("0.0.0.0:8000", "0.0.0.0:8000"),
            ("tcp://127.0.0.1:0", "127.0.0.1:0"),
            ("8000", "127.0.0.1:8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("localhost:8000", "localhost:8000"),
        ] {
            assert_eq!(Address::parse(uri).unwrap(), Address::Tcp(address.into()));
        }
        assert_eq!(Address::parse("tls://[::1]:8443").unwrap(), Address::Tls("[::1]:8443".into()));
        assert_eq!(Address::parse("tls://8443").unwrap(), Address::Tls("127.0.0.1:8443".into()));
        assert_eq!(Address::parse("unix:///run/a.sock").unwrap(), Address::Unix("/run/a.sock".into()));
        assert_eq!(Address::parse("unix://a.sock").unwrap(), Address::Unix("a.sock".into()));
    }

    #[test]
    fn what_is_no_address_is_named() {
        for uri in ["", "host", ":8000", "host:", "host:x", "host:65536", "tls://host", "unix://", "http://host:80"] {
            let error = Address::parse(uri).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid address {uri:?}")), "{error}");
        }
    }
}
