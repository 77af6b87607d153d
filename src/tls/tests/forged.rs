use std::io::{self, Write};

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite, version};

use super::*;

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

/// RFC 8446 section 6.2: the peer gets the alert, also if something was to be written before.
#[test]
fn a_write_that_is_refused_leaves_the_alert() {
    let (_, mut sealer, mut opener) = forged();
    let record = [&[23, 3, 3, 0, 32][..], &[0; 32]].concat();
    assert!(matches!(read(&mut opener, &record, &mut Vec::new()), Some(End::Failed(_))));
    assert!(sealer.write(b"more", |_| panic!("it is sent")).is_err());
    let mut alert = Vec::new();
    sealer.send_alert(|bytes| {
        alert.extend_from_slice(bytes);
        Ok(bytes.len())
    });
    assert!(!alert.is_empty());
}
