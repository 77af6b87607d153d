use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::protocol::BufferPool;
use crate::sync::thread_local;

/// A thread's buffers for reading, which all its connections share. So an idle connection owns no
/// buffer.
pub(crate) struct ReadScratch {
    pub(crate) bytes: Box<[MaybeUninit<u8>]>,
    pub(crate) pool: BufferPool,
    /// What a read over TLS has opened.
    #[cfg(feature = "__tls")]
    pub(crate) plaintext: Vec<u8>,
}

/// Size of the buffer for reads. A message of 64 KiB with its header fits in one read. The buffer
/// is a little larger, since a full buffer would take another read to learn that nothing more has
/// arrived.
///
/// With a quarter of this size, bursts of 1 KiB messages cost twice as much. Four times this size
/// gains nothing.
const SIZE: usize = 64 * 1024 + 64;

thread_local! {
    static SCRATCH: Cell<Option<Box<ReadScratch>>> = const { Cell::new(None) };
}

impl ReadScratch {
    pub(crate) fn take() -> Box<ReadScratch> {
        // When a thread ends, its scratch may no longer exist.
        SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_else(ReadScratch::new)
    }

    fn new() -> Box<ReadScratch> {
        Box::new(ReadScratch {
            bytes: Box::new_uninit_slice(SIZE),
            pool: BufferPool::default(),
            #[cfg(feature = "__tls")]
            plaintext: Vec::new(),
        })
    }

    pub(crate) fn put_back(self: Box<ReadScratch>) {
        let _ = SCRATCH.try_with(|scratch| scratch.set(Some(self)));
    }
}

/// Room for a short text at an address that is a multiple of 16.
///
/// A client's text begins two bytes behind such an address, where a check has to go byte by byte. To check a copy
/// takes half as long.
#[derive(Default)]
#[repr(align(16))]
pub(crate) struct AlignedCopy([u8; 32]);

impl AlignedCopy {
    /// Returns a copy of a text, or a long text itself.
    #[inline(always)]
    pub(crate) fn of<'a>(&'a mut self, text: &'a [u8]) -> &'a [u8] {
        match self.0.get_mut(..text.len()) {
            Some(copy) => {
                copy.copy_from_slice(text);
                copy
            }
            None => text,
        }
    }
}
