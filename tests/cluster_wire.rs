//! The format of the messages between nodes: `cluster::wire`.

use proptest::collection::vec;
use proptest::prelude::*;
use react_websocket::cluster::wire::{self, Body, Frame, FrameError, OVERHEAD_MAX, Position, VERSION};
use react_websocket::cluster::{MemberId, NodeId};

fn node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 16]>().prop_filter_map("0 is no id", NodeId::from_bytes)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![1..300u64, 1..1u64 << 56, (0..56u32).prop_map(|bit| 1 << bit), (1..57u32).prop_map(|bit| (1 << bit) - 1)]
}

/// An owned message, of which `Body` borrows.
#[derive(Clone, Debug)]
struct Owned {
    node: NodeId,
    kind: u8,
    at: Position,
    except: Option<MemberId>,
    text: String,
    code: u16,
}

impl Owned {
    fn frame(&self) -> Frame<'_> {
        let (at, except) = (self.at, self.except);
        let body = match self.kind {
            0 => Body::Text { at, except, text: &self.text },
            1 => Body::Binary { at, except, bytes: self.text.as_bytes() },
            2 => Body::CloseAll { at, code: self.code, reason: &self.text[..self.text.floor_char_boundary_of(123)] },
            3 => Body::Mark { at },
            4 => Body::Alive { streams: at.sequence },
            _ => Body::Bye,
        };
        Frame { node: self.node, body }
    }
}

trait FloorCharBoundary {
    fn floor_char_boundary_of(&self, most: usize) -> usize;
}

impl FloorCharBoundary for String {
    fn floor_char_boundary_of(&self, most: usize) -> usize {
        (0..=most.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or(0)
    }
}

fn messages() -> impl Strategy<Value = Owned> {
    let member = (node(), number()).prop_map(|(node, connection)| MemberId { node, connection });
    let code = prop_oneof![Just(1000u16), Just(1005), Just(1012), 3000..5000u16];
    let at = (number(), number()).prop_map(|(stream, sequence)| Position { stream, sequence });
    (node(), 0..6u8, at, proptest::option::of(member), ".{0,200}", code)
        .prop_map(|(node, kind, at, except, text, code)| Owned { node, kind, at, except, text, code })
}

fn fixed() -> NodeId {
    NodeId::from_bytes([7; 16]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// An encoded message can be parsed, and has the announced size.
    #[test]
    fn every_message_survives(message in messages()) {
        let frame = message.frame();
        let bytes = wire::encode(&frame);
        prop_assert_eq!(wire::parse(&bytes), Ok(frame));
        prop_assert!(bytes.len() <= OVERHEAD_MAX + message.text.len());
    }

    /// No message has two encodings, so a parsed message is what was received, bit by bit.
    #[test]
    fn whatever_is_parsed_has_one_encoding(message in messages(), flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = wire::encode(&message.frame());
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(frame) = wire::parse(&bytes) {
            prop_assert_eq!(wire::encode(&frame), bytes);
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..80), head in any::<bool>()) {
        let mut bytes = bytes;
        if head && bytes.len() > 1 {
            bytes[0] = VERSION;
            bytes[1] &= 0x87;
        }
        if let Ok(frame) = wire::parse(&bytes) {
            prop_assert_eq!(wire::encode(&frame), bytes);
        }
    }

    /// A message without its last bytes is refused, unless these bytes are of its payload.
    #[test]
    fn a_truncated_head_is_refused(message in messages()) {
        let mut empty = message;
        empty.text.clear();
        let bytes = wire::encode(&empty.frame());
        for end in 0..bytes.len() {
            prop_assert_eq!(wire::parse(&bytes[..end]), Err(FrameError::Truncated));
        }
    }
}

#[test]
fn the_bytes_of_a_message_are_those_of_the_documentation() {
    let at = Position { stream: 1, sequence: 300 };
    let except = Some(MemberId { node: fixed(), connection: 5 });
    let frame = Frame { node: fixed(), body: Body::Text { at, except, text: "hi" } };
    let expected = [&[1, 0x81][..], &[7; 16], &[1, 0xAC, 0x02], &[7; 16], &[5], b"hi"].concat();
    assert_eq!(wire::encode(&frame), expected);
}

#[test]
fn malformed_messages_are_refused_with_their_reason() {
    let head = |kind: u8| [&[1, kind][..], &[7; 16]].concat();
    let with = |kind: u8, rest: &[u8]| [&head(kind)[..], rest].concat();
    for (bytes, error) in [
        (vec![], FrameError::Truncated),
        ([&[0, 1][..], &[7; 16]].concat(), FrameError::Version(0)),
        ([&[2, 1][..], &[7; 16]].concat(), FrameError::Version(2)),
        (with(0, &[]), FrameError::Kind(0)),
        (with(7, &[]), FrameError::Kind(7)),
        (with(0x83, &[1, 1]), FrameError::Kind(0x83)),
        ([&[1, 6][..], &[0; 16]].concat(), FrameError::Node),
        (with(1, &[0, 1]), FrameError::Number),
        (with(1, &[1, 0]), FrameError::Number),
        (with(1, &[0x81, 0x00, 1]), FrameError::Number),
        (with(1, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]), FrameError::Number),
        (with(0x81, &[&[1, 1][..], &[0; 16], &[1]].concat()), FrameError::Node),
        (with(0x81, &[&[1, 1][..], &[7; 16], &[0]].concat()), FrameError::Number),
        (with(1, &[1, 1, 0xFF]), FrameError::Utf8),
        (with(3, &[1, 1, 0x03, 0xEE]), FrameError::CloseCode(1006)),
        (with(3, &[&[1, 1, 0x03, 0xE8][..], &[b'x'; 124]].concat()), FrameError::CloseReason(124)),
        (with(3, &[1, 1, 0x03, 0xE8, 0xFF]), FrameError::Utf8),
        (with(4, &[1, 1, 0]), FrameError::Trailing(1)),
        (with(5, &[1, 1]), FrameError::Trailing(1)),
        (with(6, b"xyz"), FrameError::Trailing(3)),
    ] {
        assert_eq!(wire::parse(&bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn a_member_that_cannot_exist_is_not_excluded() {
    let (at, bytes) = (Position { stream: 1, sequence: 1 }, &[1][..]);
    let except = Some(MemberId { node: fixed(), connection: 0 });
    let frame = Frame { node: fixed(), body: Body::Binary { at, except, bytes } };
    let parsed = Frame { node: fixed(), body: Body::Binary { at, except: None, bytes } };
    assert_eq!(wire::parse(&wire::encode(&frame)), Ok(parsed));
}

#[test]
fn ids_are_written_in_one_form() {
    let text = fixed().to_string();
    assert_eq!(text, "07070707070707070707070707070707");
    let member = MemberId { node: fixed(), connection: 12 };
    assert_eq!(member.to_string(), format!("{text}-12"));
    assert_eq!(format!("{text}-12").parse(), Ok(member));
    for malformed in ["", "0", &"0".repeat(32), &"+7".repeat(16), &"AB".repeat(16), &text[1..]] {
        assert!(malformed.parse::<NodeId>().is_err(), "{malformed}");
    }
    for malformed in [text.clone(), format!("{text}-"), format!("{text}-012"), format!("{text}-+1"), format!("x{text}-1")] {
        assert!(malformed.parse::<MemberId>().is_err(), "{malformed}");
    }
    assert_ne!(NodeId::random(), NodeId::random());
}
