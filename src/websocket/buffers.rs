//! Buffers that a thread uses again: idle connections own none.

use std::cell::RefCell;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
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
    let pooled = POOL.try_with(|pool| pool.try_borrow_mut().ok()?.pop());
    pooled.ok().flatten().unwrap_or_else(|| Vec::with_capacity(FIRST_CAPACITY))
}

/// Takes back a buffer that is not used any more.
#[inline]
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGE {
        return;
    }
    let _ = POOL.try_with(|pool| {
        if let Ok(mut pool) = pool.try_borrow_mut()
            && pool.len() < if buffer.capacity() <= SMALL { SMALL_MAX } else { LARGE_MAX }
        {
            buffer.clear();
            pool.push(std::mem::take(&mut buffer));
        }
    });
}
