use std::borrow::Cow;

use super::assembler::{Assembled, Assembler};
use super::close;
use super::frame::{FrameHeader, HEADER_MAX};
use super::mask::MaskKey;
use super::spare::Spare;
use super::utf8;
use super::{Limits, Opcode, ProtocolError};

/// What a peer said. A message that came whole in one read borrows from the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A complete text message.
    Text(Cow<'a, str>),
    /// A complete binary message.
    Binary(Cow<'a, [u8]>),
    /// A ping, to be answered with a pong of the same payload (RFC 6455 §5.5.2).
    Ping(Cow<'a, [u8]>),
    /// A pong, asked for or not.
    Pong(Cow<'a, [u8]>),
    /// The peer's Close: its code and reason, `None` if it was empty. Nothing follows it.
    Close(Option<(u16, String)>),
}

/// The receiving half of a WebSocket, as a pure object: bytes go in, events come out (RFC 6455 §5).
///
/// Whoever drives it reads bytes into a buffer, hands them to [`receive`](Session::receive) until that returns `None`,
/// and answers what comes out. An idle session holds no buffer.
///
/// ```
/// use react_websocket::protocol::{Event, Limits, Session, Spare};
///
/// let (mut session, limits, mut spare) = (Session::default(), Limits::default(), Spare::default());
/// let mut bytes = *b"\x81\x82\x00\x00\x00\x00hi";
/// let mut input = &mut bytes[..];
/// assert_eq!(session.receive(&mut input, &limits, &mut spare), Ok(Some(Event::Text("hi".into()))));
/// assert_eq!(session.receive(&mut input, &limits, &mut spare), Ok(None));
/// ```
#[derive(Debug, Default)]
pub struct Session {
    /// The start of a frame header whose end has not arrived.
    header: [u8; HEADER_MAX],
    header_length: u8,
    /// After the peer's Close, or an error: whatever else arrives is thrown away.
    over: bool,
    partial: Option<Box<Partial>>,
}

/// What is unfinished; only there while something is.
#[derive(Debug, Default)]
struct Partial {
    /// The message whose last frame has not ended.
    message: Option<Assembler>,
    /// The frame whose payload has not all arrived.
    frame: Option<Frame>,
    /// What has arrived of a control frame's payload.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    remaining: u64,
    mask: MaskKey,
}

/// Fewer bytes than this are not worth a read of their own.
const DIRECT_MIN: usize = 32 * 1024;

/// A read that fills its buffer to the last byte makes the caller ask again for what is not there. So there is a little
/// more room than the frame needs.
const SLACK: usize = 64;

impl Session {
    /// The next event in `input`, which is unmasked in place and moved forward over what has been used up.
    ///
    /// `None` when all of `input` is used up, which is always the case after [`Event::Close`] and after an error.
    /// `limits` decide what is accepted; `spare` lends the buffers for messages that do not come whole, and gets them
    /// back by [`Spare::give`] when the caller has used an owned event.
    ///
    /// # Errors
    /// The first rule that the peer broke. Memory is used for what has arrived, never for what was announced.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Limits,
        spare: &mut Spare,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let received = self.next_event(input, limits, spare);
        if !matches!(received, Ok(Some(Event::Text(_) | Event::Binary(_) | Event::Ping(_) | Event::Pong(_)))) {
            self.settle(input, &received);
        }
        received
    }

    /// Where the rest of a large binary message may be read to without a detour: the buffer that it is put together in,
    /// and how many bytes may be appended to it. Afterwards call [`receive_direct`](Session::receive_direct).
    pub fn direct(&mut self, spare: &mut Spare) -> Option<(&mut Vec<u8>, usize)> {
        let partial = self.partial.as_deref_mut()?;
        let remaining = usize::try_from(partial.frame?.remaining).ok()?;
        let buffer = partial.message.as_mut()?.binary()?;
        // Room only for as much again as has arrived already.
        if remaining < DIRECT_MIN || buffer.len() < DIRECT_MIN {
            return None;
        }
        let room = remaining.saturating_add(SLACK).min(buffer.len());
        spare.make_exact_room(buffer, room);
        Some((buffer, room))
    }

    /// Takes note of the `count` bytes that were appended to the buffer of [`direct`](Session::direct).
    ///
    /// Besides the event, if the message is complete, it returns the bytes that follow the frame and still have to be
    /// [received](Session::receive): nearly always none.
    pub fn receive_direct(&mut self, count: usize) -> Result<(Option<Event<'static>>, Vec<u8>), ProtocolError> {
        let mut following = Vec::new();
        let mut received = Ok(None);
        if let Some(partial) = self.partial.as_deref_mut()
            && let (Some(frame), Some(message)) = (&mut partial.frame, &mut partial.message)
            && let Some(buffer) = message.binary()
        {
            let start = buffer.len().saturating_sub(count);
            let ours = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(count);
            following = buffer.split_off(start.saturating_add(ours));
            frame.mask.apply(buffer.get_mut(start..).unwrap_or_default());
            frame.remaining = frame.remaining.saturating_sub(ours as u64);
            if frame.remaining == 0 {
                received = self.end_of_frame();
            }
        }
        if received.is_err() {
            self.settle(&mut (&mut [][..]), &received);
        }
        Ok((received?, following))
    }

    /// Whether the peer has said Close, or broken a rule: nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the next byte begins a frame, and that frame a message: [`frame::take_whole_message`](super::frame::take_whole_message)
    /// may be asked before [`receive`](Session::receive).
    #[inline]
    pub fn is_between_messages(&self) -> bool {
        self.partial.is_none() && self.header_length == 0 && !self.over
    }

    /// Whether the frame under way is the peer's Close.
    pub(super) fn is_in_close(&self) -> bool {
        self.partial.as_ref().and_then(|partial| partial.frame).is_some_and(|frame| frame.opcode == Opcode::Close)
    }

    /// Whether a message has begun to arrive and not ended.
    pub fn is_amid_message(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.message.is_some())
    }

    /// Where the next byte will fall: the start of a frame's header that has arrived, and the payload of the frame under way
    /// that has not.
    pub(super) fn position(&self) -> (&[u8], u64) {
        let header = self.header.get(..usize::from(self.header_length)).unwrap_or_default();
        let remaining = self.partial.as_ref().and_then(|partial| Some(partial.frame?.remaining));
        (header, remaining.unwrap_or(0))
    }

    fn next_event<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Limits,
        spare: &mut Spare,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            if self.over {
                return Ok(None);
            }
            if self.partial.as_ref().is_some_and(|partial| partial.frame.is_some()) {
                match self.fill(input, spare)? {
                    Some(event) => return Ok(Some(event)),
                    None if input.is_empty() => return Ok(None),
                    None => continue,
                }
            }
            if self.header_length > 0 {
                let Some(header) = self.complete_header(input)? else { return Ok(None) };
                self.begin(header, limits)?;
                continue;
            }
            let Some(header) = FrameHeader::decode(input)? else {
                self.keep_header(input);
                return Ok(None);
            };
            let end = usize::try_from(header.payload_length).map_or(usize::MAX, |n| n.saturating_add(header.header_length));
            // Nearly every message comes whole, and its way through here leaves no trace.
            let whole = header.fin && end <= input.len() && (header.opcode.is_control() || self.fits(&header, limits));
            let (head, rest) = std::mem::take(input)
                .split_at_mut_checked(if whole { end } else { header.header_length })
                .unwrap_or_default();
            *input = rest;
            if whole {
                let payload = head.get_mut(header.header_length..).unwrap_or_default();
                let mut mask = header.mask;
                mask.apply(payload);
                return self.whole(header.opcode, payload).map(Some);
            }
            self.begin(header, limits)?;
        }
    }

    /// Whether a data frame is a message by itself and within the limits. If not, [`begin`](Session::begin) finds out why.
    #[inline]
    fn fits(&self, header: &FrameHeader, limits: &Limits) -> bool {
        self.partial.is_none()
            && header.opcode != Opcode::Continuation
            && header.payload_length <= limits.max_frame_size.min(limits.max_message_size) as u64
            && limits.max_fragments > 0
    }

    /// A frame that came whole and is not a fragment.
    #[inline]
    fn whole<'a>(&mut self, opcode: Opcode, payload: &'a mut [u8]) -> Result<Event<'a>, ProtocolError> {
        Ok(match opcode {
            Opcode::Text => Event::Text(Cow::Borrowed(utf8::check(payload)?)),
            Opcode::Ping => Event::Ping(Cow::Borrowed(payload)),
            Opcode::Pong => Event::Pong(Cow::Borrowed(payload)),
            Opcode::Close => close_event(payload)?,
            Opcode::Binary | Opcode::Continuation => Event::Binary(Cow::Borrowed(payload)),
        })
    }

    /// A frame whose payload is not all there, or is a fragment: decides from the header whether it is accepted.
    fn begin(&mut self, header: FrameHeader, limits: &Limits) -> Result<(), ProtocolError> {
        let FrameHeader { fin, opcode, payload_length, mask, .. } = header;
        let partial = self.partial.get_or_insert_default();
        if !opcode.is_control() {
            if payload_length > limits.max_frame_size as u64 {
                return Err(ProtocolError::FrameTooLarge { length: payload_length, limit: limits.max_frame_size });
            }
            let message = match (opcode, &mut partial.message) {
                (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (Opcode::Continuation, Some(message)) => message,
                (opcode, Some(_)) => return Err(ProtocolError::ExpectedContinuation { opcode }),
                (opcode, message) => message.insert(Assembler::new(opcode)),
            };
            message.admit(payload_length, limits)?;
        }
        partial.frame = Some(Frame { fin, opcode, remaining: payload_length, mask });
        Ok(())
    }

    /// Takes what has arrived of the frame under way.
    fn fill<'a>(&mut self, input: &mut &'a mut [u8], spare: &mut Spare) -> Result<Option<Event<'a>>, ProtocolError> {
        let Some(partial) = self.partial.as_deref_mut() else { return Ok(None) };
        let Some(frame) = &mut partial.frame else { return Ok(None) };
        let length = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = std::mem::take(input).split_at_mut_checked(length).unwrap_or_default();
        *input = rest;
        frame.mask.apply(piece);
        frame.remaining = frame.remaining.saturating_sub(length as u64);
        match &mut partial.message {
            Some(message) if !frame.opcode.is_control() => message.push(piece, spare)?,
            _ => partial.control.extend_from_slice(piece),
        }
        if frame.remaining > 0 { Ok(None) } else { self.end_of_frame() }
    }

    /// The frame under way is complete: is it an event?
    fn end_of_frame<'a>(&mut self) -> Result<Option<Event<'a>>, ProtocolError> {
        let Some(partial) = self.partial.as_deref_mut() else { return Ok(None) };
        let Some(frame) = partial.frame.take() else { return Ok(None) };
        let event = if frame.opcode.is_control() {
            let payload = std::mem::take(&mut partial.control);
            Some(match frame.opcode {
                Opcode::Ping => Event::Ping(Cow::Owned(payload)),
                Opcode::Pong => Event::Pong(Cow::Owned(payload)),
                _ => close_event(&payload)?,
            })
        } else if frame.fin {
            match partial.message.take().map(Assembler::finish).transpose()? {
                Some(Assembled::Text(text)) => Some(Event::Text(Cow::Owned(text))),
                Some(Assembled::Binary(binary)) => Some(Event::Binary(Cow::Owned(binary))),
                None => None,
            }
        } else {
            None
        };
        if partial.message.is_none() {
            self.partial = None;
        }
        Ok(event)
    }

    /// After anything but an event that others may follow: nothing may be left to deliver.
    #[cold]
    fn settle<'a>(&mut self, input: &mut &'a mut [u8], received: &Result<Option<Event<'a>>, ProtocolError>) {
        if !matches!(received, Ok(None)) {
            self.over = true;
            self.header_length = 0;
            self.partial = None;
        }
        *input = &mut [];
    }

    fn keep_header(&mut self, start: &[u8]) {
        for (kept, byte) in self.header.iter_mut().zip(start) {
            *kept = *byte;
        }
        self.header_length = start.len().min(HEADER_MAX) as u8;
    }

    /// Adds to a header that began in an earlier read.
    fn complete_header(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        loop {
            let have = usize::from(self.header_length);
            if let Some(header) = FrameHeader::decode(self.header.get(..have).unwrap_or_default())? {
                self.header_length = 0;
                return Ok(Some(header));
            }
            let Some((byte, rest)) = std::mem::take(input).split_first_mut() else { return Ok(None) };
            *input = rest;
            if let Some(place) = self.header.get_mut(have) {
                *place = *byte;
                self.header_length = self.header_length.saturating_add(1);
            }
        }
    }
}

fn close_event<'a>(payload: &[u8]) -> Result<Event<'a>, ProtocolError> {
    Ok(Event::Close(close::parse(payload)?.map(|(code, reason)| (code, reason.to_owned()))))
}

#[cfg(test)]
mod tests {
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
        let (mut session, mut spare, mut events) = (Session::default(), Spare::default(), Vec::new());
        for piece in bytes.to_vec().chunks_mut(size) {
            let mut input = piece;
            loop {
                match session.receive(&mut input, limits, &mut spare) {
                    Ok(Some(event)) => events.push(owned(event)),
                    Ok(None) => break,
                    Err(error) => {
                        let mut more = frame(0x81, b"more");
                        assert_eq!(session.receive(&mut &mut more[..], limits, &mut spare), Ok(None), "over is over");
                        return (events, Some(error));
                    }
                }
            }
            assert!(input.is_empty());
        }
        (events, None)
    }

    fn owned(event: Event<'_>) -> Event<'static> {
        match event {
            Event::Text(text) => Event::Text(text.into_owned().into()),
            Event::Binary(binary) => Event::Binary(binary.into_owned().into()),
            Event::Ping(payload) => Event::Ping(payload.into_owned().into()),
            Event::Pong(payload) => Event::Pong(payload.into_owned().into()),
            Event::Close(close) => Event::Close(close),
        }
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
        check(&[frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")], &[binary(b"")], None);
        let four = [frame(0x02, b""), frame(0x00, b""), frame(0x00, b""), frame(0x80, b"")];
        check(&four, &[], Some(TooManyFragments { limit: 3 }));
        // Control frames are not fragments of the message that they interrupt.
        let pings = [frame(0x02, b""), frame(0x89, &[0; 125]), frame(0x89, b""), frame(0x80, b"")];
        check(&pings, &[Event::Ping(vec![0; 125].into()), Event::Ping(vec![].into()), binary(b"")], None);
    }

    #[test]
    fn the_announced_length_decides_before_any_payload() {
        let mut session = Session::default();
        let mut header = [0x82, 0xFF, 0x3F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
        let received = session.receive(&mut &mut header[..], &Limits::default(), &mut Spare::default());
        assert_eq!(received, Err(ProtocolError::FrameTooLarge { length: (1 << 62) - 1, limit: 1 << 20 }));
    }

    #[test]
    fn a_large_binary_message_is_read_straight_into_its_buffer() {
        let payload: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let bytes = [frame(0x82, &payload), frame(0x81, b"next")].concat();
        let (mut session, limits, mut spare) = (Session::default(), Limits::default(), Spare::default());
        let (first, mut rest) = bytes.split_at(40_000);
        assert_eq!(session.receive(&mut &mut first.to_vec()[..], &limits, &mut spare), Ok(None));
        let mut reads = 0;
        let (event, mut following) = loop {
            let Some((buffer, room)) = session.direct(&mut spare) else { panic!("a large message is under way") };
            let (now, later) = rest.split_at(room.min(rest.len()));
            assert!(room <= buffer.len(), "room for what arrived, not for what was announced");
            buffer.extend_from_slice(now);
            (rest, reads) = (later, reads + 1);
            match session.receive_direct(now.len()).unwrap() {
                (None, following) => assert!(following.is_empty()),
                complete => break complete,
            }
        };
        assert_eq!(event, Some(binary(&payload)));
        assert_eq!(reads, 3);
        following.extend_from_slice(rest);
        assert_eq!(session.receive(&mut &mut following[..], &limits, &mut spare), Ok(Some(text("next"))));
    }

    #[test]
    fn an_idle_session_is_small_and_holds_nothing() {
        let (mut session, limits, mut spare) = (Session::default(), Limits::default(), Spare::default());
        let bytes = [frame(0x01, b"a"), frame(0x80, b"b")].concat();
        for byte in bytes {
            let _ = session.receive(&mut &mut [byte][..], &limits, &mut spare);
        }
        assert!(session.partial.is_none());
        assert!(size_of::<Session>() <= 24);
    }

    #[test]
    fn the_short_way_takes_what_the_session_would_and_nothing_else() {
        let limits = Limits { max_message_size: 70_000, max_frame_size: 70_000, max_fragments: 4096 };
        for first in 0..=0xFF {
            for length in [0, 1, 5, 125, 126, 127, 1000, 65_535, 65_536, 70_000, 70_001] {
                let bytes = frame(first, &vec![b'a'; length]);
                let (mut short, mut long) = (bytes.clone(), bytes);
                let taken = crate::protocol::frame::take_whole_message(&mut &mut short[..], limits.max_whole_message());
                let mut input = &mut long[..];
                let received = Session::default().receive(&mut input, &limits, &mut Spare::default());
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
}
