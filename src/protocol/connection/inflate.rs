//! Compressed messages (RFC 7692), which are decompressed when they are complete.

use std::borrow::Cow;

use super::Connection;
use crate::protocol::accepted::Accepted;
use crate::protocol::deflate::{Direction, InflateError, PIECE, Receiver};
use crate::protocol::message::{Assembled, MessageAssembler};
use crate::protocol::{BufferPool, Event, Limits, Opcode, ProtocolError, Role};

/// Room for a short message. Buffers of this size are used again for other messages.
const ROOM_MIN: usize = 1024;

/// A message that does not fit into one piece gets room for the maximum size at once if that is not
/// larger than this. So a buffer and its larger successor never exist together. Room above that grows
/// as it fills.
const AT_ONCE: usize = 2 << 20;

impl Connection {
    /// Creates the connection of one end after permessage-deflate was agreed on. `receiver` is for
    /// the messages of the peer.
    pub fn with_deflate(role: Role, receiver: Receiver) -> Connection {
        Connection {
            accepted: Accepted::deflate_by(role),
            receiver: (!receiver.keeps_nothing()).then(|| Box::new(receiver)),
            ..Connection::default()
        }
    }

    /// Returns the event of a compressed message whose payload is complete.
    #[inline(never)]
    pub(super) fn inflate<'a>(
        &mut self,
        opcode: Opcode,
        packed: &[u8],
        limits: &Limits,
        pool: &mut BufferPool,
    ) -> Result<Event<'a>, ProtocolError> {
        let limit = limits.max_message_size;
        let mut message = MessageAssembler::new(opcode, false);
        let mut alone = Receiver::new(Direction { takeover: false, bits: 15 });
        let receiver = self.receiver.as_deref_mut().unwrap_or(&mut alone);
        let mut inflater = pool.lend_inflater();
        let inflated = receiver.inflate(&mut inflater, packed, limit, |piece| {
            if message.room() < piece.len() {
                let left = limit.saturating_sub(message.len());
                let room = match piece.len() {
                    ..PIECE => piece.len().max(ROOM_MIN).checked_next_power_of_two().unwrap_or(left),
                    _ if limit <= AT_ONCE => left,
                    _ => piece.len().max(message.len()),
                };
                message.make_exact_room(room.min(left), pool);
            }
            message.push(piece, pool).map_err(Failure::Protocol)
        });
        pool.give_inflater(inflater);
        inflated.map_err(|failure| match failure {
            Failure::Inflate(InflateError::Invalid) => ProtocolError::InvalidDeflate,
            Failure::Inflate(InflateError::TooLarge) => {
                ProtocolError::MessageTooLarge { length: (limit as u64).saturating_add(1), limit }
            }
            Failure::Protocol(error) => error,
        })?;
        pool.note_inflated(packed.len(), message.len());
        Ok(match message.finish()? {
            Assembled::Text(text) => Event::Text(Cow::Owned(text)),
            Assembled::Binary(binary) => Event::Binary(Cow::Owned(binary)),
        })
    }
}

enum Failure {
    Inflate(InflateError),
    Protocol(ProtocolError),
}

impl From<InflateError> for Failure {
    fn from(error: InflateError) -> Failure {
        Failure::Inflate(error)
    }
}
