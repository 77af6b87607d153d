//! Negotiates, compresses and decompresses any input by permessage-deflate. The strictest peer can
//! decompress each compressed message, and no decompressed message exceeds the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use react_websocket::protocol::deflate::{
    Budget, Deflater, Direction, InflateError, Inflater, Preferences, Receiver, Sender, accept, check_response, offer,
};
use react_websocket::protocol::{BufferPool, Connection, Event, Limits, Role};
use react_websocket_fuzz::input::Input;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.byte() % 4 {
        0 => negotiate(&mut input),
        1 => compress(&mut input),
        2 => inflate(&mut input),
        _ => connection(&mut input),
    }
});

fn direction(byte: u8) -> Direction {
    Direction { takeover: byte & 8 != 0, bits: 8 + byte % 8 }
}

fn preferences(byte: u8) -> Preferences {
    let (send, receive) = (byte % 8, byte / 8 % 9);
    Preferences { send: (send > 0).then_some(8 + send), receive: (receive > 0).then_some(7 + receive) }
}

/// Each answer fits a client that has offered the same, and is itself well-formed.
fn negotiate(input: &mut Input<'_>) {
    let (ours, theirs) = (preferences(input.byte()), preferences(input.byte()));
    let lines: Vec<_> = input.rest().split(|byte| *byte == b'\n').collect();
    if let Ok(Some(agreed)) = accept(lines.iter().copied(), ours) {
        assert!((9..=15).contains(&agreed.params.server.bits) && (8..=15).contains(&agreed.params.client.bits));
        assert_eq!(accept([agreed.header.as_bytes()], ours).map(|again| again.is_some()), Ok(true));
        let all = Preferences { send: Some(15), receive: Some(15) };
        let response = agreed.header.replace("; client_max_window_bits=", "; x=");
        assert!(response.contains("; x=") || check_response([response.as_bytes()], all).is_ok());
    }
    let _ = check_response(lines, theirs);
    let Some(agreed) = accept([offer(theirs).as_bytes()], ours).expect("well-formed") else {
        assert_eq!(theirs.receive, Some(8), "the only window that the compressor cannot do");
        return;
    };
    let params = check_response([agreed.header.as_bytes()], theirs).expect("it fits").expect("accepted");
    // The client may use less than the server allows, and the server promises no less than it says.
    assert!(!params.client.takeover || agreed.params.client.takeover);
    assert!(params.client.bits <= agreed.params.client.bits);
    assert!(!agreed.params.server.takeover || params.server.takeover);
    assert!(agreed.params.server.bits <= params.server.bits);
}

fn compress(input: &mut Input<'_>) {
    let mut connections: Vec<_> = (0..3)
        .map(|_| {
            let direction = direction(input.byte());
            (Sender::new(direction, &Budget::new(20_000)), Receiver::new(direction), direction, Vec::new())
        })
        .collect();
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    while !input.is_empty() {
        let (index, level, repeats) = (usize::from(input.byte() % 3), 1 + input.byte() % 9, 1 + usize::from(input.byte()));
        let message = input.short().repeat(repeats);
        let (sender, receiver, direction, window) = &mut connections[index];
        let Some(packed) = sender.compress(&mut deflater, level, &message) else { continue };
        assert!(packed.len() < message.len());
        let mut received = Vec::new();
        let take = |piece: &[u8]| {
            received.extend_from_slice(piece);
            Ok::<_, InflateError>(())
        };
        receiver.inflate(&mut inflater, packed, message.len(), take).expect("what was compressed");
        assert_eq!(received, message);
        assert_eq!(strictly(packed, window, direction.bits), message);
        if direction.takeover {
            window.extend_from_slice(&message);
            window.drain(..window.len().saturating_sub(1 << direction.bits));
        }
    }
}

/// Decompresses a byte at a time, so that earlier bytes are only found in a window of the agreed size.
fn strictly(packed: &[u8], window: &[u8], bits: u8) -> Vec<u8> {
    let mut inflate = zlib_rs::Inflate::new(false, bits);
    if !window.is_empty() {
        inflate.set_dictionary(window).expect("a window");
    }
    let (mut message, bytes) = (Vec::new(), [packed, &[0, 0, 0xFF, 0xFF]].concat());
    let mut rest = &bytes[..];
    loop {
        let (before, mut out) = ((inflate.total_in(), inflate.total_out()), [0]);
        inflate.decompress(&rest[..rest.len().min(1)], &mut out, zlib_rs::InflateFlush::SyncFlush).expect("DEFLATE");
        let taken = (inflate.total_in() - before.0) as usize;
        rest = &rest[taken..];
        if inflate.total_out() > before.1 {
            message.push(out[0]);
        } else if taken == 0 {
            assert!(rest.is_empty());
            return message;
        }
    }
}

fn inflate(input: &mut Input<'_>) {
    let (direction, limit) = (direction(input.byte()), 1usize << (input.byte() % 20));
    let (mut receiver, mut inflater) = (Receiver::new(direction), Inflater::default());
    while !input.is_empty() {
        let payload = if input.byte() & 1 == 0 { input.short() } else { input.rest() };
        let mut total = 0;
        let take = |piece: &[u8]| {
            total += piece.len();
            assert!(total <= limit);
            Ok::<_, InflateError>(())
        };
        if receiver.inflate(&mut inflater, payload, limit, take).is_err() {
            return;
        }
    }
}

/// Frames of a client, of which the fuzzer makes the first byte and the payload.
fn connection(input: &mut Input<'_>) {
    let limits = Limits { max_message_size: 10_000, max_frame_size: 9_000, max_fragments: 10 };
    let mut connection = Connection::with_deflate(Role::Server, Receiver::new(direction(input.byte())));
    let (mut pool, size) = (BufferPool::default(), 1 + usize::from(input.byte()));
    let mut bytes = Vec::new();
    while !input.is_empty() {
        let (first, payload) = (input.byte(), input.short());
        let payload = &payload[..payload.len().min(125)];
        bytes.extend([first, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
    }
    for piece in bytes.chunks_mut(size) {
        let mut rest = piece;
        loop {
            match connection.receive(&mut rest, &limits, &mut pool) {
                Ok(Some(Event::Text(text))) => assert!(text.len() <= limits.max_message_size),
                Ok(Some(Event::Binary(bytes))) => assert!(bytes.len() <= limits.max_message_size),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error.close_code(), 1002 | 1007 | 1008 | 1009));
                    return;
                }
            }
        }
    }
}
