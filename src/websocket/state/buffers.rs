//! Buffers that a thread reuses, so that idle connections own none.

use std::cell::Cell;

use crate::sync::thread_local;

/// Bytes that wait. A connection holds it behind a pointer, so that an empty one takes no more
/// memory than that.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    /// The bytes before this index have been used up.
    pub(crate) at: usize,
}

impl Buffer {
    /// The bytes that have not been used up.
    #[inline]
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Returns the number of bytes that have not been used up.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Marks `bytes` more bytes as used up. They are cut off before they become many, as a buffer
    /// may never be empty while bytes come and go. They are not cut off each time, since that moves
    /// the other bytes.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.bytes.len());
        if self.at >= CUT_MIN && self.at >= self.left() / CUT_PART {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
    }
}

/// Up to this number, used bytes are never cut off.
const CUT_MIN: usize = 64 * 1024;

/// Used bytes are not cut off below this fraction of the other bytes: a fourth.
const CUT_PART: usize = 4;

thread_local! {
    static POOL: Pool = const { Pool { top: Cell::new(None), others: Cell::new(Vec::new()) } };
}

struct Pool {
    /// The buffer that is taken next, which is enough for a usual turn.
    top: Cell<Option<Box<Buffer>>>,
    #[expect(clippy::vec_box, reason = "they come and go as they are")]
    others: Cell<Vec<Box<Buffer>>>,
}

/// Room for the answers of a usual turn.
const FIRST_CAPACITY: usize = 2 * 1024;

/// Capacity of a small buffer. As many of these are kept as a broadcast to a large group needs at a
/// time.
const SMALL: usize = 4 * 1024;
const SMALL_MAX: usize = 1024;

/// Capacity of a larger buffer. Few of these are kept, and the allocator gets back larger ones.
const LARGE: usize = 64 * 1024 + 64;
const LARGE_MAX: usize = 16;

/// Returns an empty buffer.
#[inline]
pub(crate) fn take() -> Box<Buffer> {
    // When a thread ends, its pool may no longer exist.
    match POOL.try_with(|pool| pool.top.take()) {
        Ok(Some(buffer)) => buffer,
        _ => take_other(),
    }
}

#[inline(never)]
fn take_other() -> Box<Buffer> {
    let pooled = POOL.try_with(|pool| {
        let mut others = pool.others.take();
        let buffer = others.pop();
        pool.others.set(others);
        buffer
    });
    let new = || Box::new(Buffer { bytes: Vec::with_capacity(FIRST_CAPACITY), at: 0 });
    pooled.ok().flatten().unwrap_or_else(new)
}

/// Takes back a buffer that is no longer used.
#[inline]
pub(crate) fn give(mut buffer: Box<Buffer>) {
    if buffer.bytes.capacity() > LARGE {
        return;
    }
    buffer.bytes.clear();
    buffer.at = 0;
    if let Ok(Some(before)) = POOL.try_with(|pool| pool.top.replace(Some(buffer))) {
        give_other(before);
    }
}

#[inline(never)]
fn give_other(buffer: Box<Buffer>) {
    let _ = POOL.try_with(|pool| {
        let mut others = pool.others.take();
        if others.len() < if buffer.bytes.capacity() <= SMALL { SMALL_MAX } else { LARGE_MAX } {
            others.push(buffer);
        }
        pool.others.set(others);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(capacity: usize) -> Box<Buffer> {
        Box::new(Buffer { bytes: Vec::with_capacity(capacity), at: 0 })
    }

    /// Returns the capacities of the buffers that the thread keeps.
    fn kept() -> Vec<usize> {
        POOL.with(|pool| {
            let buffers = pool.top.take().into_iter().chain(pool.others.take());
            buffers.map(|buffer| buffer.bytes.capacity()).collect()
        })
    }

    #[test]
    fn a_buffer_is_used_again_and_empty() {
        let mut used = buffer(LARGE);
        used.bytes.extend_from_slice(b"sent");
        used.at = 4;
        give(used);
        let again = take();
        assert_eq!((again.bytes.capacity(), again.bytes.len(), again.at), (LARGE, 0, 0));
        assert_eq!(take().bytes.capacity(), FIRST_CAPACITY, "there are no others");
    }

    #[test]
    fn the_largest_buffers_go_back_to_the_allocator() {
        give(buffer(LARGE + 1));
        assert_eq!(kept(), [0; 0]);
        give(buffer(LARGE));
        assert_eq!(kept(), [LARGE]);
    }

    #[test]
    fn of_large_buffers_few_are_kept_and_of_small_ones_as_many_as_a_large_group_needs() {
        (0..100).for_each(|_| give(buffer(SMALL + 1)));
        assert_eq!(kept(), [SMALL + 1; 1 + LARGE_MAX]);
        (0..2 * SMALL_MAX).for_each(|_| give(buffer(SMALL)));
        (0..100).for_each(|_| give(buffer(SMALL + 1)));
        let kept = kept();
        assert_eq!((kept.len(), kept.iter().filter(|capacity| **capacity > SMALL).count()), (1 + SMALL_MAX, 1));
    }
}
