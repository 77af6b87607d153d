//! The scheme and host that a client meant. They come from its target (RFC 9112 sections 3.2.2 and
//! 3.3), from the headers of trusted proxies, or from `Host`. Those headers are `Forwarded` (RFC
//! 7239 section 5), `X-Forwarded-Proto` and `X-Forwarded-Host`.

mod support;

use react_websocket::options::TrustedProxies;
use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest};
use support::Peer;
use tokio::io::DuplexStream;

const PROXY: &str = "10.0.0.1:4711";
const STRANGER: &str = "192.0.2.1:4711";

/// A server that tells the scheme and the host of each request.
fn telling(proxies: impl Into<Option<TrustedProxies>>) -> HttpServer {
    let router = |request: ServerRequest| {
        Response::plaintext(format!("{} {}", request.scheme(), request.host().unwrap_or("nobody")))
    };
    HttpServer::new(router).with_options(HttpOptions::new().trusted_proxies(proxies))
}

/// A client at this address, or at none.
fn peer_from(http: &HttpServer, address: &str) -> Peer<DuplexStream> {
    let (client, server) = tokio::io::duplex(100_000);
    drop(http.serve_with_addresses(server, address.parse().ok(), None));
    Peer::new(client)
}

/// What the server takes a request for that comes from `peer` with these header lines.
async fn told(http: &HttpServer, peer: &str, lines: &[impl AsRef<[u8]>]) -> String {
    let mut request = b"GET / HTTP/1.1\r\nHost: own:8080\r\n".to_vec();
    for line in lines {
        request.extend_from_slice(line.as_ref());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    peer_from(http, peer).ask(request).await.text().to_owned()
}

fn networks() -> [&'static str; 3] {
    ["10.0.0.0/8", "fd00::/8", "192.0.2.7"]
}

fn x_forwarded() -> HttpServer {
    telling(TrustedProxies::x_forwarded_for(networks()).x_forwarded_proto().x_forwarded_host())
}

fn forwarded() -> HttpServer {
    telling(TrustedProxies::forwarded(networks()))
}

/// The target URI of a request (RFC 9112 section 3.3).
#[tokio::test(start_paused = true)]
async fn without_proxies_the_target_counts_and_then_host() {
    let http = telling(None);
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nHost: Example.com:80", "http Example.com:80"),
        ("GET / HTTP/1.1\r\nhost: [::1]:8000", "http [::1]:8000"),
        ("GET / HTTP/1.0", "http nobody"),
        ("GET / HTTP/1.0\r\nHost: a", "http a"),
        ("OPTIONS * HTTP/1.1\r\nHost: a", "http a"),
        // The target in absolute form counts instead of Host.
        ("GET http://b:8/c?d HTTP/1.1\r\nHost: a", "http b:8"),
        ("GET https://b/c HTTP/1.1\r\nHost: a", "https b"),
        ("GET WS://b/c HTTP/1.1\r\nHost: a", "http b"),
        ("GET wss://b HTTP/1.1\r\nHost: a", "https b"),
        ("GET https://[::1]:443/ HTTP/1.0", "https [::1]:443"),
    ] {
        assert_eq!(peer_from(&http, STRANGER).ask(format!("{head}\r\n\r\n")).await.text(), expected, "{head}");
    }
}

/// The absolute form (RFC 9112 section 3.2.2).
#[tokio::test(start_paused = true)]
async fn a_target_in_absolute_form_has_a_path_and_a_query() {
    let router = |request: ServerRequest| {
        Response::plaintext(format!("{} {:?} {}", request.path(), request.uri().query(), request.uri()))
    };
    let http = HttpServer::new(router);
    for (target, expected) in [
        ("http://b:8/c?d", "/c Some(\"d\") http://b:8/c?d"),
        ("https://b", "/ None https://b/"),
        ("ws://b", "/ None ws://b/"),
        ("wss://b/c%20d?", "/c%20d Some(\"\") wss://b/c%20d?"),
        ("ws://b?d", "/ Some(\"d\") ws://b/?d"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(peer_from(&http, STRANGER).ask(request).await.text(), expected, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_gives_the_scheme_and_host_of_the_client() {
    let told_of = [
        (x_forwarded(), "X-Forwarded-Proto: https", "X-Forwarded-Host: example.com"),
        (forwarded(), "Forwarded: proto=https", "Forwarded: host=example.com"),
    ];
    for (http, proto, host) in told_of {
        assert_eq!(told(&http, PROXY, &[proto]).await, "https own:8080");
        assert_eq!(told(&http, PROXY, &[host]).await, "http example.com");
        assert_eq!(told(&http, PROXY, &[""; 0]).await, "http own:8080");
        // What the proxy says counts more than the target, which is between the proxy and us.
        let request = format!("GET http://inner:1/ HTTP/1.1\r\nHost: inner:1\r\n{host}\r\n\r\n");
        assert_eq!(peer_from(&http, PROXY).ask(request).await.text(), "http example.com");
        let request = format!("GET http://inner:1/ HTTP/1.1\r\nHost: inner:1\r\n{proto}\r\n\r\n");
        assert_eq!(peer_from(&http, PROXY).ask(request).await.text(), "https inner:1");
    }
}

#[tokio::test(start_paused = true)]
async fn untrusted_peers_cannot_set_the_scheme_and_host() {
    let lines = [
        "X-Forwarded-For: 10.0.0.2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=10.0.0.2;proto=https;host=evil.example",
    ];
    for http in [x_forwarded(), forwarded(), telling(None)] {
        // A stranger, a stream without an address, and an address that only looks like a proxy's.
        for peer in [STRANGER, "", "110.0.0.1:1"] {
            assert_eq!(told(&http, peer, &lines).await, "http own:8080", "{peer}");
        }
    }
}

/// Proxies pass on headers that they do not know. A header is read only if the app has named it as
/// one that its proxies write.
#[tokio::test(start_paused = true)]
async fn a_header_that_was_not_named_is_not_read() {
    let all = [
        "X-Forwarded-For: 192.0.2.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: x.example",
        "Forwarded: for=192.0.2.9;proto=https;host=f.example",
    ];
    let none = || TrustedProxies::x_forwarded_for(networks());
    for (proxies, expected) in [
        (none(), "http own:8080"),
        (none().x_forwarded_proto(), "https own:8080"),
        (none().x_forwarded_host(), "http x.example"),
        (TrustedProxies::forwarded(networks()), "https f.example"),
        (TrustedProxies::forwarded(networks()).x_forwarded_host(), "https x.example"),
    ] {
        assert_eq!(told(&telling(proxies.clone()), PROXY, &all).await, expected, "{proxies:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_a_trusted_proxys() {
    let folder = std::env::temp_dir().join(format!("effective-host-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let socket = react_websocket::SocketServer::new(format!("unix://{}", path.display())).unwrap();
    let _listening = x_forwarded().listen(socket);
    let mut peer = Peer::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    let request = "GET / HTTP/1.1\r\nHost: own\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\n\r\n";
    assert_eq!(peer.ask(request).await.text(), "https example.com");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// RFC 7239 section 5: each proxy adds an element. The outermost trusted proxy's element is about
/// the client's request.
#[tokio::test(start_paused = true)]
async fn in_forwarded_the_outermost_trusted_proxys_element_counts() {
    for (lines, expected) in [
        (&["Forwarded: for=192.0.2.9;proto=https;host=a"][..], "https a"),
        (&["Forwarded: PROTO=HTTPS;Host=\"A:8443\" ; for=192.0.2.9"], "https A:8443"),
        (&["Forwarded: proto=https;host=a;for=unknown"], "https a"),
        (&["Forwarded: proto=wss;host=\"[2001:db8::1]:8443\""], "https [2001:db8::1]:8443"),
        (&["Forwarded: proto=ws"], "http own:8080"),
        // What a client wrote stands before it.
        (&["Forwarded: for=6.6.6.6;proto=https;host=evil, for=192.0.2.9"], "http own:8080"),
        (&["Forwarded: for=6.6.6.6;proto=https;host=evil, for=192.0.2.9;proto=http;host=a"], "http a"),
        (&["Forwarded: for=6.6.6.6;proto=https;host=evil", "Forwarded: for=192.0.2.9;proto=http;host=a"], "http a"),
        (&["Forwarded: for=10.0.0.9;proto=https;host=evil, for=unknown;host=a"], "http a"),
        (&["Forwarded: for=10.0.0.9;proto=https;host=evil, host=a"], "http a"),
        // A quotation that a client opened ends where a proxy's element begins.
        (&["Forwarded: for=6.6.6.6;proto=\"https, for=192.0.2.9;host=a"], "http a"),
        (&["Forwarded: \", for=192.0.2.9;host=\"a\""], "http a"),
        // Two trusted proxies: the inner one describes the outer one's request, which does not
        // count.
        (&["Forwarded: for=192.0.2.9;proto=https;host=a, for=10.0.0.2;proto=http;host=inner"], "https a"),
        (&["Forwarded: for=192.0.2.9;host=a, for=10.0.0.2;proto=https;host=inner"], "http a"),
        (&["Forwarded: proto=https, for=192.0.2.9", "Forwarded: for=10.0.0.2;proto=https"], "http own:8080"),
        (&["Forwarded: for=192.0.2.9;proto=https", "Forwarded: for=\"[fd00::1]:80\", for=192.0.2.7"], "https own:8080"),
        // A request by a proxy itself, or by a client in its network: the last element counts.
        (&["Forwarded: for=10.0.0.3;proto=https;host=a"], "https a"),
        (&["Forwarded: for=10.0.0.4;proto=https;host=a, for=10.0.0.3;proto=http;host=b"], "https a"),
        // A malformed value does not count, and neither does one that is there twice (RFC 7239
        // section 4).
        (&["Forwarded: proto=gopher;host=a"], "http a"),
        (&["Forwarded: proto=https;host=\"a b\""], "https own:8080"),
        (&["Forwarded: proto=https;host=u@a"], "https own:8080"),
        (&["Forwarded: proto=https;host=a:99999"], "https own:8080"),
        (&["Forwarded: proto=https;host=\"a\\\"\""], "https own:8080"),
        (&["Forwarded: proto=https;host="], "https own:8080"),
        (&["Forwarded: proto=https;proto=https;host=a"], "http a"),
        (&["Forwarded: proto=https;host=a;host=a"], "https own:8080"),
        (&["Forwarded: proto=\"https;host=a"], "http a"),
        (&["Forwarded: proto = https;host=a"], "http a"),
        (&["Forwarded:"], "http own:8080"),
        (&["Forwarded: for=192.0.2.9;proto=https;host=a,"], "http own:8080"),
    ] {
        assert_eq!(told(&forwarded(), PROXY, lines).await, expected, "{lines:?}");
    }
}

/// The lists of `X-Forwarded-*` do not say which proxy wrote what. The last elements count if they
/// agree: one for each of the trusted proxies that the request has passed.
#[tokio::test(start_paused = true)]
async fn in_x_forwarded_headers_what_all_trusted_proxies_agree_on_counts() {
    let once = "X-Forwarded-For: 192.0.2.9";
    let twice = "X-Forwarded-For: 192.0.2.9, 10.0.0.2";
    let both = |proto: &str, host: &str| format!("X-Forwarded-Proto: {proto}\r\nX-Forwarded-Host: {host}");
    for (addresses, lines, expected) in [
        // One proxy: the last element is its own.
        (once, both("https", "a"), "https a"),
        (once, both("HTTPS", "A:8443"), "https A:8443"),
        (once, both("wss", "[::1]"), "https [::1]"),
        (once, both("http", "a"), "http a"),
        (once, both("https, http", "evil, a"), "http a"),
        (once, both("http ,\thttps", "evil,a "), "https a"),
        (
            once,
            "X-Forwarded-Host: evil\r\nX-Forwarded-Host: a\r\nX-Forwarded-Proto: http\r\nx-forwarded-proto: https".into(),
            "https a",
        ),
        ("X-Other: 1", both("https", "a"), "https a"),
        ("X-Forwarded-For: unknown", both("https", "a"), "https a"),
        // Two proxies: the outer one has set it, or both agree.
        (twice, both("https", "a"), "https a"),
        (twice, both("https, https", "a, A"), "https A"),
        (twice, both("http, https, https", "evil, a, a"), "https a"),
        // The inner proxy has passed on the outer proxy's addition to a client's header, or has
        // added its own element. The server cannot know which.
        (twice, both("https, http", "evil, a"), "http own:8080"),
        (twice, both("http, https", "a, inner"), "http own:8080"),
        // The header of addresses ends with a proxy that does not tell, so there is one proxy.
        ("X-Forwarded-For: 10.0.0.2, unknown", both("http, https", "evil, a"), "https a"),
        // A malformed value does not count.
        (once, both("https:", "a/b"), "http own:8080"),
        (once, both("", ""), "http own:8080"),
        (once, both("https,", "a,"), "http own:8080"),
        (once, both("on", "a b"), "http own:8080"),
        (once, both("https", "u@a"), "https own:8080"),
        (once, both("https", "a:b"), "https own:8080"),
        (once, both("https", "\u{e9}"), "https own:8080"),
        (once, both("https", "http://a"), "https own:8080"),
    ] {
        let lines = [addresses.to_owned(), lines];
        assert_eq!(told(&x_forwarded(), PROXY, &lines).await, expected, "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_text_does_not_count() {
    for (http, line) in [
        (x_forwarded(), &b"X-Forwarded-Host: \xFF"[..]),
        (x_forwarded(), b"X-Forwarded-Proto: \xFF"),
        (forwarded(), b"Forwarded: host=\xFF;proto=\xFF"),
    ] {
        assert_eq!(told(&http, PROXY, &[line]).await, "http own:8080");
    }
}
