//! The PROXY protocol of HAProxy, versions 1 and 2: the client's address, and connections without a valid header.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use react_websocket::errors::SocketError;
use react_websocket::options::{ProxyProtocol, TrustedProxies};
use react_websocket::{HttpOptions, HttpServer, Listening, Response, ServerRequest, SocketOptions, SocketServer};
use support::{Log, Peer, websockets};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const V1: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";

/// A header of version 2 for this client.
fn v2(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, mut addresses) = match client.ip() {
        std::net::IpAddr::V4(ip) => (0x11, [ip.octets(), ip.octets()].concat()),
        std::net::IpAddr::V6(ip) => (0x21, [ip.octets(), ip.octets()].concat()),
    };
    addresses.extend(client.port().to_be_bytes());
    addresses.extend([1, 0xBB]);
    // An additional field, which is skipped.
    addresses.extend([0x04, 0, 2, 7, 7]);
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, family], &length, &addresses].concat()
}

/// Answers with the addresses of the request.
fn addresses() -> HttpServer {
    HttpServer::new(|request: ServerRequest| {
        let text = |address: Option<SocketAddr>| address.map_or("none".to_owned(), |address| address.to_string());
        Response::plaintext(format!("{} {}", text(request.remote_address()), text(request.peer_address())))
    })
}

/// A server behind a proxy, and the errors of its socket.
fn listen(http: &HttpServer, protocol: ProxyProtocol) -> (SocketAddr, Log, Listening) {
    let socket = SocketServer::with_options("127.0.0.1:0", SocketOptions::new().proxy_protocol(protocol)).unwrap();
    let (address, log) = (socket.local_address().unwrap(), Log::default());
    let noted = log.clone();
    socket.on("error", move |error: &SocketError| match error {
        SocketError::ProxyProtocol { reason, .. } => noted.add(format_args!("{reason:?}")),
        other => noted.add(other),
    });
    (address, log, http.listen(socket))
}

fn required() -> ProxyProtocol {
    ProxyProtocol::required(["127.0.0.0/8"])
}

fn optional() -> ProxyProtocol {
    ProxyProtocol::optional(["127.0.0.1"])
}

async fn asked(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut peer = Peer::connect(address).await;
    peer.ask(bytes).await.text().to_owned()
}

#[tokio::test]
async fn the_clients_address_is_that_of_the_header() {
    for protocol in [required(), optional()] {
        let (address, log, _listening) = listen(&addresses(), protocol);
        let of = |client: &str| format!("{client} {client}");
        assert_eq!(asked(address, [V1, GET].concat()).await, of("192.0.2.1:56324"));
        for client in ["192.0.2.1:56324", "[2001:db8::1]:1"] {
            assert_eq!(asked(address, [&v2(client), GET.as_bytes()].concat()).await, of(client));
        }
        // An IPv4 address has one form.
        assert_eq!(asked(address, [&v2("[::ffff:192.0.2.9]:7"), GET.as_bytes()].concat()).await, of("192.0.2.9:7"));
        // The proxy's own connection, and a client that it does not know.
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice();
        for header in [local, b"PROXY UNKNOWN\r\n"] {
            let answer = asked(address, [header, GET.as_bytes()].concat()).await;
            assert!(answer.starts_with("127.0.0.1:"), "{answer}");
        }
        assert_eq!(log.take(), [""; 0]);
    }
}

/// Section 2: the receiver must not start before the header is complete. The header may arrive in any pieces, with the
/// request or before it. No byte behind the header is lost.
#[tokio::test]
async fn a_header_comes_in_any_pieces() {
    let (address, _log, _listening) = listen(&addresses(), required());
    for header in [V1.as_bytes().to_vec(), v2("192.0.2.1:56324")] {
        let all = [&header, GET.as_bytes()].concat();
        for cut in 1..all.len() {
            let mut peer = Peer::connect(address).await;
            peer.stream.set_nodelay(true).unwrap();
            peer.send(&all[..cut]).await;
            support::let_all_run().await;
            let answer = peer.ask(&all[cut..]).await;
            assert_eq!(answer.text(), "192.0.2.1:56324 192.0.2.1:56324", "cut at {cut}");
        }
        let mut peer = Peer::connect(address).await;
        peer.stream.set_nodelay(true).unwrap();
        for byte in all {
            peer.send([byte]).await;
            support::let_all_run().await;
        }
        assert_eq!(peer.answer().await.text(), "192.0.2.1:56324 192.0.2.1:56324");
        // The header is only for the beginning of a connection.
        assert_eq!(peer.ask(GET).await.text(), "192.0.2.1:56324 192.0.2.1:56324");
        assert_eq!(peer.ask(V1).await.status(), 400);
    }
}

/// Section 2: the header must only be accepted from known proxies. For others it is malformed HTTP.
#[tokio::test]
async fn clients_cannot_send_a_header() {
    let (address, log, _listening) = listen(&addresses(), ProxyProtocol::required(["192.0.2.0/24", "::1"]));
    for header in [V1.as_bytes().to_vec(), v2("192.0.2.1:1")] {
        let mut peer = Peer::connect(address).await;
        assert_eq!(peer.ask([&header, GET.as_bytes()].concat()).await.status(), 400);
    }
    let answer = asked(address, GET).await;
    assert!(answer.starts_with("127.0.0.1:"), "{answer}");
    assert_eq!(log.take(), [""; 0]);
    let (address, _log, _listening) = {
        let (address, listening) = support::listen(support::router);
        (address, Log::default(), listening)
    };
    assert_eq!(Peer::connect(address).await.ask([V1, GET].concat()).await.status(), 400);
}

/// Section 2: a connection without a valid header is closed, and gets no byte.
#[tokio::test]
async fn a_header_that_is_missing_or_malformed() {
    let http = addresses();
    let (address, log, _listening) = listen(&http, required());
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let cases: [(&[u8], &str); 6] = [
        (GET.as_bytes(), "Missing"),
        (b"POST / HTTP/1.1\r\n", "Missing"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "Malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0C", "Malformed"),
        (long.as_bytes(), "TooLong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\0\xFF\xFF", "TooLong"),
    ];
    for (number, (bytes, reason)) in (1..).zip(cases) {
        let mut peer = Peer::connect(address).await;
        peer.send(bytes).await;
        // A reset is an end, too.
        assert!(peer.ended().await, "{bytes:?}");
        assert_eq!(logged(&log).await, [reason], "{bytes:?}");
        assert_eq!(http.stats().refused["proxy"], number);
    }
    // A proxy that leaves is counted, and no more; a health check, which sends nothing, is not.
    drop(Peer::connect(address).await);
    let mut peer = Peer::connect(address).await;
    peer.send("PROXY TCP4").await;
    drop(peer);
    while http.stats().open > 0 || http.stats().refused["proxy"] < 7 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((http.stats().refused["proxy"], log.take()), (7, vec![]));
}

async fn logged(log: &Log) -> Vec<String> {
    loop {
        let entries = log.take();
        if !entries.is_empty() {
            return entries;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes that are not a header belong to the request, also if they begin like a header.
#[tokio::test]
async fn an_optional_header_may_be_missing() {
    let (address, log, _listening) = listen(&addresses(), optional());
    for method in ["GET", "POST", "PROPFIND", "PROX", "P"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = asked(address, &request).await;
        assert!(answer.starts_with("127.0.0.1:"), "{answer}");
        let mut peer = Peer::connect(address).await;
        peer.stream.set_nodelay(true).unwrap();
        for byte in request.bytes() {
            peer.send([byte]).await;
            support::let_all_run().await;
        }
        assert_eq!(peer.answer().await.status(), 200, "{method}");
    }
    // RFC 9112 section 2.2: an empty line before a request. It is how version 2 begins, too.
    assert!(asked(address, format!("\r\n{GET}")).await.starts_with("127.0.0.1:"));
    assert_eq!(log.take(), [""; 0]);
}

/// The header and the request's head together have `header_timeout`, and a header that is late gets no response.
#[tokio::test]
async fn a_header_that_is_late() {
    let http = addresses().with_options(HttpOptions::new().header_timeout(Duration::from_millis(100)));
    let (address, log, _listening) = listen(&http, required());
    for bytes in ["", "PROXY TCP4 1.2.3.4"] {
        let mut peer = Peer::connect(address).await;
        peer.send(bytes).await;
        assert!(peer.ended().await);
    }
    assert_eq!((http.stats().refused["proxy"], log.take()), (2, vec![]));
    // A head that is late is answered.
    let mut peer = Peer::connect(address).await;
    peer.send([V1, "GET / "].concat()).await;
    assert_eq!(peer.answer().await.status(), 408);
    assert_eq!(http.stats().refused["proxy"], 2);
}

/// A limit on connections of an address counts clients, not the proxy.
#[tokio::test]
async fn connections_are_counted_under_the_clients_address() {
    let http = addresses().with_options(HttpOptions::new().max_connections_per_ip(1));
    let (address, _log, _listening) = listen(&http, required());
    let mut first = Peer::connect(address).await;
    assert_eq!(first.ask([V1, GET].concat()).await.status(), 200);
    let mut second = Peer::connect(address).await;
    assert_eq!(second.ask([V1, GET].concat()).await.status(), 429);
    assert_eq!(http.stats().refused["address"], 1);
    assert_eq!(asked(address, [&v2("192.0.2.2:1"), GET.as_bytes()].concat()).await, "192.0.2.2:1 192.0.2.2:1");
    drop(first);
    loop {
        let mut again = Peer::connect(address).await;
        if again.ask([V1, GET].concat()).await.status() == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Connections without a header are pending, and make room for others.
#[tokio::test]
async fn connections_without_a_header_make_room() {
    let http = addresses().with_options(HttpOptions::new().max_pending_handshakes(2));
    let (address, log, listening) = listen(&http, required());
    let mut oldest = Peer::connect(address).await;
    while http.stats().pending < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut others = [Peer::connect(address).await, Peer::connect(address).await];
    assert!(oldest.ended().await);
    assert_eq!(http.stats().refused, [("pending", 1)].into());
    assert_eq!(others[0].ask([V1, GET].concat()).await.status(), 200);
    // The end of the server is theirs.
    let closing = listening.close();
    drop(others);
    closing.await;
    assert_eq!(log.take(), [""; 0]);
}

/// A client behind a proxy for TCP may write `X-Forwarded-For`. The server ignores it, because the client is not a proxy.
#[tokio::test]
async fn forwarded_headers_of_a_client_are_not_trusted() {
    let options = HttpOptions::new().trusted_proxies(TrustedProxies::x_forwarded_for(["127.0.0.1"]));
    let (address, _log, _listening) = listen(&addresses().with_options(options), required());
    let request = [V1, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"].concat();
    assert_eq!(asked(address, request).await, "192.0.2.1:56324 192.0.2.1:56324");
}

#[tokio::test]
async fn a_websocket_has_the_clients_address() {
    let http = websockets(|connection| _ = connection.write(connection.remote_address().unwrap().to_string()));
    let (address, _log, _listening) = listen(&http, required());
    let mut peer = Peer::connect(address).await;
    peer.send(V1).await;
    peer.shake_hands().await;
    assert_eq!(peer.text().await, "192.0.2.1:56324");
}

/// A socket that was made elsewhere, and a Unix socket, whose connections are all a proxy's.
#[cfg(unix)]
#[tokio::test]
async fn sockets_of_each_kind() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let http = addresses();
    let _listening = http.listen(SocketServer::from(listener).with_proxy_protocol(required()));
    assert_eq!(asked(address, [V1, GET].concat()).await, "192.0.2.1:56324 192.0.2.1:56324");

    let path = std::env::temp_dir().join(format!("proxy-protocol-{}.sock", std::process::id()));
    let options = SocketOptions::new().proxy_protocol(required());
    let _unix = http.listen(SocketServer::with_options(format!("unix://{}", path.display()), options).unwrap());
    let connect = async || Peer::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    let answer = connect().await.ask([V1, GET].concat()).await;
    assert_eq!(answer.text(), "192.0.2.1:56324 192.0.2.1:56324");
    let mut peer = connect().await;
    peer.send(GET).await;
    assert!(peer.ended().await);
}

/// On a `tls://` socket the header precedes the handshake.
#[cfg(feature = "__tls")]
#[tokio::test]
async fn a_header_in_front_of_tls() {
    use support::tls::Authority;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    let authority = Authority::new();
    let tls = authority.issue(&["localhost"]).tls();
    let http = HttpServer::new(|request: ServerRequest| {
        let client = request.remote_address().unwrap().ip();
        Response::plaintext(format!("{client} {} {}", request.is_secure(), request.server_name().unwrap()))
    });
    for (protocol, header, expected) in [
        (required(), V1.as_bytes().to_vec(), Some("192.0.2.1")),
        (required(), v2("192.0.2.7:1"), Some("192.0.2.7")),
        (optional(), V1.as_bytes().to_vec(), Some("192.0.2.1")),
        (optional(), Vec::new(), Some("127.0.0.1")),
        (required(), Vec::new(), None),
        // Not a proxy's: it is not TLS.
        (ProxyProtocol::optional(["192.0.2.1"]), V1.as_bytes().to_vec(), None),
    ] {
        let options = SocketOptions::new().proxy_protocol(protocol).tls(tls.clone());
        let socket = SocketServer::with_options("tls://127.0.0.1:0", options).unwrap();
        let address = socket.local_address().unwrap();
        let _listening = http.listen(socket);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&header).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(std::sync::Arc::new(authority.client())).connect(name, stream).await;
        match expected {
            Some(client) => {
                let mut peer = Peer::new(connected.unwrap());
                assert_eq!(peer.ask(GET).await.text(), format!("{client} true localhost"));
            }
            None => assert!(connected.is_err()),
        }
    }
}

/// RFC 8446 section 5.1: a client of TLS cannot read a page in plain HTTP.
#[cfg(feature = "__tls")]
#[tokio::test]
async fn a_client_of_tls_that_is_not_admitted_gets_no_page() {
    let identity = support::tls::Authority::new().issue(&["localhost"]);
    for limits in [HttpOptions::new().max_connections(0), HttpOptions::new().max_connections_per_ip(0)] {
        let http = HttpServer::new(|_: ServerRequest| Response::new(200)).with_options(limits);
        let options = SocketOptions::new().proxy_protocol(required()).tls(identity.tls());
        let socket = SocketServer::with_options("tls://127.0.0.1:0", options).unwrap();
        let address = socket.local_address().unwrap();
        let _listening = http.listen(socket);
        let mut peer = Peer::connect(address).await;
        peer.send(V1).await;
        assert_eq!(peer.rest().await, b"");
    }
}

#[test]
#[should_panic(expected = "\"somewhere\" is not a network")]
fn a_malformed_network() {
    let _ = ProxyProtocol::required(["somewhere"]);
}
