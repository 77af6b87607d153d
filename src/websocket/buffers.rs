//! Buffers that a thread uses again: idle connections own none.

use std::cell::Cell;

thread_local! {
    static POOL: Pool = const { Pool { top: Cell::new(Vec::new()), others: Cell::new(Vec::new()) } };
}

struct Pool {
    /// The one that is taken next, if it has a capacity: all that a usual turn needs.
    top: Cell<Vec<u8>>,
    others: Cell<Vec<Vec<u8>>>,
}

/// Room for a usual turn's answers.
const FIRST_CAPACITY: usize = 2 * 1024;

/// Of small buffers, as many are kept as a broadcast to a large group needs at a time.
const SMALL: usize = 4 * 1024;
const SMALL_MAX: usize = 1024;

/// Of larger ones, few; and the largest go back to the allocator.
const LARGE: usize = 64 * 1024 + 64;
const LARGE_MAX: usize = 16;

/// An empty buffer.
#[inline]
pub(super) fn take() -> Vec<u8> {
    // When a thread ends its pool may be gone already.
    match POOL.try_with(|pool| pool.top.take()) {
        Ok(buffer) if buffer.capacity() > 0 => buffer,
        _ => take_other(),
    }
}

#[inline(never)]
fn take_other() -> Vec<u8> {
    let pooled = POOL.try_with(|pool| {
        let mut others = pool.others.take();
        let buffer = others.pop();
        pool.others.set(others);
        buffer
    });
    pooled.ok().flatten().unwrap_or_else(|| Vec::with_capacity(FIRST_CAPACITY))
}

/// Takes back a buffer that is not used any more.
#[inline]
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGE {
        return;
    }
    buffer.clear();
    let _ = POOL.try_with(|pool| {
        let before = pool.top.replace(buffer);
        if before.capacity() > 0 {
            give_other(pool, before);
        }
    });
}

#[inline(never)]
fn give_other(pool: &Pool, buffer: Vec<u8>) {
    let mut others = pool.others.take();
    if others.len() < if buffer.capacity() <= SMALL { SMALL_MAX } else { LARGE_MAX } {
        others.push(buffer);
    }
    pool.others.set(others);
}
