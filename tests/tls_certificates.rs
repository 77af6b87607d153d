//! Certificates of servers and clients, and what is wrong with them (RFC 5280, RFC 6066, RFC 8446 section 4.4).
#![cfg(feature = "__tls")]

mod support;

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use react_websocket::errors::SocketError;
use react_websocket::tls::{ClientCertificates, Tls, TlsError, TlsVersion};
use react_websocket::{HttpServer, Response, ServerRequest};
use rustls::pki_types::CertificateDer;
use support::Log;
use support::tls::{Authority, Identity, connect, connect_to, listen_tls, socket};

/// A folder of its own, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("react-websocket-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn identity(&self, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
        let certificate = self.write(&format!("{name}.pem"), &identity.certificate);
        (certificate, self.write(&format!("{name}.key"), &identity.key))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that answers with what it knows of the client.
fn who() -> HttpServer {
    HttpServer::new(|request: ServerRequest| {
        let count = request.peer_certificates().len();
        Response::plaintext(format!("{} {count}", request.server_name().unwrap_or("none")))
    })
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

const KEY_PKCS8_ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHs\n-----END ENCRYPTED PRIVATE KEY-----\n";
const KEY_OPENSSL_ENCRYPTED: &str = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
    DEK-Info: AES-128-CBC,00\n\nMIHs\n-----END EC PRIVATE KEY-----\n";

/// Each is found when the configuration is made, and names the file.
#[test]
fn files_that_are_missing_wrong_or_encrypted_are_named() {
    let (authority, folder) = (Authority::new(), Folder::new("wrong"));
    let (certificate, key) = folder.identity("right", &authority.issue(&["localhost"]));
    let (_, other_key) = folder.identity("other", &authority.issue(&["localhost"]));
    let missing = folder.0.join("missing.pem");
    let empty = folder.write("empty.pem", "");
    let garbage = folder.write("garbage.pem", [0xFF, 0, 0x80]);
    let bad_base64 = folder.write("base64.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let bad_der = folder.write("der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let bad_key = folder.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let pkcs8 = folder.write("pkcs8.pem", KEY_PKCS8_ENCRYPTED);
    let openssl = folder.write("openssl.pem", KEY_OPENSSL_ENCRYPTED);
    let swapped = (&key, &certificate);
    for (certificate, key, kind, named, has_source) in [
        (&missing, &key, "File", &missing, true),
        (&certificate, &missing, "File", &missing, true),
        (&folder.0, &key, "File", &folder.0, true),
        (&empty, &key, "NoCertificate", &empty, false),
        (&garbage, &key, "NoCertificate", &garbage, false),
        (swapped.0, swapped.1, "NoCertificate", &key, false),
        (&certificate, &empty, "NoKey", &empty, false),
        (&certificate, &certificate, "NoKey", &certificate, false),
        (&bad_base64, &key, "Invalid", &bad_base64, true),
        (&bad_der, &key, "Invalid", &bad_der, true),
        (&certificate, &bad_key, "Invalid", &bad_key, true),
        (&certificate, &pkcs8, "EncryptedKey", &pkcs8, false),
        (&certificate, &openssl, "EncryptedKey", &openssl, false),
        (&certificate, &other_key, "Mismatch", &other_key, false),
    ] {
        let error = Tls::from_pem_files(certificate, key).unwrap_err();
        let found = format!("{error:?}");
        assert!(found.starts_with(kind), "{kind}: {found}");
        assert!(error.to_string().contains(&named.display().to_string()), "{error}");
        assert_eq!(error.source().is_some(), has_source, "{error}");
        // An error prints its own level only.
        if let Some(source) = error.source() {
            assert!(!error.to_string().contains(&source.to_string()), "{error}");
        }
    }
}

#[test]
fn bytes_are_named_by_their_argument() {
    let identity = Authority::new().issue(&["localhost"]);
    let error = Tls::from_pem("", &identity.key).unwrap_err();
    assert!(error.to_string().contains("argument `certificate`"), "{error}");
    let error = Tls::from_pem(&identity.certificate, "").unwrap_err();
    assert!(error.to_string().contains("argument `key`"), "{error}");
    // Certificate and key may stand in one text.
    let both = format!("{}{}", identity.certificate, identity.key);
    assert!(Tls::from_pem(&both, &both).is_ok());
}

#[test]
fn names_are_checked_against_their_certificates() {
    let (authority, folder) = (Authority::new(), Folder::new("names"));
    let tls = || authority.issue(&["localhost"]).tls();
    let (certificate, key) = folder.identity("named", &authority.issue(&["b.example", "*.c.example"]));
    for name in ["b.example", "B.Example", "*.c.example", "x.c.example"] {
        assert!(tls().server_name(name, &certificate, &key).is_ok(), "{name}");
    }
    for name in ["a.example", "x.b.example", "*.example", "*.b.example"] {
        let error = tls().server_name(name, &certificate, &key).unwrap_err();
        assert!(matches!(error, TlsError::WrongName { .. }), "{name}: {error}");
        assert!(error.to_string().contains("named.pem"), "{error}");
    }
    for name in ["", "*", "*.", "a b", "127.0.0.1", "::1", "https://b.example", "b.example:443", "*.*.example"] {
        let error = tls().server_name(name, &certificate, &key).unwrap_err();
        assert!(matches!(error, TlsError::InvalidName { .. }), "{name}: {error}");
    }
}

#[test]
#[should_panic(expected = "set it in the `ServerConfig`")]
fn a_given_configuration_is_complete() {
    let tls = Authority::new().issue(&["localhost"]).tls_of(rustls::crypto::ring::default_provider());
    assert!(tls.reload().is_ok(), "it does nothing");
    let _ = tls.min_version(TlsVersion::Tls13);
}

/// RFC 6066 section 3: the exact name, then the wildcard of one label, then the first certificate.
#[tokio::test]
async fn clients_get_the_certificate_of_the_name_they_ask_for() {
    let authority = Authority::new();
    let [first, exact, wildcard] = [
        authority.issue(&["localhost", "default.example", "deep.a.c.example", "a.d.example"]),
        authority.issue(&["b.example", "b.c.example"]),
        authority.issue(&["*.c.example"]),
    ];
    let tls = first.tls().server_name_pem("b.example", &exact.certificate, &exact.key).unwrap();
    let tls = tls.server_name_pem("b.c.example", &exact.certificate, &exact.key).unwrap();
    let tls = tls.server_name_pem("*.c.example", &wildcard.certificate, &wildcard.key).unwrap();
    let (address, _listening) = listen_tls(&who(), &tls);
    for (name, identity) in [
        ("localhost", &first),
        ("default.example", &first),
        ("b.example", &exact),
        ("B.EXAMPLE", &exact),
        ("b.c.example", &exact),
        ("a.c.example", &wildcard),
        ("deep.a.c.example", &first),
        ("a.d.example", &first),
    ] {
        let mut peer = connect_to(name, address, authority.client()).await.unwrap();
        assert_eq!(certificate_of(&peer.stream), identity.chain(), "{name}");
        assert_eq!(peer.ask(GET).await.text(), format!("{} 0", name.to_lowercase()));
    }
    // A client that asks for no name.
    let mut config = authority.client();
    config.enable_sni = false;
    let mut peer = connect(address, config).await.unwrap();
    assert_eq!(peer.ask(GET).await.text(), "none 0");
    assert_eq!(certificate_of(&peer.stream), first.chain());
}

fn certificate_of<S>(stream: &tokio_rustls::client::TlsStream<S>) -> Vec<CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates().unwrap().to_vec()
}

/// RFC 8446 section 4.4.2.4: required, optional, foreign, expired, for another use, revoked.
#[tokio::test]
async fn client_certificates_are_required_or_optional() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = authority.issue(&["localhost"]);
    let good = authority.issue_as(&["ann"], |params| params.serial_number = Some(7.into()));
    let revoked = authority.issue_as(&["bob"], |params| params.serial_number = Some(8.into()));
    let stranger = foreign.issue(&["ann"]);
    let expired = authority.issue_as(&["ann"], |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    });
    let of_server = authority.issue_as(&["ann"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let required = ClientCertificates::required_pem(&authority.certificate).unwrap();
    let optional = ClientCertificates::optional_pem(&authority.certificate).unwrap();
    let checked = required.clone().revocation_lists_pem(authority.revoke(&[8])).unwrap();
    for (clients, client, result) in [
        (&required, Some(&good), "localhost 1"),
        (&required, None, "NoClientCertificate"),
        (&optional, Some(&good), "localhost 1"),
        (&optional, None, "localhost 0"),
        (&optional, Some(&stranger), "ClientCertificate"),
        (&required, Some(&stranger), "ClientCertificate"),
        (&required, Some(&expired), "ClientCertificate"),
        (&required, Some(&of_server), "ClientCertificate"),
        (&required, Some(&revoked), "localhost 1"),
        (&checked, Some(&revoked), "ClientCertificate"),
        (&checked, Some(&good), "localhost 1"),
    ] {
        let tls = server.tls().client_certificates(clients.clone());
        let (socket, log) = (socket(&tls), Log::default());
        let noted = log.clone();
        socket.on("error", move |error: &SocketError| match error {
            SocketError::Tls { reason, .. } => noted.add(format_args!("{reason:?}")),
            other => noted.add(other),
        });
        let address = socket.local_address().unwrap();
        let _ = who().listen(socket);
        let config = client.map_or_else(|| authority.client(), |client| authority.client_with(client));
        let answer = match connect(address, config).await {
            Ok(mut peer) => {
                use tokio::io::AsyncWriteExt;
                // In TLS 1.3 a client learns that it is refused when it reads.
                let _ = peer.stream.write_all(GET.as_bytes()).await;
                let mut all = Vec::new();
                loop {
                    use tokio::io::AsyncReadExt;
                    match peer.stream.read_buf(&mut all).await {
                        Ok(1..) if !all.ends_with(b"localhost 0") && !all.ends_with(b"localhost 1") => {}
                        Ok(_) => break String::from_utf8(all).unwrap(),
                        Err(error) => break error.to_string(),
                    }
                }
            }
            Err(error) => error.to_string(),
        };
        if result.starts_with("localhost") {
            assert!(answer.ends_with(result), "{answer}");
            assert_eq!(log.take(), [""; 0]);
        } else {
            // The alert has arrived, and not a reset.
            assert!(answer.contains("alert"), "{result}: {answer}");
            assert_eq!(log.take(), [result]);
        }
    }
}

#[test]
fn authorities_and_revocation_lists_are_checked_when_they_are_given() {
    let (authority, folder) = (Authority::new(), Folder::new("authorities"));
    let path = folder.write("ca.pem", &authority.certificate);
    let missing = folder.0.join("missing.pem");
    assert!(matches!(ClientCertificates::required(&missing), Err(TlsError::File { .. })));
    assert!(matches!(ClientCertificates::optional_pem("none"), Err(TlsError::NoCertificate { .. })));
    let clients = || ClientCertificates::required(&path).unwrap();
    assert!(matches!(clients().revocation_lists(&missing), Err(TlsError::File { .. })));
    assert!(matches!(clients().revocation_lists_pem(&authority.certificate), Err(TlsError::Invalid { .. })));
    let malformed = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert!(matches!(clients().revocation_lists_pem(malformed), Err(TlsError::Invalid { .. })));
}

/// All or nothing, while handshakes are under way. Open connections stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_swaps_all_or_nothing_and_no_handshake_fails() {
    let (authority, folder) = (Authority::new(), Folder::new("reload"));
    let [old, new] = [authority.issue(&["localhost"]), authority.issue(&["localhost"])];
    let named = authority.issue(&["b.example"]);
    let (certificate, key) = folder.identity("server", &old);
    let (named_certificate, named_key) = folder.identity("named", &named);
    let tls = Tls::from_pem_files(&certificate, &key).unwrap();
    let tls = tls.server_name("b.example", &named_certificate, &named_key).unwrap();
    let (address, _listening) = listen_tls(&who(), &tls);
    let mut open = connect(address, authority.client()).await.unwrap();
    // Clients come all the time.
    let (is_over, config) = (Arc::new(AtomicBool::new(false)), authority.client());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, config) = (is_over.clone(), config.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let mut peer = connect(address, config.clone()).await.expect("a handshake");
                    assert_eq!(peer.ask(GET).await.status(), 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for round in 0..20 {
        let identity = if round % 2 == 0 { &new } else { &old };
        folder.identity("server", identity);
        tls.reload().unwrap();
        let peer = connect(address, authority.client()).await.unwrap();
        assert_eq!(certificate_of(&peer.stream), identity.chain());
        // A file that is not written whole, and one of another certificate: nothing changes.
        for (name, content) in [("server.pem", &identity.certificate[..100]), ("named.key", &old.key)] {
            let before = std::fs::read(folder.0.join(name)).unwrap();
            folder.write(name, content);
            folder.identity(if name == "server.pem" { "named" } else { "server" }, &named);
            let error = tls.clone().reload().unwrap_err();
            assert!(matches!(error, TlsError::Invalid { .. } | TlsError::Mismatch { .. }), "{error:?}");
            folder.write(name, before);
            folder.identity("server", identity);
            folder.identity("named", &named);
            let peer = connect(address, authority.client()).await.unwrap();
            assert_eq!(certificate_of(&peer.stream), identity.chain());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    assert_eq!(open.ask(GET).await.status(), 200, "an open connection keeps its certificate");
}

/// A session of before does not pass an authority that is no longer trusted.
#[tokio::test]
async fn tickets_of_before_a_reload_are_worthless() {
    let (authority, folder) = (Authority::new(), Folder::new("tickets"));
    let (certificate, key) = folder.identity("server", &authority.issue(&["localhost"]));
    let tls = Tls::from_pem_files(&certificate, &key).unwrap();
    let (address, _listening) = listen_tls(&who(), &tls);
    let config = authority.client();
    let mut kinds = Vec::new();
    for round in 0..3 {
        let mut peer = connect(address, config.clone()).await.unwrap();
        assert_eq!(peer.ask(GET).await.status(), 200);
        kinds.push(peer.stream.get_ref().1.handshake_kind().unwrap());
        if round == 1 {
            tls.reload().unwrap();
        }
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(kinds, [Full, Resumed, Full]);
}
