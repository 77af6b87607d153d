//! Memory that handles refer to. It is reused and never freed, so that a handle may outlive its
//! object.

use std::num::NonZeroU64;
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The number of slots that are allocated at a time.
const PER_CHUNK: usize = if cfg!(models) { 2 } else { 1024 };

/// Enough for eight million slots.
const CHUNKS: usize = if cfg!(models) { 8 } else { 1 << 13 };

/// Slots that are known by an index.
///
/// A handle could hold a reference instead. But then clippy would see interior mutability in it,
/// and warn apps that keep handles in a `HashSet` that their keys may change.
pub(crate) struct Slab<T: 'static> {
    chunks: [OnceLock<Box<[T; PER_CHUNK]>>; CHUNKS],
    unused: Mutex<Unused>,
    /// The slot of an index that was never returned.
    nowhere: OnceLock<T>,
    numbers: AtomicU64,
}

struct Unused {
    /// Slots that are free again.
    free: Vec<u32>,
    /// Slots from this index on were never taken.
    next: u32,
}

impl<T: Default> Slab<T> {
    pub(crate) const fn new() -> Slab<T> {
        Slab {
            chunks: [const { OnceLock::new() }; CHUNKS],
            unused: Mutex::new(Unused { free: Vec::new(), next: 0 }),
            nowhere: OnceLock::new(),
            numbers: AtomicU64::new(1),
        }
    }

    /// Takes a free slot. Returns its index, and a number that was never returned before, which
    /// distinguishes its users.
    ///
    /// If no slot is free, the index is that of a slot without an owner. A handle to it is that of
    /// an object that no longer exists.
    pub(crate) fn take(&self) -> (u32, NonZeroU64) {
        let number = NonZeroU64::new(self.numbers.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX);
        let mut unused = self.unused.lock();
        if let Some(index) = unused.free.pop() {
            return (index, number);
        }
        let index = unused.next;
        let Some(chunk) = self.chunks.get(index as usize / PER_CHUNK) else { return (u32::MAX, number) };
        unused.next += 1;
        drop(unused);
        chunk.get_or_init(new_chunk);
        (index, number)
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> &T {
        let chunk = self.chunks.get(index as usize / PER_CHUNK).and_then(OnceLock::get);
        match chunk.and_then(|chunk| chunk.get(index as usize % PER_CHUNK)) {
            Some(slot) => slot,
            None => self.nowhere(),
        }
    }

    /// Frees a slot. The caller has emptied it.
    pub(crate) fn give_back(&self, index: u32) {
        self.unused.lock().free.push(index);
    }

    #[cold]
    fn nowhere(&self) -> &T {
        self.nowhere.get_or_init(T::default)
    }
}

/// Created in its final place, since it may be larger than a stack.
fn new_chunk<T: Default>() -> Box<[T; PER_CHUNK]> {
    let slots: Box<[T]> = std::iter::repeat_with(T::default).take(PER_CHUNK).collect();
    match slots.try_into() {
        Ok(chunk) => chunk,
        Err(_) => unreachable!("so many have been taken"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slots_are_used_again_under_another_number() {
        static SLOTS: Slab<AtomicU64> = Slab::new();
        let taken: Vec<_> = (0..1000).map(|_| SLOTS.take()).collect();
        for (index, number) in &taken {
            SLOTS.get(*index).store(number.get(), Ordering::Relaxed);
        }
        for (index, number) in &taken {
            assert_eq!(SLOTS.get(*index).load(Ordering::Relaxed), number.get(), "each has a place of its own");
        }
        SLOTS.give_back(taken[500].0);
        let (index, number) = SLOTS.take();
        assert_eq!(index, taken[500].0);
        let numbers: HashSet<_> = taken.iter().map(|(_, number)| *number).chain([number]).collect();
        assert_eq!(numbers.len(), 1001);
    }

    #[test]
    fn an_index_that_was_never_given_out_points_to_what_nobody_owns() {
        static SLOTS: Slab<AtomicU64> = Slab::new();
        let (index, _) = SLOTS.take();
        SLOTS.get(u32::MAX).store(7, Ordering::Relaxed);
        assert_eq!(SLOTS.get(index).load(Ordering::Relaxed), 0);
        assert_eq!(SLOTS.get(1 << 22).load(Ordering::Relaxed), 7);
    }
}
