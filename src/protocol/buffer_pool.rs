#[cfg(feature = "deflate")]
use super::deflate::Inflater;

/// A pool of buffers for messages that arrive in parts. The most recently returned buffer is used
/// first, because it is still in the processor's cache.
///
/// One pool per thread is enough, because a message needs a buffer only while it is incomplete.
#[derive(Debug, Default)]
pub struct BufferPool {
    buffers: Vec<Vec<u8>>,
    /// The decompressor of the thread, created for its first compressed message.
    #[cfg(feature = "deflate")]
    inflater: Option<Box<Inflater>>,
    #[cfg(feature = "deflate")]
    inflated: Option<Inflated>,
}

/// The size of a message before and after decompression.
#[cfg(feature = "deflate")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inflated {
    pub(crate) packed: usize,
    pub(crate) unpacked: usize,
}

/// Maximum number of buffers. A thread rarely needs more at a time, and each of them costs time in
/// the search.
const BUFFERS_MAX: usize = 16;

/// Maximum capacity of a kept buffer. A larger one is freed.
const CAPACITY_MAX: usize = 2 << 20;

/// Maximum number of kept bytes. This is enough for eight messages of 1 MiB at the same time. With
/// half of it, eight connections that send such text cost 4 % more, and 32 of them a sixth.
const HELD_MAX: usize = 8 << 20;

/// Maximum capacity of a spare buffer, as a multiple of the bytes that have arrived. So a peer that
/// announces much and sends little occupies little. With 16, the 64 KiB of a first read may take
/// the buffer of the last 1 MiB message.
const TIMES_ARRIVED: usize = 16;

impl BufferPool {
    /// Takes back a buffer after the delivery of its message.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let is_wanted = (1..=CAPACITY_MAX).contains(&buffer.capacity());
        if is_wanted && self.buffers.len() < BUFFERS_MAX && self.held() < HELD_MAX {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// Makes room for `additional` bytes that are available now: in a spare buffer if one fits,
    /// else by growing to at most twice the bytes that have arrived.
    pub(super) fn make_room(&mut self, buffer: &mut Vec<u8>, additional: usize) {
        if !self.lend(buffer, additional) {
            buffer.reserve(additional);
        }
    }

    /// Makes room for `additional` bytes that are still to come, and no more: in a spare buffer if
    /// one fits, else by growing.
    pub(super) fn make_exact_room(&mut self, buffer: &mut Vec<u8>, additional: usize) {
        if !self.lend(buffer, additional) {
            buffer.reserve_exact(additional);
        }
    }

    /// Returns whether there is room, if necessary in a spare buffer.
    fn lend(&mut self, buffer: &mut Vec<u8>, additional: usize) -> bool {
        let length = buffer.len().saturating_add(additional);
        if length <= buffer.capacity() {
            return true;
        }
        let Some(mut larger) = self.take(length) else { return false };
        larger.extend_from_slice(buffer);
        self.give(std::mem::replace(buffer, larger));
        true
    }

    /// Like [`make_room`](BufferPool::make_room), for text.
    pub(super) fn make_room_in_text(&mut self, text: &mut String, additional: usize) {
        if !self.lend_text(text, additional) {
            text.reserve(additional);
        }
    }

    /// Like [`make_exact_room`](BufferPool::make_exact_room), for text.
    #[cfg(feature = "deflate")]
    pub(super) fn make_exact_room_in_text(&mut self, text: &mut String, additional: usize) {
        if !self.lend_text(text, additional) {
            text.reserve_exact(additional);
        }
    }

    /// Like [`lend`](BufferPool::lend), for text.
    fn lend_text(&mut self, text: &mut String, additional: usize) -> bool {
        let arrived = text.len().saturating_add(additional);
        if arrived <= text.capacity() {
            return true;
        }
        // An empty buffer is always UTF-8, so this checks nothing.
        let Some(mut larger) = self.take(arrived).and_then(|buffer| String::from_utf8(buffer).ok()) else { return false };
        larger.push_str(text);
        self.give(std::mem::replace(text, larger).into_bytes());
        true
    }

    /// Lends the decompressor of the thread.
    #[cfg(feature = "deflate")]
    pub(super) fn lend_inflater(&mut self) -> Box<Inflater> {
        self.inflater.take().unwrap_or_default()
    }

    /// Takes the decompressor back.
    #[cfg(feature = "deflate")]
    pub(super) fn give_inflater(&mut self, inflater: Box<Inflater>) {
        self.inflater = Some(inflater);
    }

    /// Notes the sizes of the message whose event is returned next.
    #[cfg(feature = "deflate")]
    pub(super) fn note_inflated(&mut self, packed: usize, unpacked: usize) {
        self.inflated = Some(Inflated { packed, unpacked });
    }

    /// Returns the sizes of the message that was returned last, if it was compressed.
    #[cfg(feature = "deflate")]
    pub(crate) fn take_inflated(&mut self) -> Option<Inflated> {
        self.inflated.take()
    }

    fn held(&self) -> usize {
        self.buffers.iter().map(Vec::capacity).sum()
    }

    fn take(&mut self, arrived: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (arrived..=arrived.saturating_mul(TIMES_ARRIVED)).contains(&buffer.capacity());
        let index = self.buffers.iter().rposition(fits)?;
        Some(self.buffers.remove(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_if_it_is_not_much_too_large() {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(16_000));
        let mut small = vec![1; 999];
        pool.make_room(&mut small, 0);
        pool.make_room(&mut small, 1);
        assert_eq!((small.len(), small.capacity()), (999, 16_000));

        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(16_001));
        let mut small = vec![1; 999];
        pool.make_room(&mut small, 1);
        assert!((1_000..=2_000).contains(&small.capacity()));
    }

    #[test]
    fn exact_room_is_for_what_comes_and_no_more() {
        let mut buffer = vec![1; 1_000];
        BufferPool::default().make_exact_room(&mut buffer, 500);
        assert!((1_500..2_000).contains(&buffer.capacity()));
    }

    #[test]
    fn text_gets_a_spare_buffer_when_it_has_no_room_and_gives_its_own_back() {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(100));
        let mut text = String::with_capacity(10);
        text.push_str("0123456");
        pool.make_room_in_text(&mut text, 3);
        assert_eq!((text.as_str(), text.capacity()), ("0123456", 10));
        pool.make_room_in_text(&mut text, 4);
        assert_eq!((text.as_str(), text.capacity()), ("0123456", 100));
        assert_eq!(pool.buffers.iter().map(Vec::capacity).collect::<Vec<_>>(), [10]);
        pool.make_room_in_text(&mut text, 94);
        assert!(text.capacity() >= 101);
    }

    #[test]
    fn a_buffer_without_memory_is_not_kept() {
        let mut pool = BufferPool::default();
        pool.give(Vec::new());
        assert!(pool.buffers.is_empty());
    }

    #[test]
    fn what_is_held_is_bounded() {
        for (capacity, kept) in [(CAPACITY_MAX, 4), (1 << 20, 8), (1000, BUFFERS_MAX)] {
            let mut pool = BufferPool::default();
            for _ in 0..BUFFERS_MAX + 4 {
                pool.give(Vec::with_capacity(capacity));
                pool.give(Vec::with_capacity(CAPACITY_MAX + 1));
            }
            assert_eq!(pool.buffers.iter().map(Vec::capacity).collect::<Vec<_>>(), vec![capacity; kept]);
        }
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(1));
        (0..10).for_each(|_| pool.give(Vec::with_capacity(CAPACITY_MAX)));
        assert!(pool.held() < HELD_MAX + CAPACITY_MAX);
    }
}
