//! The client's end: frames of servers, which are not masked (RFC 6455 §5.1).

use super::*;
use crate::protocol::frame::{encode, encode_masked, mask_frames, take_whole_message, take_whole_unmasked};

/// What comes out when the bytes come in pieces of `size`. With `quickly`, complete messages take the fast way.
fn transcript(bytes: &[u8], size: usize, quickly: bool) -> (Vec<Event<'static>>, Option<ProtocolError>) {
    let (mut connection, mut pool, mut events) = (Connection::new(Role::Client), BufferPool::default(), Vec::new());
    for piece in bytes.to_vec().chunks_mut(size) {
        let mut input = piece;
        loop {
            while quickly
                && connection.is_between_unmasked_messages()
                && let Some((opcode, payload)) = take_whole_unmasked(&mut input, 1 << 20)
            {
                events.push(match opcode {
                    Opcode::Text => Event::Text(String::from_utf8(payload.to_vec()).unwrap().into()),
                    _ => Event::Binary(payload.to_vec().into()),
                });
            }
            match connection.receive(&mut input, &Limits::default(), &mut pool) {
                Ok(Some(event)) => events.push(event.into_owned()),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn frames(frames: &[(bool, Opcode, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (fin, opcode, payload) in frames {
        encode(&mut bytes, *fin, *opcode, payload);
    }
    bytes
}

#[test]
fn frames_of_a_server_in_pieces_of_every_size() {
    let large = vec![b'x'; 70_000];
    let bytes = frames(&[
        (true, Opcode::Text, b"one"),
        (false, Opcode::Text, b"tw"),
        (true, Opcode::Ping, b"ping"),
        (true, Opcode::Continuation, b"o"),
        (true, Opcode::Binary, &large[..300]),
        (true, Opcode::Binary, b""),
        (true, Opcode::Text, &large),
        (true, Opcode::Pong, b"pong"),
        (true, Opcode::Close, b"\x03\xE8bye"),
        (true, Opcode::Text, b"no event"),
    ]);
    let events = [
        Event::Text("one".into()),
        Event::Ping(b"ping"[..].into()),
        Event::Text("two".into()),
        Event::Binary(large[..300].to_vec().into()),
        Event::Binary(Vec::new().into()),
        Event::Text(String::from_utf8(large.clone()).unwrap().into()),
        Event::Pong(b"pong"[..].into()),
        Event::Close(Some((1000, "bye".into()))),
    ];
    for size in [usize::MAX, 1, 2, 3, 7, 1000, 65_536] {
        for quickly in [false, true] {
            assert!(transcript(&bytes, size.min(bytes.len()), quickly) == (events.to_vec(), None), "{size} {quickly}");
        }
    }
}

#[test]
fn a_large_message_is_read_into_its_buffer() {
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let bytes = frames(&[(true, Opcode::Binary, &payload)]);
    let (mut connection, mut pool) = (Connection::new(Role::Client), BufferPool::default());
    let (first, mut rest) = bytes.split_at(100_000);
    assert_eq!(connection.receive(&mut &mut first.to_vec()[..], &Limits::default(), &mut pool), Ok(None));
    let mut message = Vec::new();
    loop {
        let (buffer, room) = connection.direct(&mut pool).expect("it is large");
        let count = room.min(rest.len());
        buffer.extend_from_slice(&rest[..count]);
        rest = &rest[count..];
        let (event, following) = connection.receive_direct(count, &mut message).unwrap();
        assert!(following.is_empty());
        if let Some(event) = event {
            assert!(event == Event::Binary(payload.into()));
            return;
        }
    }
}

/// RFC 6455 §5.1. The second byte says so.
#[test]
fn a_masked_frame_is_an_error_at_its_second_byte() {
    let mut bytes = Vec::new();
    encode_masked(&mut bytes, true, Opcode::Text, b"hello", [1, 2, 3, 4]);
    for end in 2..=bytes.len() {
        for size in [1, bytes.len()] {
            assert_eq!(transcript(&bytes[..end], size, true), (vec![], Some(ProtocolError::Masked)));
        }
    }
    assert_eq!(transcript(&bytes[..1], 1, true), (vec![], None));
    assert_eq!(ProtocolError::Masked.close_code(), 1002);
    // And the other way round.
    let mut unmasked = frames(&[(true, Opcode::Text, b"hello")]);
    let received =
        Connection::new(Role::Server).receive(&mut &mut unmasked[..], &Limits::default(), &mut BufferPool::default());
    assert_eq!(received, Err(ProtocolError::Unmasked));
    assert!(!Connection::new(Role::Server).is_between_unmasked_messages());
    assert!(!Connection::new(Role::Client).is_between_messages());
}

#[test]
fn the_fast_way_takes_whole_messages_only() {
    for (bytes, is_taken) in [
        (&b"\x81\x02hi"[..], true),
        (b"\x82\x00", true),
        (b"\x81\x02h", false),
        (b"\x81", false),
        (b"\x01\x02hi", false),
        (b"\x89\x02hi", false),
        (b"\x81\x82\0\0\0\0hi", false),
        (b"\x81\x7E\x00\x02hi", false),
        (b"\x81\x7E\x00", false),
        (b"\xC1\x02hi", false),
    ] {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        assert_eq!(take_whole_unmasked(&mut input, 100).is_some(), is_taken, "{input:x?}");
    }
    let mut bytes = frames(&[(true, Opcode::Binary, &[7; 126])]);
    assert_eq!(take_whole_unmasked(&mut &mut bytes[..], 125), None, "it exceeds the limit");
    assert_eq!(take_whole_unmasked(&mut &mut bytes[..], 126).map(|(_, payload)| payload.len()), Some(126));
    assert_eq!(take_whole_message(&mut &mut bytes[..], 126), None);
}

/// RFC 6455 §5.3: a masked frame is what a server reads, and each frame has its own key.
#[test]
fn frames_are_masked_as_a_server_reads_them() {
    let payloads = [vec![], vec![1], vec![2; 125], vec![3; 126], vec![4; 65_535], vec![5; 65_536]];
    let (mut plain, mut masked, mut key) = (Vec::new(), Vec::new(), 0u8);
    for payload in &payloads {
        encode(&mut plain, true, Opcode::Binary, payload);
    }
    mask_frames(&mut masked, &plain, || {
        key += 1;
        [key; 4]
    });
    assert_eq!(usize::from(key), payloads.len());
    assert_eq!(masked.len(), plain.len() + 4 * payloads.len());
    let mut input = &mut masked[..];
    let (mut server, mut pool) = (Connection::new(Role::Server), BufferPool::default());
    for payload in payloads {
        let received = server.receive(&mut input, &Limits::default(), &mut pool).unwrap().unwrap();
        assert!(received == Event::Binary(payload.into()));
    }
    assert!(input.is_empty());
}
