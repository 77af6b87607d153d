//! The rest of a large message, which is read into its own buffer.

use std::borrow::Cow;

use super::{Connection, Partial};
use crate::protocol::{BufferPool, Event, ProtocolError, utf8};

/// A shorter rest is not worth a read of its own.
const DIRECT_MIN: usize = 32 * 1024;

/// Like [`DIRECT_MIN`] for text, whose bytes are checked once more then. Read this way, a message
/// of 256 KiB costs a third more, and one of 512 KiB an eighth less.
const DIRECT_TEXT_MIN: usize = 256 * 1024;

/// Extra room in the buffer. A read that fills its buffer to the last byte makes the caller read
/// once more.
const SLACK: usize = 64;

impl Partial {
    #[inline(never)]
    pub(super) fn direct(&mut self, pool: &mut BufferPool) -> Option<(&mut Vec<u8>, usize)> {
        let (frame, message) = (self.frame?, self.message.as_mut().filter(|message| !message.is_packed())?);
        let remaining = usize::try_from(frame.remaining).ok()?;
        let least = if message.is_copied_text() { DIRECT_TEXT_MIN } else { DIRECT_MIN };
        let is_large = remaining >= least && message.len() >= DIRECT_MIN;
        // Text that is read directly must go on so. If its end took the other way, all of it would
        // have to be copied.
        if frame.opcode.is_control() || !is_large && !message.is_direct_text() {
            return None;
        }
        message.begin_direct();
        let buffer = message.buffer()?;
        let room = remaining.saturating_add(SLACK);
        // The buffer at most doubles, so that a peer must send the bytes that it announces.
        pool.make_exact_room(buffer, room.min(buffer.len()));
        // A buffer of the pool may be larger, and can be filled.
        let room = room.min(buffer.capacity().saturating_sub(buffer.len()));
        Some((buffer, room))
    }
}

impl Connection {
    pub(super) fn take_direct<'a>(
        &mut self,
        count: usize,
        following: &mut Vec<u8>,
        whole: &'a mut Vec<u8>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let Some(partial) = self.partial.as_deref_mut() else { return Ok(None) };
        let (Some(mut frame), Some(message)) = (partial.frame, &mut partial.message) else { return Ok(None) };
        let Some(buffer) = message.buffer() else { return Ok(None) };
        let start = buffer.len().saturating_sub(count);
        let ours = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(count);
        *following = buffer.split_off(start.saturating_add(ours));
        frame.mask.apply(buffer.get_mut(start..).unwrap_or_default());
        frame.remaining = frame.remaining.saturating_sub(ours as u64);
        if frame.remaining > 0 || !frame.fin {
            message.check()?;
            partial.frame = Some(frame).filter(|frame| frame.remaining > 0);
            return Ok(None);
        }
        *whole = std::mem::take(buffer);
        let is_text = message.is_direct_text();
        self.partial = None;
        Ok(Some(if is_text {
            Event::Text(Cow::Borrowed(utf8::check(whole)?))
        } else {
            Event::Binary(Cow::Borrowed(whole))
        }))
    }
}
