use std::cell::Cell;

use crate::protocol::{Connection, PingScanner};
use crate::websocket::state::buffers::{self, Buffer};

/// Bytes that have been received and cannot be delivered yet. The reason is a running listener,
/// paused reading, the end of the turn, or that they arrived with the handshake. An empty backlog
/// allocates nothing.
///
/// The bytes are kept as raw frames. Pings among them are answered nevertheless.
#[derive(Debug, Default)]
pub(crate) struct Backlog(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// Those that are done with have been received.
    buffer: Option<Box<Buffer>>,
    /// How far pings have been looked for, if they have.
    lookahead: Option<PingScanner>,
    /// Pings that have been answered and not been received.
    answered: usize,
    /// Before those comes one that has begun to be received, and has not been answered.
    is_in_ping: bool,
}

thread_local! {
    /// For the next inbox that something has to be kept in: under load there is always one soon.
    static SPARE: Cell<Option<Box<Kept>>> = const { Cell::new(None) };
}

impl Kept {
    fn spare() -> Box<Kept> {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }
}

impl Backlog {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none() || self.len() == 0
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().and_then(|kept| kept.buffer.as_ref()).map_or(0, |buffer| buffer.left())
    }

    /// Frames that pings have been looked for in.
    pub(crate) fn frames(&self) -> usize {
        self.0.as_ref().and_then(|kept| kept.lookahead.as_ref()).map_or(0, PingScanner::frames)
    }

    /// Adds what has been read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let kept = self.0.get_or_insert_with(Kept::spare);
        kept.buffer.get_or_insert_with(buffers::take).bytes.extend_from_slice(bytes);
    }

    /// Adds what has been read while a listener runs, and hands out the pings in all that waits. Whether there were frames of
    /// messages among it.
    pub(crate) fn push_and_look(&mut self, bytes: &[u8], session: &Connection, ping: impl FnMut(&[u8])) -> bool {
        self.push(bytes);
        let Some(kept) = &mut self.0 else { return false };
        let fresh = match &kept.lookahead {
            Some(_) => bytes,
            None => kept.buffer.as_ref().map_or(&[][..], |buffer| buffer.rest()),
        };
        let mut answered = 0;
        let mut ping = ping;
        let is_in_ping = &mut kept.is_in_ping;
        let lookahead = kept.lookahead.get_or_insert_with(|| {
            *is_in_ping = session.is_in_ping();
            PingScanner::new(session)
        });
        let data_frames = lookahead.data_frames();
        lookahead.scan(fresh, |payload| {
            answered += 1;
            ping(payload);
        });
        kept.answered += answered;
        lookahead.data_frames() > data_frames
    }

    /// Whether the ping that is being received has been answered already.
    pub(crate) fn was_answered(&mut self) -> bool {
        let Some(kept) = &mut self.0 else { return false };
        if std::mem::take(&mut kept.is_in_ping) || kept.answered == 0 {
            return false;
        }
        kept.answered -= 1;
        true
    }

    /// Takes out the bytes, to be received. The caller [puts back](Backlog::put_back) the rest.
    pub(crate) fn take(&mut self) -> Option<Box<Buffer>> {
        self.0.as_mut()?.buffer.take()
    }

    pub(crate) fn put_back(&mut self, buffer: Box<Buffer>) {
        if buffer.left() > 0 {
            self.0.get_or_insert_with(Kept::spare).buffer = Some(buffer);
            return;
        }
        buffers::give(buffer);
        if let Some(mut kept) = self.0.take() {
            *kept = Kept::default();
            // When a thread ends the place may be gone already.
            let _ = SPARE.try_with(|spare| spare.set(Some(kept)));
        }
    }

    /// Throws it all away.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
