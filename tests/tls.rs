//! HTTP and WebSockets over TLS (RFC 8446, RFC 5246): what clients get, and what bad ones get.
#![cfg(feature = "__tls")]

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use react_websocket::errors::SocketError;
use react_websocket::options::TrustedProxies;
use react_websocket::tls::{HandshakeFailure, Tls, TlsVersion};
use react_websocket::{BodyStream, HttpOptions, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection};
use rustls::{CipherSuite, ClientConfig, SupportedCipherSuite, version};
use support::tls::{AWS_LC, Authority, Identity, RING, connect, listen_tls, socket};
use support::{Log, Peer, close, frame, router, text, websockets};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn authority() -> (Authority, Identity) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    (authority, identity)
}

fn echo() -> HttpServer {
    websockets(|connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
    })
}

/// A server that logs why handshakes fail.
fn observed(http: &HttpServer, tls: &Tls) -> (std::net::SocketAddr, Log) {
    let (socket, log) = (socket(tls), Log::default());
    let noted = log.clone();
    socket.on("error", move |error: &SocketError| match error {
        SocketError::Tls { reason, .. } => noted.add(format_args!("{reason:?}")),
        other => noted.add(other),
    });
    let address = socket.local_address().unwrap();
    let _ = http.listen(socket);
    (address, log)
}

async fn logged(log: &Log) -> Vec<String> {
    for _ in 0..200 {
        let entries = log.take();
        if !entries.is_empty() {
            return entries;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Vec::new()
}

#[tokio::test]
async fn a_request_is_answered_and_knows_that_it_is_secure() {
    let (authority, identity) = authority();
    let http = HttpServer::new(|request: ServerRequest| {
        let (name, secure) = (request.server_name().unwrap_or("none"), request.is_secure());
        Response::plaintext(format!("{} {name} {secure} {}", request.scheme(), request.peer_certificates().len()))
    });
    let (address, _listening) = listen_tls(&http, &identity.tls());
    let mut peer = connect(address, authority.client()).await.unwrap();
    for _ in 0..2 {
        let answer = peer.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!((answer.status(), answer.text()), (200, "https localhost true 0"));
    }
}

/// The request that a connection keeps is reduced, but it says that the connection is TLS.
#[tokio::test]
async fn a_websocket_knows_that_it_is_secure_for_as_long_as_it_lives() {
    let (authority, identity) = authority();
    let http = websockets(|connection: WebSocketConnection| {
        let request = connection.request().unwrap();
        assert_eq!((request.is_secure(), request.server_name()), (true, Some("localhost")));
        connection.on("text", move |_: &str| {
            let request = connection.request().unwrap();
            connection.write(format!("{} {} {}", request.path(), request.scheme(), request.is_secure()));
        });
    });
    let (address, _listening) = listen_tls(&http, &identity.tls());
    for path in ["/", "/a?b"] {
        let handshake = support::HANDSHAKE.replace("GET / ", &format!("GET {path} "));
        let mut peer = connect(address, authority.client()).await.unwrap();
        peer.send(handshake).await;
        peer.head().await;
        peer.send(text("")).await;
        assert_eq!(peer.text().await, format!("{} https true", path.trim_end_matches("?b")));
    }
}

/// Only a trusted proxy is believed.
#[tokio::test]
async fn behind_a_trusted_proxy_its_word_counts() {
    let (authority, identity) = authority();
    let http = HttpServer::new(|request: ServerRequest| Response::plaintext(request.is_secure().to_string()));
    let proxies = TrustedProxies::x_forwarded_for(["127.0.0.1"]).x_forwarded_proto();
    let trusting = http.clone().with_options(HttpOptions::new().trusted_proxies(proxies));
    let get = |lines: &str| format!("GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    for (http, tls, lines, secure) in [
        (&http, true, "", "true"),
        (&http, false, "", "false"),
        (&http, false, "X-Forwarded-Proto: https\r\n", "false"),
        (&trusting, false, "X-Forwarded-Proto: https\r\n", "true"),
        (&trusting, true, "X-Forwarded-Proto: http\r\n", "false"),
        (&trusting, true, "", "true"),
    ] {
        let answer = if tls {
            let (address, _listening) = listen_tls(http, &identity.tls());
            connect(address, authority.client()).await.unwrap().ask(get(lines)).await
        } else {
            let (address, _listening) = support::listen_with(http.clone());
            Peer::connect(address).await.ask(get(lines)).await
        };
        assert_eq!(answer.text(), secure, "{lines:?} over TLS: {tls}");
    }
}

/// RFC 8446 section 4.4.4: the first request may come with the client's last message of the handshake.
#[tokio::test]
async fn every_version_and_cipher_of_every_provider_carries_messages_of_all_sizes() {
    let (authority, identity) = authority();
    for provider in [RING, AWS_LC] {
        let (address, _listening) = listen_tls(&echo(), &identity.tls_of(provider()));
        for suite in AWS_LC().cipher_suites {
            let version = if suite.tls13().is_some() { &version::TLS13 } else { &version::TLS12 };
            if is_of_rsa(suite) {
                continue;
            }
            let mut peer = connect(address, authority.client_of(version, suite)).await.unwrap();
            assert_eq!(peer.stream.get_ref().1.protocol_version(), Some(version.version));
            peer.shake_hands().await;
            for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000] {
                let payload: Vec<u8> = (0..size).map(|n| n as u8).collect();
                peer.send(frame(0x82, &payload)).await;
                let echoed = peer.frame().await.expect("an echo");
                assert!(echoed.payload == payload, "{size} bytes with {:?}", suite.suite());
            }
            // More than 2^8 records, of which the nonces are made.
            for number in 0..300 {
                peer.send(text(number.to_string())).await;
                assert_eq!(peer.text().await, number.to_string());
            }
        }
    }
}

/// The certificate's key is of another kind.
fn is_of_rsa(suite: SupportedCipherSuite) -> bool {
    use CipherSuite::*;
    matches!(
        suite.suite(),
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            | TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            | TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// RFC 8446 section 6.1: each side says that nothing more comes.
#[tokio::test]
async fn an_orderly_end_says_so() {
    let (authority, identity) = authority();
    for limit in [&version::TLS13, &version::TLS12] {
        let suite = |suite: &SupportedCipherSuite| !is_of_rsa(*suite) && suite.version() == limit;
        let suite = AWS_LC().cipher_suites.into_iter().find(suite).unwrap();
        let config = || authority.client_of(limit, suite);
        let http = websockets(|connection: WebSocketConnection| {
            connection.on("text", move |text: &str| match text {
                "close" => connection.close(),
                "end" => connection.end(),
                _ => connection.terminate(),
            });
        });
        let (address, _listening) = listen_tls(&http, &identity.tls());
        // A response with `Connection: close`, in small and in pieces.
        let mut peer = connect(address, config()).await.unwrap();
        let answer = peer.ask("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
        // An error page.
        let mut peer = connect(address, config()).await.unwrap();
        assert_eq!(peer.ask("nonsense\r\n\r\n").await.status(), 400);
        assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
        // The peer's Close, and the app's.
        let mut peer = connect(address, config()).await.unwrap();
        peer.shake_hands().await;
        peer.send(close(1000, "")).await;
        assert_eq!(peer.closed().await.0, Some(1000));
        assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
        for order in ["close", "end"] {
            let mut peer = connect(address, config()).await.unwrap();
            peer.shake_hands().await;
            peer.send(text(order)).await;
            assert_eq!(peer.closed().await.0, Some(1000));
            peer.send(close(1000, "")).await;
            assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0, "{order}");
        }
        // A malformed frame: a Close with the reason, and then a close_notify.
        let mut peer = connect(address, config()).await.unwrap();
        peer.shake_hands().await;
        peer.send([0xFF, 0]).await;
        assert_eq!(peer.closed().await.0, Some(1002));
        assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
        // Not an orderly end.
        let mut peer = connect(address, config()).await.unwrap();
        peer.shake_hands().await;
        peer.send(text("terminate")).await;
        assert!(peer.stream.read(&mut [0]).await.is_err());
    }
}

/// The keep-alive timeout ends a connection in order.
#[tokio::test]
async fn an_idle_connection_ends_with_a_close_notify() {
    let (authority, identity) = authority();
    let http = HttpServer::new(router).with_options(HttpOptions::new().keep_alive_timeout(Duration::from_millis(50)));
    let (address, _listening) = listen_tls(&http, &identity.tls());
    let mut peer = connect(address, authority.client()).await.unwrap();
    assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status(), 200);
    assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
}

/// RFC 8446 section 6.1: without a close_notify the data may be truncated. A response that lasts until the end of the
/// connection is cut so that the client can tell.
#[tokio::test]
async fn a_response_that_is_cut_is_told_from_a_complete_one() {
    let (authority, identity) = authority();
    let http = HttpServer::new(|request: ServerRequest| {
        let stream = BodyStream::new();
        let (writer, is_cut) = (stream.clone(), request.path() == "/cut");
        tokio::spawn(async move {
            let _ = writer.write("begun");
            tokio::time::sleep(Duration::from_millis(50)).await;
            if is_cut { writer.close() } else { writer.end() }
        });
        Response::new(200).with_body(stream)
    });
    let (address, _listening) = listen_tls(&http, &identity.tls());
    for (path, is_complete) in [("/whole", true), ("/cut", false)] {
        let mut peer = connect(address, authority.client()).await.unwrap();
        peer.send(format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        let mut all = Vec::new();
        let read = peer.stream.read_to_end(&mut all).await;
        assert!(all.ends_with(b"begun"), "{path}: {read:?}");
        assert_eq!(read.is_ok(), is_complete, "{path}: {read:?}");
    }
}

/// RFC 8446 section 6.1: a FIN without a close_notify is a truncation. A request that it follows is not answered, and one
/// that a close_notify follows is.
#[tokio::test]
async fn a_client_that_is_cut_off_is_told_from_one_that_has_ended() {
    let (authority, identity) = authority();
    let http = HttpServer::new(async |request: ServerRequest| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        router(request)
    });
    let (address, _listening) = listen_tls(&http, &identity.tls());
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut peer = connect(address, authority.client()).await.unwrap();
    peer.send(request).await;
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.answer().await.status(), 200);
    let mut peer = connect(address, authority.client()).await.unwrap();
    peer.send(request).await;
    peer.stream.get_mut().0.shutdown().await.unwrap();
    assert_eq!(peer.rest().await, b"");
    for _ in 0..100 {
        if http.stats().errors.contains_key("left") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(http.stats().errors.values().sum::<u64>(), 1, "{:?}", http.stats().errors);
}

/// RFC 8446 section 6.2 names the alert. The client gets it although it has sent more.
#[tokio::test]
async fn plain_http_and_garbage_get_an_alert_and_an_error_event() {
    let (_, identity) = authority();
    let (address, log) = observed(&echo(), &identity.tls());
    for (sent, reason) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "PlainHttp"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", "PlainHttp"),
        ("SSH-2.0-OpenSSH_9.6\r\n", "NotTls"),
        ("\0\0\0\0\0\0\0\0\0\0", "NotTls"),
    ] {
        let mut peer = Peer::new(TcpStream::connect(address).await.unwrap());
        peer.send(sent).await;
        let alert = peer.rest().await;
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 50], "{sent:?}: decode_error");
        assert_eq!(logged(&log).await, [reason], "{sent:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_it_has_sent_a_message_is_only_counted() {
    let (_, identity) = authority();
    let http = echo();
    let (address, log) = observed(&http, &identity.tls());
    for sent in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 252]] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(Peer::new(client).rest().await, b"");
    }
    for _ in 0..200 {
        if http.stats().open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stats = http.stats();
    assert_eq!((stats.open, stats.pending, stats.refused.get("tls")), (0, 0, Some(&3)));
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(stats.errors, Default::default());
}

/// RFC 7301 section 3.2: no_application_protocol. HTTP/1.1 is chosen where it is offered.
#[tokio::test]
async fn http_1_1_is_the_only_protocol() {
    let (authority, identity) = authority();
    let (address, log) = observed(&echo(), &identity.tls());
    let offering = |protocols: &[&str]| {
        let mut config = authority.client();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    };
    let mut peer = connect(address, offering(&["h2", "http/1.1"])).await.unwrap();
    assert_eq!(peer.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status(), 200);
    let error = connect(address, offering(&["h2"])).await.err().unwrap();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    assert_eq!(logged(&log).await, ["NoCommonProtocol"]);
}

#[tokio::test]
async fn versions_below_the_lowest_are_refused() {
    let (authority, identity) = authority();
    let (address, log) = observed(&echo(), &identity.tls().min_version(TlsVersion::Tls13));
    let old = AWS_LC().cipher_suites.into_iter().find(|suite| suite.tls13().is_none()).unwrap();
    let error = connect(address, authority.client_of(&version::TLS12, old)).await.err().unwrap();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert_eq!(logged(&log).await, ["NothingInCommon"]);
    assert!(connect(address, authority.client()).await.is_ok());
}

/// RFC 8446 sections 2.2 and 2.3: a session is resumed by its ticket, and never with early data.
#[tokio::test]
async fn sessions_are_resumed_unless_tickets_are_off() {
    let (authority, identity) = authority();
    for (on, resumed) in [(true, 1), (false, 0)] {
        let (address, _listening) = listen_tls(&echo(), &identity.tls().session_tickets(on));
        let mut config = authority.client();
        config.enable_early_data = true;
        let config = Arc::new(config);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut peer = connect(address, ClientConfig::clone(&config)).await.unwrap();
            assert_eq!(peer.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status(), 200);
            kinds.push(peer.stream.get_ref().1.handshake_kind());
            assert!(!peer.stream.get_ref().1.is_early_data_accepted());
        }
        assert_eq!(kinds.iter().filter(|kind| **kind == Some(rustls::HandshakeKind::Resumed)).count(), resumed);
    }
}

#[tokio::test]
async fn a_client_that_refuses_the_certificate_is_an_error_event() {
    let (_, identity) = authority();
    let (address, log) = observed(&echo(), &identity.tls());
    let error = connect(address, Authority::new().client()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    assert_eq!(logged(&log).await, ["CertificateRefused"]);
}

/// The handshake has the time of the first request. It is not told anything then.
#[tokio::test]
async fn half_a_client_hello_is_closed_at_the_header_timeout() {
    let (_, identity) = authority();
    let http = echo().with_options(HttpOptions::new().header_timeout(Some(Duration::from_millis(300))));
    let (address, log) = observed(&http, &identity.tls());
    let begun = std::time::Instant::now();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.unwrap();
    assert_eq!(Peer::new(client).rest().await, b"");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!((http.stats().refused.get("tls"), log.take().len()), (Some(&1), 0));
}

/// A flood of connections that begin no handshake displaces its own.
#[tokio::test]
async fn pending_handshakes_are_limited() {
    let (authority, identity) = authority();
    let http = echo().with_options(HttpOptions::new().max_pending_handshakes(Some(3)));
    let (address, _listening) = listen_tls(&http, &identity.tls());
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(TcpStream::connect(address).await.unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for client in idle.iter_mut().take(3) {
        assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
    }
    // Each of them is counted once, though it has made no handshake either.
    assert_eq!(http.stats().refused, [("pending", 3)].into());
    assert!(connect(address, authority.client()).await.is_ok());
}

/// A page in plain HTTP would be garbage to a client of TLS.
#[tokio::test]
async fn a_client_that_is_not_admitted_is_closed_without_a_word() {
    let (authority, identity) = authority();
    let http = echo().with_options(HttpOptions::new().max_connections(Some(1)));
    let (address, _listening) = listen_tls(&http, &identity.tls());
    let _first = connect(address, authority.client()).await.unwrap();
    assert_eq!(Peer::new(TcpStream::connect(address).await.unwrap()).rest().await, b"");
}

#[tokio::test]
async fn the_end_of_the_server_ends_handshakes() {
    let (authority, identity) = authority();
    let http = echo();
    let (address, listening) = listen_tls(&http, &identity.tls());
    let mut open = connect(address, authority.client()).await.unwrap();
    open.shake_hands().await;
    let mut pending = TcpStream::connect(address).await.unwrap();
    while http.stats().pending == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let closing = listening.close();
    assert_eq!(pending.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(open.closed().await.0, Some(1001));
    open.send(close(1001, "")).await;
    assert_eq!(open.stream.read(&mut [0]).await.unwrap(), 0);
    closing.await;
}

/// A configuration that rustls refuses at each handshake is the app's mistake, and is told.
#[tokio::test]
async fn a_configuration_that_rustls_refuses_is_an_error_event() {
    let (_, identity) = authority();
    let mut config = identity.config_of(RING());
    // Too small for a record.
    config.max_fragment_size = Some(5);
    let (address, log) = observed(&echo(), &Tls::from_config(config));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&[22, 3, 1, 0, 1, 1]).await.unwrap();
    assert_eq!(logged(&log).await, ["Other"]);
}

/// A ClientHello that is announced to be long, in records of one byte, ends at 82 KiB of input.
#[tokio::test]
async fn a_client_hello_in_endless_records_ends_the_handshake() {
    let (_, identity) = authority();
    let (address, log) = observed(&echo(), &identity.tls());
    let mut client = TcpStream::connect(address).await.unwrap();
    // The header of a ClientHello of 65,535 bytes, and bytes of it.
    for byte in [1, 0, 0xFF, 0xFF] {
        client.write_all(&[22, 3, 1, 0, 1, byte]).await.unwrap();
    }
    let record = [22, 3, 1, 0, 1, 0];
    let below = (64 + 18) * 1024 / record.len() - 4;
    client.write_all(&record.repeat(below)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(log.take(), [""; 0], "below the limit");
    client.write_all(&record.repeat(2)).await.unwrap();
    assert_eq!(logged(&log).await.len(), 1);
}

#[test]
fn addresses_and_certificates_belong_together() {
    let (_, identity) = authority();
    let options = || react_websocket::SocketOptions::new().tls(identity.tls());
    let error = SocketServer::new("tls://127.0.0.1:0").unwrap_err();
    assert_eq!(error.to_string(), "no certificate for tls://127.0.0.1:0: set it with `SocketOptions::tls`");
    let error = SocketServer::with_options("tcp://127.0.0.1:0", options()).unwrap_err();
    assert!(matches!(error, SocketError::UnusedCertificate { .. }), "{error}");
    let foreign = SocketServer::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    assert!(foreign.with_tls(identity.tls()).is_ok());
    let file = std::env::temp_dir().join(format!("rws-tls-{}", std::process::id()));
    let unix = SocketServer::new(format!("unix://{}", file.display())).unwrap();
    let error = unix.with_tls(identity.tls()).unwrap_err();
    assert!(matches!(error, SocketError::UnusedCertificate { .. }), "{error}");
}

#[test]
fn a_failed_handshake_prints_its_reason() {
    let error =
        SocketError::Tls { remote: Some(([192, 0, 2, 7], 4711).into()), reason: HandshakeFailure::PlainHttp, source: None };
    let told = "TLS handshake with 192.0.2.7:4711 failed: the client sent an HTTP request without TLS";
    assert_eq!(error.to_string(), told);
}
