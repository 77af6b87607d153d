//! The numbers of messages: what a node has sent to a group, and what has arrived of another node.

use super::wire::Position;

/// What this node sends to one subject.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The place of the last message. Its sequence number is 0 before the first message.
    pub(crate) last: Position,
    /// The number of ticks since the last message.
    quiet_ticks: u32,
    /// The node has forgotten the stream. The next message begins another stream.
    pub(crate) is_forgotten: bool,
}

/// A stream is forgotten after this number of ticks without a message.
pub(crate) const QUIET_MAX: u32 = 128;

impl Outgoing {
    pub(crate) fn begin(stream: u64) -> Outgoing {
        Outgoing { last: Position { stream, sequence: 0 }, quiet_ticks: 0, is_forgotten: false }
    }

    /// Returns the place of the next message.
    pub(crate) fn next(&mut self) -> Position {
        self.last.sequence += 1;
        self.quiet_ticks = 0;
        self.last
    }

    /// Announces the last message again from now on, since it may have been lost.
    pub(crate) fn repeat_marks(&mut self) {
        self.quiet_ticks = 0;
    }

    /// Notes that a tick has passed. `mark` sends the place of the last message, and returns whether
    /// the bus has accepted it. It is called after 1, 2, 4, 8 and more ticks without a message, so
    /// that other nodes notice that the last messages are missing. Returns whether the stream is
    /// over.
    pub(crate) fn tick(&mut self, mark: impl FnOnce(Position) -> bool) -> bool {
        if self.quiet_ticks >= QUIET_MAX {
            return true;
        }
        let ticks = self.quiet_ticks + 1;
        let is_due = ticks.is_power_of_two() && self.last.sequence > 0;
        if !is_due || mark(self.last) {
            self.quiet_ticks = ticks;
        }
        false
    }
}

/// The place up to which the messages of one node have arrived on one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    stream: u64,
    /// The sequence number of the next message.
    next: u64,
}

/// The result of a message's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The message is new. This number of messages before it are missing.
    New { missing: u64 },
    /// The message, or one after it, has already arrived.
    Repeated,
}

impl Incoming {
    /// Begins with the first message that arrives of a node. `from_start`: all messages of the
    /// stream should have arrived. Otherwise the earlier messages were not for this node.
    pub(crate) fn begin(at: Position, is_mark: bool, from_start: bool) -> (Incoming, Admission) {
        let missing = if from_start { at.sequence - u64::from(!is_mark) } else { 0 };
        (Incoming { stream: at.stream, next: at.sequence + 1 }, Admission::New { missing })
    }

    /// Returns whether a message is to be delivered. A mark has the place of the last message, and
    /// is never delivered.
    pub(crate) fn admit(&mut self, at: Position, is_mark: bool) -> Admission {
        if at.stream > self.stream {
            let (incoming, admission) = Incoming::begin(at, is_mark, true);
            *self = incoming;
            return admission;
        }
        if at.stream < self.stream || at.sequence < self.next {
            return Admission::Repeated;
        }
        let end = at.sequence + u64::from(is_mark);
        let missing = end - self.next;
        self.next = at.sequence + 1;
        Admission::New { missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stream: u64, sequence: u64) -> Position {
        Position { stream, sequence }
    }

    #[test]
    fn missing_messages_are_counted_once() {
        let (mut incoming, admission) = Incoming::begin(at(1, 5), false, false);
        assert_eq!(admission, Admission::New { missing: 0 });
        assert_eq!(incoming.admit(at(1, 6), false), Admission::New { missing: 0 });
        assert_eq!(incoming.admit(at(1, 9), false), Admission::New { missing: 2 });
        assert_eq!(incoming.admit(at(1, 7), false), Admission::Repeated);
        assert_eq!(incoming.admit(at(1, 9), true), Admission::Repeated);
        assert_eq!(incoming.admit(at(1, 11), true), Admission::New { missing: 2 });
        assert_eq!(incoming.admit(at(1, 12), false), Admission::New { missing: 0 });
        assert_eq!(incoming.admit(at(2, 3), false), Admission::New { missing: 2 });
        assert_eq!(incoming.admit(at(1, 13), false), Admission::Repeated);
        assert_eq!(incoming.admit(at(3, 2), true), Admission::New { missing: 2 });
    }

    #[test]
    fn a_stream_that_began_later_owes_all_its_messages() {
        assert_eq!(Incoming::begin(at(1, 3), false, true).1, Admission::New { missing: 2 });
        assert_eq!(Incoming::begin(at(1, 3), true, true).1, Admission::New { missing: 3 });
        assert_eq!(Incoming::begin(at(1, 3), true, false).1, Admission::New { missing: 0 });
    }

    #[test]
    fn marks_follow_the_last_message_ever_more_rarely_until_the_stream_is_forgotten() {
        let mut outgoing = Outgoing::begin(1);
        outgoing.next();
        let mut marks = Vec::new();
        let ticks = (1..).take_while(|tick| {
            let mut is_marked = false;
            let is_over = outgoing.tick(|place| {
                assert_eq!(place, at(1, 1));
                is_marked = true;
                // The bus does not accept the second mark at first.
                *tick != 2
            });
            if is_marked {
                marks.push(*tick);
            }
            !is_over
        });
        assert_eq!(ticks.count(), 129);
        assert_eq!(marks, [1, 2, 3, 5, 9, 17, 33, 65, 129]);
    }
}
