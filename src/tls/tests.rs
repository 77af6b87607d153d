//! Handshakes and records without a socket: cut at every byte, forged, and sent to sockets that take little.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct, ProtocolVersion,
    ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, version,
};

use super::handshake::{Established, Handshake};
use super::records::End;
use super::{Opened, Opener, Sealer};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

/// The providers that are built in.
fn providers() -> Vec<CryptoProvider> {
    vec![rustls::crypto::aws_lc_rs::default_provider(), rustls::crypto::ring::default_provider()]
}

/// A client that accepts any certificate.
#[derive(Debug)]
struct Trusting(CryptoProvider);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Configurations of both ends, for one version.
struct Ends {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Ends {
    fn new(provider: CryptoProvider, version: &'static SupportedProtocolVersion) -> Ends {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(provider.clone()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let server = builder.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider.clone()));
        let builder = builder.with_protocol_versions(&[version]).unwrap().dangerous();
        let mut client = builder.with_custom_certificate_verifier(Arc::new(Trusting(provider))).with_no_client_auth();
        client.enable_secret_extraction = true;
        Ends { server: Arc::new(server), client: Arc::new(client) }
    }

    fn each() -> Vec<Ends> {
        let each = |version| providers().into_iter().map(move |provider| Ends::new(provider, version));
        VERSIONS.into_iter().flat_map(each).collect()
    }

    fn of(version: &'static SupportedProtocolVersion) -> Ends {
        Ends::new(providers().remove(0), version)
    }

    fn client(&self) -> ClientConnection {
        ClientConnection::new(self.client.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    fn server(&self) -> Handshake<UnbufferedServerConnection> {
        Handshake::new(UnbufferedServerConnection::new(self.server.clone()).unwrap())
    }

    /// Shakes hands. `first` comes with the client's last message of the handshake.
    fn connect(&self, first: &[u8]) -> (ClientConnection, Established) {
        let mut client = self.client();
        client.writer().write_all(first).unwrap();
        let mut server = self.server();
        for _ in 0..3 {
            let sent = server.receive(&taken(&mut client)).unwrap();
            give(&mut client, &sent).unwrap();
        }
        assert!(!client.is_handshaking());
        (client, server.finish())
    }
}

/// What the client has to send.
fn taken(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn give(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// What the client has received.
fn received(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    match client.reader().read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => panic!("{error}"),
        _ => bytes,
    }
}

/// Receives some bytes.
fn read(opener: &mut Opener, bytes: &[u8], plaintext: &mut Vec<u8>) -> Option<End> {
    let receive = |room: &mut [u8]| {
        room[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    };
    let Opened { is_dry, end } = opener.read(plaintext, receive).unwrap();
    assert!(is_dry || end.is_some());
    end
}

/// Seals some bytes.
fn sealed(sealer: &mut Sealer, bytes: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let written = sealer.write(bytes, |some| {
        records.extend_from_slice(some);
        Ok(some.len())
    });
    assert_eq!(written.unwrap(), bytes.len());
    records
}

/// RFC 8446 section 5.1: messages of a handshake may be cut anywhere.
#[test]
fn a_handshake_cut_at_every_byte_succeeds() {
    for ends in Ends::each() {
        let mut cut = 0;
        loop {
            let (mut client, mut server) = (ends.client(), ends.server());
            client.writer().write_all(b"first").unwrap();
            let mut length = 0;
            for _ in 0..3 {
                let bytes = taken(&mut client);
                let (before, after) = bytes.split_at(cut.min(bytes.len()));
                length = length.max(bytes.len());
                let mut sent = server.receive(before).unwrap();
                sent.extend(server.receive(after).unwrap());
                give(&mut client, &sent).unwrap();
            }
            assert!(!client.is_handshaking(), "cut at {cut}");
            let Established { mut sealer, mut opener, mut plaintext, .. } = server.finish();
            // In TLS 1.2 the server's last message comes before the client's data.
            if plaintext.is_empty() {
                assert!(read(&mut opener, &taken(&mut client), &mut plaintext).is_none());
            }
            assert_eq!(plaintext, b"first");
            give(&mut client, &sealed(&mut sealer, b"answer")).unwrap();
            assert_eq!(received(&mut client), b"answer");
            cut += 1;
            if cut > length {
                break;
            }
        }
    }
}

#[test]
fn a_handshake_byte_by_byte_succeeds() {
    for ends in Ends::each() {
        let (mut client, mut server) = (ends.client(), ends.server());
        for _ in 0..3 {
            for byte in taken(&mut client) {
                let sent = server.receive(&[byte]).unwrap();
                give(&mut client, &sent).unwrap();
            }
        }
        assert!(!client.is_handshaking());
    }
}

/// Everything that a client may send after its handshake, and the plaintext of it.
fn conversation(client: &mut ClientConnection) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut plaintext) = (Vec::new(), Vec::new());
    for (number, size) in [1, 20, 300, 40].into_iter().enumerate() {
        let message = vec![number as u8; size];
        client.writer().write_all(&message).unwrap();
        plaintext.extend(message);
        bytes.extend(taken(client));
        // Only TLS 1.3 has new keys.
        let _ = client.refresh_traffic_keys();
        bytes.extend(taken(client));
    }
    client.send_close_notify();
    bytes.extend(taken(client));
    (bytes, plaintext)
}

/// RFC 8446 sections 4.6.3 and 5.1: records and KeyUpdates, cut anywhere, while the server writes.
#[test]
fn records_cut_at_every_byte_are_opened() {
    for ends in Ends::each() {
        let length = conversation(&mut ends.connect(b"").0).0.len();
        for cut in 0..=length {
            let (mut client, Established { mut sealer, mut opener, .. }) = ends.connect(b"");
            let (bytes, expected) = conversation(&mut client);
            let (mut plaintext, mut end) = (Vec::new(), None);
            for part in [&bytes[..cut], &bytes[cut..]].into_iter().filter(|part| !part.is_empty()) {
                assert!(end.is_none());
                end = read(&mut opener, part, &mut plaintext);
                give(&mut client, &sealed(&mut sealer, b"meanwhile")).unwrap();
            }
            assert!(matches!(end, Some(End::Closed)), "cut at {cut}: {end:?}");
            assert_eq!(plaintext, expected);
            assert_eq!(received(&mut client), b"meanwhile".repeat(if cut == 0 || cut == length { 1 } else { 2 }));
        }
    }
}

#[test]
fn records_byte_by_byte_are_opened_and_nothing_is_kept_behind_them() {
    for ends in Ends::each() {
        let (mut client, Established { mut sealer, mut opener, .. }) = ends.connect(b"");
        let (bytes, expected) = conversation(&mut client);
        let (mut plaintext, mut end) = (Vec::new(), None);
        for byte in bytes {
            assert!(end.is_none());
            end = read(&mut opener, &[byte], &mut plaintext);
            give(&mut client, &sealed(&mut sealer, b"x")).unwrap();
        }
        assert!(matches!(end, Some(End::Closed)));
        assert_eq!(plaintext, expected);
    }
}

/// RFC 8446 section 6.1: the end of a stream that was cut is not that of one that was closed.
#[test]
fn a_stream_that_ends_at_every_byte_is_truncated() {
    let ends = Ends::of(&version::TLS13);
    let length = conversation(&mut ends.connect(b"").0).0.len();
    for cut in 0..length {
        let (mut client, Established { mut opener, .. }) = ends.connect(b"");
        let (bytes, _) = conversation(&mut client);
        let mut plaintext = Vec::new();
        if cut > 0 {
            assert!(read(&mut opener, &bytes[..cut], &mut plaintext).is_none());
        }
        for _ in 0..2 {
            let end = opener.read(&mut plaintext, |_| Ok(0)).unwrap().end;
            let error = Option::<io::Error>::from(end.unwrap()).unwrap();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

/// A bit that is wrong anywhere in a record: the alert that RFC 8446 section 6.2 names, and no plaintext.
#[test]
fn a_bit_that_is_wrong_anywhere_fails_the_connection() {
    for ends in Ends::each() {
        let record = {
            let (mut client, _) = ends.connect(b"");
            client.writer().write_all(b"hello").unwrap();
            taken(&mut client).len()
        };
        // The length is left alone here: a longer one is waited for.
        for place in (0..record).filter(|place| !(3..5).contains(place)) {
            let (mut client, Established { mut sealer, mut opener, .. }) = ends.connect(b"");
            client.writer().write_all(b"hello").unwrap();
            let mut bytes = taken(&mut client);
            bytes[place] ^= 0x40;
            let mut plaintext = Vec::new();
            let Some(end) = read(&mut opener, &bytes, &mut plaintext) else {
                // A version of 1.2 or 1.3 in the header is not looked at.
                assert!((1..3).contains(&place), "byte {place}");
                continue;
            };
            assert!(matches!(end, End::Failed(_)), "byte {place}: {end:?}");
            assert!(plaintext.is_empty());
            let mut alert = Vec::new();
            sealer.send_alert(|bytes| {
                alert.extend_from_slice(bytes);
                Ok(bytes.len())
            });
            assert!(!alert.is_empty(), "byte {place}");
            let error = give(&mut client, &alert).unwrap_err();
            assert!(matches!(error, rustls::Error::AlertReceived(_)), "{error}");
            // Nothing is sent behind it, and it is not sent again.
            assert!(sealer.write(b"more", |_| panic!("it is sent")).is_err());
            sealer.send_alert(|_| panic!("it is sent"));
        }
    }
}

/// Makes records that no client would send.
struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forger {
    fn new(client: ClientConnection) -> Forger {
        let Some(SupportedCipherSuite::Tls13(suite)) = client.negotiated_cipher_suite() else { unreachable!() };
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            unreachable!()
        };
        let mut forger = Forger { encrypter: suite.aead_alg.encrypter(key, iv), sequence: 0 };
        // aws-lc takes the first number for 0.
        while forger.sequence < sequence {
            forger.record(ContentType::ApplicationData, b"");
        }
        forger
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(payload);
        let message = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let sealed = self.encrypter.encrypt(message, self.sequence).unwrap().encode();
        self.sequence += 1;
        sealed
    }
}

const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

fn forged() -> (Forger, Sealer, Opener) {
    let (client, Established { sealer, opener, .. }) = Ends::of(&version::TLS13).connect(b"");
    (Forger::new(client), sealer, opener)
}

/// RFC 8446 section 5.1: a message may stand in several records. The server writes in between, when rustls knows places
/// in input that is not there.
#[test]
fn a_message_in_several_records_does_not_disturb_writes() {
    for cut in 1..KEY_UPDATE.len() {
        let (mut forger, mut sealer, mut opener) = forged();
        let (before, after) = KEY_UPDATE.split_at(cut);
        let mut plaintext = Vec::new();
        assert!(read(&mut opener, &forger.record(ContentType::Handshake, before), &mut plaintext).is_none());
        assert!(!sealed(&mut sealer, b"meanwhile").is_empty());
        let record = forger.record(ContentType::Handshake, after);
        for byte in record {
            assert!(read(&mut opener, &[byte], &mut plaintext).is_none(), "cut at {cut}");
            assert!(!sealed(&mut sealer, b"meanwhile").is_empty());
        }
    }
}

/// RFC 8446 section 5.1: nothing may stand between the parts of a message.
#[test]
fn data_within_a_message_fails_the_connection() {
    let (mut forger, mut sealer, mut opener) = forged();
    let mut plaintext = Vec::new();
    assert!(read(&mut opener, &forger.record(ContentType::Handshake, &KEY_UPDATE[..2]), &mut plaintext).is_none());
    let end = read(&mut opener, &forger.record(ContentType::ApplicationData, b"data"), &mut plaintext);
    assert!(matches!(end, Some(End::Failed(_))));
    assert!(plaintext.is_empty());
    assert!(sealer.write(b"more", |_| panic!("it is sent")).is_err());
    sealer.send_alert(|bytes| Ok(bytes.len()));
}

/// Memory grows with what has arrived, and not without end: a message that is announced to be long, in the shortest records.
#[test]
fn a_message_in_thousands_of_records_fails_the_connection() {
    for size in [1, 100, 16_384] {
        let (mut forger, _sealer, mut opener) = forged();
        let mut plaintext = Vec::new();
        let mut end = read(&mut opener, &forger.record(ContentType::Handshake, &[24, 0, 0xFF, 0xFF]), &mut plaintext);
        let mut bytes = 0;
        while end.is_none() {
            let record = forger.record(ContentType::Handshake, &vec![0; size]);
            bytes += record.len();
            end = read(&mut opener, &record, &mut plaintext);
            assert!(bytes < 64 * 1024, "{bytes} bytes of records of {size}");
        }
        assert!(matches!(end, Some(End::Failed(_))));
    }
}

/// RFC 8446 section 4.6.3: each KeyUpdate costs the server new keys. Data in between makes them all right.
#[test]
fn too_many_key_updates_in_a_row_fail_the_connection() {
    let (mut client, Established { mut sealer, mut opener, .. }) = Ends::of(&version::TLS13).connect(b"");
    let mut plaintext = Vec::new();
    for round in 0..3 {
        for _ in 0..32 {
            client.refresh_traffic_keys().unwrap();
            assert!(read(&mut opener, &taken(&mut client), &mut plaintext).is_none());
        }
        // The answer, one for all of them, stands in front of what is written next.
        give(&mut client, &sealed(&mut sealer, &[round])).unwrap();
        assert_eq!(received(&mut client), [round]);
        client.writer().write_all(b"data").unwrap();
        assert!(read(&mut opener, &taken(&mut client), &mut plaintext).is_none());
    }
    assert_eq!(plaintext, b"data".repeat(3));
    for number in 1..=33 {
        client.refresh_traffic_keys().unwrap();
        let end = read(&mut opener, &taken(&mut client), &mut plaintext);
        assert_eq!(end.is_some(), number == 33, "{end:?}");
    }
}

/// RFC 8446 section 5.1: an empty record is allowed, and costs more than it brings.
#[test]
fn too_many_empty_records_in_a_row_fail_the_connection() {
    let (mut forger, _sealer, mut opener) = forged();
    let (mut plaintext, mut count) = (Vec::new(), 0);
    loop {
        count += 1;
        let end = read(&mut opener, &forger.record(ContentType::ApplicationData, b""), &mut plaintext);
        if end.is_some() {
            break;
        }
        assert!(count < 100);
    }
    assert!(count > 30, "{count}");
}

/// RFC 8446 section 6.2: a client that sends an alert has given up, as by a reset.
#[test]
fn an_alert_of_the_client_ends_the_connection() {
    for (alert, kind) in [([2, 20], io::ErrorKind::ConnectionAborted), ([2, 80], io::ErrorKind::ConnectionAborted)] {
        let (mut forger, _sealer, mut opener) = forged();
        let end = read(&mut opener, &forger.record(ContentType::Alert, &alert), &mut Vec::new()).unwrap();
        assert_eq!(Option::<io::Error>::from(end).unwrap().kind(), kind);
    }
}

/// Records whose header is wrong, or that are too long (RFC 8446 section 5.2).
#[test]
fn malformed_records_fail_the_connection() {
    for header in [[0, 3, 3, 0, 1], [24, 3, 3, 0, 1], [23, 0, 0, 0, 1], [23, 3, 3, 0xFF, 0xFF], [71, 69, 84, 32, 47]] {
        let (_, _sealer, mut opener) = forged();
        let end = read(&mut opener, &[&header[..], &[0; 64]].concat(), &mut Vec::new());
        assert!(matches!(end, Some(End::Failed(_))), "{header:?}: {end:?}");
    }
}

/// What a socket may do with records: take some bytes of each write, and then none for a while.
#[test]
fn a_socket_that_takes_little_gets_everything_in_order() {
    for ends in Ends::each() {
        for (total, takes) in [(100, 1), (100, 7), (40_000, 1_000), (300_000, 50_000), (300_000, usize::MAX)] {
            let (mut client, Established { mut sealer, .. }) = ends.connect(b"");
            let bytes: Vec<u8> = (0..total).map(|n| (n % 251) as u8).collect();
            let (mut sent, mut at, mut calls) = (Vec::new(), 0, 0);
            while at < bytes.len() {
                let mut has_taken = false;
                let written = sealer.write(&bytes[at..], |records| {
                    if std::mem::replace(&mut has_taken, true) && takes < records.len() {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    let taken = records.len().min(takes);
                    sent.extend_from_slice(&records[..taken]);
                    Ok(taken)
                });
                at += match written {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    written => written.unwrap(),
                };
                assert_eq!(sealer.is_flushed(), at == bytes.len() || sealer.is_flushed());
                calls += 1;
                assert!(calls < 100_000);
            }
            let mut got = Vec::new();
            for part in sent.chunks(16_000) {
                give(&mut client, part).unwrap();
                got.extend(received(&mut client));
            }
            assert!(got == bytes, "{total} bytes, {takes} at a time");
        }
    }
}

/// More may be added behind what was not written, and the last bytes are followed by a close_notify, once.
#[test]
fn what_is_written_later_stands_behind_what_was_not_written() {
    let (mut client, Established { mut sealer, .. }) = Ends::of(&version::TLS13).connect(b"");
    let mut sent = Vec::new();
    let mut take = |sealer: &mut Sealer, bytes: &[u8], count: usize| {
        let written = sealer.write_last(bytes, |records| {
            let taken = records.len().min(count);
            sent.extend_from_slice(&records[..taken]);
            Ok(taken)
        });
        written.unwrap()
    };
    assert_eq!(take(&mut sealer, b"one", 5), 0);
    assert_eq!(take(&mut sealer, b"one", 5), 0);
    assert_eq!(take(&mut sealer, b"one", usize::MAX), 3);
    assert_eq!(take(&mut sealer, b"", usize::MAX), 0);
    assert!(sealer.close(|_| panic!("it is sent again")).unwrap());
    give(&mut client, &sent).unwrap();
    let mut all = Vec::new();
    client.reader().read_to_end(&mut all).expect("a close_notify");
    assert_eq!(all, b"one");
}

/// The header and the payload of a large frame are in several places, and the records are full all the same.
#[test]
fn slices_are_joined_into_full_records() {
    let (mut client, Established { mut sealer, .. }) = Ends::of(&version::TLS13).connect(b"");
    let payload: Vec<u8> = (0..65_536).map(|n| (n % 251) as u8).collect();
    for waiting in [&b""[..], b"waiting", &[7; 20_000]] {
        let parts = [waiting, b"0123456789", &payload];
        let (mut sent, mut writes) = (Vec::new(), 0);
        let written = sealer.write_vectored(&parts, |records| {
            sent.extend_from_slice(records);
            writes += 1;
            Ok(records.len())
        });
        let total: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!((written.unwrap(), writes), (total, total.div_ceil(80 * 1024)));
        assert_eq!(sent.len(), total + total.div_ceil(16 * 1024) * 22, "as few records as can be");
        let mut got = Vec::new();
        for part in sent.chunks(16_000) {
            give(&mut client, part).unwrap();
            got.extend(received(&mut client));
        }
        assert!(got == parts.concat());
    }
}

/// A socket that fails at every byte: the error comes back, and nothing is sealed twice.
#[test]
fn a_socket_that_fails_is_an_error() {
    let length = sealed(&mut Ends::of(&version::TLS13).connect(b"").1.sealer, b"hello").len();
    for cut in 0..length {
        let (_, Established { mut sealer, .. }) = Ends::of(&version::TLS13).connect(b"");
        assert_eq!(sealer.write(b"hello", |_| Ok(cut)).unwrap(), 0);
        for _ in 0..2 {
            let error = sealer.write(b"hello", |_| Err(io::ErrorKind::ConnectionReset.into())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}
