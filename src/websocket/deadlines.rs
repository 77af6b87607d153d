use std::sync::atomic::Ordering;
use std::time::Duration;

use super::driver::Driver;
use super::error::ConnectionError;
use super::options::WebSocketOptions;
use super::slot::{ALARM, DEAF, Slot};
use crate::clock::{Clock, Moment};
use crate::protocol::close_code;

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
    const NONE: Deadlines = Deadlines {
        ping: Moment::NEVER,
        pong: Moment::NEVER,
        idle: Moment::NEVER,
        lifetime: Moment::NEVER,
        write: Moment::NEVER,
        close: Moment::NEVER,
        message: Moment::NEVER,
        told: Moment::NEVER,
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
            self.told = earliest;
            clock.ring_at(earliest, slot, number);
        }
    }

    /// Nothing else is waited for any more.
    fn forget_all_but_close(&mut self) {
        let (close, told) = (self.close, self.told);
        *self = Deadlines { close, told, ..Deadlines::NONE };
    }

    /// The clock has rung.
    pub(super) fn rung(&mut self) {
        self.told = Moment::NEVER;
    }
}

/// What is done when they have passed.
impl Driver {
    pub(super) fn meet_deadlines(&mut self) {
        let (shared, clock) = (self.shared.clone(), self.lifetime.clock().clone());
        let (options, clock) = (&shared.options, &clock);
        let now = clock.now();
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
            } else if self.progress.waits_for_peer {
                return self.connection().fail(ConnectionError::PongTimeout { limit });
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
            if self.progress.waits_for_peer {
                return self.connection().close_with(close_code::GOING_AWAY, "idle");
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
