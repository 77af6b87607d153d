use super::*;
use crate::protocol::Role;

const ALONE: Direction = Direction { takeover: false, bits: 15 };
const TAKEOVER: Direction = Direction { takeover: true, bits: 15 };

/// "Hello" in one block with fixed codes (RFC 7692 §7.2.3.1).
const HELLO: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];

type Inflated = Result<Vec<u8>, InflateError>;

fn receive(receiver: &mut Receiver, inflater: &mut Inflater, payload: &[u8], limit: usize) -> Inflated {
    let mut message = Vec::new();
    let take = |piece: &[u8]| {
        message.extend_from_slice(piece);
        Ok(())
    };
    receiver.inflate(inflater, payload, limit, take).map(|()| message)
}

/// Receives messages one after the other.
fn inflate(direction: Direction, payloads: &[&[u8]]) -> Vec<Inflated> {
    let (mut receiver, mut inflater) = (Receiver::new(direction), Inflater::default());
    payloads.iter().map(|payload| receive(&mut receiver, &mut inflater, payload, 1 << 20)).collect()
}

fn one(payload: &[u8]) -> Inflated {
    inflate(ALONE, &[payload]).remove(0)
}

fn sender(direction: Direction) -> Sender {
    Sender::new(direction, &Budget::default())
}

#[test]
fn the_examples_of_the_rfc() {
    let hello = Ok(b"Hello".to_vec());
    assert_eq!(one(HELLO), hello, "§7.2.3.1");
    let shared = [HELLO, &[0xF2, 0x00, 0x11, 0x00, 0x00]];
    assert_eq!(inflate(TAKEOVER, &shared), [hello.clone(), hello.clone()], "§7.2.3.2");
    assert_eq!(inflate(TAKEOVER, &[HELLO, HELLO]), [hello.clone(), hello.clone()], "§7.2.3.2");
    let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
    assert_eq!(one(&stored), hello, "§7.2.3.3");
    assert_eq!(one(&[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]), hello, "§7.2.3.4");
    let two = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
    assert_eq!(one(&two), hello, "§7.2.3.5");
    assert_eq!(one(&[0x00]), Ok(Vec::new()), "§7.2.3.6");
    assert_eq!(one(&[0x02, 0x00]), Ok(Vec::new()), "an empty block with fixed codes");
    assert_eq!(one(&[0x01]), Ok(Vec::new()), "an empty final block without compression");
    assert_eq!(one(&[]), Ok(Vec::new()), "some peers send an empty message so");
}

/// RFC 7692 §7.2.3.4: final blocks are valid anywhere, and the window goes on behind them.
#[test]
fn a_message_goes_on_behind_a_final_block() {
    let hello = Ok(b"Hello".to_vec());
    let last = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
    let back = [0xF2, 0x00, 0x11, 0x00, 0x00];
    assert_eq!(inflate(TAKEOVER, &[&last, &back]), [hello.clone(), hello]);
    let both = [&last[..7], &[0xF3, 0x00, 0x11, 0x00, 0x00]].concat();
    assert_eq!(one(&both), Ok(b"HelloHello".to_vec()), "in one message");
    let many = |count| [[0x03, 0x00].repeat(count), vec![0x00]].concat();
    assert_eq!(one(&many(16)), Ok(Vec::new()));
    assert_eq!(one(&many(17)), Err(InflateError::Invalid), "each costs far more than its bytes");
}

/// A final block behind more than the room of the decompressor, which refers to what is before it.
#[test]
fn the_window_behind_a_final_block_is_complete_in_a_large_message() {
    let mut rng = fastrand::Rng::with_seed(7);
    for length in [1_000usize, 32_768, 65_535, 65_536, 65_537, 100_000, 131_072, 200_000] {
        let first: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        let second = &first[length.saturating_sub(20_000)..];
        let mut packed = Vec::new();
        for (message, window) in [(&first[..], &[][..]), (second, &first[length.saturating_sub(32_768)..])] {
            let mut deflate = zlib_rs::Deflate::new(6, false, 15);
            if !window.is_empty() {
                deflate.set_dictionary(window).unwrap();
            }
            let mut out = vec![0; message.len() + 1_000];
            deflate.compress(message, &mut out, zlib_rs::DeflateFlush::Finish).unwrap();
            packed.extend_from_slice(&out[..deflate.total_out() as usize]);
        }
        packed.push(0);
        assert!(one(&packed) == Ok([&first, second].concat()), "{length}");
    }
}

/// RFC 7692 §7.2.2: the payload with its tail is DEFLATE.
#[test]
fn a_payload_that_is_cut_or_wrong_is_invalid() {
    for end in 1..HELLO.len() - 1 {
        assert_eq!(one(&HELLO[..end]), Err(InflateError::Invalid), "to {end}");
    }
    let stored = [0x00, 0x05, 0x00, 0x00, 0x00, 1, 2, 3, 4, 5, 0];
    for bad in [&[0x06][..], &[0xFF, 0xFF], &stored, &[0x05, 0x00, 0x00], &[0x01, 0x00]] {
        assert_eq!(one(bad), Err(InflateError::Invalid), "{bad:x?}");
    }
    // Without context takeover nothing of an earlier message is left (§7.1.1).
    let back = [0xF2, 0x00, 0x11, 0x00, 0x00];
    assert_eq!(inflate(ALONE, &[HELLO, &back])[1], Err(InflateError::Invalid));
    // An error leaves nothing behind in the thread's decompressor.
    assert_eq!(inflate(ALONE, &[&[0xF2, 0x48, 0xFF, 0xFF, 0xFF], HELLO])[1], Ok(b"Hello".to_vec()));
}

#[test]
fn a_message_of_the_limit_is_accepted_and_a_byte_more_is_too_large() {
    for length in [100, 1_024, 4_096, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let (message, mut deflater) = (vec![7; length], Deflater::default());
        let packed = sender(ALONE).compress(&mut deflater, 1, &message).unwrap().to_vec();
        let (mut receiver, mut inflater) = (Receiver::new(ALONE), Inflater::default());
        assert!(receive(&mut receiver, &mut inflater, &packed, length) == Ok(message), "{length}");
        let more = receive(&mut receiver, &mut inflater, &packed, length - 1);
        assert_eq!(more, Err(InflateError::TooLarge), "{length}");
    }
    let none = receive(&mut Receiver::new(ALONE), &mut Inflater::default(), HELLO, 0);
    assert_eq!(none, Err(InflateError::TooLarge));
}

fn random_message(rng: &mut fastrand::Rng) -> Vec<u8> {
    let length = [20, 300, 5_000, 80_000][rng.usize(..4)];
    let (length, kinds) = (rng.usize(..length), rng.u16(1..=256));
    let mut message = Vec::new();
    while message.len() < length {
        if rng.u8(..3) == 0 && !message.is_empty() {
            let from = rng.usize(..message.len());
            let end = (from + rng.usize(..300)).min(message.len());
            message.extend_from_within(from..end);
        } else {
            message.push(rng.u16(..kinds) as u8);
        }
    }
    message.truncate(length);
    message
}

/// The strictest peer: it knows the agreed window and not a byte more. No distance may be larger.
struct StrictPeer {
    window: Vec<u8>,
    direction: Direction,
}

impl StrictPeer {
    /// Decompresses byte by byte, so that the decoder can only find earlier bytes in its window, which
    /// has the agreed size.
    fn inflate(&mut self, packed: &[u8]) -> Vec<u8> {
        let mut inflate = zlib_rs::Inflate::new(false, self.direction.bits);
        if !self.window.is_empty() {
            inflate.set_dictionary(&self.window).unwrap();
        }
        let mut message = Vec::new();
        for byte in packed.iter().chain(&[0, 0, 0xFF, 0xFF]) {
            let (mut input, mut out) = (&[*byte][..], [0]);
            loop {
                let before = (inflate.total_in(), inflate.total_out());
                inflate.decompress(input, &mut out, zlib_rs::InflateFlush::SyncFlush).unwrap();
                if inflate.total_out() > before.1 {
                    message.push(out[0]);
                } else if inflate.total_in() == before.0 {
                    break;
                }
                input = if inflate.total_in() > before.0 { &[] } else { input };
            }
        }
        if self.direction.takeover {
            self.window.extend_from_slice(&message);
            self.window.drain(..self.window.len().saturating_sub(1 << self.direction.bits));
        }
        message
    }
}

/// Connections of all kinds by turns through one compressor and one decompressor.
#[test]
fn random_messages_arrive_as_they_were_sent() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let mut connections = Vec::new();
    for bits in 8..=15 {
        for takeover in [false, true] {
            let direction = Direction { takeover, bits };
            let strict = StrictPeer { window: Vec::new(), direction };
            connections.push((sender(direction), Receiver::new(direction), strict, bits));
        }
    }
    let mut packed_count = 0;
    for round in 0..600 {
        let index = rng.usize(..connections.len());
        let (sender, receiver, strict, bits) = &mut connections[index];
        let message = random_message(&mut rng);
        let Some(packed) = sender.compress(&mut deflater, rng.u8(1..=9), &message) else { continue };
        packed_count += 1;
        assert!(packed.len() < message.len() && *bits > 8);
        assert!(receive(receiver, &mut inflater, packed, 1 << 20) == Ok(message.clone()), "round {round}");
        if round % 8 == 0 || strict.direction.takeover {
            assert!(strict.inflate(packed) == message, "round {round}, {:?}", strict.direction);
        }
    }
    assert!(packed_count > 200, "{packed_count}");
}

#[test]
fn a_message_that_does_not_become_smaller_changes_no_window() {
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let (mut sender, mut receiver) = (sender(TAKEOVER), Receiver::new(TAKEOVER));
    for (size, level) in
        [0, 1, 5, 100, 70_000, 70_000, 131_072, 200_000, 200_000].into_iter().zip([1, 9, 1, 6, 1].iter().cycle())
    {
        let noise: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        assert_eq!(sender.compress(&mut deflater, *level, &noise), None, "{size}");
        let text = format!("a message of text that is {size} and text and text");
        let packed = sender.compress(&mut deflater, 1, text.as_bytes()).unwrap();
        assert_eq!(receive(&mut receiver, &mut inflater, packed, 99), Ok(text.into_bytes()));
    }
}

/// One message for many connections is compressed without a window, and is part of all windows.
#[test]
fn a_message_for_many_is_a_part_of_each_window() {
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    let message: Vec<u8> = "to everybody, ".repeat(100).into_bytes();
    let packed = sender(Direction { takeover: false, bits: 12 }).compress(&mut deflater, 1, &message).unwrap().to_vec();
    for bits in 9..=15 {
        let direction = Direction { takeover: true, bits };
        let (mut sender, mut receiver) = (sender(direction), Receiver::new(direction));
        assert_eq!(sender.note(&message, 12), bits >= 11, "{bits}");
        if bits >= 11 {
            assert_eq!(receive(&mut receiver, &mut inflater, &packed, 1 << 20).as_ref(), Ok(&message));
        }
        let own = sender.compress(&mut deflater, 1, &message).unwrap();
        assert_eq!(receive(&mut receiver, &mut inflater, own, 1 << 20).as_ref(), Ok(&message), "{bits}");
    }
}

#[test]
fn the_roles_send_what_the_other_receives() {
    let params = AgreedParams { server: ALONE, client: TAKEOVER };
    assert_eq!((params.sent_by(Role::Server), params.received_by(Role::Server)), (ALONE, TAKEOVER));
    assert_eq!((params.sent_by(Role::Client), params.received_by(Role::Client)), (TAKEOVER, ALONE));
}

/// An incomplete compression must leave nothing behind in the thread's compressor.
#[test]
fn messages_that_do_not_become_smaller_follow_each_other() {
    let mut rng = fastrand::Rng::with_seed(5);
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    for bits in [9, 12, 15] {
        for level in [1, 2, 6, 9] {
            let direction = Direction { takeover: true, bits };
            let (mut sender, mut receiver) = (sender(direction), Receiver::new(direction));
            for size in [1_000, 60_000, 66_000, 66_000, 70_000, 131_072, 131_072, 200_000, 262_144, 262_144] {
                let noise: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
                assert_eq!(sender.compress(&mut deflater, level, &noise), None, "{size}");
                let half = [&noise[..size / 2], &vec![b'a'; size / 2]].concat();
                let packed = sender.compress(&mut deflater, level, &half).unwrap();
                assert!(receive(&mut receiver, &mut inflater, packed, 1 << 20) == Ok(half), "{size}");
            }
        }
    }
}

/// RFC 7692 §7.1.2.1: a message does not refer farther back than the agreed window, even to itself.
#[test]
fn a_repetition_beyond_the_window_is_not_found() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut deflater = Deflater::default();
    for bits in 9..=13 {
        let mut noise = |count: usize| (0..count).map(|_| rng.u8(..)).collect::<Vec<u8>>();
        let (block, between) = (noise(2_000), noise(1 << bits));
        let message = [&block[..], &between, &block].concat();
        for level in [1, 6, 9] {
            let mut compress = |bits| deflater.compress(&message, &[], bits, level).is_some();
            assert_eq!((compress(bits), compress(15)), (false, true), "{bits} bits, level {level}");
        }
    }
}
