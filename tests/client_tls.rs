//! `wss://` from the client (RFC 8446, RFC 5246): the servers that the client trusts, and the alerts that other servers
//! get. Otherwise a connection over TLS does the same as a connection without TLS.
#![cfg(all(feature = "client", feature = "__tls"))]

mod support;

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use react_websocket::client::{ConnectError, ConnectPhase, Connector, Proxy, ResponseError, UrlError};
use react_websocket::tls::{ClientCertificates, ClientTls, Tls, TlsConnectError, TlsError, TlsVersion};
use react_websocket::{HttpServer, Message, Response, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, HandshakeKind, ServerConfig, SupportedProtocolVersion, version};
use support::client::{RawServer, header, proxy};
use support::tls::{AWS_LC, Authority, Identity, listen_tls};
use support::{Log, listen, router, server_frame, settle};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

fn nothing(_: WebSocketConnection) {}

fn authority() -> (Authority, Identity) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost", "127.0.0.1"]);
    (authority, identity)
}

/// Trusts this authority alone.
fn trusting(authority: &Authority) -> ClientTls {
    ClientTls::new().platform_roots(false).root_pem(&authority.certificate).unwrap()
}

fn connector(authority: &Authority) -> Connector {
    Connector::new().tls(trusting(authority))
}

fn echo() -> HttpServer {
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.on("message", move |message: Message| connection.write_message(&message));
    });
    HttpServer::new((websocket, router))
}

/// A server of one version. `clients`: the authority of the certificates that it requires.
fn config(identity: &Identity, version: &'static SupportedProtocolVersion, clients: Option<&Authority>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(AWS_LC())).with_protocol_versions(&[version]).unwrap();
    let builder = match clients {
        Some(clients) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), Arc::new(AWS_LC())).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let key: PrivateKeyDer<'static> = identity.private_key();
    builder.with_single_cert(identity.chain(), key).unwrap()
}

/// The server's end of a TLS connection over any stream.
async fn accept<S>(stream: S, config: &ServerConfig) -> io::Result<RawServer<TlsStream<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Ok(RawServer::new(TlsAcceptor::from(Arc::new(config.clone())).accept(stream).await?))
}

/// A stream that reads and writes so many bytes at a time.
struct InPieces {
    stream: DuplexStream,
    size: usize,
}

impl AsyncRead for InPieces {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; self.size.min(buf.remaining())];
        let mut piece = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for InPieces {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = &bytes[..bytes.len().min(self.size)];
        Pin::new(&mut self.stream).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client in memory, which reads and writes `size` bytes at a time, and the raw server that it is connected to.
async fn in_memory(
    config: &ServerConfig,
    connector: &Connector,
    listener: impl FnOnce(WebSocketConnection),
    size: usize,
) -> (WebSocketConnection, RawServer<TlsStream<DuplexStream>>) {
    let (ours, theirs) = duplex(size.max(1 << 16));
    let ours = InPieces { stream: ours, size };
    let serving = async {
        let mut server = accept(theirs, config).await.unwrap();
        server.accept().await;
        server
    };
    let connecting = async { connector.connect_on(ours, "wss://localhost/", listener).await.unwrap() };
    tokio::join!(connecting, serving)
}

fn tls_error(result: Result<WebSocketConnection, ConnectError>) -> TlsConnectError {
    match result {
        Err(ConnectError::Tls(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_and_a_server_of_this_crate_talk_over_each_version() {
    let (authority, identity) = authority();
    for version in VERSIONS {
        let tls = Tls::from_config(config(&identity, version, None));
        let (address, _listening) = listen_tls(&echo(), &tls);
        let (tell, mut told) = unbounded_channel();
        let tell_close = tell.clone();
        let connector = connector(&authority);
        let connecting =
            connector.connect(format!("wss://localhost:{}/a", address.port()), move |connection: WebSocketConnection| {
                let request = connection.request().unwrap();
                assert_eq!((request.scheme(), request.is_secure()), ("https", true));
                assert_eq!((request.server_name(), request.peer_certificates().len()), (Some("localhost"), 1));
                connection.on("message", move |message: Message| tell.send(message).is_ok());
                connection.on("close", move |code: u16, _: &str| tell_close.send(code.to_string().into()).is_ok());
                connection.write("first");
            });
        let connection = connecting.await.unwrap();
        assert_eq!(connection.remote_address(), Some(address));
        assert!(connection.request().unwrap().is_secure(), "also when it is reduced");
        assert_eq!(told.recv().await, Some("first".into()));
        for size in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000] {
            let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
            // Any thread writes.
            let written = bytes.clone();
            std::thread::spawn(move || connection.write_binary(written)).join().unwrap();
            assert!(told.recv().await == Some(bytes.into()), "{size} bytes");
        }
        for number in 0..300 {
            connection.send(number.to_string()).await.unwrap();
            assert_eq!(told.recv().await, Some(number.to_string().into()));
        }
        connection.close_with(4000, "bye");
        assert_eq!(told.recv().await, Some("4000".into()));
    }
}

/// RFC 6066 section 3: an address is not sent as a server name. RFC 9525 section 6.5: it is compared with the addresses of
/// the certificate.
#[tokio::test]
async fn a_host_is_a_name_or_an_address() {
    let (authority, identity) = authority();
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        let name = connection.request().unwrap().server_name().unwrap_or("none").to_owned();
        connection.write(name);
    });
    let (address, _listening) = listen_tls(&HttpServer::new((websocket, router)), &identity.tls());
    for (host, name) in [("localhost", "localhost"), ("LOCALHOST", "localhost"), ("127.0.0.1", "none")] {
        let (tell, mut told) = unbounded_channel();
        let (connector, url) = (connector(&authority), format!("wss://{host}:{}/", address.port()));
        let connecting = connector.connect(url, move |connection: WebSocketConnection| {
            connection.on("text", move |text: &str| tell.send(text.to_owned()).is_ok());
        });
        connecting.await.unwrap();
        assert_eq!(told.recv().await.as_deref(), Some(name), "{host}");
    }
}

/// RFC 8446 sections 4.4.2.4 and 6.2: the certificate is refused, and the server gets an alert that says why.
#[tokio::test(start_paused = true)]
async fn a_refused_certificate_and_its_alert() {
    let (authority, _) = authority();
    let other = Authority::new();
    let expired = authority.issue_as(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = authority.issue_as(&["localhost"], |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
    let purpose = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let cases = [
        (other.issue(&["localhost"]), "UnknownIssuer", AlertDescription::UnknownCA),
        (authority.issue(&["example.com", "127.0.0.1"]), "WrongName", AlertDescription::BadCertificate),
        (expired, "Expired", AlertDescription::CertificateExpired),
        (early, "Expired", AlertDescription::CertificateExpired),
        (authority.issue_as(&["localhost"], purpose), "Certificate", AlertDescription::UnsupportedCertificate),
    ];
    for (identity, reason, alert) in cases {
        for version in VERSIONS {
            let connector = connector(&authority);
            let (ours, theirs) = duplex(1 << 16);
            let config = config(&identity, version, None);
            let (connected, served) =
                tokio::join!(connector.connect_on(ours, "wss://localhost/", nothing), accept(theirs, &config));
            let error = tls_error(connected);
            assert_eq!(format!("{error:?}").split('(').next(), Some(reason), "{error:?}");
            assert!(error.source().is_some(), "rustls has more to say");
            let received = served.err().unwrap();
            let received = received.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
            assert_eq!(received, Some(rustls::Error::AlertReceived(alert)), "{reason}");
            assert_eq!(connector.stats().refused, [("tls", 1)].into());
        }
    }
}

/// A self-signed certificate is its own root.
#[tokio::test]
async fn a_self_signed_certificate_is_given_as_a_root() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let (address, _listening) = listen_tls(&echo(), &identity.tls());
    let url = format!("wss://localhost:{}/", address.port());
    // With the roots of the platform too.
    let connector = Connector::new().tls(ClientTls::new().root_pem(&identity.certificate).unwrap());
    connector.connect(&url, nothing).await.unwrap();
    let error = tls_error(Connector::new().connect(&url, nothing).await);
    assert!(matches!(error, TlsConnectError::UnknownIssuer(_) | TlsConnectError::Roots(_)), "{error:?}");
    let none = Connector::new().tls(ClientTls::new().platform_roots(false));
    assert!(matches!(tls_error(none.connect(&url, nothing).await), TlsConnectError::UnknownIssuer(_)));
}

/// RFC 8446 section 4.4.2.4: a server may refuse the client's certificate, or a client without a certificate. In TLS 1.3
/// its alert arrives after the client has completed the handshake.
#[tokio::test]
async fn a_server_that_requires_a_certificate_of_the_client() {
    use AlertDescription::{CertificateRequired, UnknownCA};
    let (authority, identity) = authority();
    let client = authority.issue(&["client"]);
    let foreign = Authority::new().issue(&["client"]);
    for version in VERSIONS {
        let http = HttpServer::new((
            {
                let websocket = WebSocketMiddleware::new();
                websocket.on("connection", |connection: WebSocketConnection| {
                    let count = connection.request().unwrap().peer_certificates().len();
                    connection.write(count.to_string());
                });
                websocket
            },
            router,
        ));
        let (address, _listening) = listen_tls(&http, &Tls::from_config(config(&identity, version, Some(&authority))));
        let url = format!("wss://localhost:{}/", address.port());
        let error = tls_error(connector(&authority).connect(&url, nothing).await);
        assert!(matches!(error, TlsConnectError::Alert(CertificateRequired)), "{version:?}: {error:?}");
        let with = |identity: &Identity| {
            let tls = trusting(&authority).client_certificate_pem(&identity.certificate, &identity.key);
            Connector::new().tls(tls.unwrap())
        };
        let error = tls_error(with(&foreign).connect(&url, nothing).await);
        assert!(matches!(error, TlsConnectError::Alert(UnknownCA)), "{version:?}: {error:?}");
        assert_eq!(error.to_string(), "the server sent the alert unknown_ca");
        let (tell, mut told) = unbounded_channel();
        let connector = with(&client);
        let connecting = connector.connect(&url, move |connection: WebSocketConnection| {
            connection.on("text", move |text: &str| tell.send(text.to_owned()).is_ok());
        });
        connecting.await.unwrap();
        assert_eq!(told.recv().await.as_deref(), Some("1"));
    }
    // The server's own setting.
    let tls = identity.tls().client_certificates(ClientCertificates::required_pem(&authority.certificate).unwrap());
    let (address, _listening) = listen_tls(&echo(), &tls);
    let error = tls_error(connector(&authority).connect(format!("wss://localhost:{}/", address.port()), nothing).await);
    assert!(matches!(error, TlsConnectError::Alert(CertificateRequired)), "{error:?}");
}

/// RFC 8446 appendix D.5, RFC 7301 section 3.2.
#[tokio::test]
async fn a_server_with_nothing_in_common() {
    let (authority, identity) = authority();
    let (address, _listening) = listen_tls(&echo(), &Tls::from_config(config(&identity, &version::TLS12, None)));
    let url = format!("wss://localhost:{}/", address.port());
    let modern = Connector::new().tls(trusting(&authority).min_version(TlsVersion::Tls13));
    let error = tls_error(modern.connect(&url, nothing).await);
    assert!(matches!(error, TlsConnectError::Alert(AlertDescription::ProtocolVersion)), "{error:?}");
    connector(&authority).connect(&url, nothing).await.unwrap();

    let mut other = config(&identity, &version::TLS13, None);
    other.alpn_protocols = vec![b"h2".to_vec()];
    let (ours, theirs) = duplex(1 << 16);
    let connector = connector(&authority);
    let (connected, _) = tokio::join!(connector.connect_on(ours, "wss://localhost/", nothing), accept(theirs, &other));
    let error = tls_error(connected);
    assert!(matches!(error, TlsConnectError::Alert(AlertDescription::NoApplicationProtocol)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let (authority, _) = authority();
    let (address, _listening) = listen(router);
    let error = tls_error(connector(&authority).connect(format!("wss://{address}/"), nothing).await);
    assert!(matches!(error, TlsConnectError::PlainHttp), "{error:?}");
    let cases: [(&[u8], &str); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "PlainHttp"),
        (b"HTTP", "PlainHttp"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "NotTls"),
        (b"", "Ended"),
        (b"\x16\x03", "Ended"),
        // A fatal alert, handshake_failure.
        (b"\x15\x03\x03\x00\x02\x02\x28", "Alert"),
    ];
    for (bytes, reason) in cases {
        // The first bytes may come alone.
        for first in 0..bytes.len().clamp(1, 4) {
            let (ours, mut theirs) = duplex(1 << 16);
            let sending = async {
                theirs.write_all(&bytes[..first]).await.unwrap();
                settle().await;
                // The client may have ended the connection after the first byte.
                let _ = theirs.write_all(&bytes[first..]).await;
                let _ = theirs.shutdown().await;
            };
            let connector = connector(&authority);
            let (connected, ()) = tokio::join!(connector.connect_on(ours, "wss://localhost/", nothing), sending);
            let error = tls_error(connected);
            assert_eq!(format!("{error:?}").split('(').next(), Some(reason), "{first} of {bytes:?}: {error:?}");
            assert_eq!(error.to_string().contains("HTTP"), reason == "PlainHttp");
        }
    }
}

/// A stream that returns an error where `AsyncRead` and `AsyncWrite` have `Poll::Pending`.
struct NeverPending(bool);

impl AsyncRead for NeverPending {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        cx.waker().wake_by_ref();
        if self.0 { Poll::Ready(Err(io::ErrorKind::WouldBlock.into())) } else { Poll::Pending }
    }
}

impl AsyncWrite for NeverPending {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.0 { Poll::Ready(Ok(bytes.len())) } else { Poll::Ready(Err(io::ErrorKind::WouldBlock.into())) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The contract of `AsyncRead` and `AsyncWrite`.
#[tokio::test]
async fn a_stream_that_returns_would_block_fails_the_handshake() {
    let (authority, _) = authority();
    for reads in [true, false] {
        let connector = connector(&authority);
        let connecting = connector.connect_on(NeverPending(reads), "wss://localhost/", nothing);
        let error = tls_error(tokio::time::timeout(Duration::from_secs(60), connecting).await.expect("it ends"));
        assert!(matches!(error, TlsConnectError::Io(_)), "{error:?}");
    }
}

/// The client checks the host, like the rest of the URL, before it sends anything.
#[tokio::test]
async fn a_host_that_no_certificate_can_be_for() {
    for host in ["a..b", "-", &"a".repeat(64)] {
        let failed = Connector::new().connect(format!("wss://{host}/"), nothing).await.unwrap_err();
        assert!(matches!(&failed, ConnectError::Url(UrlError::Host { host: wrong }) if wrong == host), "{failed:?}");
    }
}

/// The timeout of everything covers the handshake too, wherever the server stalls.
#[tokio::test(start_paused = true)]
async fn a_server_that_stalls_in_the_handshake() {
    let (authority, identity) = authority();
    let begun = tokio::time::Instant::now();
    let (ours, _silent) = duplex(1 << 16);
    let failed = connector(&authority).connect_on(ours, "wss://localhost/", nothing).await.unwrap_err();
    assert_eq!(failed.to_string(), "no connection within 10s, the TLS handshake has not ended");
    assert!(matches!(failed, ConnectError::Timeout { phase: ConnectPhase::Tls, .. }));
    assert_eq!(begun.elapsed().as_secs(), 10);

    // It does not take the ClientHello.
    let (ours, _full) = duplex(10);
    let failed = connector(&authority).connect_on(ours, "wss://localhost/", nothing).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Timeout { phase: ConnectPhase::Tls, .. }), "{failed:?}");

    // Its answer stops in the middle.
    let (ours, theirs) = duplex(1 << 16);
    let (mut between, inner) = duplex(1 << 16);
    let config = config(&identity, &version::TLS13, None);
    let stalling = async {
        let (mut from_client, mut to_client) = tokio::io::split(theirs);
        let (mut from_server, mut to_server) = tokio::io::split(&mut between);
        let mut part = [0; 300];
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            _ = accept(inner, &config) => {}
            () = async {
                from_server.read_exact(&mut part).await.unwrap();
                to_client.write_all(&part).await.unwrap();
                std::future::pending().await
            } => {}
        }
    };
    let connector = connector(&authority);
    let failed = tokio::select! {
        connected = connector.connect_on(ours, "wss://localhost/", nothing) => connected.unwrap_err(),
        () = stalling => panic!("it stalls"),
    };
    assert!(matches!(failed, ConnectError::Timeout { phase: ConnectPhase::Tls, .. }), "{failed:?}");
}

/// Each byte comes and leaves alone: handshake, messages, and the end.
#[tokio::test(start_paused = true)]
async fn a_connection_byte_by_byte() {
    let (authority, identity) = authority();
    for version in VERSIONS {
        let (connector, log) = (connector(&authority), Log::default());
        let watched = log.clone();
        let config = config(&identity, version, None);
        let (connection, mut server) = in_memory(&config, &connector, move |connection| watched.watch(connection), 1).await;
        connection.write("hello");
        assert_eq!(server.text().await, "hello");
        let long = "x".repeat(40_000);
        connection.write(&long);
        assert_eq!(server.text().await, long);
        server.send(&server_frame(0x81, "world")).await;
        server.stream.flush().await.unwrap();
        settle().await;
        connection.close();
        assert_eq!(server.closed().await.0, Some(1000));
        server.send(&server_frame(0x88, [0x03, 0xE8])).await;
        server.stream.shutdown().await.unwrap();
        // A close_notify came: otherwise this is an error.
        assert_eq!(server.stream.read(&mut [0]).await.unwrap(), 0);
        settle().await;
        assert_eq!(log.take(), ["text world", "close 1000 "]);
    }
}

/// RFC 9110 section 9.3.6.
#[tokio::test]
async fn a_tunnel_of_a_proxy_carries_tls() {
    let (authority, identity) = authority();
    let (address, _listening) = listen_tls(&echo(), &identity.tls());
    let (through, mut requests) = proxy("HTTP/1.1 200 Connection established\r\n\r\n").await;
    let connector = connector(&authority).proxy(Proxy::http(format!("http://{through}")).unwrap());
    let (tell, mut told) = unbounded_channel();
    let url = format!("wss://localhost:{}/", address.port());
    let connecting = connector.connect(&url, move |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| tell.send(text.to_owned()).is_ok());
        connection.write("through the tunnel");
    });
    let connection = connecting.await.unwrap();
    assert_eq!(told.recv().await.as_deref(), Some("through the tunnel"));
    assert_eq!(connection.remote_address(), Some(through));
    let request = requests.recv().await.unwrap();
    assert_eq!(request.lines().next(), Some(&*format!("CONNECT localhost:{} HTTP/1.1", address.port())));

    // What comes with the proxy's response belongs to the tunnel.
    let (through, _requests) = proxy("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    let connector = Connector::new().proxy(Proxy::http(format!("http://{through}")).unwrap());
    let error = tls_error(connector.tls(trusting(&authority)).connect(&url, nothing).await);
    assert!(matches!(error, TlsConnectError::PlainHttp), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_carries_tls() {
    let (authority, identity) = authority();
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let config = config(&identity, &version::TLS13, None);
    let serving = async {
        let mut server = accept(theirs, &config).await.unwrap();
        server.accept().await;
        server
    };
    let connector = connector(&authority);
    let connecting = connector.connect_on(ours, "wss://localhost/", |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
    });
    let (connected, mut server) = tokio::join!(connecting, serving);
    connected.unwrap();
    server.send(&server_frame(0x81, "local")).await;
    assert_eq!(server.text().await, "local");
}

/// Messages that are in one record with the 101, and in further records of the same read, are not lost.
#[tokio::test]
async fn what_comes_with_the_101_is_delivered() {
    let (authority, identity) = authority();
    for version in VERSIONS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
        let config = config(&identity, version, None);
        let serving = async {
            let mut server = accept(listener.accept().await.unwrap().0, &config).await.unwrap();
            let long = vec![b'x'; 60_000];
            let behind = [server_frame(0x81, "early"), server_frame(0x82, &long), server_frame(0x81, "last")].concat();
            server.accept_with("", &behind).await;
            server
        };
        let (tell, mut told) = unbounded_channel();
        let connector = connector(&authority);
        let connecting = connector.connect(&url, async move |connection: WebSocketConnection| {
            connection.on("message", move |message: Message| tell.send(message).is_ok());
            tokio::time::sleep(Duration::from_millis(50)).await;
        });
        let (connected, _server) = tokio::join!(connecting, serving);
        connected.unwrap();
        for message in [Message::from("early"), vec![b'x'; 60_000].into(), "last".into()] {
            assert!(told.recv().await == Some(message));
        }
    }
}

/// RFC 8446 section 6.1: each end that is in order has a close_notify, so that the server knows that nothing is missing.
#[tokio::test]
async fn an_orderly_end_sends_a_close_notify() {
    let (authority, identity) = authority();
    let config = config(&identity, &version::TLS13, None);
    for over_tcp in [true, false] {
        for kind in ["refused", "wrong", "malformed", "listener", "close", "answer", "protocol error"] {
            let connector = connector(&authority);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap());
            let (tcp, accepted) = tokio::join!(tcp, listener.accept());
            let (ours, theirs) = duplex(1 << 16);
            let (ours, theirs): (Box<dyn Both>, Box<dyn Both>) = if over_tcp {
                (Box::new(tcp.unwrap()), Box::new(accepted.unwrap().0))
            } else {
                (Box::new(ours), Box::new(theirs))
            };
            let serving = async {
                let mut server = accept(theirs, &config).await.unwrap();
                match kind {
                    "refused" => {
                        server.request().await;
                        server.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
                    }
                    "wrong" => {
                        server.request().await;
                        server.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
                    }
                    "malformed" => {
                        server.request().await;
                        server.send(b"what?\r\n\r\n").await;
                    }
                    _ => _ = server.accept().await,
                }
                match kind {
                    "close" => {
                        assert_eq!(server.closed().await.0, Some(1000));
                        server.send(&server_frame(0x88, [0x03, 0xE8])).await;
                        server.stream.shutdown().await.unwrap();
                    }
                    "answer" => {
                        server.send(&server_frame(0x88, [0x03, 0xE8])).await;
                        assert_eq!(server.closed().await.0, Some(1000));
                        server.stream.shutdown().await.unwrap();
                    }
                    "protocol error" => {
                        server.send(&[0xFF, 0]).await;
                        assert_eq!(server.closed().await.0, Some(1002));
                    }
                    "listener" => assert_eq!(server.closed().await.0, Some(1011)),
                    _ => {}
                }
                assert_eq!(server.stream.read(&mut [0]).await.unwrap(), 0, "{kind}");
            };
            let connecting = async {
                let listener = |connection: WebSocketConnection| match kind {
                    "listener" => Err("no"),
                    "close" => {
                        connection.close();
                        Ok(())
                    }
                    _ => Ok(()),
                };
                // A TCP stream is known as one.
                match ours.into_tcp() {
                    Ok(tcp) => connector.connect_on(tcp, "wss://localhost/", listener).await,
                    Err(other) => connector.connect_on(other, "wss://localhost/", listener).await,
                }
            };
            let connected = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(connecting, serving).0 });
            let connected = connected.await.unwrap_or_else(|_| panic!("{kind} does not end, over TCP: {over_tcp}"));
            assert_eq!(connected.is_ok(), matches!(kind, "close" | "answer" | "protocol error"), "{kind}: {connected:?}");
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    fn into_tcp(self: Box<Self>) -> Result<TcpStream, Box<dyn Both>>;
}

impl Both for TcpStream {
    fn into_tcp(self: Box<Self>) -> Result<TcpStream, Box<dyn Both>> {
        Ok(*self)
    }
}

impl Both for DuplexStream {
    fn into_tcp(self: Box<Self>) -> Result<TcpStream, Box<dyn Both>> {
        Err(self)
    }
}

/// RFC 8446 section 6.1: a FIN without a close_notify is a truncation.
#[tokio::test(start_paused = true)]
async fn a_cut_stream_differs_from_an_ended_stream() {
    let (authority, identity) = authority();
    let config = config(&identity, &version::TLS13, None);
    for is_cut in [true, false] {
        let (ours, theirs) = duplex(1 << 16);
        let serving = async {
            let mut server = accept(theirs, &config).await.unwrap();
            server.request().await;
            if !is_cut {
                server.stream.shutdown().await.unwrap();
            }
            server
        };
        let connector = connector(&authority);
        let (failed, _) =
            tokio::join!(connector.connect_on(ours, "wss://localhost/", nothing), async { drop(serving.await) });
        match failed.unwrap_err() {
            ConnectError::Handshake(ResponseError::Io(error)) if is_cut => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
            ConnectError::Handshake(ResponseError::Ended) if !is_cut => {}
            other => panic!("{other:?}"),
        }

        // An open connection ends with 1006 either way, since there was no Close.
        let log = Log::default();
        let watched = log.clone();
        let (_connection, mut server) =
            in_memory(&config, &connector, move |connection| watched.watch(connection), 1 << 16).await;
        server.send(&server_frame(0x81, "before")).await;
        if !is_cut {
            server.stream.shutdown().await.unwrap();
        }
        drop(server);
        settle().await;
        assert_eq!(log.take(), ["text before", "close 1006 "]);
    }
}

/// RFC 8446 section 2.2: a connector keeps the sessions of its servers. Another connector does not have these sessions.
#[tokio::test(start_paused = true)]
async fn sessions_are_resumed() {
    let (authority, identity) = authority();
    for version in VERSIONS {
        let config = config(&identity, version, None);
        let (first, second) = (connector(&authority), connector(&authority));
        for (connector, kind) in
            [(&first, HandshakeKind::Full), (&first.clone(), HandshakeKind::Resumed), (&second, HandshakeKind::Full)]
        {
            let (_connection, mut server) = in_memory(&config, connector, nothing, 1 << 16).await;
            assert_eq!(server.stream.get_ref().1.handshake_kind(), Some(kind), "{version:?}");
            server.send(&server_frame(0x81, "the tickets come before this")).await;
            settle().await;
        }
    }
}

/// The bytes of the app are counted, without those of TLS.
#[tokio::test]
async fn unsent_bytes_are_counted_and_a_server_that_does_not_read_is_waited_for() {
    let (authority, identity) = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    let config = config(&identity, &version::TLS13, None);
    let serving = async {
        let mut server = accept(listener.accept().await.unwrap().0, &config).await.unwrap();
        server.accept().await;
        server
    };
    let options = WebSocketOptions::new().write_buffer_hard_limit(64 << 20);
    let connector = connector(&authority).with_options(options);
    let (connected, mut server) = tokio::join!(connector.connect(&url, nothing), serving);
    let connection = connected.unwrap();
    let (drained, mut is_drained) = unbounded_channel();
    connection.on("drain", move || drained.send(()).is_ok());
    let payload = vec![7; 100_000];
    let mut written = 0;
    while connection.write_binary(&payload) || connection.buffered_amount() < 1 << 20 {
        written += 1;
    }
    written += 1;
    // A frame has a header of 14 bytes here.
    let before = connection.buffered_amount();
    connection.write_binary(&payload);
    assert_eq!(connection.buffered_amount(), before + payload.len() + 14);
    written += 1;
    for _ in 0..written {
        assert_eq!(server.frame().await.unwrap().payload, payload);
    }
    assert_eq!(is_drained.recv().await, Some(()));
    assert_eq!(connection.buffered_amount(), 0);
}

/// The write timeout applies over TLS: the client drops the connection of a server that reads nothing.
#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_is_dropped() {
    let (authority, identity) = authority();
    let config = config(&identity, &version::TLS13, None);
    let options = WebSocketOptions::new().ping_interval(None).write_timeout(Duration::from_secs(5));
    let (connector, log) = (connector(&authority).with_options(options), Log::default());
    let watched = log.clone();
    let (connection, _server) = in_memory(&config, &connector, move |connection| watched.watch(connection), 1 << 16).await;
    connection.write("x".repeat(500_000));
    settle().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let events = log.take();
    assert!(events.last().is_some_and(|last| last.starts_with("close ")), "{events:?}");
    assert_eq!(connector.stats().open, 0);
}

/// The server's pages arrive over TLS too, and a connector that is closed gives up.
#[tokio::test]
async fn a_refusal_is_reported_with_its_body() {
    let (authority, identity) = authority();
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", |connection: WebSocketConnection| {
        connection.reject(Response::new(403).with_body("not you"));
    });
    let (address, _listening) = listen_tls(&HttpServer::new((websocket, router)), &identity.tls());
    let connector = connector(&authority);
    match connector.connect(format!("wss://localhost:{}/", address.port()), nothing).await {
        Err(ConnectError::Refused { response }) => {
            assert_eq!((response.status().as_u16(), &response.body()[..]), (403, &b"not you"[..]));
        }
        other => panic!("{other:?}"),
    }
    let (ours, _theirs) = duplex(1 << 16);
    let connecting = connector.connect_on(ours, "wss://localhost/", nothing);
    let closing = async {
        tokio::task::yield_now().await;
        connector.close().await;
    };
    let (failed, ()) = tokio::join!(connecting, closing);
    assert!(matches!(failed, Err(ConnectError::Closed)), "{failed:?}");
}

/// `Host` has no port if it is 443 (RFC 9110 section 7.2), and ALPN has HTTP/1.1 (RFC 7301), whatever the app's configuration
/// has.
#[tokio::test(start_paused = true)]
async fn the_handshake_of_http_over_tls() {
    let (authority, identity) = authority();
    let mut config = config(&identity, &version::TLS13, None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut own = authority.client();
    own.alpn_protocols = vec![b"h2".to_vec()];
    own.enable_early_data = true;
    for tls in [trusting(&authority), ClientTls::from_config(own)] {
        let connector = Connector::new().tls(tls);
        let (ours, theirs) = duplex(1 << 16);
        let serving = async {
            let mut server = accept(theirs, &config).await.unwrap();
            assert_eq!(server.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            server.accept().await
        };
        let (connected, head) = tokio::join!(connector.connect_on(ours, "wss://localhost/x", nothing), serving);
        connected.unwrap();
        assert_eq!(header(&head, "Host"), Some("localhost"));
    }
}

/// Malformed and missing files are errors when the configuration is made. The error names the file.
#[test]
fn certificates_are_checked_when_they_are_given() {
    let folder = std::env::temp_dir().join(format!("client-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (authority, identity) = authority();
    let missing = folder.join("missing.pem");
    let failed = ClientTls::new().root_file(&missing).unwrap_err();
    assert_eq!(failed.to_string(), format!("cannot read {}", missing.display()));
    assert!(matches!(failed, TlsError::File { .. }));
    let empty = file("empty.pem", "nothing here");
    assert!(
        matches!(ClientTls::new().root_file(&empty).unwrap_err(), TlsError::NoCertificate { origin } if origin == empty.display().to_string())
    );
    let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(ClientTls::new().root_pem(malformed).unwrap_err(), TlsError::Invalid { .. }));
    assert!(matches!(ClientTls::new().root_pem("").unwrap_err(), TlsError::NoCertificate { .. }));
    let (certificate, key) = (file("cert.pem", &identity.certificate), file("key.pem", &identity.key));
    let failed = ClientTls::new().client_certificate(&certificate, &missing).unwrap_err();
    assert!(matches!(failed, TlsError::File { origin, .. } if origin == missing.display().to_string()));
    let other = authority.issue(&["localhost"]);
    let failed = ClientTls::new().client_certificate_pem(&identity.certificate, &other.key).unwrap_err();
    assert!(matches!(failed, TlsError::Mismatch { .. }));
    let failed = ClientTls::new().client_certificate(&certificate, &certificate).unwrap_err();
    assert!(matches!(failed, TlsError::NoKey { .. }));
    let tls = ClientTls::new().client_certificate(&certificate, &key).unwrap().root_file(&certificate).unwrap();
    let shown = format!("{tls:?}");
    assert!(shown.contains("has_client_certificate: true") && !shown.contains("BEGIN"), "{shown}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
#[should_panic(expected = "a `ClientTls` of `from_config` cannot be changed")]
fn a_configuration_of_the_app_is_complete() {
    let (authority, _) = authority();
    let _ = ClientTls::from_config(authority.client()).platform_roots(false);
}
