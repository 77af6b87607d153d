//! The addresses of a connection's ends: an IPv4-mapped IPv6 address is given as IPv4.

mod support;

use std::net::SocketAddr;

use react_websocket::options::TrustedProxies;
use react_websocket::{
    HttpOptions, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware,
};
use support::{HANDSHAKE, Log, Peer, settle};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that tells the addresses of requests and of WebSockets.
fn telling() -> (HttpServer, Log) {
    let log = Log::default();
    let websocket = WebSocketMiddleware::new();
    let noted = log.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        noted.add(format_args!("{:?} {:?}", connection.remote_address(), connection.local_address()));
    });
    let router = |request: ServerRequest| {
        let addresses = (request.remote_address(), request.peer_address(), request.local_address());
        Response::plaintext(format!("{addresses:?}"))
    };
    (HttpServer::new((websocket, router)), log)
}

/// An IPv4 client of a socket that listens on `[::]` is known by its IPv4 address (RFC 4291 section
/// 2.5.5.2 has the mapped one).
#[tokio::test]
async fn an_ipv4_client_has_an_ipv4_address_whatever_the_socket_listens_on() {
    for (listen_on, ends) in [("[::]:0", "127.0.0.1"), ("[::]:0", "[::1]"), ("[::ffff:127.0.0.1]:0", "127.0.0.1")] {
        let Ok(socket) = SocketServer::new(listen_on) else {
            // A machine without IPv6.
            continue;
        };
        let port = socket.local_address().unwrap().port();
        let (http, log) = telling();
        let _listening = http.listen(socket);
        let server: SocketAddr = format!("{ends}:{port}").parse().unwrap();
        let mut peer = Peer::connect(server).await;
        let client = peer.stream.local_addr().unwrap();
        let told = format!("{:?}", (Some(client), Some(client), Some(server)));
        assert_eq!(peer.ask(GET).await.text(), told, "{listen_on}");
        assert_eq!(peer.ask(HANDSHAKE).await.status(), 101);
        assert_eq!(log.take(), [format!("{:?} {:?}", Some(client), Some(server))], "{listen_on}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_addresses_that_a_stream_is_served_with_are_canonical_too() {
    let (http, log) = telling();
    for (remote, local, told) in [
        ("[::ffff:192.0.2.1]:7", "[::ffff:192.0.2.2]:80", "Some(192.0.2.1:7) Some(192.0.2.2:80)"),
        ("[2001:db8::1]:7", "[fe80::1%3]:80", "Some([2001:db8::1]:7) Some([fe80::1%3]:80)"),
        ("192.0.2.1:7", "192.0.2.2:80", "Some(192.0.2.1:7) Some(192.0.2.2:80)"),
    ] {
        let (client, server) = tokio::io::duplex(10_000);
        let _serving = http.serve_with_addresses(server, remote.parse().ok(), local.parse().ok());
        let mut peer = Peer::new(client);
        assert_eq!(peer.ask(HANDSHAKE).await.status(), 101);
        settle().await;
        assert_eq!(log.take(), [told]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_direct_client_and_one_behind_a_trusted_proxy_have_the_same_address() {
    let (http, _) = telling();
    let proxies = TrustedProxies::x_forwarded_for(["10.0.0.1"]);
    let http = http.with_options(HttpOptions::new().trusted_proxies(proxies));
    let forwarded = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ::ffff:192.0.2.1\r\n\r\n";
    for (peer, request, told) in [
        ("[::ffff:192.0.2.1]:0", GET, "(Some(192.0.2.1:0), Some(192.0.2.1:0), None)"),
        ("[::ffff:10.0.0.1]:9", forwarded, "(Some(192.0.2.1:0), Some(10.0.0.1:9), None)"),
    ] {
        let (client, server) = tokio::io::duplex(10_000);
        let _serving = http.serve_with_addresses(server, peer.parse().ok(), None);
        assert_eq!(Peer::new(client).ask(request).await.text(), told);
    }
}
