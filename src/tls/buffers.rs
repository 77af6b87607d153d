//! What a thread has for sealing and opening records, so that no connection owns a buffer.

use std::cell::Cell;

use crate::sync::thread_local;

/// Maximum plaintext of a record (RFC 8446 section 5.1).
pub(super) const RECORD: usize = 16 * 1024;

/// Upper limit of what a record adds to its plaintext: a header of 5 bytes, an explicit nonce of 8,
/// a content type and a tag of 16.
const OVERHEAD: usize = 64;

/// Room for the records of a read: a message of 64 KiB with its header, behind an unfinished record
/// (RFC 8446 section 5.2).
const ROOM: usize = 84 * 1024;

/// A thread's buffers for records. No connection owns one.
pub(super) struct Buffers {
    pub(super) received: Box<[u8]>,
    pub(super) sealed: Sealed,
    /// Plaintext that is sealed as one record, and was not in one place.
    pub(super) joint: Vec<u8>,
}

/// Records that are to be sent.
#[derive(Default)]
pub(super) struct Sealed {
    /// All of it is initialized, so that it need not be cleared each time.
    buffer: Vec<u8>,
    pub(super) length: usize,
}

impl Sealed {
    /// Begins anew, with room for the records of so much plaintext.
    #[inline]
    pub(super) fn start(&mut self, plaintext: usize) {
        self.length = 0;
        self.reserve(plaintext + (plaintext / RECORD + 2) * OVERHEAD);
    }

    #[inline]
    pub(super) fn reserve(&mut self, bytes: usize) {
        if self.buffer.len() < self.length + bytes {
            self.buffer.resize(self.length + bytes, 0);
        }
    }

    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.length..).unwrap_or_default()
    }

    #[cold]
    pub(super) fn extend(&mut self, records: &[u8]) {
        self.reserve(records.len() + OVERHEAD);
        if let Some(room) = self.room().get_mut(..records.len()) {
            room.copy_from_slice(records);
            self.length += records.len();
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

thread_local! {
    static BUFFERS: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

impl Buffers {
    #[inline]
    pub(super) fn take() -> Box<Buffers> {
        // When a thread ends, its buffers may no longer exist.
        BUFFERS.try_with(Cell::take).ok().flatten().unwrap_or_else(Buffers::new)
    }

    #[cold]
    fn new() -> Box<Buffers> {
        Box::new(Buffers { received: vec![0; ROOM].into(), sealed: Sealed::default(), joint: Vec::new() })
    }

    #[inline]
    pub(super) fn put_back(self: Box<Buffers>) {
        let _ = BUFFERS.try_with(|buffers| buffers.set(Some(self)));
    }
}

/// Plaintext in several slices, of which parts are taken from the front.
pub(super) struct Parts<'a> {
    parts: &'a [&'a [u8]],
    /// Bytes of the first slice that have been taken.
    at: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(parts: &'a [&'a [u8]]) -> Parts<'a> {
        Parts { parts, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.parts.first().and_then(|part| part.get(self.at..)).unwrap_or_default()
    }

    pub(super) fn skip(&mut self, mut bytes: usize) {
        while bytes > 0 && !self.parts.is_empty() {
            let taken = self.rest().len().min(bytes);
            self.advance(taken);
            bytes -= taken;
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        if let Some((first, others)) = self.parts.split_first()
            && self.at >= first.len()
        {
            (self.parts, self.at) = (others, 0);
        }
    }

    /// Returns the next bytes, at least one if there are any, and at most `limit`. Whole records are
    /// taken as they are. What would make short records is joined in `joint`.
    #[inline]
    pub(super) fn next<'b>(&mut self, limit: usize, joint: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let first = self.rest();
        if first.len() >= limit || first.len() >= RECORD {
            let length = if first.len() >= limit { limit } else { first.len() - first.len() % RECORD };
            self.advance(length);
            return first.get(..length).unwrap_or_default();
        }
        joint.clear();
        while joint.len() < limit.min(RECORD) && !self.parts.is_empty() {
            let rest = self.rest();
            let taken = rest.get(..limit.min(RECORD) - joint.len()).unwrap_or(rest);
            joint.extend_from_slice(taken);
            self.advance(taken.len());
        }
        joint
    }
}
