use std::borrow::Cow;

use super::accepted::Accepted;
use super::buffer_pool::BufferPool;
use super::close;
use super::frame::{FrameHeader, HEADER_MAX};
use super::mask::MaskKey;
use super::message::{Assembled, MessageAssembler};
use super::utf8;
use super::{Event, Limits, Opcode, ProtocolError, Role};

/// A decoder of the frames of one connection, without its socket (RFC 6455 section 5). It takes
/// bytes and returns events.
///
/// The caller reads bytes into a buffer, calls [`receive`](Connection::receive) with them until it
/// returns `None`, and handles the events. An idle connection holds no buffer.
///
/// ```
/// use react_websocket::protocol::{BufferPool, Connection, Event, Limits};
///
/// let (mut connection, limits, mut pool) = (Connection::default(), Limits::default(), BufferPool::default());
/// let mut bytes = *b"\x81\x82\x00\x00\x00\x00hi";
/// let mut input = &mut bytes[..];
/// assert_eq!(connection.receive(&mut input, &limits, &mut pool), Ok(Some(Event::Text("hi".into()))));
/// assert_eq!(connection.receive(&mut input, &limits, &mut pool), Ok(None));
/// ```
#[derive(Debug, Default)]
pub struct Connection {
    /// The start of a frame header that is not complete.
    header: [u8; HEADER_MAX],
    header_length: u8,
    accepted: Accepted,
    partial: Option<Box<Partial>>,
    /// The window of the peer's compressed messages, if there is one.
    #[cfg(feature = "deflate")]
    receiver: Option<Box<super::deflate::Receiver>>,
}

/// The unfinished parts. Only allocated while there are any.
#[derive(Debug, Default)]
struct Partial {
    /// The message that is not complete.
    message: Option<MessageAssembler>,
    /// The frame whose payload is not complete.
    frame: Option<Frame>,
    /// The bytes of a control frame's payload that have arrived.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    remaining: u64,
    mask: MaskKey,
}

impl Connection {
    /// Creates the connection of one end. [`Connection::default`] is that of a server.
    pub fn new(role: Role) -> Connection {
        Connection { accepted: Accepted::by(role), ..Connection::default() }
    }

    /// Returns the next event in `input`. It unmasks the input in place, and removes the used bytes
    /// from its beginning.
    ///
    /// Returns `None` when the whole input is used. After [`Event::Close`] and after an error it
    /// always uses the whole input and returns `None`. `limits` are the limits of messages and
    /// frames. `pool` lends buffers for messages that arrive in parts. After the use of an owned
    /// event, return its buffer with [`BufferPool::give`].
    ///
    /// # Errors
    /// The first rule that the peer violated. A message takes memory only for the bytes that have
    /// arrived, never for its announced length.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Limits,
        pool: &mut BufferPool,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let received = self.next_event(input, limits, pool);
        if !matches!(received, Ok(Some(Event::Text(_) | Event::Binary(_) | Event::Ping(_) | Event::Pong(_)))) {
            self.settle(input, &received);
        }
        received
    }

    /// Returns the buffer of an incomplete large message, for reading the rest of the message
    /// directly into it. Also returns the maximum number of bytes to append. After the read, call
    /// [`receive_direct`](Connection::receive_direct). Returns `None` if there is no such message.
    #[inline]
    pub fn direct(&mut self, pool: &mut BufferPool) -> Option<(&mut Vec<u8>, usize)> {
        // Usually no message is unfinished, and the check costs no more than this.
        self.partial.as_deref_mut()?.direct(pool)
    }

    /// Takes the `count` bytes that were appended to the buffer of [`direct`](Connection::direct).
    ///
    /// Returns the event if the message is complete, and the bytes after the frame, which are
    /// usually empty. Pass these bytes to [`receive`](Connection::receive). A complete message is
    /// moved to `message`, and the event borrows from it. After the use of the event,
    /// [give](BufferPool::give) this buffer back.
    ///
    /// # Errors
    /// The text is not UTF-8.
    pub fn receive_direct<'a>(
        &mut self,
        count: usize,
        message: &'a mut Vec<u8>,
    ) -> Result<(Option<Event<'a>>, Vec<u8>), ProtocolError> {
        let mut following = Vec::new();
        let received = self.take_direct(count, &mut following, message);
        if received.is_err() {
            self.settle(&mut (&mut [][..]), &received);
        }
        Ok((received?, following))
    }

    /// Returns whether the connection has ended: after the peer's Close frame, or after an error.
    pub fn is_over(&self) -> bool {
        self.accepted == Accepted::Nothing
    }

    /// Returns whether the next byte begins a new message of a client. In this state
    /// [`frame::take_whole_message`](super::frame::take_whole_message) may be called before
    /// [`receive`](Connection::receive).
    #[inline]
    pub fn is_between_messages(&self) -> bool {
        self.is_between() && self.accepted.are_masked()
    }

    /// Like [`is_between_messages`](Connection::is_between_messages) for a server's frame and
    /// [`frame::take_whole_unmasked`](super::frame::take_whole_unmasked).
    pub fn is_between_unmasked_messages(&self) -> bool {
        self.is_between() && self.accepted.are_unmasked()
    }

    #[inline(always)]
    fn is_between(&self) -> bool {
        self.partial.is_none() && self.header_length == 0
    }

    /// Returns whether the present frame is the peer's Close frame.
    pub(super) fn is_in_close(&self) -> bool {
        self.is_in(Opcode::Close)
    }

    /// Returns whether the present frame is a ping.
    pub(crate) fn is_in_ping(&self) -> bool {
        self.is_in(Opcode::Ping)
    }

    fn is_in(&self, opcode: Opcode) -> bool {
        self.partial.as_ref().and_then(|partial| partial.frame).is_some_and(|frame| frame.opcode == opcode)
    }

    /// Returns whether a message has begun and is incomplete.
    pub fn is_amid_message(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.message.is_some())
    }

    /// Returns the frames that are accepted.
    pub(super) fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// Returns the position of the next byte: the incomplete header that has arrived, and the
    /// number of payload bytes of the present frame that have not.
    pub(super) fn position(&self) -> (&[u8], u64) {
        let header = self.header.get(..usize::from(self.header_length)).unwrap_or_default();
        let remaining = self.partial.as_ref().and_then(|partial| Some(partial.frame?.remaining));
        (header, remaining.unwrap_or(0))
    }

    fn next_event<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Limits,
        pool: &mut BufferPool,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        loop {
            if self.is_over() {
                return Ok(None);
            }
            if self.partial.as_ref().is_some_and(|partial| partial.frame.is_some()) {
                match self.fill(input, limits, pool)? {
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
            let Some(header) = self.accepted.decode(input)? else {
                self.keep_header(input);
                return Ok(None);
            };
            let end = usize::try_from(header.payload_length).map_or(usize::MAX, |n| n.saturating_add(header.header_length));
            // Nearly every message arrives complete, and leaves no state behind here.
            let whole = header.fin && end <= input.len() && (header.opcode.is_control() || self.fits(&header, limits));
            let (head, rest) = std::mem::take(input)
                .split_at_mut_checked(if whole { end } else { header.header_length })
                .unwrap_or_default();
            *input = rest;
            if whole {
                let payload = head.get_mut(header.header_length..).unwrap_or_default();
                let mut mask = header.mask;
                mask.apply(payload);
                #[cfg(feature = "deflate")]
                if header.compressed {
                    return self.inflate(header.opcode, payload, limits, pool).map(Some);
                }
                return self.whole(header.opcode, payload).map(Some);
            }
            self.begin(header, limits)?;
        }
    }

    /// Returns whether a data frame is a message by itself and within the limits. If not,
    /// [`begin`](Connection::begin) finds the reason.
    #[inline]
    fn fits(&self, header: &FrameHeader, limits: &Limits) -> bool {
        let limits = limits.of(header.compressed);
        self.partial.is_none()
            && header.opcode != Opcode::Continuation
            && header.payload_length <= limits.max_frame_size.min(limits.max_message_size) as u64
            && limits.max_fragments > 0
    }

    /// Returns the event of a complete frame that is not a fragment.
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

    /// Begins a frame that is incomplete or a fragment. Decides from the header whether it is
    /// accepted.
    fn begin(&mut self, header: FrameHeader, limits: &Limits) -> Result<(), ProtocolError> {
        let FrameHeader { fin, opcode, payload_length, mask, .. } = header;
        let partial = self.partial.get_or_insert_default();
        if !opcode.is_control() {
            let is_continued = opcode == Opcode::Continuation;
            let continues_packed = is_continued && partial.message.as_ref().is_some_and(MessageAssembler::is_packed);
            let limits = &limits.of(header.compressed || continues_packed);
            if payload_length > limits.max_frame_size as u64 {
                return Err(ProtocolError::FrameTooLarge { length: payload_length, limit: limits.max_frame_size });
            }
            let message = match (opcode, &mut partial.message) {
                (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (Opcode::Continuation, Some(message)) => message,
                (opcode, Some(_)) => return Err(ProtocolError::ExpectedContinuation { opcode }),
                (opcode, message) => message.insert(MessageAssembler::new(opcode, header.compressed)),
            };
            message.admit(payload_length, limits)?;
        }
        partial.frame = Some(Frame { fin, opcode, remaining: payload_length, mask });
        Ok(())
    }

    /// Takes the bytes of the present frame that have arrived.
    fn fill<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Limits,
        pool: &mut BufferPool,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let Some(partial) = self.partial.as_deref_mut() else { return Ok(None) };
        let Some(frame) = &mut partial.frame else { return Ok(None) };
        let length = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(input.len());
        let (piece, rest) = std::mem::take(input).split_at_mut_checked(length).unwrap_or_default();
        *input = rest;
        frame.mask.apply(piece);
        frame.remaining = frame.remaining.saturating_sub(length as u64);
        match &mut partial.message {
            Some(message) if !frame.opcode.is_control() => message.push(piece, pool)?,
            _ => partial.control.extend_from_slice(piece),
        }
        if frame.remaining > 0 { Ok(None) } else { self.end_of_frame(limits, pool) }
    }

    /// Ends the present frame. Returns its event, if it has one.
    #[cfg_attr(not(feature = "deflate"), expect(unused_variables, reason = "only compressed messages need them"))]
    fn end_of_frame<'a>(&mut self, limits: &Limits, pool: &mut BufferPool) -> Result<Option<Event<'a>>, ProtocolError> {
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
            #[cfg(feature = "deflate")]
            if let Some((opcode, packed)) = partial.message.as_mut().and_then(MessageAssembler::take_packed) {
                self.partial = None;
                let event = self.inflate(opcode, &packed, limits, pool)?;
                pool.give(packed);
                return Ok(Some(event));
            }
            match partial.message.take().map(MessageAssembler::finish).transpose()? {
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

    /// Empties the input, since no further event is in it. After a Close frame or an error it also
    /// ends the connection.
    #[cold]
    fn settle<'a>(&mut self, input: &mut &'a mut [u8], received: &Result<Option<Event<'a>>, ProtocolError>) {
        if !matches!(received, Ok(None)) {
            self.accepted = Accepted::Nothing;
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

    /// Completes a header that began in an earlier read.
    fn complete_header(&mut self, input: &mut &mut [u8]) -> Result<Option<FrameHeader>, ProtocolError> {
        loop {
            let have = usize::from(self.header_length);
            if let Some(header) = self.accepted.decode(self.header.get(..have).unwrap_or_default())? {
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
mod client_tests;
mod direct;
#[cfg(feature = "deflate")]
mod inflate;
#[cfg(test)]
mod tests;
