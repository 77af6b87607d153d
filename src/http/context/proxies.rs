#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use crate::http::message::{Forwarding, Head, Source, addresses};
use crate::runtime::networks::Networks;
use crate::runtime::stream::Stream;

/// The trusted proxies, and the headers in which they describe the client's request.
///
/// Behind a proxy every connection comes from the proxy's address. The client's address is in a
/// header: each proxy appends the address of its own peer to this header. A client can send such a
/// header too. So the server reads the header from its end, and uses only the part that trusted
/// proxies wrote. It skips addresses of the trusted networks, and the first other address is the
/// client's.
///
/// In the same way proxies write the scheme and host of the client's request, for
/// [`scheme`](crate::ServerRequest::scheme) and [`host`](crate::ServerRequest::host). `Forwarded`
/// has address, scheme and host in one element. The `X-Forwarded-*` headers are separate, and many
/// proxies pass on headers that they do not write. So the server reads each of these headers only
/// if it is named: [`x_forwarded_proto`](TrustedProxies::x_forwarded_proto),
/// [`x_forwarded_host`](TrustedProxies::x_forwarded_host).
///
/// The proxies must set or extend each named header on every request. If a proxy passes a header on
/// unchanged, clients can choose their own address.
///
/// ```
/// use react_websocket::options::TrustedProxies;
/// use react_websocket::HttpOptions;
///
/// let proxies = TrustedProxies::x_forwarded_for(["10.0.0.0/8", "::1"]).x_forwarded_proto().x_forwarded_host();
/// let options = HttpOptions::new().trusted_proxies(proxies);
/// ```
#[must_use = "proxies are for `HttpOptions::trusted_proxies`"]
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    address: Source,
    proto: Source,
    host: Source,
    networks: Networks,
}

impl TrustedProxies {
    /// Trusts proxies in these networks, which write `X-Forwarded-For: 192.0.2.1, 10.0.0.1`, as
    /// most proxies do. A network is written as `10.0.0.0/8` or `fd00::/8`, and a single address
    /// without a prefix length.
    ///
    /// # Panics
    /// If an entry is not a network.
    #[track_caller]
    pub fn x_forwarded_for<S: AsRef<str>>(networks: impl IntoIterator<Item = S>) -> TrustedProxies {
        let networks = Networks::parse(networks);
        TrustedProxies { address: Source::XForwarded, proto: Source::Nowhere, host: Source::Nowhere, networks }
    }

    /// Trusts proxies in these networks, which write the header of RFC 7239:
    /// `Forwarded: for=192.0.2.1;proto=https;host=example.com`. Networks are written as in
    /// [`x_forwarded_for`](TrustedProxies::x_forwarded_for).
    ///
    /// # Panics
    /// If an entry is not a network.
    #[track_caller]
    pub fn forwarded<S: AsRef<str>>(networks: impl IntoIterator<Item = S>) -> TrustedProxies {
        let networks = Networks::parse(networks);
        TrustedProxies { address: Source::Forwarded, proto: Source::Forwarded, host: Source::Forwarded, networks }
    }

    /// Reads the scheme of the client's request from `X-Forwarded-Proto`: `http` or `https`, or
    /// `ws` or `wss`.
    ///
    /// If a request has passed several trusted proxies, the last elements of the list must be
    /// equal, one for each of these proxies. Otherwise the header is ignored. So the outermost
    /// proxy should set the header, and the other proxies should pass it on.
    pub fn x_forwarded_proto(mut self) -> TrustedProxies {
        self.proto = Source::XForwarded;
        self
    }

    /// Reads the host of the client's request from `X-Forwarded-Host`: `example.com` or
    /// `example.com:8443`.
    ///
    /// The elements of several proxies must be equal, as in
    /// [`x_forwarded_proto`](TrustedProxies::x_forwarded_proto).
    pub fn x_forwarded_host(mut self) -> TrustedProxies {
        self.host = Source::XForwarded;
        self
    }

    /// Returns whether a trusted proxy has this address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// Returns the client of a request with these headers that has arrived on this stream, and
    /// where the headers say more, if a trusted proxy has sent it.
    pub(crate) fn client(&self, head: &Head, stream: &Stream) -> (Option<SocketAddr>, Option<Forwarding>) {
        let is_trusted = match stream.remote {
            Some(peer) => self.contains(peer.ip()),
            None => is_unix_socket(stream),
        };
        if !is_trusted {
            return (stream.remote, None);
        }
        let headers = head.headers();
        let mut client = stream.remote;
        let mut place = 0;
        for (number, address) in (0..).zip(addresses(self.address, headers)) {
            place = number;
            // A proxy without an address ends the search. A client may have written what is on its
            // left.
            let Some(address) = address else { break };
            client = Some(address);
            if !self.contains(address.ip()) {
                break;
            }
        }
        (client, Some(Forwarding { place, proto: self.proto, host: self.host }))
    }
}

/// Returns whether the stream is a Unix socket. The permissions of its file decide who can connect
/// to it. Nothing is known of other streams without addresses.
fn is_unix_socket(stream: &Stream) -> bool {
    match stream.transport {
        #[cfg(unix)]
        crate::runtime::stream::Transport::Unix(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{FORWARDED, HeaderName};
    use proptest::test_runner::{Config, RngSeed, TestRunner};

    use super::*;

    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROXY: &str = "10.0.0.1:4711";

    /// Whom a request from `peer` is from, with these lines of the header.
    fn client(proxies: &TrustedProxies, peer: &str, lines: &[&[u8]]) -> String {
        let name = if proxies.address == Source::Forwarded { FORWARDED } else { X_FORWARDED_FOR };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), http::HeaderValue::from_bytes(line).unwrap());
        }
        let stream = Stream { remote: peer.parse().ok(), ..Stream::other(tokio::io::duplex(1).0) };
        proxies.client(&head_of(headers), &stream).0.map_or("nobody".to_owned(), |client| client.to_string())
    }

    fn head_of(headers: HeaderMap) -> Head {
        Head::new(http::Method::GET, http::Version::HTTP_11, Default::default(), None, headers)
    }

    fn x_forwarded_for() -> TrustedProxies {
        TrustedProxies::x_forwarded_for(["10.0.0.0/8", "192.0.2.7", "fd00::/8"])
    }

    fn forwarded() -> TrustedProxies {
        TrustedProxies::forwarded(["10.0.0.0/8", "192.0.2.7", "fd00::/8"])
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        for (lines, expected) in [
            (&["1.2.3.4"][..], "1.2.3.4:0"),
            (&["6.6.6.6, 1.2.3.4"], "1.2.3.4:0"),
            (&["6.6.6.6,1.2.3.4 ,\t10.0.0.2 , 192.0.2.7"], "1.2.3.4:0"),
            (&["6.6.6.6", "1.2.3.4", "10.0.0.2"], "1.2.3.4:0"),
            (&["6.6.6.6, 1.2.3.4", "10.0.0.2, fd00::1"], "1.2.3.4:0"),
            (&["1.2.3.4", "192.0.2.8"], "192.0.2.8:0"),
            // A request from one of the proxies.
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3:0"),
            (&[], PROXY),
        ] {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(client(&x_forwarded_for(), PROXY, &lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_element_that_is_no_address_ends_the_list() {
        for (line, expected) in [
            (&b"unknown"[..], PROXY),
            (b"6.6.6.6, unknown", PROXY),
            (b"6.6.6.6, _hidden", PROXY),
            (b"6.6.6.6, unix:", PROXY),
            (b"6.6.6.6, 1.2.3", PROXY),
            (b"6.6.6.6, 1.2.3.4:99999", PROXY),
            (b"6.6.6.6, [::1", PROXY),
            (b"6.6.6.6, 1.2.3.4 5.6.7.8", PROXY),
            (b"6.6.6.6, \xff", PROXY),
            (b"6.6.6.6,", PROXY),
            (b"", PROXY),
            (b"6.6.6.6, unknown, 10.0.0.2", "10.0.0.2:0"),
            // Elements that the client wrote before that do not matter.
            (b"\xff, \", for=\", 1.2.3.4", "1.2.3.4:0"),
            (b"\\\", 1.2.3.4", "1.2.3.4:0"),
        ] {
            assert_eq!(client(&x_forwarded_for(), PROXY, &[line]), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn only_a_trusted_peer_is_believed() {
        for (peer, expected) in [
            ("10.255.255.255:1", "1.2.3.4:0"),
            ("11.0.0.0:1", "11.0.0.0:1"),
            ("192.0.2.7:1", "1.2.3.4:0"),
            ("192.0.2.8:1", "192.0.2.8:1"),
            ("[fdff::1]:1", "1.2.3.4:0"),
            ("[fe00::1]:1", "[fe00::1]:1"),
            // A socket that listens on `[::]` reports IPv4 peers like this.
            ("[::ffff:10.0.0.1]:1", "1.2.3.4:0"),
            ("[::ffff:11.0.0.1]:1", "[::ffff:11.0.0.1]:1"),
            // A stream without an address.
            ("", "nobody"),
        ] {
            assert_eq!(client(&x_forwarded_for(), peer, &[b"1.2.3.4"]), expected, "{peer}");
        }
    }

    #[test]
    fn networks_have_any_spelling() {
        for (network, peer, trusted) in [
            ("::ffff:10.0.0.0/104", "10.1.1.1:1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1:1", false),
            ("10.9.9.9/8", "10.1.1.1:1", true),
            ("0.0.0.0/0", "1.1.1.1:1", true),
            ("0.0.0.0/0", "[2001:db8::1]:1", false),
            ("::/0", "[2001:db8::1]:1", true),
            ("::1", "[::1]:1", true),
            ("::1", "[::2]:1", false),
        ] {
            let told = client(&TrustedProxies::x_forwarded_for([network]), peer, &[b"8.8.8.8"]);
            assert_eq!(told == "8.8.8.8:0", trusted, "{peer} in {network}: {told}");
        }
        assert_eq!(client(&TrustedProxies::x_forwarded_for([""; 0]), PROXY, &[b"8.8.8.8"]), PROXY);
    }

    #[test]
    fn what_is_no_network_panics() {
        for text in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.1:80", "::1/129", " 10.0.0.1"] {
            let made = std::panic::catch_unwind(|| TrustedProxies::forwarded([text]));
            let panic = made.expect_err(text);
            assert!(panic.downcast_ref::<String>().unwrap().contains(&format!("{text:?} is not a network")));
        }
    }

    #[test]
    fn a_port_is_kept_if_it_is_told() {
        for (element, expected) in [
            ("1.2.3.4:5678", "1.2.3.4:5678"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("1.2.3.4:_secret", "1.2.3.4:0"),
            ("[2001:db8::1]:_secret", "[2001:db8::1]:0"),
            ("::ffff:1.2.3.4", "1.2.3.4:0"),
            ("[::ffff:1.2.3.4]:7", "1.2.3.4:7"),
            // Proxies have ports too.
            ("1.2.3.4:5678, 10.0.0.2:80, [fd00::1]:80", "1.2.3.4:5678"),
        ] {
            assert_eq!(client(&x_forwarded_for(), PROXY, &[element.as_bytes()]), expected, "{element}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (line, expected) in [
            ("for=1.2.3.4", "1.2.3.4:0"),
            ("For=\"1.2.3.4:5678\"", "1.2.3.4:5678"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
            ("for=192.0.2.43, for=1.2.3.4;proto=http;by=10.0.0.1", "1.2.3.4:0"),
            ("proto=https; host=\"a, b;for=6.6.6.6\"; for=1.2.3.4 , by=x;for=10.0.0.2", "1.2.3.4:0"),
            ("for=6.6.6.6, for=1.2.3.4;host=\"a\\\", for=7.7.7.7\\\\\"", "1.2.3.4:0"),
            ("for=6.6.6.6, for=unknown", PROXY),
            ("for=6.6.6.6, for=\"_gazonk\"", PROXY),
            ("for=6.6.6.6, proto=http", PROXY),
            ("for=6.6.6.6, for=1.2.3.4;for=7.7.7.7", PROXY),
            ("for=6.6.6.6, for=\"1.2.3.4", PROXY),
            ("for=6.6.6.6, 1.2.3.4", PROXY),
            ("for=6.6.6.6, for", PROXY),
        ] {
            assert_eq!(client(&forwarded(), PROXY, &[line.as_bytes()]), expected, "{line}");
        }
    }

    #[test]
    fn nothing_that_a_client_writes_into_forwarded_hides_what_a_proxy_adds() {
        for forged in ["for=6.6.6.6;x=\"", "for=\"6.6.6.6", "\\", "x=\"\\", "\"\"\"", ";;for=", "for=6.6.6.6;host=\"\\\""] {
            for proxys in ["for=1.2.3.4", "for=\"1.2.3.4:0\"", "host=\"a, b\";for=1.2.3.4;by=\"[fd00::1]\""] {
                let one_line = format!("{forged}, {proxys}");
                assert_eq!(client(&forwarded(), PROXY, &[one_line.as_bytes()]), "1.2.3.4:0", "{one_line}");
                let lines = [forged.as_bytes(), proxys.as_bytes()];
                assert_eq!(client(&forwarded(), PROXY, &lines), "1.2.3.4:0", "{forged} and {proxys}");
            }
        }
    }

    #[test]
    fn whatever_a_client_writes_the_proxys_element_counts() {
        let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(0x5EED), ..Config::default() };
        let anything = r#"[ -~\t\u{80}]{0,20}|["\\\\,;=for1.]{0,20}"#;
        let rule = |forged: String| {
            for (proxies, added) in
                [(x_forwarded_for(), "1.2.3.4, fd00::1"), (forwarded(), "for=\"1.2.3.4\";by=\"a,\\\"\", for=10.0.0.2")]
            {
                let line = format!("{forged},{added}");
                assert_eq!(client(&proxies, PROXY, &[line.as_bytes()]), "1.2.3.4:0", "{line}");
            }
            Ok(())
        };
        TestRunner::new(config).run(&anything, rule).unwrap();
    }

    #[test]
    fn whatever_a_client_writes_the_proxys_host_counts() {
        let config = Config { failure_persistence: None, rng_seed: RngSeed::Fixed(0x5EED), ..Config::default() };
        let anything = r#"[ -~\t\u{80}]{0,20}|["\\\\,;=host.]{0,20}"#;
        let stream = Stream { remote: PROXY.parse().ok(), ..Stream::other(tokio::io::duplex(1).0) };
        let rule = |forged: String| {
            for (proxies, name, added) in [
                (x_forwarded_for().x_forwarded_host(), "x-forwarded-host", "a"),
                (forwarded(), "forwarded", "for=\"1.2.3.4\";host=a;by=\"x,\\\"\""),
            ] {
                let line = format!("{forged},{added}");
                let mut headers = HeaderMap::new();
                headers.append(name, http::HeaderValue::from_bytes(line.as_bytes()).unwrap());
                let (_, forwarding) = proxies.client(&head_of(headers.clone()), &stream);
                assert_eq!(forwarding.and_then(|forwarding| forwarding.host(&headers)), Some("a"), "{line}");
            }
            Ok(())
        };
        TestRunner::new(config).run(&anything, rule).unwrap();
    }

    #[test]
    fn the_other_header_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED, http::HeaderValue::from_static("for=6.6.6.6"));
        let stream = Stream { remote: PROXY.parse().ok(), ..Stream::other(tokio::io::duplex(1).0) };
        assert_eq!(x_forwarded_for().client(&head_of(headers.clone()), &stream).0, PROXY.parse().ok());
        assert_eq!(forwarded().client(&head_of(headers), &stream).0, "6.6.6.6:0".parse().ok());
    }
}
