use super::spare::Spare;
use super::utf8::TextBuffer;
use super::{Limits, Opcode, ProtocolError};

/// A message that did not come whole in one frame and one read.
#[derive(Debug)]
pub(super) struct Assembler {
    body: Body,
    fragments: u32,
}

#[derive(Debug)]
enum Body {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

/// A message, put together.
pub(super) enum Assembled {
    Text(String),
    Binary(Vec<u8>),
}

impl Assembler {
    /// Begins a message; `opcode` is that of its first frame.
    pub(super) fn new(opcode: Opcode) -> Assembler {
        let body = match opcode {
            Opcode::Text => Body::Text(TextBuffer::default()),
            _ => Body::Binary(Vec::new()),
        };
        Assembler { body, fragments: 0 }
    }

    /// Says whether one more frame of `payload_length` bytes is accepted. Nothing is stored for it yet.
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

    /// Takes a piece of payload, unmasked.
    pub(super) fn push(&mut self, piece: &[u8], spare: &mut Spare) -> Result<(), ProtocolError> {
        match &mut self.body {
            Body::Text(text) => text.push(piece, spare),
            Body::Binary(binary) => {
                spare.make_room(binary, piece.len());
                binary.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The buffer of a binary message, to be read into without a detour. Text has none: it is checked first.
    pub(super) fn binary(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.body {
            Body::Binary(binary) => Some(binary),
            Body::Text(_) => None,
        }
    }

    /// The whole message.
    pub(super) fn finish(self) -> Result<Assembled, ProtocolError> {
        Ok(match self.body {
            Body::Text(text) => Assembled::Text(text.finish()?),
            Body::Binary(binary) => Assembled::Binary(binary),
        })
    }

    fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Binary(binary) => binary.len(),
        }
    }
}
