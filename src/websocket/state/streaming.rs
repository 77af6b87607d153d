use std::collections::VecDeque;

use crate::protocol::{Opcode, frame};

/// The messages of a connection that are being streamed. One of them is on the wire. All frames
/// behind it wait, in order.
#[derive(Debug, Default)]
pub(crate) struct Streaming {
    last_ticket: u64,
    /// The message whose fragments are written directly.
    live: Option<u64>,
    /// Some of its fragments have been written.
    begun: bool,
    behind: VecDeque<Segment>,
    waiting: usize,
}

/// Frames that wait for the message on the wire.
#[derive(Debug)]
struct Segment {
    /// The message that the fragments belong to. `None` for complete messages.
    ticket: Option<u64>,
    frames: Vec<u8>,
    /// No further frame is added.
    ended: bool,
}

impl Streaming {
    pub(crate) fn is_idle(&self) -> bool {
        self.live.is_none()
    }

    /// Returns the number of waiting bytes.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Begins a message: directly if no other message is being streamed, else behind the waiting
    /// frames.
    pub(crate) fn begin(&mut self) -> u64 {
        self.last_ticket += 1;
        if self.live.is_none() {
            self.live = Some(self.last_ticket);
        } else {
            self.behind.push_back(Segment { ticket: Some(self.last_ticket), frames: Vec::new(), ended: false });
        }
        self.last_ticket
    }

    /// Keeps a complete message for later.
    pub(crate) fn push_behind(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut encoded = Vec::new();
        frame::encode(&mut encoded, true, opcode, payload);
        self.push_encoded(&encoded);
    }

    /// Keeps a complete message for later, already encoded as a frame.
    pub(crate) fn push_encoded(&mut self, frame: &[u8]) {
        self.waiting += frame.len();
        match self.behind.back_mut() {
            Some(last) if last.ticket.is_none() => last.frames.extend_from_slice(frame),
            _ => self.behind.push_back(Segment { ticket: None, frames: frame.to_vec(), ended: true }),
        }
    }

    /// Adds a fragment: to `out` if its message is on the wire, else to the waiting frames.
    /// Fragments of forgotten messages are dropped.
    pub(crate) fn push_fragment(&mut self, out: &mut Vec<u8>, ticket: u64, fin: bool, opcode: Opcode, payload: &[u8]) {
        if self.live == Some(ticket) {
            frame::encode(out, fin, opcode, payload);
            self.begun = true;
            if fin {
                self.next(out);
            }
        } else if let Some(segment) = self.behind.iter_mut().find(|segment| segment.ticket == Some(ticket)) {
            let before = segment.frames.len();
            frame::encode(&mut segment.frames, fin, opcode, payload);
            segment.ended = fin;
            self.waiting += segment.frames.len() - before;
        }
    }

    /// Forgets a message of which no fragment has been written.
    pub(crate) fn forget(&mut self, out: &mut Vec<u8>, ticket: u64) {
        if self.live == Some(ticket) {
            self.next(out);
        } else {
            self.behind.retain(|segment| segment.ticket != Some(ticket));
        }
    }

    /// Ends the message on the wire. Sends the waiting frames, up to and including the next
    /// incomplete message.
    fn next(&mut self, out: &mut Vec<u8>) {
        (self.live, self.begun) = (None, false);
        while let Some(segment) = self.behind.pop_front() {
            self.waiting -= segment.frames.len();
            out.extend_from_slice(&segment.frames);
            if !segment.ended {
                (self.live, self.begun) = (segment.ticket, !segment.frames.is_empty());
                return;
            }
        }
    }

    /// Sends the complete messages among the waiting frames, since a Close follows. Behind an
    /// incomplete message only the Close can follow.
    pub(crate) fn give_up(self, out: &mut Vec<u8>) {
        if !self.begun {
            self.behind.iter().filter(|segment| segment.ended).for_each(|segment| out.extend_from_slice(&segment.frames));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_for_the_one_on_the_wire_and_keep_their_order() {
        let (mut streaming, mut out) = (Streaming::default(), Vec::new());
        let first = streaming.begin();
        streaming.push_fragment(&mut out, first, false, Opcode::Text, b"a");
        streaming.push_behind(Opcode::Text, b"one");
        let second = streaming.begin();
        streaming.push_fragment(&mut out, second, false, Opcode::Binary, b"x");
        streaming.push_behind(Opcode::Text, b"two");
        let third = streaming.begin();
        streaming.push_fragment(&mut out, third, false, Opcode::Text, b"t");
        streaming.push_fragment(&mut out, third, true, Opcode::Continuation, b"");
        streaming.push_behind(Opcode::Text, b"three");
        assert_eq!(out, b"\x01\x01a");
        assert_eq!(streaming.waiting(), 5 + 3 + 5 + 5 + 7);
        out.clear();
        streaming.push_fragment(&mut out, first, true, Opcode::Continuation, b"");
        assert_eq!(out, b"\x80\x00\x81\x03one\x02\x01x", "up to the next unfinished message");
        out.clear();
        streaming.push_fragment(&mut out, second, false, Opcode::Continuation, b"y");
        streaming.push_fragment(&mut out, second, true, Opcode::Continuation, b"");
        assert_eq!(out, b"\x00\x01y\x80\x00\x81\x03two\x01\x01t\x80\x00\x81\x05three");
        assert!(streaming.is_idle());
        assert_eq!(streaming.waiting(), 0);
    }

    #[test]
    fn a_message_that_was_not_begun_leaves_no_trace() {
        let (mut streaming, mut out) = (Streaming::default(), Vec::new());
        let (first, second) = (streaming.begin(), streaming.begin());
        streaming.push_behind(Opcode::Text, b"x");
        streaming.forget(&mut out, second);
        streaming.forget(&mut out, first);
        assert_eq!(out, b"\x81\x01x");
        assert!(streaming.is_idle());
    }
}
