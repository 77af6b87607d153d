use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::protocol::BufferPool;

/// What a thread needs to read, for whichever connection has its turn. Due to this an idle connection owns no buffer.
pub(crate) struct Desk {
    pub(crate) scratch: Box<[MaybeUninit<u8>]>,
    pub(crate) spare: BufferPool,
}

/// A message of 64 KiB and its header come in one read, and do not fill it to the last byte, which would take another read
/// to learn that there is no more. With a quarter of it bursts of 1 KiB messages cost twice as much; four times as much
/// gains nothing.
const SCRATCH: usize = 64 * 1024 + 64;

thread_local! {
    static DESK: Cell<Option<Box<Desk>>> = const { Cell::new(None) };
}

impl Desk {
    pub(crate) fn take() -> Box<Desk> {
        // When a thread ends its desk may be gone already.
        DESK.try_with(Cell::take)
            .ok()
            .flatten()
            .unwrap_or_else(|| Box::new(Desk { scratch: Box::new_uninit_slice(SCRATCH), spare: BufferPool::default() }))
    }

    pub(crate) fn put_back(self: Box<Desk>) {
        let _ = DESK.try_with(|desk| desk.set(Some(self)));
    }
}
