//! What holds for every input: whatever a peer sends, and wherever what it sends is cut.

mod support;

use std::cell::Cell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use react_websocket::protocol::ProtocolError;
use react_websocket::protocol::frame::{self as wire, EncodedHeader, FrameHeader};
use react_websocket::protocol::{BufferPool, Connection, Event, Limits, MaskKey, Opcode, PingScanner, close, close_code};
use react_websocket::{HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// Checks a rule with so many inputs. They are the same each time, so that what has failed fails again.
fn holds<S: Strategy>(cases: u32, inputs: S, rule: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5EED),
        max_shrink_iters: 4096,
        ..ProptestConfig::default()
    };
    let checked = TestRunner::new(config).run(&inputs, |input| {
        rule(input);
        Ok(())
    });
    match checked {
        Ok(()) => {}
        Err(TestError::Fail(why, input)) => panic!("{why}\nwith {input:?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

// Bytes, and where they are cut.

/// Where bytes are cut: into pieces of these sizes, over and over.
type Cuts = Vec<usize>;

const UNCUT: [usize; 1] = [usize::MAX];

fn cuts() -> impl Strategy<Value = Cuts> {
    vec(prop_oneof![3 => 1..8usize, 2 => 1..200usize, 1 => 1..3000usize], 1..6)
}

/// The pieces that `length` bytes are cut into.
fn pieces(length: usize, cuts: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut cuts = cuts.iter().cycle();
    let mut start = 0;
    std::iter::from_fn(|| {
        let end = length.min(start + cuts.next()?.min(&length));
        (start < length).then(|| std::mem::replace(&mut start, end)..end)
    })
    .collect()
}

fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), length)
}

fn string() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..60).prop_map(String::from_iter)
}

/// A large payload, which is told by a few numbers, so that failures can be read.
fn large(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(seed) ^ (at >> 8) as u8).collect()
}

/// Text of `length` bytes, whose last character may be incomplete.
fn large_text(seed: u8, length: usize) -> Vec<u8> {
    let words = "aé語🦀".bytes().cycle();
    std::iter::repeat_n(b'a', usize::from(seed)).chain(words).take(length).collect()
}

// Frames (RFC 6455 section 5.2).

fn ping_or_pong() -> impl Strategy<Value = Vec<u8>> {
    (prop_oneof![Just(0x89), Just(0x8A)], bytes(0..126)).prop_map(|(first, payload)| frame(first, payload))
}

fn close_frame() -> impl Strategy<Value = Vec<u8>> {
    let codes = prop_oneof![Just(1000), 1000..1016u16, 2999..5001u16, any::<u16>()];
    let payload = prop_oneof![
        2 => (codes, string()).prop_map(|(code, reason)| {
            let reason = reason.bytes().take(120);
            code.to_be_bytes().into_iter().chain(reason).collect()
        }),
        1 => bytes(0..126),
    ];
    payload.prop_map(|payload: Vec<u8>| frame(0x88, payload))
}

/// The frames of one message, cut into fragments, and a control frame behind some of them.
fn fragments(first: u8, payload: &[u8], cuts: &[usize], between: &[Option<Vec<u8>>]) -> Vec<Vec<u8>> {
    let mut ranges = pieces(payload.len(), cuts);
    if ranges.is_empty() {
        ranges.push(0..0);
    }
    let (last, mut between) = (ranges.len() - 1, between.iter().cycle());
    let mut frames = Vec::new();
    for (at, range) in ranges.into_iter().enumerate() {
        let (opcode, fin) = (if at == 0 { first } else { 0 }, if at == last { 0x80 } else { 0 });
        frames.push(frame(opcode | fin, &payload[range]));
        if at < last {
            frames.extend(between.next().cloned().flatten());
        }
    }
    frames
}

fn fragmented() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        2 => string().prop_map(|text| (1, text.into_bytes())),
        2 => bytes(0..300).prop_map(|bytes| (2, bytes)),
        1 => bytes(0..60).prop_map(|bytes| (1, bytes)),
    ];
    (payload, cuts(), vec(proptest::option::of(ping_or_pong()), 1..4))
        .prop_map(|((first, payload), cuts, between)| fragments(first, &payload, &cuts, &between).concat())
}

/// What no well-behaved peer sends, or not at this place.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![any::<u16>().prop_map(u64::from), any::<u64>(), (1 << 20) - 2..(1 << 20) + 3u64];
    prop_oneof![
        (any::<u8>(), bytes(0..200)).prop_map(|(first, payload)| frame(first, payload)),
        (0..16u8, bytes(0..40)).prop_map(|(opcode, payload)| frame(opcode, payload)),
        (any::<u8>(), bytes(0..40)).prop_map(|(first, payload)| server_frame(first, payload)),
        bytes(0..40).prop_map(|payload| frame(0x81, payload)),
        // Any length in any form.
        (any::<u8>(), lengths.clone(), bytes(0..40)).prop_map(|(first, length, rest)| [
            &[first & 0x8F, 0xFF],
            &length.to_be_bytes()[..],
            &rest
        ]
        .concat()),
        (any::<u8>(), any::<u16>(), bytes(0..40)).prop_map(|(first, length, rest)| [
            &[first & 0x8F, 0xFE],
            &length.to_be_bytes()[..],
            &rest
        ]
        .concat()),
        (1..3u8, lengths, bytes(0..40)).prop_map(|(first, length, rest)| [
            &[first, 0xFF],
            &length.to_be_bytes()[..],
            &rest
        ]
        .concat()),
        bytes(0..40),
    ]
}

/// What a peer may send, one thing after the other: mostly as it should be.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let one = prop_oneof![
        6 => string().prop_map(text),
        4 => bytes(0..300).prop_map(|payload| frame(0x82, payload)),
        4 => ping_or_pong(),
        6 => fragmented(),
        1 => close_frame(),
        2 => broken(),
    ];
    vec(one, 0..10)
}

fn limits() -> impl Strategy<Value = Limits> {
    let few = (0..300usize, 0..300usize, 0..6u32).prop_map(|(max_message_size, max_frame_size, max_fragments)| Limits {
        max_message_size,
        max_frame_size,
        max_fragments,
    });
    prop_oneof![3 => Just(Limits::default()), 1 => few]
}

// Sessions.

/// How bytes get to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    /// Whole messages are taken out before the session sees them.
    Short,
    /// The rest of large messages is read to where it is put together.
    Direct,
}

const WAYS: [Way; 3] = [Way::Plain, Way::Short, Way::Direct];

/// A session and whoever reads for it.
struct Receiver {
    session: Connection,
    spare: BufferPool,
    limits: Limits,
    way: Way,
    /// Bytes that were read directly.
    direct: usize,
}

impl Receiver {
    fn new(limits: Limits, way: Way) -> Receiver {
        Receiver { session: Connection::default(), spare: BufferPool::default(), limits, way, direct: 0 }
    }

    /// Receives bytes in pieces, to the first error.
    fn receive(&mut self, bytes: &mut [u8], cuts: &[usize], mut each: impl FnMut(&Event<'_>)) -> Result<(), ProtocolError> {
        let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*cuts.next().expect("a size"));
            if self.way == Way::Direct
                && let Some((buffer, room)) = self.session.direct(&mut self.spare)
            {
                let (capacity, read) = (buffer.capacity(), size.min(room));
                let piece;
                (piece, rest) = rest.split_at_mut(read);
                buffer.extend_from_slice(piece);
                assert_eq!(buffer.capacity(), capacity, "there is the room that was promised");
                self.direct += read;
                let mut message = Vec::new();
                let (event, mut following) = self.session.receive_direct(read, &mut message)?;
                if let Some(event) = event {
                    each(&event);
                }
                self.spare.give(message);
                self.receive_piece(&mut following, &mut each)?;
                continue;
            }
            let piece;
            (piece, rest) = rest.split_at_mut(size);
            self.receive_piece(piece, &mut each)?;
        }
        Ok(())
    }

    fn receive_piece(&mut self, mut input: &mut [u8], each: &mut impl FnMut(&Event<'_>)) -> Result<(), ProtocolError> {
        loop {
            if self.way == Way::Short
                && self.session.is_between_messages()
                && let Some(limit) = self.limits.max_whole_message()
                && let Some((opcode, payload)) = wire::take_whole_message(&mut input, limit)
            {
                if opcode == Opcode::Binary {
                    each(&Event::Binary((&*payload).into()));
                } else {
                    let text = std::str::from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)?;
                    each(&Event::Text(text.into()));
                }
                continue;
            }
            let received = self.session.receive(&mut input, &self.limits, &mut self.spare);
            match received {
                Ok(Some(event)) => {
                    each(&event);
                    self.give_back(event);
                }
                Ok(None) => {
                    assert!(input.is_empty(), "all of it is used up");
                    return Ok(());
                }
                Err(error) => {
                    assert!(input.is_empty(), "nothing is left to be received after a failure");
                    return Err(error);
                }
            }
        }
    }

    fn give_back(&mut self, event: Event<'_>) {
        match event {
            Event::Text(std::borrow::Cow::Owned(text)) => self.spare.give(text.into_bytes()),
            Event::Binary(std::borrow::Cow::Owned(bytes)) => self.spare.give(bytes),
            _ => {}
        }
    }
}

/// The received events, and the error that ends them.
type Verdict = (Vec<Event<'static>>, Result<(), ProtocolError>);

fn verdict(bytes: &[u8], cuts: &[usize], limits: Limits, way: Way) -> Verdict {
    let (mut receiver, mut events) = (Receiver::new(limits, way), Vec::new());
    let result = receiver.receive(&mut bytes.to_vec(), cuts, |event| events.push(event.clone().into_owned()));
    (events, result)
}

#[test]
fn cuts_change_nothing_of_what_is_received() {
    holds(512, (frames(), limits(), cuts()), |(frames, limits, cuts)| {
        let bytes = frames.concat();
        let uncut = verdict(&bytes, &UNCUT, limits, Way::Plain);
        for way in WAYS {
            assert_eq!(verdict(&bytes, &UNCUT, limits, way), uncut, "{way:?}, uncut");
            assert_eq!(verdict(&bytes, &cuts, limits, way), uncut, "{way:?}");
            assert_eq!(verdict(&bytes, &[1], limits, way), uncut, "{way:?}, byte by byte");
        }
    });
}

#[test]
fn large_messages_are_the_same_whichever_way_they_are_read() {
    let message = (any::<u8>(), vec(0..500_000usize, 1..3), proptest::option::of(ping_or_pong()));
    let mistake = proptest::option::weighted(0.3, any::<Index>());
    let sizes = vec(prop_oneof![1..100usize, 30_000..40_000usize, 1..150_000usize], 1..6);
    let direct = Cell::new(0);
    holds(96, (message, any::<bool>(), mistake, frames(), sizes), |(message, is_text, mistake, behind, sizes)| {
        let (seed, lengths, between) = message;
        let length = lengths.iter().sum();
        let mut payload = if is_text { large_text(seed, length) } else { large(seed, length) };
        if let Some(mistake) = mistake.filter(|_| length > 0) {
            payload[mistake.index(length)] = 0xFF;
        }
        let first = if is_text { 1 } else { 2 };
        let bytes = [fragments(first, &payload, &lengths, &[between]).concat(), behind.concat()].concat();
        let uncut = verdict(&bytes, &UNCUT, Limits::default(), Way::Plain);
        let event = match String::from_utf8(payload.clone()) {
            Ok(text) if is_text => Some(Event::Text(text.into())),
            Err(_) if is_text => None,
            _ => Some(Event::Binary(payload.into())),
        };
        match event {
            Some(event) => assert!(uncut.0.contains(&event), "the message is received"),
            None => assert_eq!(uncut.1, Err(ProtocolError::InvalidUtf8)),
        }
        for way in WAYS {
            assert!(verdict(&bytes, &sizes, Limits::default(), way) == uncut, "{way:?}");
        }
        let mut receiver = Receiver::new(Limits::default(), Way::Direct);
        let _ = receiver.receive(&mut bytes.clone(), &sizes, |_| {});
        direct.set(direct.get() + usize::from(receiver.direct > 0));
    });
    // Else this has compared nothing.
    assert!(direct.get() > 10, "{} messages were read directly", direct.get());
}

/// Close frames (RFC 6455 section 5.5.1), and failed connections (section 7.1.7).
#[test]
fn nothing_is_received_after_a_close_or_a_failure() {
    let end =
        prop_oneof![close_frame(), (any::<u8>(), bytes(0..200)).prop_map(|(first, bytes)| server_frame(first, bytes))];
    holds(256, (frames(), end, frames(), cuts()), |(before, end, after, cuts)| {
        for way in [Way::Plain, Way::Direct] {
            let (mut receiver, mut closed) = (Receiver::new(Limits::default(), way), false);
            let mut each = |event: &Event<'_>| {
                assert!(!closed, "{event:?} after a Close");
                closed = matches!(event, Event::Close(_));
            };
            let result = receiver.receive(&mut [before.concat(), end.clone()].concat(), &cuts, &mut each);
            // What came before may have begun a frame that takes in what is to be the end.
            if result.is_ok() && !closed {
                continue;
            }
            assert!(receiver.session.is_over());
            assert!(!receiver.session.is_amid_message() && !receiver.session.is_between_messages());
            assert!(receiver.session.direct(&mut BufferPool::default()).is_none());
            let more = [after.concat(), text("more")].concat();
            let result = receiver.receive(&mut more.clone(), &cuts, |event| panic!("{event:?} after the end"));
            assert_eq!(result, Ok(()));
            PingScanner::new(&receiver.session).scan(&more, |ping| panic!("a ping {ping:?} after the end"));
        }
    });
}

/// A server's frame as a client would send it: masked.
fn masked(fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut sent = Vec::new();
    wire::encode(&mut sent, fin, opcode, payload);
    let mut header = EncodedHeader::new(fin, opcode, payload.len()).as_bytes().to_vec();
    let mut payload = sent.strip_prefix(&header[..]).expect("a header and a payload").to_vec();
    MaskKey::new(key).apply(&mut payload);
    header[1] |= 0x80;
    [header, key.to_vec(), payload].concat()
}

/// Fragmentation (RFC 6455 section 5.4).
#[test]
fn encoded_messages_are_received_however_they_are_fragmented() {
    let lengths = prop_oneof![6 => 0..300usize, 1 => 65_530..65_545usize];
    let binary = (any::<u8>(), lengths).prop_map(|(seed, length)| (Opcode::Binary, large(seed, length)));
    let message = prop_oneof![string().prop_map(|text| (Opcode::Text, text.into_bytes())), binary];
    let sizes = vec(prop_oneof![1..10usize, 100..140usize, 65_530..65_545usize], 1..4);
    let ping = proptest::option::of(bytes(0..126));
    holds(
        256,
        (message, sizes, vec(any::<[u8; 4]>(), 1..5), ping, cuts()),
        |((opcode, payload), sizes, keys, ping, cuts)| {
            let limits = Limits { max_fragments: u32::MAX, ..Limits::default() };
            let mut keys = keys.into_iter().cycle();
            let mut key = || keys.next().unwrap();
            let mut ranges = pieces(payload.len(), &sizes);
            ranges.push(payload.len()..payload.len());
            let (last, mut sent, mut expected) = (ranges.len() - 1, Vec::new(), Vec::new());
            for (at, range) in ranges.into_iter().enumerate() {
                let opcode = if at == 0 { opcode } else { Opcode::Continuation };
                sent.extend(masked(at == last, opcode, &payload[range], key()));
                if at == 0
                    && at != last
                    && let Some(ping) = &ping
                {
                    sent.extend(masked(true, Opcode::Ping, ping, key()));
                    expected.push(Event::Ping(ping.clone().into()));
                }
            }
            expected.push(match opcode {
                Opcode::Text => Event::Text(String::from_utf8(payload.clone()).unwrap().into()),
                _ => Event::Binary(payload.clone().into()),
            });
            // One frame with this message again.
            sent.extend(masked(true, opcode, &payload, key()));
            expected.push(expected.last().unwrap().clone());
            for way in WAYS {
                let received = verdict(&sent, &cuts, limits, way);
                assert!(received == (expected.clone(), Ok(())), "{way:?}: {:?}", received.1);
            }
        },
    );
}

#[test]
fn a_close_that_is_encoded_is_received_with_the_code_that_may_be_sent() {
    holds(256, (prop_oneof![1000..1020u16, any::<u16>()], string(), any::<[u8; 4]>()), |(code, reason, key)| {
        let mut sent = Vec::new();
        close::encode(&mut sent, code, &reason);
        let sent = masked(true, Opcode::Close, &sent[2..], key);
        let (events, result) = verdict(&sent, &[1], Limits::default(), Way::Plain);
        assert_eq!(result, Ok(()));
        let [Event::Close(close)] = &events[..] else { panic!("{events:?}") };
        match close {
            None => assert_eq!(code, close_code::NO_STATUS),
            Some((received, told)) => {
                assert_eq!(*received, close::sendable(code));
                // The reason is cut before the first character that does not fit (RFC 6455 section
                // 5.5).
                assert!(reason.starts_with(told), "{told:?}");
                assert!(told.len() == reason.len() || told.len() + 4 > close::REASON_MAX, "{told:?}");
            }
        }
    });
}

// UTF-8 (RFC 6455 section 8.1).

/// Text that is right, nearly right, and not at all.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    const PARTS: &[&[u8]] = &[
        b"a",
        "é".as_bytes(),
        "€".as_bytes(),
        "𝄞".as_bytes(),
        "\u{10ffff}".as_bytes(),
        b"\x80",
        b"\xc0",
        b"\xc2",
        b"\xe0\x80",
        b"\xe0\xa0",
        b"\xed\x9f",
        b"\xed\xa0",
        b"\xef\xbf",
        b"\xf0\x8f",
        b"\xf0\x90\x80",
        b"\xf4\x8f\xbf",
        b"\xf4\x90",
        b"\xf5",
        b"\xff",
    ];
    let changed = (string(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
        let mut bytes = text.into_bytes();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    let cut = (string(), any::<prop::sample::Index>()).prop_map(|(text, at)| {
        let mut bytes = text.into_bytes();
        bytes.truncate(at.index(bytes.len() + 1));
        bytes
    });
    let some = prop_oneof![
        vec(prop::sample::select(PARTS), 0..8).prop_map(|parts| parts.concat()),
        changed,
        cut,
        string().prop_map(String::into_bytes),
        bytes(0..20),
    ];
    // Long runs of ASCII are checked many bytes at a time.
    (prop_oneof![Just(0), 0..150usize], some, prop_oneof![Just(0), 0..150usize])
        .prop_map(|(before, some, after)| [vec![b'a'; before], some, vec![b'z'; after]].concat())
}

/// How many bytes have to be there until no text can begin with them, as std sees it.
fn impossible_from(bytes: &[u8]) -> Option<usize> {
    (1..=bytes.len()).find(|end| matches!(std::str::from_utf8(&bytes[..*end]), Err(error) if error.error_len().is_some()))
}

/// UTF-8 (RFC 6455 section 8.1, RFC 3629).
#[test]
fn text_is_accepted_if_std_accepts_it_and_refused_at_the_first_impossible_byte() {
    let between = vec(proptest::option::of(ping_or_pong()), 1..3);
    holds(512, (nearly_text(), cuts(), between, cuts()), |(payload, sizes, between, cuts)| {
        let frames = fragments(1, &payload, &sizes, &between);
        let sent = frames.concat();
        let is_data = |frame: &[u8]| frame[0] & 8 == 0;
        for cuts in [&cuts[..], &UNCUT, &[1]] {
            for way in WAYS {
                let (events, result) = verdict(&sent, cuts, Limits::default(), way);
                let texts: Vec<_> = events.iter().filter(|event| matches!(event, Event::Text(_))).collect();
                match std::str::from_utf8(&payload) {
                    Ok(text) => assert_eq!((texts, result), (vec![&Event::Text(text.into())], Ok(()))),
                    Err(_) => assert_eq!((texts, result), (vec![], Err(ProtocolError::InvalidUtf8))),
                }
            }
            let Some(end) = impossible_from(&payload) else { continue };
            // Where that byte is among the frames.
            let (mut left, mut at) = (end, 0);
            for frame in &frames {
                let length = if is_data(frame) { frame.len() - header_length(frame) } else { 0 };
                if length >= left {
                    at += frame.len() - length + left;
                    break;
                }
                left -= length;
                at += frame.len();
            }
            let refused = |end: usize| verdict(&sent[..end], cuts, Limits::default(), Way::Plain).1.is_err();
            assert!(!refused(at - 1), "refused before byte {end}");
            assert!(refused(at), "not refused at byte {end}");
        }
    });
}

/// Of a client's frame of less than 64 KiB.
fn header_length(frame: &[u8]) -> usize {
    if frame[1] == 0xFE { 8 } else { 6 }
}

// Close codes (RFC 6455 section 7.4).

/// RFC 6455 §7.4: those that are defined, without those that never leave an endpoint; what libraries and apps may use.
fn is_code_of_the_wire(code: u16) -> bool {
    match code {
        1004..=1006 | 1015 => false,
        1000..=1014 | 3000..=4999 => true,
        _ => false,
    }
}

/// Status codes (RFC 6455 section 7.4).
#[test]
fn each_close_code_is_accepted_or_rejected_by_rfc_6455_section_7_4() {
    for code in 0..=u16::MAX {
        for reason in ["", "bye"] {
            let (events, result) = verdict(&support::close(code, reason), &UNCUT, Limits::default(), Way::Plain);
            if is_code_of_the_wire(code) {
                assert_eq!((events, result), (vec![Event::Close(Some((code, reason.to_owned())))], Ok(())));
            } else {
                assert_eq!((events, result), (vec![], Err(ProtocolError::InvalidCloseCode { code })));
            }
        }
    }
}

/// Status codes (RFC 6455 section 7.4).
#[test]
fn no_close_code_is_sent_that_may_not_be() {
    for code in 0..=u16::MAX {
        let mut sent = Vec::new();
        close::encode(&mut sent, code, "bye");
        let expected = match code {
            close_code::NO_STATUS => vec![],
            code if is_code_of_the_wire(code) => [&code.to_be_bytes()[..], b"bye"].concat(),
            _ => [&close_code::INTERNAL.to_be_bytes()[..], b"bye"].concat(),
        };
        assert_eq!(sent, server_frame(0x88, expected), "{code}");
        assert!(is_code_of_the_wire(close::sendable(code)) || close::sendable(code) == close_code::NO_STATUS);
    }
}

// Memory.

#[test]
fn memory_grows_with_received_bytes_and_not_with_announced_lengths() {
    // The frames of a message that have come, what the next one announces, and what of that has come.
    let peer = (
        1..3u8,
        vec(0..500usize, 0..4),
        prop_oneof![65_536..1u64 << 20, any::<u64>().prop_map(|length| (length >> 1).max(65_536))],
        prop_oneof![4 => 0..2_000usize, 1 => 30_000..120_000usize],
    );
    let sizes = vec(prop_oneof![1..100usize, 30_000..70_000usize], 1..4);
    let unlimited = Limits { max_message_size: usize::MAX, max_frame_size: usize::MAX, max_fragments: u32::MAX };
    holds(128, (vec(peer, 1..20), sizes), |(peers, sizes)| {
        let mut sent = Vec::new();
        for (first, complete, announced, arrived) in &peers {
            let mut bytes = Vec::new();
            let mut opcode = *first;
            for length in complete {
                bytes.extend(frame(std::mem::take(&mut opcode), vec![b'a'; *length]));
            }
            let length = bytes.len() + 14 + arrived;
            // Unmasked by a key of nothing, the rest is the same as on the wire.
            bytes.extend([&[opcode, 0xFF], &u64::to_be_bytes(*announced)[..], &[0; 4]].concat());
            bytes.resize(length, b'a');
            // The announced length may be less than the number of bytes that arrive.
            bytes.truncate(length - arrived.saturating_sub(*announced as usize));
            sent.push(bytes);
        }
        let arrived: usize = sent.iter().map(Vec::len).sum();
        let count = sent.len();
        for way in WAYS {
            let (mut spare, mut sent) = (BufferPool::default(), sent.clone());
            let mut sessions = Vec::with_capacity(count);
            let used = allocation_counter::measure(|| {
                for bytes in &mut sent {
                    // One for all, as on a thread.
                    let mut receiver = Receiver::new(unlimited, way);
                    receiver.spare = std::mem::take(&mut spare);
                    receiver.receive(bytes, &sizes, |event| panic!("{event:?}")).unwrap();
                    spare = receiver.spare;
                    sessions.push(receiver.session);
                }
            });
            // A buffer grows to twice what has arrived, and besides each session notes what it is at.
            let held = used.bytes_current;
            assert!(held <= 2 * arrived as i64 + 512 * count as i64, "{way:?}: {held} bytes for {arrived} that arrived");
            // While it is moved to a larger place there are two of it.
            let most = used.bytes_max;
            assert!(most <= 4 * arrived as u64 + 512 * count as u64, "{way:?}: {most} bytes for {arrived} that arrived");
        }
    });
}

// Looking ahead.

#[test]
fn a_ping_is_found_ahead_exactly_if_it_is_received_later() {
    let close = prop_oneof![2 => Just(vec![]), 1 => close_frame()];
    let frames =
        (frames(), close, frames()).prop_map(|(before, close, after)| [before.concat(), close, after.concat()].concat());
    holds(256, (frames, any::<prop::sample::Index>(), cuts()), |(bytes, start, cuts)| {
        let start = start.index(bytes.len() + 1);
        let (mut receiver, mut before) = (Receiver::new(Limits::default(), Way::Plain), 0);
        let is_ping = |event: &Event<'_>| matches!(event, Event::Ping(_));
        if receiver.receive(&mut bytes[..start].to_vec(), &cuts, |event| before += usize::from(is_ping(event))).is_err() {
            return;
        }
        let mut found = Vec::new();
        let mut scanner = PingScanner::new(&receiver.session);
        for range in pieces(bytes.len() - start, &cuts) {
            scanner.scan(&bytes[start..][range], |ping| found.push(Event::Ping(ping.to_vec().into())));
        }
        let (mut all, result) = verdict(&bytes, &UNCUT, Limits::default(), Way::Plain);
        all.retain(is_ping);
        // One whose payload was under way is the session's to answer.
        let known = before + usize::from(is_in_ping(&bytes, start));
        let expected = all.get(known..).unwrap_or_default();
        match result {
            Ok(()) => assert_eq!(found, expected),
            // The session reports a violation in a message. The look-ahead continues behind it.
            Err(_) => assert!(found.starts_with(expected), "{found:?} instead of {expected:?}"),
        }
    });
}

/// Whether the header of a ping ends at or before `at`, and its payload behind it.
fn is_in_ping(bytes: &[u8], at: usize) -> bool {
    let mut start = 0;
    while let Some(Ok(Some(header))) = bytes.get(start..).map(FrameHeader::decode) {
        let payload_at = start + header.header_length;
        start = payload_at.saturating_add(header.payload_length as usize);
        if at < start {
            return header.opcode == Opcode::Ping && at >= payload_at;
        }
    }
    false
}

// Connections in memory.

/// Runs a conversation in paused time, and fails if a task of it panics.
fn in_memory<T>(conversation: impl Future<Output = T>) -> T {
    count_panics();
    let before = panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = runtime.block_on(while_time_passes(conversation));
    drop(runtime);
    assert_eq!(panics(), before, "nothing panics");
    result
}

/// What follows when all bytes have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Fin,
    Silence,
}

/// Sends bytes in pieces, each when the one before has been used up, and returns what came back when the server is done.
async fn talk(http: &HttpServer, bytes: &[u8], cuts: &[usize], then: Then) -> Vec<u8> {
    let (peer, serving) = Peer::serve(http);
    let (mut read, mut write) = tokio::io::split(peer.stream);
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        received
    });
    for range in pieces(bytes.len(), cuts) {
        // The server may have gone.
        let _ = write.write_all(&bytes[range]).await;
        settle().await;
    }
    sleep(Duration::from_millis(500)).await;
    if then == Then::Fin {
        let _ = write.shutdown().await;
    }
    timeout(Duration::from_secs(300), serving).await.expect("the connection ends");
    reading.await.unwrap()
}

/// Responses, without what depends on the time of day.
fn undated(responses: &[u8]) -> String {
    let responses: String = responses.iter().map(|byte| char::from(*byte)).collect();
    let lines = responses.split_inclusive('\n').filter(|line| !line.starts_with("Date: "));
    lines.collect()
}

// Requests (RFC 9112).

/// A server that answers with what it was asked, some of it later.
fn mirror() -> HttpServer {
    HttpServer::new(async |request: ServerRequest| {
        if request.path().starts_with("/s") {
            sleep(Duration::from_millis(3)).await;
        }
        Response::plaintext(asked(request.method().as_str(), request.path(), request.body()))
    })
}

fn asked(method: &str, path: &str, body: &[u8]) -> String {
    let body: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("<{method} {path} {body}>")
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Sized(Vec<u8>),
    Chunked { chunks: Vec<Vec<u8>>, extension: String, trailer: bool },
}

/// A request, and what it asks for.
fn request() -> impl Strategy<Value = (String, Vec<u8>)> {
    let body = prop_oneof![
        Just(Body::None),
        bytes(0..300).prop_map(Body::Sized),
        (vec(bytes(1..60), 0..24), "(;[a-z]{1,5}(=[a-z\"]{0,4})?)?", any::<bool>())
            .prop_map(|(chunks, extension, trailer)| Body::Chunked { chunks, extension, trailer }),
    ];
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE"]);
    (method, "/[a-z]{0,6}", body, any::<bool>(), 0..20usize).prop_map(|(method, path, body, empty_line, padding)| {
        let start = if empty_line { "\r\n" } else { "" };
        let head =
            format!("{start}{method} {path} HTTP/1.1\r\nHost: example.com\r\nX-Padding: {}\r\n", "x".repeat(padding));
        let mut bytes = head.into_bytes();
        let all = match body {
            Body::None => {
                bytes.extend(b"\r\n");
                vec![]
            }
            Body::Sized(body) => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(&body);
                body
            }
            Body::Chunked { chunks, extension, trailer } => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in &chunks {
                    bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                    bytes.extend([chunk, &b"\r\n"[..]].concat());
                }
                bytes.extend(if trailer { &b"0\r\nX-Sum: 1\r\n\r\n"[..] } else { b"0\r\n\r\n" });
                chunks.concat()
            }
        };
        (asked(method, &path, &all), bytes)
    })
}

/// A request after which nothing is answered any more: the last, or one that is wrong.
fn last_request() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "GET /last HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n",
        "GET /last HTTP/1.0\r\n\r\n",
        "GET /none HTTP/1.1\r\n\r\n",
        "GET /bare HTTP/1.1\nHost: example.com\r\n\r\n",
        "GET /colon HTTP/1.1\r\nHost : example.com\r\n\r\n",
        "POST /both HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /gzip HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /size HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        "POST /sign HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n",
        "POST /large HTTP/1.1\r\nHost: example.com\r\nContent-Length: 99999999\r\n\r\n",
        "POST /half HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n12345",
        "GET /half HTTP/1.1\r\nHost: exa",
    ])
}

#[test]
fn cuts_change_nothing_of_what_is_answered() {
    holds(192, (vec(request(), 0..6), last_request(), cuts()), |(requests, last, cuts)| {
        let (asked, requests): (Vec<String>, Vec<Vec<u8>>) = requests.into_iter().unzip();
        let bytes = [requests.concat(), last.as_bytes().to_vec(), b"GET /after HTTP/1.1\r\n".to_vec()].concat();
        let bytes = if last.is_empty() { requests.concat() } else { bytes };
        let uncut = undated(&in_memory(async { talk(&mirror(), &bytes, &UNCUT, Then::Fin).await }));
        let mut rest = &uncut[..];
        for asked in asked {
            let at = rest.find(&asked).unwrap_or_else(|| panic!("no answer to {asked}: {uncut}"));
            rest = &rest[at + asked.len()..];
        }
        for cuts in [&cuts[..], &[1]] {
            let answers = undated(&in_memory(async { talk(&mirror(), &bytes, cuts, Then::Fin).await }));
            assert_eq!(answers, uncut);
        }
    });
}

#[test]
fn whatever_is_asked_is_answered_or_ends() {
    let changes =
        vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n :;,/0A"[..])]), 0..4);
    let good = prop_oneof![
        3 => request().prop_map(|(_, bytes)| bytes),
        1 => last_request().prop_map(|text| text.as_bytes().to_vec()),
        1 => frames().prop_map(|frames| [HANDSHAKE.as_bytes().to_vec(), frames.concat()].concat()),
    ];
    let changed = (vec(good, 1..3), changes).prop_map(|(requests, changes)| {
        let mut bytes = requests.concat();
        for (at, byte) in changes.into_iter().filter(|_| !requests.concat().is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    let anything = prop_oneof![3 => changed, 1 => bytes(0..300), 1 => "[ -~\r\n]{0,200}".prop_map(String::into_bytes)];
    let then = prop_oneof![Just(Then::Fin), Just(Then::Silence)];
    holds(384, (anything, cuts(), then), |(bytes, cuts, then)| {
        let (websocket, router) = (WebSocketMiddleware::new(), async |request: ServerRequest| {
            Response::plaintext(asked(request.method().as_str(), request.path(), request.body()))
        });
        let http = HttpServer::new((websocket, router));
        // That it ends is what `talk` waits for.
        let answers = in_memory(async { talk(&http, &bytes, &cuts, then).await });
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{answers:?}");
    });
}

// The events of a connection.

/// A listener that does what it is told, at once or a little later.
fn obey(connection: &WebSocketConnection, text: &str) -> Result<(), std::io::Error> {
    match text {
        "close" => connection.close(),
        "end" => connection.end_with("the last"),
        "terminate" => connection.terminate(),
        "fail" => return Err(std::io::Error::other("told to")),
        _ => drop(connection.write(text)),
    }
    Ok(())
}

/// The events of a connection to which these bytes are sent.
fn events_of(bytes: &[u8], cuts: &[usize], then: Then, limits: Limits, waits: bool) -> Vec<String> {
    let log = Log::default();
    let options = WebSocketOptions::new()
        .max_message_size(limits.max_message_size)
        .max_frame_size(limits.max_frame_size)
        .max_fragments(limits.max_fragments);
    let websocket = WebSocketMiddleware::new().with_options(options);
    websocket.on("connection", {
        let log = log.clone();
        move |connection: WebSocketConnection| {
            log.watch(connection);
            if waits {
                connection.on("text", async |connection: &WebSocketConnection, text: &str| {
                    sleep(Duration::from_millis(2)).await;
                    obey(connection, text)
                });
            } else {
                connection.on("text", obey);
            }
        }
    });
    let http = HttpServer::new((websocket, router));
    in_memory(async { talk(&http, bytes, cuts, then).await });
    log.take()
}

/// Data, then what the peer's Close brings, then at most one fault, then exactly one `close`.
#[track_caller]
fn assert_is_a_story(events: &[String]) {
    let name = |event: &String| event.split(' ').next().unwrap().to_owned();
    let story: Vec<String> = events.iter().map(name).filter(|name| name != "drain").collect();
    let mut rest = story.iter().map(String::as_str).peekable();
    while rest.next_if(|name| ["text", "binary", "ping", "pong"].contains(name)).is_some() {}
    rest.next_if_eq(&"end");
    let has_failed = rest.next_if_eq(&"error").is_some();
    assert_eq!(rest.collect::<Vec<_>>(), ["close"], "{events:?}");
    if has_failed {
        // `drain` is not told once a connection has failed: these two are the last.
        let [.., error, close] = events else { panic!("{events:?}") };
        assert_eq!(error.strip_prefix("error "), close.strip_prefix("close "), "the fault is why it closes: {events:?}");
    }
}

#[test]
fn the_events_of_a_connection_are_in_order_with_one_close() {
    let command = prop::sample::select(vec!["close", "end", "terminate", "fail"]).prop_map(|command| vec![text(command)]);
    let frames = (frames(), prop_oneof![3 => Just(vec![]), 1 => command], frames())
        .prop_map(|(before, command, after)| [before, command, after].concat().concat());
    let then = prop_oneof![3 => Just(Then::Fin), 1 => Just(Then::Silence)];
    holds(256, (frames, limits(), cuts(), then, any::<bool>()), |(frames, limits, cuts, then, waits)| {
        let bytes = [HANDSHAKE.as_bytes(), &frames].concat();
        let told = |cuts| {
            let events = events_of(&bytes, cuts, then, limits, waits);
            assert_is_a_story(&events);
            events
        };
        let uncut = told(&UNCUT);
        assert_eq!(told(&cuts), uncut, "cuts change nothing of it");
    });
}
