use std::cell::Cell;

use crate::protocol::{Connection, PingScanner};
use crate::sync::thread_local;
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
    /// The bytes before its start have been received.
    buffer: Option<Box<Buffer>>,
    /// How far the bytes have been searched for pings.
    lookahead: Option<PingScanner>,
    /// Pings that have been answered and not received yet.
    answered: usize,
    /// The ping before those has been received in part, and not been answered.
    is_in_ping: bool,
}

thread_local! {
    /// For the next backlog. Under load one is needed soon.
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

    /// Returns the number of kept bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().and_then(|kept| kept.buffer.as_ref()).map_or(0, |buffer| buffer.left())
    }

    /// Returns the number of frames that have been searched for pings.
    pub(crate) fn frames(&self) -> usize {
        self.0.as_ref().and_then(|kept| kept.lookahead.as_ref()).map_or(0, PingScanner::frames)
    }

    /// Adds bytes that were read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let kept = self.0.get_or_insert_with(Kept::spare);
        kept.buffer.get_or_insert_with(buffers::take).bytes.extend_from_slice(bytes);
    }

    /// Adds bytes that were read while a listener is running, and passes the pings in all kept
    /// bytes to `ping`. Returns whether there were frames of messages.
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

    /// Returns whether the ping that is being received has been answered already.
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
            // When a thread ends, its spare backlog may no longer exist.
            let _ = SPARE.try_with(|spare| spare.set(Some(kept)));
        }
    }

    /// Drops all bytes.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
