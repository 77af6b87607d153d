use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::protocol::BufferPool;

/// What a thread needs to read, for whichever connection has its turn. Due to this an idle connection owns no buffer.
pub(crate) struct ReadScratch {
    pub(crate) bytes: Box<[MaybeUninit<u8>]>,
    pub(crate) pool: BufferPool,
}

/// A message of 64 KiB and its header come in one read, and do not fill it to the last byte, which would take another read
/// to learn that there is no more. With a quarter of it bursts of 1 KiB messages cost twice as much; four times as much
/// gains nothing.
const SIZE: usize = 64 * 1024 + 64;

thread_local! {
    static SCRATCH: Cell<Option<Box<ReadScratch>>> = const { Cell::new(None) };
}

impl ReadScratch {
    pub(crate) fn take() -> Box<ReadScratch> {
        // When a thread ends its scratch may be gone already.
        SCRATCH
            .try_with(Cell::take)
            .ok()
            .flatten()
            .unwrap_or_else(|| Box::new(ReadScratch { bytes: Box::new_uninit_slice(SIZE), pool: BufferPool::default() }))
    }

    pub(crate) fn put_back(self: Box<ReadScratch>) {
        let _ = SCRATCH.try_with(|scratch| scratch.set(Some(self)));
    }
}
