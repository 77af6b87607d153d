use std::sync::atomic::Ordering;
use std::time::Duration;

use super::driver::Driver;
use super::error::ConnectionError;
use super::options::WebSocketOptions;
use super::slot::{ALARM, BLOCKED, DEAF, Slot};
use crate::clock::{Clock, Moment};
use crate::protocol::close_code;
use crate::stream::ReadHalf;

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
    /// The next after that. Without it a late deadline would be told anew whenever an earlier one has rung.
    told_after: Moment,
}

impl Deadlines {
    const NONE: Deadlines = Deadlines {
        ping: Moment::NEVER,
        pong: Moment::NEVER,
        idle: Moment::NEVER,
        lifetime: Moment::NEVER,
        write: Moment::NEVER,
        close: Moment::NEVER,
        message: Moment::NEVER,
        told: Moment::NEVER,
        told_after: Moment::NEVER,
    };

    pub(super) fn new(options: &WebSocketOptions, clock: &Clock) -> Deadlines {
        let after = |limit: Option<Duration>| limit.map_or(Moment::NEVER, |limit| clock.after(limit));
        Deadlines {
            ping: next_ping(options, clock),
            idle: after(options.idle_timeout),
            lifetime: after(options.max_lifetime),
            ..Deadlines::NONE
        }
    }

    /// Has the clock ring in time for the earliest of them.
    pub(super) fn tell(&mut self, clock: &Clock, slot: &'static Slot, number: u64) {
        let all = [self.ping, self.pong, self.idle, self.lifetime, self.write, self.close, self.message];
        let earliest = all.into_iter().min().unwrap_or(Moment::NEVER);
        if earliest < self.told {
            clock.forget(self.told_after, number);
            (self.told, self.told_after) = (earliest, self.told);
            clock.ring_at(earliest, slot, number);
        }
    }

    /// Has the clock forget the connection, which is over.
    pub(super) fn forget(&mut self, clock: &Clock, number: u64) {
        for told in [&mut self.told, &mut self.told_after] {
            clock.forget(std::mem::replace(told, Moment::NEVER), number);
        }
    }

    /// Nothing else is waited for any more.
    fn forget_all_but_close(&mut self) {
        *self = Deadlines { close: self.close, told: self.told, told_after: self.told_after, ..Deadlines::NONE };
    }

    /// The clock has rung for all moments until now.
    fn rung(&mut self, now: Moment) {
        while self.told <= now && self.told != Moment::NEVER {
            self.told = std::mem::replace(&mut self.told_after, Moment::NEVER);
        }
    }
}

/// What is done when they have passed.
impl Driver {
    pub(super) fn meet_deadlines(&mut self) {
        let (shared, clock) = (self.shared.clone(), self.lifetime.clock().clone());
        let (options, clock) = (&shared.options, &clock);
        let now = clock.now();
        self.deadlines.rung(now);
        if self.deadlines.message <= now {
            self.deadlines.message = Moment::NEVER;
        }
        if self.deadlines.close <= now && self.may_hear_a_close() {
            self.delivery.abandon();
            // Nothing else is delivered of what has been read; judged after that.
            self.slot().flags.fetch_or(DEAF | ALARM, Ordering::Relaxed);
        } else if self.deadlines.close <= now {
            // First for the peer, and what its messages have begun; then as much for listeners of `error` and `close`.
            self.deadlines.close = clock.after(options.close_timeout);
            if self.read.is_none() {
                self.delivery.hurry();
            }
            if !self.progress.closed {
                self.delivery.abandon();
            }
            self.hang_up();
        }
        if !self.connection().is_writable() {
            self.deadlines.forget_all_but_close();
            return;
        }
        if self.deadlines.write <= now {
            let limit = options.write_timeout.unwrap_or_default();
            return self.connection().fail(ConnectionError::WriteTimeout { limit });
        }
        if self.deadlines.pong <= now {
            let limit = options.pong_timeout.unwrap_or_default();
            if self.progress.heard {
                self.deadlines.pong = Moment::NEVER;
            } else if self.is_slow() {
                self.deadlines.pong = clock.after(limit);
            } else if self.is_silent() {
                return self.connection().fail(ConnectionError::PongTimeout { limit });
            } else if self.progress.waits_for_peer {
                self.deadlines.pong = clock.after(Duration::ZERO);
            } else if !self.reads_first() {
                self.deadlines.pong = clock.after(limit);
            }
        }
        if self.deadlines.ping <= now {
            self.connection().ping([]);
            self.deadlines.ping = next_ping(options, clock);
            // The time of a ping that has not been answered runs on.
            if std::mem::take(&mut self.progress.heard) || self.deadlines.pong == Moment::NEVER {
                self.deadlines.pong = options.pong_timeout.map_or(Moment::NEVER, |limit| clock.after(limit));
            }
        }
        if self.deadlines.idle <= now {
            let limit = options.idle_timeout.unwrap_or_default();
            if self.is_silent() {
                return self.connection().close_with(close_code::GOING_AWAY, "idle");
            } else if self.progress.waits_for_peer {
                self.deadlines.idle = clock.after(Duration::ZERO);
            } else if !self.reads_first() {
                self.deadlines.idle = clock.after(limit);
            }
        }
        if self.deadlines.lifetime <= now {
            self.connection().close_with(close_code::GOING_AWAY, "end of lifetime");
        }
    }

    /// Whether what has been read may have the peer's answer to our Close in it, behind a message whose listener runs.
    fn may_hear_a_close(&self) -> bool {
        self.read.is_some() && !self.progress.failed && !self.delivery.is_free() && !self.inbox.is_empty()
    }

    /// Whether the ping may not have left yet: whether the peer takes what was to be sent before it is for the write deadline.
    fn is_slow(&self) -> bool {
        self.flags() & BLOCKED != 0 && self.shared.options.write_timeout.is_some()
    }

    /// Whether all has been read that the peer has sent. What came while this thread was held up is in the system, but tokio may
    /// not have been told of it before the clock rang.
    fn is_silent(&self) -> bool {
        self.progress.waits_for_peer && !self.read.as_ref().is_some_and(ReadHalf::has_unread)
    }

    /// Whether what has come meanwhile can be read, before the peer is judged. Who is not read cannot be heard.
    fn reads_first(&self) -> bool {
        let may_read = self.may_read();
        if may_read {
            self.slot().flags.fetch_or(ALARM, Ordering::Relaxed);
        }
        may_read
    }
}

/// The interval, 10 % more or less, so that connections that were opened together do not ping together for ever.
fn next_ping(options: &WebSocketOptions, clock: &Clock) -> Moment {
    options.ping_interval.map_or(Moment::NEVER, |interval| {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let tenth = millis / 10;
        clock.after(Duration::from_millis((millis - tenth).saturating_add(fastrand::u64(0..=2 * tenth))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_told_of_a_late_deadline_once_however_many_early_ones_there_are() {
        let (clock, slot): (_, &'static Slot) = (Clock::new(false), Box::leak(Box::default()));
        let lifetime = clock.after(Duration::from_secs(100_000));
        let mut deadlines = Deadlines { lifetime, ..Deadlines::NONE };
        for _ in 0..100 {
            deadlines.message = clock.after(Duration::from_millis(200));
            deadlines.tell(&clock, slot, 1);
            tokio::time::sleep(Duration::from_millis(251)).await;
            deadlines.rung(clock.now());
            deadlines.message = Moment::NEVER;
            deadlines.tell(&clock, slot, 1);
            assert_eq!(clock.pending(), 1);
        }
        assert_eq!(deadlines.told, lifetime);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_keeps_nothing_of_a_connection_that_is_over() {
        let (clock, slot): (_, &'static Slot) = (Clock::new(false), Box::leak(Box::default()));
        let after = |seconds| clock.after(Duration::from_secs(seconds));
        for number in 1..=1000 {
            let mut deadlines = Deadlines { lifetime: after(86_400), ..Deadlines::NONE };
            deadlines.tell(&clock, slot, number);
            deadlines.write = after(30);
            deadlines.tell(&clock, slot, number);
            deadlines.close = after(10);
            deadlines.tell(&clock, slot, number);
            assert_eq!(clock.pending(), 2);
            deadlines.forget(&clock, number);
            assert_eq!(clock.pending(), 0);
        }
    }
}
