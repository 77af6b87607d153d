//! The closing handshake (RFC 6455 §7) as a state machine, without a socket and without a clock.
//!
//! Its owner reports events to it, and asks for the next step.

use super::Role;

/// The state of a connection's closing handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closing {
    role: Role,
    state: State,
    /// The connection has failed.
    has_failed: bool,
    /// The peer has sent its FIN, or the stream has failed.
    has_peer_ended: bool,
    /// Nothing more can be sent.
    is_broken: bool,
    /// We have sent our FIN.
    is_shut_down: bool,
    /// `close` is scheduled.
    is_close_scheduled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// We have sent the first Close frame (§7.1.2), and the peer has not answered.
    CloseSent,
    /// We have sent the first Close frame, and the peer has answered.
    Answered,
    /// The peer has sent the first Close frame, and our answer is on its way.
    Answering,
    /// The connection has failed, and listeners may choose the code.
    Failing,
    /// The connection has failed, and our Close is on its way (§7.1.7).
    Failed,
}

/// What the owner knows at the time of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Everything that can be sent has been sent.
    pub(crate) all_sent: bool,
    /// Everything that was received has been delivered, and the listeners are done with it.
    pub(crate) all_delivered: bool,
}

/// The next step of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Wait,
    /// Sends our Close, when the listeners of `error` are done.
    SendClose,
    /// Sends a FIN, so that the peer ends its side too. Closing the socket while the peer still
    /// sends would be a reset, and the peer would lose our Close frame.
    ShutDown,
    /// Drops the socket, and emits `close`.
    Release,
}

/// The end that began a completed closing handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The closing handshake was not completed.
    Abnormal,
    Ours,
    Theirs,
}

impl Closing {
    pub(crate) fn new(role: Role) -> Closing {
        Closing { role, ..Closing::default() }
    }

    /// The owner has queued our Close, or cannot send it any more.
    pub(crate) fn our_close_queued(&mut self) {
        self.state = match self.state {
            State::Open => State::CloseSent,
            State::Failing => State::Failed,
            state @ (State::CloseSent | State::Answered | State::Answering | State::Failed) => state,
        };
    }

    /// The peer's Close frame has arrived. It is answered, unless it is itself the answer (§5.5.1).
    pub(crate) fn peer_close_received(&mut self) {
        self.state = match self.state {
            State::Open => State::Answering,
            State::CloseSent => State::Answered,
            // After a failure, received frames no longer count (§7.1.7).
            state @ (State::Answered | State::Answering | State::Failing | State::Failed) => state,
        };
    }

    /// The connection fails, and our Close is on its way.
    pub(crate) fn fail(&mut self) {
        self.fail_as(State::Failed);
    }

    /// The connection fails. Our Close follows after the listeners of `error`, which may choose its
    /// code.
    pub(crate) fn fail_later(&mut self) {
        self.fail_as(State::Failing);
    }

    fn fail_as(&mut self, failed: State) {
        self.has_failed = true;
        self.state = match self.state {
            State::Open => failed,
            State::CloseSent => State::Failed,
            // The closing handshake is complete. Only the delivery can still fail.
            state @ (State::Answered | State::Answering | State::Failing | State::Failed) => state,
        };
    }

    /// The peer has sent its FIN, or the stream has failed.
    pub(crate) fn peer_ended(&mut self) {
        self.has_peer_ended = true;
    }

    /// Nothing more can be sent.
    pub(crate) fn socket_broke(&mut self) {
        self.is_broken = true;
    }

    /// We have sent our FIN. Returns whether this is the first time.
    pub(crate) fn our_fin_sent(&mut self) -> bool {
        !std::mem::replace(&mut self.is_shut_down, true)
    }

    /// The owner has scheduled `close`.
    pub(crate) fn close_scheduled(&mut self) {
        self.is_close_scheduled = true;
    }

    /// Returns the next step, while there is a socket.
    pub(crate) fn next(&self, facts: Facts) -> Step {
        match self.state {
            State::Failing => Step::SendClose,
            // Earlier messages are delivered and answered first.
            _ if self.has_peer_ended => Step::release_if(facts.all_sent && facts.all_delivered),
            State::Open | State::CloseSent => Step::Wait,
            State::Failed if facts.all_sent => Step::ShutDown,
            State::Answered | State::Answering if self.role == Role::Server => Step::release_if(facts.all_sent),
            State::Answered | State::Answering | State::Failed => Step::Wait,
        }
    }

    /// Returns whether [`next`](Closing::next) may return another step than to wait.
    #[inline]
    pub(crate) fn is_under_way(&self) -> bool {
        self.has_peer_ended || !matches!(self.state, State::Open | State::CloseSent)
    }

    /// Returns whether received bytes are still read.
    #[inline]
    pub(crate) fn reads(&self) -> bool {
        !(self.has_peer_ended || self.ends_with_answer())
    }

    /// Returns whether received bytes are dropped.
    #[inline]
    pub(crate) fn discards(&self) -> bool {
        self.has_failed
    }

    /// Returns whether our Close after a failure is still to be sent.
    pub(crate) fn is_failing(&self) -> bool {
        self.state == State::Failing
    }

    /// Returns whether the peer's Close frame counts.
    #[inline]
    pub(crate) fn has_peer_closed(&self) -> bool {
        matches!(self.state, State::Answered | State::Answering)
    }

    /// Returns whether our FIN follows our answer to the peer's Close frame at once. The server closes
    /// the TCP connection first (§7.1.1).
    pub(crate) fn ends_with_answer(&self) -> bool {
        self.role == Role::Server && self.has_peer_closed()
    }

    pub(crate) fn has_peer_ended(&self) -> bool {
        self.has_peer_ended
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }

    pub(crate) fn is_close_scheduled(&self) -> bool {
        self.is_close_scheduled
    }

    /// Returns the end whose code and reason `close` has, if there was no error (§7.1.5).
    pub(crate) fn outcome(&self) -> Outcome {
        match self.state {
            State::Answered => Outcome::Ours,
            State::Answering => Outcome::Theirs,
            State::Open | State::CloseSent | State::Failing | State::Failed => Outcome::Abnormal,
        }
    }
}

impl Step {
    fn release_if(is_over: bool) -> Step {
        if is_over { Step::Release } else { Step::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::State::*;
    use super::*;

    const STATES: [State; 6] = [Open, CloseSent, Answered, Answering, Failing, Failed];

    /// RFC 6455 §5.5.1, §7.1.2, §7.1.3, §7.1.7: each state, and where each input leads.
    #[test]
    fn every_input_in_every_state() {
        let table = [
            // from, our_close_queued, peer_close_received, fail, fail_later
            (Open, CloseSent, Answering, Failed, Failing),
            (CloseSent, CloseSent, Answered, Failed, Failed),
            (Answered, Answered, Answered, Answered, Answered),
            (Answering, Answering, Answering, Answering, Answering),
            (Failing, Failed, Failing, Failing, Failing),
            (Failed, Failed, Failed, Failed, Failed),
        ];
        assert_eq!(table.map(|(from, ..)| from), STATES);
        for role in [Role::Server, Role::Client] {
            for (from, our_close_queued, peer_close_received, fail, fail_later) in table {
                let to = |input: fn(&mut Closing)| {
                    let mut closing = Closing { state: from, ..Closing::new(role) };
                    input(&mut closing);
                    closing.state
                };
                let reached = (
                    to(Closing::our_close_queued),
                    to(Closing::peer_close_received),
                    to(Closing::fail),
                    to(Closing::fail_later),
                );
                assert_eq!(reached, (our_close_queued, peer_close_received, fail, fail_later), "{role:?} {from:?}");
            }
        }
    }

    /// RFC 6455 §7.1.1: the server closes the TCP connection first, and the client waits for it.
    /// §7.1.7: after a failure an end sends a Close frame and nothing else.
    #[test]
    fn every_step_of_every_state() {
        use Step::*;
        // (all sent, all delivered): neither, sent, delivered, both.
        let table = [
            (Role::Server, Open, false, [Wait, Wait, Wait, Wait]),
            (Role::Server, CloseSent, false, [Wait, Wait, Wait, Wait]),
            (Role::Server, Answered, false, [Wait, Release, Wait, Release]),
            (Role::Server, Answering, false, [Wait, Release, Wait, Release]),
            (Role::Server, Failing, false, [SendClose, SendClose, SendClose, SendClose]),
            (Role::Server, Failed, false, [Wait, ShutDown, Wait, ShutDown]),
            (Role::Client, Open, false, [Wait, Wait, Wait, Wait]),
            (Role::Client, CloseSent, false, [Wait, Wait, Wait, Wait]),
            (Role::Client, Answered, false, [Wait, Wait, Wait, Wait]),
            (Role::Client, Answering, false, [Wait, Wait, Wait, Wait]),
            (Role::Client, Failing, false, [SendClose, SendClose, SendClose, SendClose]),
            (Role::Client, Failed, false, [Wait, ShutDown, Wait, ShutDown]),
            // The peer's FIN, in both roles.
            (Role::Server, Open, true, [Wait, Wait, Wait, Release]),
            (Role::Server, CloseSent, true, [Wait, Wait, Wait, Release]),
            (Role::Server, Answered, true, [Wait, Wait, Wait, Release]),
            (Role::Server, Answering, true, [Wait, Wait, Wait, Release]),
            (Role::Server, Failing, true, [SendClose, SendClose, SendClose, SendClose]),
            (Role::Server, Failed, true, [Wait, Wait, Wait, Release]),
            (Role::Client, Open, true, [Wait, Wait, Wait, Release]),
            (Role::Client, CloseSent, true, [Wait, Wait, Wait, Release]),
            (Role::Client, Answered, true, [Wait, Wait, Wait, Release]),
            (Role::Client, Answering, true, [Wait, Wait, Wait, Release]),
            (Role::Client, Failing, true, [SendClose, SendClose, SendClose, SendClose]),
            (Role::Client, Failed, true, [Wait, Wait, Wait, Release]),
        ];
        for (role, state, has_peer_ended, steps) in table {
            let closing = Closing { state, has_peer_ended, ..Closing::new(role) };
            let facts = [(false, false), (true, false), (false, true), (true, true)];
            let reached = facts.map(|(all_sent, all_delivered)| closing.next(Facts { all_sent, all_delivered }));
            assert_eq!(reached, steps, "{role:?} {state:?}, the peer has ended: {has_peer_ended}");
            if reached != [Wait; 4] {
                assert!(closing.is_under_way(), "{role:?} {state:?}");
            }
        }
    }

    /// RFC 6455 §5.5.1 and §7.1.7 (what is read), §7.1.5 (whose code counts).
    #[test]
    fn what_each_state_means() {
        let table = [
            // reads as server, as client, outcome
            (Open, true, true, Outcome::Abnormal),
            (CloseSent, true, true, Outcome::Abnormal),
            (Answered, false, true, Outcome::Ours),
            (Answering, false, true, Outcome::Theirs),
            (Failing, true, true, Outcome::Abnormal),
            (Failed, true, true, Outcome::Abnormal),
        ];
        for (state, server, client, outcome) in table {
            for (role, reads) in [(Role::Server, server), (Role::Client, client)] {
                let mut closing = Closing { state, ..Closing::new(role) };
                assert_eq!((closing.reads(), closing.outcome()), (reads, outcome), "{role:?} {state:?}");
                assert!(!closing.discards());
                closing.fail();
                assert!(closing.discards(), "{state:?}: what arrives after a fault is thrown away");
                closing.peer_ended();
                assert!(!closing.reads() && closing.has_peer_ended());
            }
        }
    }

    #[test]
    fn a_fin_is_sent_once() {
        let mut closing = Closing::default();
        assert!(closing.our_fin_sent() && !closing.our_fin_sent() && closing.is_shut_down());
    }
}
