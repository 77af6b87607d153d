use super::buffer_pool::BufferPool;
use super::utf8::{self, DirectText, TextBuffer};
use super::{Limits, Opcode, ProtocolError};

/// A message that arrives in several frames or reads.
#[derive(Debug)]
pub(super) struct MessageAssembler {
    body: Body,
    fragments: u32,
    /// The opcode of a compressed message, whose body is the payload as it arrived.
    packed: Option<Opcode>,
}

#[derive(Debug)]
enum Body {
    Text(TextBuffer),
    DirectText(DirectText),
    Binary(Vec<u8>),
}

/// A complete message.
pub(super) enum Assembled {
    Text(String),
    Binary(Vec<u8>),
}

impl MessageAssembler {
    /// Begins a message with the opcode of its first frame.
    pub(super) fn new(opcode: Opcode, is_packed: bool) -> MessageAssembler {
        let body = match opcode {
            Opcode::Text if !is_packed => Body::Text(TextBuffer::default()),
            _ => Body::Binary(Vec::new()),
        };
        MessageAssembler { body, fragments: 0, packed: is_packed.then_some(opcode) }
    }

    /// Returns whether this is a compressed message.
    pub(super) fn is_packed(&self) -> bool {
        cfg!(feature = "deflate") && self.packed.is_some()
    }

    /// Takes the opcode and the payload of a compressed message.
    #[cfg(feature = "deflate")]
    pub(super) fn take_packed(&mut self) -> Option<(Opcode, Vec<u8>)> {
        match &mut self.body {
            Body::Binary(packed) => Some((self.packed?, std::mem::take(packed))),
            Body::Text(_) | Body::DirectText(_) => None,
        }
    }

    /// Returns how many bytes can be added without a larger buffer.
    #[cfg(feature = "deflate")]
    pub(super) fn room(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.room(),
            Body::DirectText(DirectText { bytes, .. }) | Body::Binary(bytes) => {
                bytes.capacity().saturating_sub(bytes.len())
            }
        }
    }

    /// Makes room for `additional` bytes, and no more.
    #[cfg(feature = "deflate")]
    pub(super) fn make_exact_room(&mut self, additional: usize, pool: &mut BufferPool) {
        match &mut self.body {
            Body::Text(text) => text.make_exact_room(additional, pool),
            Body::DirectText(DirectText { bytes, .. }) | Body::Binary(bytes) => pool.make_exact_room(bytes, additional),
        }
    }

    /// Decides whether a further frame of `payload_length` bytes is accepted. Stores none of it
    /// yet.
    pub(super) fn admit(&mut self, payload_length: u64, limits: &Limits) -> Result<(), ProtocolError> {
        let length = payload_length.saturating_add(self.len() as u64);
        if length > limits.max_message_size as u64 {
            return Err(ProtocolError::MessageTooLarge { length, limit: limits.max_message_size });
        }
        self.fragments = self.fragments.saturating_add(1);
        if self.fragments > limits.max_fragments {
            return Err(ProtocolError::TooManyFragments { limit: limits.max_fragments });
        }
        Ok(())
    }

    /// Adds a piece of unmasked payload.
    pub(super) fn push(&mut self, piece: &[u8], pool: &mut BufferPool) -> Result<(), ProtocolError> {
        match &mut self.body {
            Body::Text(text) => text.push(piece, pool),
            Body::DirectText(DirectText { bytes, .. }) | Body::Binary(bytes) => {
                pool.make_room(bytes, piece.len());
                bytes.extend_from_slice(piece);
                self.check()
            }
        }
    }

    /// From now on the message is read directly into its [buffer](MessageAssembler::buffer).
    pub(super) fn begin_direct(&mut self) {
        if let Body::Text(text) = &mut self.body {
            self.body = Body::DirectText(std::mem::take(text).into());
        }
    }

    /// Returns the buffer to read into. For text it is `None` before
    /// [`begin_direct`](MessageAssembler::begin_direct).
    pub(super) fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.body {
            Body::DirectText(DirectText { bytes, .. }) | Body::Binary(bytes) => Some(bytes),
            Body::Text(_) => None,
        }
    }

    /// Returns whether this is text whose pieces are copied after their check.
    pub(super) fn is_copied_text(&self) -> bool {
        matches!(self.body, Body::Text(_))
    }

    /// Returns whether this is text that is read directly into its buffer.
    pub(super) fn is_direct_text(&self) -> bool {
        matches!(self.body, Body::DirectText(_))
    }

    /// Checks the bytes that were added to the [buffer](MessageAssembler::buffer).
    pub(super) fn check(&mut self) -> Result<(), ProtocolError> {
        match &mut self.body {
            Body::DirectText(text) => text.check(),
            Body::Text(_) | Body::Binary(_) => Ok(()),
        }
    }

    /// Returns the complete message.
    pub(super) fn finish(self) -> Result<Assembled, ProtocolError> {
        Ok(match self.body {
            Body::Text(text) => Assembled::Text(text.finish()?),
            Body::DirectText(text) => Assembled::Text(utf8::check(&text.bytes)?.to_owned()),
            Body::Binary(binary) => Assembled::Binary(binary),
        })
    }

    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::DirectText(DirectText { bytes, .. }) | Body::Binary(bytes) => bytes.len(),
        }
    }
}
