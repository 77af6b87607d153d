//! Checks how a connection reads a client's frames. The result is the same as tungstenite's, and the
//! same for every cut of the bytes.
#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use react_websocket::protocol::ProtocolError;
use react_websocket::protocol::frame::take_whole_message;
use react_websocket::protocol::{BufferPool, Connection, Event, Limits, Opcode};
use react_websocket_fuzz::frames::{LARGE, frames};
use react_websocket_fuzz::input::{Cuts, Input};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (kind, limit, fragments) = (input.byte(), input.byte(), input.byte());
    let cuts = input.cuts();
    let limits = limits(limit, fragments);
    let mut bytes = if kind & 1 == 0 { frames(&mut input, LARGE) } else { input.rest().to_vec() };
    let walked = complete(&mut bytes, &limits);

    let ours = received(&bytes, &Cuts::default(), limits, Way::Plain);
    for way in [Way::Plain, Way::Short, Way::Direct] {
        for cuts in [&cuts, &Cuts::default()] {
            assert_eq!(received(&bytes, cuts, limits, way), ours, "{way:?}, {cuts:?}");
        }
    }
    if bytes.len() < 1000 {
        assert_eq!(received(&bytes, &Cuts::bytes(), limits, Way::Short), ours, "byte by byte");
    }
    compare(&ours, &by_tungstenite(&bytes, limits), &walked, &limits);
});

/// 125 is the least, since tungstenite's limit is one for control frames too, and ours is not.
fn limits(limit: u8, fragments: u8) -> Limits {
    let most = 125 + 4 * usize::from(limit & 0x3F);
    let max_fragments = match fragments {
        0 => u32::MAX,
        0xFF => 0,
        fragments => fragments.into(),
    };
    match limit >> 6 {
        0 => Limits { max_fragments, ..Limits::default() },
        1 => Limits { max_message_size: most, max_frame_size: most, max_fragments },
        2 => Limits { max_message_size: most, max_frame_size: 125, max_fragments },
        _ => Limits { max_message_size: most / 4, max_frame_size: most, max_fragments },
    }
}

/// Completes the last frame, since tungstenite reports an error in a header only when it has the
/// whole frame. A frame whose length exceeds the limit stays incomplete: both implementations
/// report it when they have the header.
///
/// Returns the first bytes of all frames.
fn complete(bytes: &mut Vec<u8>, limits: &Limits) -> Vec<u8> {
    let (mut firsts, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        firsts.push(bytes[at]);
        let mut byte = |place: usize, otherwise: u8| {
            if bytes.len() <= at + place {
                bytes.push(otherwise);
            }
            bytes[at + place]
        };
        let second = byte(1, 0x80);
        let mut header = 2;
        // Lengths are completed to ones that need so many bytes: 0x01FE, 65,536.
        let wide: &[u8] = match second & 0x7F {
            126 => &[1, 0xFE],
            127 => &[0, 0, 0, 0, 0, 1, 0, 0],
            _ => &[],
        };
        let mut length = if wide.is_empty() { u64::from(second & 0x7F) } else { 0 };
        for otherwise in wide {
            length = length << 8 | u64::from(byte(header, *otherwise));
            header += 1;
        }
        if second & 0x80 != 0 {
            for place in 0..4 {
                byte(header + place, 0);
            }
            header += 4;
        }
        if length > limits.max_frame_size as u64 {
            break;
        }
        at += header + length as usize;
        if bytes.len() < at {
            bytes.resize(at, 0);
        }
    }
    firsts
}

/// How bytes get to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    /// Whole messages are taken out before the session sees them.
    Short,
    /// The rest of large messages is read to where it is put together.
    Direct,
}

type Received = (Vec<Event<'static>>, Result<(), ProtocolError>);

fn received(bytes: &[u8], cuts: &Cuts, limits: Limits, way: Way) -> Received {
    let (mut session, mut spare, mut events) = (Connection::default(), BufferPool::default(), Vec::new());
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    for number in 0.. {
        if rest.is_empty() {
            break;
        }
        let size = rest.len().min(cuts.size(number));
        if way == Way::Direct
            && let Some((buffer, room)) = session.direct(&mut spare)
        {
            let piece = rest.split_off_mut(..size.min(room)).expect("a piece");
            let capacity = buffer.capacity();
            buffer.extend_from_slice(piece);
            assert_eq!(buffer.capacity(), capacity, "there is the room that was promised");
            let mut message = Vec::new();
            match session.receive_direct(piece.len(), &mut message) {
                Ok((event, mut following)) => {
                    events.extend(event.map(Event::into_owned));
                    spare.give(message);
                    if let Err(error) = receive(&mut session, &mut following, limits, way, &mut spare, &mut events) {
                        return (events, Err(error));
                    }
                }
                Err(error) => return (events, Err(error)),
            }
            continue;
        }
        let piece = rest.split_off_mut(..size).expect("a piece");
        if let Err(error) = receive(&mut session, piece, limits, way, &mut spare, &mut events) {
            // The session does not see frames that were read the short way.
            assert!(session.is_over() || way == Way::Short);
            return (events, Err(error));
        }
    }
    (events, Ok(()))
}

fn receive(
    session: &mut Connection,
    mut input: &mut [u8],
    limits: Limits,
    way: Way,
    spare: &mut BufferPool,
    events: &mut Vec<Event<'static>>,
) -> Result<(), ProtocolError> {
    loop {
        if way == Way::Short
            && session.is_between_messages()
            && let Some(limit) = limits.max_whole_message()
            && let Some((opcode, payload)) = take_whole_message(&mut input, limit)
        {
            events.push(match opcode {
                Opcode::Text => match String::from_utf8(payload.to_vec()) {
                    Ok(text) => Event::Text(text.into()),
                    Err(_) => return Err(ProtocolError::InvalidUtf8),
                },
                _ => Event::Binary(payload.to_vec().into()),
            });
            continue;
        }
        let Some(event) = session.receive(&mut input, &limits, spare)? else {
            assert!(input.is_empty(), "all of it is used up");
            return Ok(());
        };
        let event = event.into_owned();
        if let Event::Binary(binary) = &event {
            // A buffer of the same size for the next message.
            spare.give(binary.to_vec());
        }
        events.push(event);
    }
}

/// A socket on which all has arrived, and whose writer is not heard.
struct Arrived<'a>(&'a [u8]);

impl Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl Write for Arrived<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn by_tungstenite(bytes: &[u8], limits: Limits) -> (Vec<Message>, Result<(), tungstenite::Error>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits.max_message_size))
        .max_frame_size(Some(limits.max_frame_size));
    let mut socket = WebSocket::from_raw_socket(Arrived(bytes), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (messages, Ok(())),
            Err(tungstenite::Error::ConnectionClosed) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
}

fn compare(
    (events, result): &Received,
    theirs: &(Vec<Message>, Result<(), tungstenite::Error>),
    firsts: &[u8],
    limits: &Limits,
) {
    let (messages, verdict) = theirs;
    let is_prefix = events.iter().zip(messages).all(|(event, message)| is_same(event, message));
    assert!(is_prefix, "{events:?} and {messages:?}");
    match result {
        // It takes them, as it does not look (RFC 6455 §5.2 says MUST).
        Err(ProtocolError::LengthNotMinimal { .. }) => assert!(messages.len() >= events.len()),
        // A control frame whose length is not minimal: the form of its length already shows that it
        // is too long.
        Err(ProtocolError::ControlTooLong { .. }) if messages.len() > events.len() => {
            let next = &messages[events.len()];
            assert!(!next.is_text() && !next.is_binary() && next.len() <= 125, "{next:?}");
        }
        // It has no such limit. Ours is counted by hand.
        Err(ProtocolError::TooManyFragments { limit }) => {
            assert!(messages.len() >= events.len());
            assert!(most_fragments(firsts) > *limit, "{firsts:x?}");
        }
        // It answers as a refusal does, and calls it a Close.
        Err(ProtocolError::InvalidCloseCode { .. }) if messages.len() == events.len() + 1 => {
            assert!(is_violation(messages.last()), "{messages:?}");
        }
        Err(error) => {
            assert_eq!(messages.len(), events.len(), "{error}, {messages:?}");
            assert!(verdict.is_err(), "{error}, and tungstenite takes it");
        }
        Ok(()) => {
            assert_eq!(messages.len(), events.len(), "{messages:?} after {events:?}");
            assert!(verdict.is_ok(), "{verdict:?} of tungstenite, and we take it");
            // Nothing that follows a Close counts.
            let is_closed = matches!(events.last(), Some(Event::Close(_)));
            assert!(is_closed || most_fragments(firsts) <= limits.max_fragments, "{firsts:x?}");
        }
    }
}

/// The fragments of the message that has the most, in frames that are in order.
fn most_fragments(firsts: &[u8]) -> u32 {
    let (mut most, mut fragments) = (0, 0);
    for first in firsts.iter().filter(|first| *first & 0x08 == 0) {
        fragments = if first & 0x0F == 0 { fragments + 1 } else { 1 };
        most = most.max(fragments);
    }
    most
}

fn is_same(event: &Event<'_>, message: &Message) -> bool {
    match (event, message) {
        (Event::Text(text), Message::Text(other)) => text.as_bytes() == other.as_bytes(),
        (Event::Binary(binary), Message::Binary(other)) => binary[..] == other[..],
        (Event::Ping(payload), Message::Ping(other)) | (Event::Pong(payload), Message::Pong(other)) => {
            payload[..] == other[..]
        }
        (Event::Close(None), Message::Close(None)) => true,
        // 1014 is in the registry of IANA, and tungstenite does not know it.
        (Event::Close(Some((1014, _))), other) => is_violation(Some(other)),
        (Event::Close(Some((code, reason))), Message::Close(Some(other))) => {
            *code == u16::from(other.code) && reason.as_bytes() == other.reason.as_bytes()
        }
        _ => false,
    }
}

/// What tungstenite makes of a Close whose code it does not take.
fn is_violation(message: Option<&Message>) -> bool {
    let Some(Message::Close(Some(close))) = message else { return false };
    close.code == CloseCode::Protocol && close.reason.as_str() == "Protocol violation"
}
