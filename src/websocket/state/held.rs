use std::collections::{HashMap, VecDeque};

use bytes::{Buf, Bytes};

/// The policy of a group for slow consumers: members whose unsent bytes have reached their soft
/// limit.
/// [`ConnectionGroup::set_slow_member_policy`](crate::ConnectionGroup::set_slow_member_policy) sets
/// the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowMemberPolicy {
    /// The member gets all messages, until its unsent bytes reach its hard limit and the connection
    /// fails with 1013. Use it for messages that no member may miss. The default.
    #[default]
    Keep,
    /// The member misses the messages that are written while it is slow.
    DropNew,
    /// The member misses the oldest messages. After its unsent bytes it gets the newest messages,
    /// as many as fit into its soft limit. Each message counts as its frame and 24 bytes, which is
    /// its size in memory.
    DropOldest,
    /// The member misses all messages except the last. It gets the last message after its unsent
    /// bytes. Use it for prices, positions and presence.
    KeepLatest,
    /// The member is closed with 1013.
    Close,
}

/// Messages that wait until their member has caught up, and may be dropped before. They need no
/// allocation each. Each operation takes the same time, however many messages and groups there are.
#[derive(Debug, Default)]
pub(crate) struct HeldMessages(Option<Box<Messages>>);

#[derive(Debug, Default)]
struct Messages {
    groups: HashMap<u64, OfGroup>,
    /// The order in which the groups' messages follow, oldest first. It still contains dropped
    /// messages.
    order: VecDeque<Run>,
    count: usize,
    cost: usize,
}

/// The messages of one group, oldest first.
#[derive(Debug, Default)]
struct OfGroup {
    frames: VecDeque<u8>,
    lengths: VecDeque<usize>,
    /// How many messages of the order have been dropped here. They are the group's oldest in the
    /// order.
    dropped: usize,
}

/// Messages of one group that follow each other.
#[derive(Debug)]
struct Run {
    group: u64,
    count: usize,
}

/// What a message costs besides its frame.
const COST: usize = size_of::<Run>() + size_of::<usize>();

/// The order is tidied when it has this many runs more than one and a half times the messages.
const FEW: usize = 16;

impl HeldMessages {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps a message of a group, and returns how many messages were dropped for it. With
    /// `only_latest` it drops all others of the group. Otherwise it drops the group's oldest until
    /// all messages cost at most `limit` bytes.
    pub(crate) fn push(&mut self, group: u64, frame: &[u8], only_latest: bool, limit: usize) -> u64 {
        let messages = self.0.get_or_insert_default();
        let cost = frame.len() + COST;
        let own = messages.groups.entry(group).or_default();
        let mut dropped = 0;
        while (only_latest || messages.cost + cost > limit)
            && let Some(length) = own.lengths.pop_front()
        {
            own.frames.drain(..length);
            own.dropped += 1;
            messages.cost -= length + COST;
            dropped += 1;
        }
        own.frames.extend(frame);
        own.lengths.push_back(frame.len());
        messages.count = messages.count + 1 - dropped;
        messages.cost += cost;
        match messages.order.back_mut() {
            Some(run) if run.group == group => run.count += 1,
            _ => messages.order.push_back(Run { group, count: 1 }),
        }
        if messages.order.len() > messages.count + messages.count / 2 + FEW {
            messages.tidy();
        }
        dropped as u64
    }

    /// Removes and returns the oldest message.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let messages = self.0.as_mut()?;
        let frame = messages.pop();
        if messages.count == 0 {
            self.0 = None;
        }
        frame
    }
}

impl Messages {
    fn pop(&mut self) -> Option<Bytes> {
        loop {
            let run = self.order.front_mut()?;
            let Some(own) = self.groups.get_mut(&run.group) else {
                self.order.pop_front();
                continue;
            };
            own.skip_dropped(run);
            if run.count == 0 {
                self.order.pop_front();
                continue;
            }
            run.count -= 1;
            let length = own.lengths.pop_front()?;
            let frame = own.frames.copy_to_bytes(length);
            if own.lengths.is_empty() {
                // The order has no dropped messages of the group either, since those came before.
                self.groups.remove(&run.group);
            }
            self.count -= 1;
            self.cost -= length + COST;
            return Some(frame);
        }
    }

    /// Removes dropped messages from the order. At least a third of the runs goes with them.
    fn tidy(&mut self) {
        self.order.retain_mut(|run| {
            if let Some(own) = self.groups.get_mut(&run.group) {
                own.skip_dropped(run);
            }
            run.count > 0
        });
    }
}

impl OfGroup {
    /// Removes dropped messages from the oldest run of the group.
    fn skip_dropped(&mut self, run: &mut Run) {
        let skipped = run.count.min(self.dropped);
        run.count -= skipped;
        self.dropped -= skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a limit for so many bytes in so many messages.
    fn limit(bytes: usize, messages: usize) -> usize {
        bytes + messages * COST
    }

    #[test]
    fn the_oldest_of_the_group_are_dropped_first() {
        let mut held = HeldMessages::default();
        let limit = limit(10, 3);
        assert_eq!(held.push(1, b"aaaa", false, limit), 0);
        assert_eq!(held.push(2, b"bbbb", false, limit), 0);
        assert_eq!(held.push(2, b"cc", false, limit), 0);
        assert_eq!(held.push(2, b"dddd", false, limit), 1);
        assert_eq!(held.push(3, b"a message that is larger than the limit, whatever it costs to keep it", false, limit), 0);
        let all: Vec<_> = std::iter::from_fn(|| held.pop()).map(|frame| frame.len()).collect();
        assert_eq!(all, [4, 2, 4, 69]);
        assert!(held.is_empty());
    }

    #[test]
    fn only_the_latest_of_the_group_is_kept() {
        let mut held = HeldMessages::default();
        held.push(1, b"other", true, 10);
        assert_eq!(held.push(2, b"a", true, 10), 0);
        assert_eq!(held.push(2, b"b", true, 10), 1);
        assert_eq!((held.pop().unwrap().len(), held.pop().as_deref()), (5, Some(&b"b"[..])));
        assert!(held.is_empty());
    }

    /// A simple and slow version of [`HeldMessages`] to compare with.
    #[derive(Default)]
    struct Simple(Vec<(u64, Vec<u8>)>);

    impl Simple {
        fn push(&mut self, group: u64, frame: &[u8], only_latest: bool, limit: usize) -> u64 {
            self.0.push((group, frame.into()));
            let mut dropped = 0;
            while only_latest || self.0.iter().map(|(_, frame)| frame.len() + COST).sum::<usize>() > limit {
                let oldest = self.0.iter().position(|(other, _)| *other == group).unwrap();
                if oldest == self.0.len() - 1 {
                    break;
                }
                self.0.remove(oldest);
                dropped += 1;
            }
            dropped
        }

        fn pop(&mut self) -> Option<Vec<u8>> {
            (!self.0.is_empty()).then(|| self.0.remove(0).1)
        }
    }

    #[test]
    fn messages_are_dropped_and_come_as_in_a_simple_list() {
        let random = |below: usize| fastrand::usize(..below);
        for _ in 0..200 {
            let (mut held, mut simple) = (HeldMessages::default(), Simple::default());
            for _ in 0..200 {
                let group = random(4) as u64;
                let frame = vec![random(256) as u8; random(20)];
                match random(8) {
                    0..2 => assert_eq!(held.pop().as_deref(), simple.pop().as_deref()),
                    kind => {
                        assert_eq!(held.push(group, &frame, kind == 2, 500), simple.push(group, &frame, kind == 2, 500))
                    }
                }
                assert_eq!(held.is_empty(), simple.0.is_empty());
            }
            while let Some(frame) = simple.pop() {
                assert_eq!(held.pop().as_deref(), Some(&frame[..]));
            }
            assert!(held.is_empty());
        }
    }

    /// The time is spent in looks at runs.
    #[test]
    fn a_message_takes_the_same_time_however_many_groups_have_messages_before_it() {
        for groups in [1, 2, 100] {
            let mut held = HeldMessages::default();
            // These messages stay at the beginning.
            (1000..2000).for_each(|group| assert_eq!(held.push(group, b"x", false, usize::MAX), 0));
            let (mut looks, mut before) = (0, 0);
            for number in 0..100_000 {
                held.push(number % groups, b"x", false, limit(2000, 2000));
                let runs = held.0.as_ref().map_or(0, |messages| messages.order.len());
                if runs < before {
                    looks += before + 1;
                }
                assert!(runs <= 2000 + 1000 + FEW);
                before = runs;
            }
            assert!(looks <= 300_000, "{groups} groups: {looks} looks at runs");
            let all = std::iter::from_fn(|| held.pop()).count();
            assert_eq!(all, 2000);
        }
    }
}
