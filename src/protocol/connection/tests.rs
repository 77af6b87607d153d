use super::*;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xFFFF => bytes.extend([&[0xFE], &(length as u16).to_be_bytes()[..]].concat()),
        length => bytes.extend([&[0xFF], &(length as u64).to_be_bytes()[..]].concat()),
    }
    bytes.extend(KEY);
    let start = bytes.len();
    bytes.extend(payload);
    MaskKey::new(KEY).apply(&mut bytes[start..]);
    bytes
}

type Verdict = (Vec<Event<'static>>, Option<ProtocolError>);

/// What comes out when the bytes come in pieces of `size`.
fn transcript(bytes: &[u8], size: usize, limits: &Limits) -> Verdict {
    let (mut connection, mut pool, mut events) = (Connection::default(), BufferPool::default(), Vec::new());
    for piece in bytes.to_vec().chunks_mut(size) {
        let mut input = piece;
        loop {
            match connection.receive(&mut input, limits, &mut pool) {
                Ok(Some(event)) => events.push(event.into_owned()),
                Ok(None) => break,
                Err(error) => {
                    let mut more = frame(0x81, b"more");
                    assert_eq!(connection.receive(&mut &mut more[..], limits, &mut pool), Ok(None), "over is over");
                    return (events, Some(error));
                }
            }
        }
        assert!(input.is_empty());
    }
    (events, None)
}

fn text(text: &str) -> Event<'static> {
    Event::Text(text.to_owned().into())
}

fn binary(payload: &[u8]) -> Event<'static> {
    Event::Binary(payload.to_vec().into())
}

/// Frames in, events and perhaps an error out, whole and byte by byte.
fn check(frames: &[Vec<u8>], events: &[Event<'static>], error: Option<ProtocolError>) {
    check_within(&Limits::default(), frames, events, error);
}

fn check_within(limits: &Limits, frames: &[Vec<u8>], events: &[Event<'static>], error: Option<ProtocolError>) {
    let bytes = frames.concat();
    for size in [usize::MAX, 1, 2, 3, 7, 1000] {
        let verdict = transcript(&bytes, size.min(bytes.len()), limits);
        assert_eq!(verdict, (events.to_vec(), error), "in pieces of {size}");
    }
}

#[test]
fn messages_in_one_frame() {
    check(
        &[frame(0x81, b"hello"), frame(0x81, b""), frame(0x82, b"\xff\x00"), frame(0x82, &[7; 126])],
        &[text("hello"), text(""), binary(b"\xff\x00"), binary(&[7; 126])],
        None,
    );
    check(&[frame(0x82, &[7; 70_000])], &[binary(&[7; 70_000])], None);
}

#[test]
fn fragments_make_a_message_and_control_frames_pass_between() {
    check(
        &[
            frame(0x01, "日".as_bytes().split_at(2).0),
            frame(0x89, b"are you there?"),
            frame(0x00, "日".as_bytes().split_at(2).1),
            frame(0x00, b""),
            frame(0x8A, b""),
            frame(0x80, b"!"),
            frame(0x81, b"next"),
        ],
        &[Event::Ping(b"are you there?".to_vec().into()), Event::Pong(Vec::new().into()), text("日!"), text("next")],
        None,
    );
    check(&[frame(0x02, b""), frame(0x80, b"")], &[binary(b"")], None);
}

#[test]
fn nothing_follows_a_close() {
    check(
        &[frame(0x81, b"a"), frame(0x88, b"\x03\xe8bye"), frame(0x81, b"b"), frame(0xFF, b"")],
        &[text("a"), Event::Close(Some((1000, "bye".into())))],
        None,
    );
    check(&[frame(0x88, b"")], &[Event::Close(None)], None);
    check(&[frame(0x01, b"a"), frame(0x88, b"")], &[Event::Close(None)], None);
}

#[test]
fn events_before_an_error_are_delivered() {
    use ProtocolError::*;
    let a = || frame(0x81, b"a");
    for (bad, error) in [
        (frame(0xC1, b"b"), ReservedBits { bits: 4 }),
        (frame(0x83, b"b"), ReservedOpcode { opcode: 3 }),
        (vec![0x81, 1, b'b'], Unmasked),
        (frame(0x09, b""), FragmentedControl { opcode: Opcode::Ping }),
        (frame(0x80, b"b"), UnexpectedContinuation),
        (frame(0x00, b"b"), UnexpectedContinuation),
        (frame(0x81, b"\xff"), InvalidUtf8),
        (frame(0x88, b"\x03"), TruncatedCloseCode),
        (frame(0x88, &1005u16.to_be_bytes()), InvalidCloseCode { code: 1005 }),
        (frame(0x88, b"\x03\xe8\xff"), InvalidCloseReason),
    ] {
        check(&[a(), bad], &[text("a")], Some(error));
    }
    check(&[frame(0x01, b"a"), frame(0x81, b"b")], &[], Some(ExpectedContinuation { opcode: Opcode::Text }));
    check(&[frame(0x01, b"a"), frame(0x02, b"b")], &[], Some(ExpectedContinuation { opcode: Opcode::Binary }));
    check(&[frame(0x01, b"\xe6"), frame(0x80, b"")], &[], Some(InvalidUtf8));
}

#[test]
fn bad_utf8_fails_inside_a_frame_that_is_still_arriving() {
    let bytes = frame(0x81, b"ok \xf4\x90 and much more that never arrives");
    let last = bytes.len() - b"\x90 and much more that never arrives".len();
    let limits = Limits::default();
    assert_eq!(transcript(&bytes[..last], last, &limits), (vec![], None));
    assert_eq!(transcript(&bytes[..=last], last + 1, &limits), (vec![], Some(ProtocolError::InvalidUtf8)));
}

#[test]
fn limits_at_the_bound_and_one_past_it() {
    use ProtocolError::*;
    let limits = Limits { max_message_size: 10, max_frame_size: 8, max_fragments: 3 };
    let check = |frames: &[Vec<u8>], events: &[Event<'static>], error| check_within(&limits, frames, events, error);
    check(&[frame(0x82, &[1; 8])], &[binary(&[1; 8])], None);
    check(&[frame(0x82, &[1; 9])], &[], Some(FrameTooLarge { length: 9, limit: 8 }));
    check(&[frame(0x02, &[1; 8]), frame(0x80, &[1; 2])], &[binary(&[1; 10])], None);
    check(&[frame(0x02, &[1; 8]), frame(0x80, &[1; 3])], &[], Some(MessageTooLarge { length: 11, limit: 10 }));
    // The bytes of a text that have arrived count as well, even those of an unfinished character.
    check(&[frame(0x01, &[b'a'; 8]), frame(0x80, b"bc")], &[text("aaaaaaaabc")], None);
    check(&[frame(0x01, &[b'a'; 8]), frame(0x80, b"bcd")], &[], Some(MessageTooLarge { length: 11, limit: 10 }));
    check(&[frame(0x01, b"aaaaaaa\xc3"), frame(0x80, b"\xa9bc")], &[], Some(MessageTooLarge { length: 11, limit: 10 }));
    check(&[frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")], &[binary(b"")], None);
    let four = [frame(0x02, b""), frame(0x00, b""), frame(0x00, b""), frame(0x80, b"")];
    check(&four, &[], Some(TooManyFragments { limit: 3 }));
    // Control frames are not fragments of the message that they interrupt.
    let pings = [frame(0x02, b""), frame(0x89, &[0; 125]), frame(0x89, b""), frame(0x80, b"")];
    check(&pings, &[Event::Ping(vec![0; 125].into()), Event::Ping(vec![].into()), binary(b"")], None);
}

#[test]
fn the_announced_length_decides_before_any_payload() {
    let mut connection = Connection::default();
    let mut header = [0x82, 0xFF, 0x3F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    let received = connection.receive(&mut &mut header[..], &Limits::default(), &mut BufferPool::default());
    assert_eq!(received, Err(ProtocolError::FrameTooLarge { length: (1 << 62) - 1, limit: 1 << 20 }));
}

/// A text of this length in bytes, made of characters of three bytes each.
fn large_text(length: usize) -> String {
    assert_eq!(length % 3, 0);
    "語".repeat(length / 3)
}

#[test]
fn a_large_message_is_read_straight_into_its_buffer() {
    let noise: Vec<u8> = (0..399_999u32).map(|n| n as u8).collect();
    read_directly(0x82, &noise, binary(&noise));
    // The reads end inside of characters.
    let words = large_text(399_999);
    read_directly(0x81, words.as_bytes(), text(&words));
}

fn read_directly(first: u8, payload: &[u8], whole: Event<'_>) {
    let bytes = [frame(first, payload), frame(0x81, b"next")].concat();
    let (mut connection, limits, mut pool) = (Connection::default(), Limits::default(), BufferPool::default());
    let (first, mut rest) = bytes.split_at(40_000);
    assert_eq!(connection.receive(&mut &mut first.to_vec()[..], &limits, &mut pool), Ok(None));
    let mut reads = 0;
    let mut message = Vec::new();
    let (event, mut following) = loop {
        let Some((buffer, room)) = connection.direct(&mut pool) else { panic!("a large message is under way") };
        let (now, later) = rest.split_at(room.min(rest.len()));
        assert!(room <= buffer.len(), "room for what arrived, not for what was announced");
        buffer.extend_from_slice(now);
        (rest, reads) = (later, reads + 1);
        match connection.receive_direct(now.len(), &mut message).unwrap() {
            (None, following) => assert!(following.is_empty()),
            (event, following) => break (event.map(Event::into_owned), following),
        }
    };
    assert_eq!(event, Some(whole));
    assert_eq!(message, payload, "the buffer to be given back");
    assert_eq!(reads, 4);
    following.extend_from_slice(rest);
    assert_eq!(connection.receive(&mut &mut following[..], &limits, &mut pool), Ok(Some(text("next"))));
}

#[test]
fn text_that_is_read_straight_into_its_buffer_fails_at_the_first_impossible_byte() {
    for (end, is_last, is_text) in [
        (&b""[..], false, true),
        (b"\xFF", false, false),
        (b"\xED", false, true),
        (b"\xED\xA0", false, false),
        (b"\xF4\x8F\xBF", false, true),
        (b"", true, true),
        (b"\xFF", true, false),
        (b"\xF4\x8F\xBF", true, false),
    ] {
        let piece = [large_text(270_000).as_bytes(), end].concat();
        let to_come = if is_last { 0 } else { 33_000 };
        let mut bytes = frame(0x81, &[large_text(33_000).as_bytes(), &piece, &vec![b'a'; to_come]].concat());
        bytes.truncate(bytes.len() - to_come);
        let start = bytes.len() - piece.len();
        let (first, piece) = bytes.split_at_mut(start);
        let (mut connection, mut pool) = (Connection::default(), BufferPool::default());
        pool.give(Vec::with_capacity(400_000));
        assert_eq!(connection.receive(&mut &mut *first, &Limits::default(), &mut pool), Ok(None));
        let Some((buffer, room)) = connection.direct(&mut pool) else { panic!("a large message is under way") };
        assert!(piece.len() <= room);
        buffer.extend_from_slice(piece);
        let mut message = Vec::new();
        let received = connection.receive_direct(piece.len(), &mut message).map(|(event, _)| event.is_some());
        assert_eq!(received, if is_text { Ok(is_last) } else { Err(ProtocolError::InvalidUtf8) }, "{end:x?} {is_last}");
        assert_eq!(connection.is_over(), !is_text);
    }
}

#[test]
fn text_that_is_read_straight_into_its_buffer_may_go_on_and_end_in_other_ways() {
    let words = large_text(369_999);
    let (mut connection, limits, mut pool) = (Connection::default(), Limits::default(), BufferPool::default());
    pool.give(Vec::with_capacity(500_000));
    let mut fragment = frame(0x01, &words.as_bytes()[..369_998]);
    let (first, rest) = fragment.split_at_mut(35_000);
    assert_eq!(connection.receive(&mut &mut *first, &limits, &mut pool), Ok(None));
    // The rest is too short for a read of its own, but it goes the way that the frame has begun to
    // go.
    for piece in [&rest[..334_000], &rest[334_000..], &[]] {
        let Some((buffer, room)) = connection.direct(&mut pool) else {
            assert!(piece.is_empty());
            continue;
        };
        assert!(piece.len() <= room);
        buffer.extend_from_slice(piece);
        assert_eq!(connection.receive_direct(piece.len(), &mut Vec::new()), Ok((None, vec![])));
    }
    let mut ping = frame(0x89, b"between");
    let (begun, ended) = ping.split_at_mut(8);
    assert_eq!(connection.receive(&mut &mut *begun, &limits, &mut pool), Ok(None));
    assert!(connection.direct(&mut pool).is_none(), "a ping is no part of the message");
    let mut last = [ended, &mut frame(0x80, &words.as_bytes()[369_998..])].concat();
    let input = &mut &mut last[..];
    assert_eq!(connection.receive(input, &limits, &mut pool), Ok(Some(Event::Ping(b"between"[..].into()))));
    assert_eq!(connection.receive(input, &limits, &mut pool), Ok(Some(text(&words))));

    // A frame's end that is not the message's is checked, too.
    let mut fragment = frame(0x01, &[words.as_bytes(), b"\xFF"].concat());
    let (first, rest) = fragment.split_at_mut(36_000);
    assert_eq!(connection.receive(&mut &mut *first, &limits, &mut pool), Ok(None));
    let Some((buffer, _)) = connection.direct(&mut pool) else { panic!("a large message is under way") };
    buffer.extend_from_slice(rest);
    assert_eq!(connection.receive_direct(rest.len(), &mut Vec::new()), Err(ProtocolError::InvalidUtf8));
}

#[test]
fn a_spare_buffer_is_read_into_as_far_as_it_goes() {
    let bytes = frame(0x82, &vec![7; 200_000]);
    let (mut connection, mut pool) = (Connection::default(), BufferPool::default());
    pool.give(Vec::with_capacity(150_000));
    let mut first = bytes[..40_014].to_vec();
    assert_eq!(connection.receive(&mut &mut first[..], &Limits::default(), &mut pool), Ok(None));
    let Some((buffer, room)) = connection.direct(&mut pool) else { panic!("a large message is under way") };
    assert_eq!((buffer.capacity(), room), (150_000, 110_000));
    buffer.extend_from_slice(&bytes[40_014..150_014]);
    assert_eq!(connection.receive_direct(room, &mut Vec::new()), Ok((None, vec![])));
    // Where it ends, there is room for what is to come, and a little more.
    let Some((buffer, room)) = connection.direct(&mut pool) else { panic!("a large message is under way") };
    assert_eq!((buffer.len(), room), (150_000, 50_064));
}

#[test]
fn a_read_of_its_own_begins_when_32_kib_have_come_and_enough_is_to_come() {
    const MIN: usize = 32 * 1024;
    const TEXT: usize = 256 * 1024;
    for (first, arrived, to_come, is_offered) in [
        (0x82, MIN, MIN, true),
        (0x82, MIN - 1, MIN, false),
        (0x82, MIN, MIN - 1, false),
        (0x81, MIN, TEXT, true),
        (0x81, MIN - 1, TEXT, false),
        (0x81, MIN, TEXT - 1, false),
    ] {
        let mut bytes = frame(first, &vec![7; arrived + to_come]);
        bytes.truncate(bytes.len() - to_come);
        let (mut connection, mut pool) = (Connection::default(), BufferPool::default());
        assert_eq!(connection.receive(&mut &mut bytes[..], &Limits::default(), &mut pool), Ok(None));
        assert_eq!(connection.direct(&mut pool).is_some(), is_offered, "{arrived} bytes of which {to_come} are to come");
    }
}

#[test]
fn a_connection_tells_what_it_is_amid() {
    // Whether what has come is between messages, amid a message, in a Close; where the next byte falls.
    type Told = ([bool; 3], (&'static [u8], u64));
    let cases: [(&[u8], Told); 10] = [
        (b"", ([true, false, false], (b"", 0))),
        (b"\x81\x80\0\0\0\0", ([true, false, false], (b"", 0))),
        (b"\x81\x85", ([false, false, false], (b"\x81\x85", 0))),
        (b"\x81\x85\0\0\0\0ab", ([false, true, false], (b"", 3))),
        (b"\x01\x80\0\0\0\0", ([false, true, false], (b"", 0))),
        (b"\x01\x80\0\0\0\0\x89\x82\0\0\0\0a", ([false, true, false], (b"", 1))),
        (b"\x89\x82\0\0\0\0a", ([false, false, false], (b"", 1))),
        (b"\x88\x85\0\0\0\0\x03", ([false, false, true], (b"", 4))),
        (b"\x88\x80\0\0\0\0\x81", ([false, false, false], (b"", 0))),
        (b"\xff", ([false, false, false], (b"", 0))),
    ];
    for (bytes, (is, position)) in cases {
        let (mut connection, mut bytes) = (Connection::default(), bytes.to_vec());
        let mut input = &mut bytes[..];
        while let Ok(Some(_)) = connection.receive(&mut input, &Limits::default(), &mut BufferPool::default()) {}
        assert_eq!(
            [connection.is_between_messages(), connection.is_amid_message(), connection.is_in_close()],
            is,
            "{bytes:x?}"
        );
        assert_eq!(connection.position(), position, "{bytes:x?}");
    }
}

#[test]
fn an_idle_connection_is_small_and_holds_nothing() {
    let (mut connection, limits, mut pool) = (Connection::default(), Limits::default(), BufferPool::default());
    let bytes = [frame(0x01, b"a"), frame(0x80, b"b")].concat();
    for byte in bytes {
        let _ = connection.receive(&mut &mut [byte][..], &limits, &mut pool);
    }
    assert!(connection.partial.is_none());
    // With compression a pointer to the window of the peer.
    assert!(size_of::<Connection>() <= if cfg!(feature = "deflate") { 32 } else { 24 });
}

#[test]
fn the_short_way_takes_what_receive_would_and_nothing_else() {
    let limits = Limits { max_message_size: 70_000, max_frame_size: 70_000, max_fragments: 4096 };
    for first in 0..=0xFF {
        for length in [0, 1, 5, 125, 126, 127, 1000, 65_535, 65_536, 70_000, 70_001] {
            let bytes = frame(first, &vec![b'a'; length]);
            let (mut short, mut long) = (bytes.clone(), bytes);
            let taken =
                crate::protocol::frame::take_whole_message(&mut &mut short[..], limits.max_whole_message().unwrap());
            let mut input = &mut long[..];
            let received = Connection::default().receive(&mut input, &limits, &mut BufferPool::default());
            match (taken, received) {
                (Some((Opcode::Text, taken)), Ok(Some(Event::Text(text)))) => assert_eq!(taken, text.as_bytes()),
                (Some((Opcode::Binary, taken)), Ok(Some(Event::Binary(bytes)))) => assert_eq!(taken, &*bytes),
                (Some(taken), received) => panic!("{first:x} {length}: {taken:?} and {received:?}"),
                (None, received) => {
                    let is_short = matches!(received, Ok(Some(Event::Text(_) | Event::Binary(_)))) && length <= 65_535;
                    assert!(!is_short, "{first:x} {length}");
                }
            }
        }
    }
}
