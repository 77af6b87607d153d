use std::collections::VecDeque;

/// What a group does about a member that reads too slowly: one with more unsent bytes than its soft limit. See
/// [`ConnectionGroup::set_slow_member_policy`](crate::ConnectionGroup::set_slow_member_policy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowMemberPolicy {
    /// It gets everything, until it meets its own hard limit. For what must not be missed.
    #[default]
    Keep,
    /// It misses what is written while it is slow.
    DropNew,
    /// It gets as much as its soft limit behind what is unsent, and misses the oldest of that.
    DropOldest,
    /// It gets the last message when it has caught up, and misses those before: for prices, positions, presence.
    KeepLatest,
    /// It is closed with 1013.
    Close,
}

/// Messages that wait until their reader has caught up, and may be dropped before.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Oldest first: the group, and the frame.
    messages: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keeps a message of a group, and returns how many had to go for it: with `only_latest` all others of the group, else as
    /// many of it as it takes to have no more than `limit` bytes.
    pub(super) fn push(&mut self, group: u64, frame: &[u8], only_latest: bool, limit: usize) -> u64 {
        self.messages.push_back((group, frame.into()));
        self.bytes += frame.len();
        let mut dropped = 0;
        while only_latest || self.bytes > limit {
            let newest = self.messages.len() - 1;
            let oldest = self.messages.iter().position(|(other, _)| *other == group).filter(|place| *place < newest);
            let Some((_, frame)) = oldest.and_then(|place| self.messages.remove(place)) else { break };
            self.bytes -= frame.len();
            dropped += 1;
        }
        dropped
    }

    /// The oldest message.
    pub(super) fn pop(&mut self) -> Option<Box<[u8]>> {
        let (_, frame) = self.messages.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_group_go_first() {
        let mut held = Held::default();
        assert_eq!(held.push(1, b"aaaa", false, 10), 0);
        assert_eq!(held.push(2, b"bbbb", false, 10), 0);
        assert_eq!(held.push(2, b"cc", false, 10), 0);
        assert_eq!(held.push(2, b"dddd", false, 10), 1);
        assert_eq!(held.push(3, b"a message larger than the limit", false, 10), 0, "one is always kept");
        let all: Vec<_> = std::iter::from_fn(|| held.pop()).map(|frame| frame.len()).collect();
        assert_eq!(all, [4, 2, 4, 31]);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn only_the_latest_of_the_group_is_kept() {
        let mut held = Held::default();
        held.push(1, b"other", true, 10);
        assert_eq!(held.push(2, b"a", true, 10), 0);
        assert_eq!(held.push(2, b"b", true, 10), 1);
        assert_eq!((held.pop().unwrap().len(), held.pop().as_deref()), (5, Some(&b"b"[..])));
        assert!(held.is_empty());
    }
}
