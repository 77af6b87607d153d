use std::io::{self, Read};

use rustls::version;

use super::*;

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
