use std::time::Duration;

use super::options::WebSocketOptions;
use super::slot::Slot;
use crate::clock::{Clock, Moment};

/// All that a connection waits for. One entry in the clock serves the whole table.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// The next ping is due.
    pub(super) ping: Moment,
    /// The peer has been pinged and has to have said something.
    pub(super) pong: Moment,
    /// The peer has to have sent a message.
    pub(super) idle: Moment,
    /// The connection is old enough.
    pub(super) lifetime: Moment,
    /// The socket has to have taken something.
    pub(super) write: Moment,
    /// The peer has to have answered our Close, and listeners to have ended.
    pub(super) close: Moment,
    /// The next message may be taken.
    pub(super) message: Moment,
    /// The earliest moment that the clock has been told of and has not rung.
    told: Moment,
}

impl Deadlines {
    pub(super) fn new(options: &WebSocketOptions, clock: &Clock) -> Deadlines {
        let after = |limit: Option<Duration>| limit.map_or(Moment::NEVER, |limit| clock.after(limit));
        Deadlines {
            ping: next_ping(options, clock),
            pong: Moment::NEVER,
            idle: after(options.idle_timeout),
            lifetime: after(options.max_lifetime),
            write: Moment::NEVER,
            close: Moment::NEVER,
            message: Moment::NEVER,
            told: Moment::NEVER,
        }
    }

    /// Has the clock ring in time for the earliest of them.
    pub(super) fn tell(&mut self, clock: &Clock, slot: &'static Slot, number: u64) {
        let all = [self.ping, self.pong, self.idle, self.lifetime, self.write, self.close, self.message];
        let earliest = all.into_iter().min().unwrap_or(Moment::NEVER);
        if earliest < self.told {
            self.told = earliest;
            clock.ring_at(earliest, slot, number);
        }
    }

    /// The clock has rung.
    pub(super) fn rung(&mut self) {
        self.told = Moment::NEVER;
    }
}

/// The interval, 10 % more or less, so that connections that were opened together do not ping together for ever.
pub(super) fn next_ping(options: &WebSocketOptions, clock: &Clock) -> Moment {
    options.ping_interval.map_or(Moment::NEVER, |interval| {
        let share = fastrand::f64() * 0.2 - 0.1;
        clock.after(
            interval.saturating_add(interval.mul_f64(share.max(0.0))).saturating_sub(interval.mul_f64((-share).max(0.0))),
        )
    })
}
