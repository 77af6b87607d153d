use std::io::{self, Write};

use rustls::{ClientConnection, version};

use super::*;

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
