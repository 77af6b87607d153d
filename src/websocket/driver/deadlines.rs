use std::time::Duration;

use crate::runtime::acknowledged::Acknowledged;
use crate::runtime::clock::{Clock, Moment};
use crate::websocket::options::WebSocketOptions;
use crate::websocket::state::slot::Slot;

/// All deadlines of a connection. One entry in the clock serves the whole table.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// The next ping is due.
    pub(crate) ping: Moment,
    /// The peer has been pinged and must have sent something.
    pub(crate) pong: Moment,
    /// The peer must have sent a message.
    pub(crate) idle: Moment,
    /// The connection reaches its maximum age.
    pub(crate) lifetime: Moment,
    /// The socket must have taken something.
    pub(crate) write: Moment,
    /// The peer must have answered our Close, and listeners must have ended.
    pub(crate) close: Moment,
    /// The rate allows the next message.
    pub(crate) message: Moment,
    /// The number of written bytes at the last estimate of the unread bytes. It wraps.
    written_before: u32,
    /// Deadlines that only few connections have.
    pub(crate) rare: Option<Box<Rare>>,
    /// The earliest moment that was registered with the clock and has not been reached.
    registered: Moment,
}

/// Deadlines of slow peers and slow listeners.
#[derive(Debug)]
pub(crate) struct Rare {
    /// The next check of what a slow peer has taken.
    pub(crate) look: Moment,
    /// The bytes that the peer had acknowledged at the last look.
    pub(crate) seen: Option<Acknowledged>,
    /// The messages that the peer sent before the end must have been delivered.
    pub(crate) overdue: Moment,
    /// Bytes that a slow peer may not have read yet, though its system has them.
    pub(crate) unread: u32,
}

impl Default for Rare {
    fn default() -> Rare {
        Rare { look: Moment::NEVER, seen: None, overdue: Moment::NEVER, unread: 0 }
    }
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
        written_before: 0,
        rare: None,
        registered: Moment::NEVER,
    };

    pub(crate) fn new(options: &WebSocketOptions, clock: &Clock) -> Deadlines {
        let after = |limit: Option<Duration>| limit.map_or(Moment::NEVER, |limit| clock.after(limit));
        Deadlines {
            ping: next_ping(options, clock),
            idle: after(options.idle_timeout),
            lifetime: after(options.max_lifetime),
            ..Deadlines::NONE
        }
    }

    /// Registers the earliest of the deadlines with the clock.
    pub(crate) fn register(&mut self, clock: &Clock, slot: &'static Slot, number: u64) {
        let (look, overdue) = self.rare.as_ref().map_or((Moment::NEVER, Moment::NEVER), |rare| (rare.look, rare.overdue));
        let all = [self.ping, self.pong, self.idle, self.lifetime, self.write, self.close, self.message, look, overdue];
        let earliest = all.into_iter().min().unwrap_or(Moment::NEVER);
        if earliest < self.registered {
            clock.forget(std::mem::replace(&mut self.registered, earliest), number);
            clock.ring_at(earliest, slot, number);
        }
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Stops checking the peer, which is no longer slow.
    pub(crate) fn stop_looking(&mut self) {
        if let Some(rare) = &mut self.rare {
            (rare.look, rare.seen) = (Moment::NEVER, None);
        }
        self.trim();
    }

    /// Clears the deadline for delivery: the received messages are being delivered.
    pub(crate) fn clear_overdue(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.overdue = Moment::NEVER;
        }
        self.trim();
    }

    pub(crate) fn trim(&mut self) {
        let is_unused = |rare: &Rare| (rare.look, rare.overdue, rare.unread) == (Moment::NEVER, Moment::NEVER, 0);
        if self.rare.as_deref().is_some_and(is_unused) {
            self.rare = None;
        }
    }

    /// Keeps only the deadlines of the end, since our Close has been queued.
    pub(crate) fn forget_all_but_the_end(&mut self) {
        for deadline in [&mut self.ping, &mut self.pong, &mut self.idle, &mut self.lifetime, &mut self.message] {
            *deadline = Moment::NEVER;
        }
    }

    /// Estimates how many of the `written` bytes a slow peer may not have read. The estimate is
    /// based on the bytes sent since the last estimate, `seconds` ago.
    pub(crate) fn estimate_unread(&mut self, written: u32, seconds: u64) {
        let read = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(LEAST_RATE);
        let sent = written.wrapping_sub(std::mem::replace(&mut self.written_before, written));
        let before = self.rare.as_ref().map_or(0, |rare| rare.unread);
        let unread = before.saturating_sub(read).saturating_add(sent).min(UNREAD_MAX);
        if unread > UNREAD_MIN {
            self.rare().unread = unread;
        } else if let Some(rare) = &mut self.rare {
            rare.unread = 0;
            self.trim();
        }
    }

    /// Removes the connection, which has ended, from the clock.
    pub(crate) fn forget(&mut self, clock: &Clock, number: u64) {
        clock.forget(std::mem::replace(&mut self.registered, Moment::NEVER), number);
    }

    /// Notes that the clock has reported all moments until now.
    pub(crate) fn note_rung(&mut self, now: Moment) {
        if self.registered <= now {
            self.registered = Moment::NEVER;
        }
    }

    /// Restarts the deadlines that wait for the peer, which has taken something.
    pub(crate) fn begin_anew(&mut self, options: &WebSocketOptions, clock: &Clock) {
        let limits = [
            (&mut self.write, options.write_timeout),
            (&mut self.pong, options.pong_timeout),
            (&mut self.close, Some(options.close_timeout)),
        ];
        for (deadline, limit) in limits {
            if *deadline != Moment::NEVER {
                *deadline = limit.map_or(Moment::NEVER, |limit| clock.after(limit));
            }
        }
    }
}

/// How often a slow peer is checked, at most. A shorter timeout is divided into four checks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn look_interval(options: &WebSocketOptions) -> Duration {
    let timeouts = [options.write_timeout, options.pong_timeout, Some(options.close_timeout)];
    let shortest = timeouts.into_iter().flatten().min().unwrap_or(LOOK_INTERVAL);
    (shortest / 4).min(LOOK_INTERVAL)
}

/// The lowest rate, in bytes per second, at which a peer is assumed to read from its system's
/// buffer.
pub(crate) const LEAST_RATE: u32 = 8 * 1024;

/// Fewer bytes than this are read well within any timeout.
const UNREAD_MIN: u32 = 64 * 1024;

/// A peer's system rarely keeps more. Linux allows 6 MiB by default, but reserves a part of it.
const UNREAD_MAX: u32 = 4 << 20;

/// Returns the moment of the next ping. The interval varies by up to 10 %, so that connections that
/// were opened together drift apart.
pub(crate) fn next_ping(options: &WebSocketOptions, clock: &Clock) -> Moment {
    options.ping_interval.map_or(Moment::NEVER, |interval| {
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let tenth = millis / 10;
        clock.after(Duration::from_millis((millis - tenth).saturating_add(fastrand::u64(0..=2 * tenth))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_peer_has_not_read_is_estimated_from_what_it_was_sent() {
        let mut deadlines = Deadlines::NONE;
        let mut unread = |written: u32| {
            deadlines.estimate_unread(written, 20);
            deadlines.rare.as_ref().map_or(0, |rare| rare.unread)
        };
        assert_eq!(unread(64 * 1024), 0, "so much is read in time");
        assert_eq!(unread(1_064 * 1024), 1_000 * 1024);
        assert_eq!(unread(1_064 * 1024), 840 * 1024, "8 KiB a second, for 20 s");
        assert_eq!(unread(100 << 20), 4 << 20, "no more than its system keeps");
        for _ in 0..26 {
            unread(100 << 20);
        }
        assert_eq!(unread(100 << 20), 0);
        assert!(deadlines.rare.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_has_one_entry_for_a_connection_however_often_its_deadlines_change() {
        let (clock, slot): (_, &'static Slot) = (Clock::new(false), Box::leak(Box::default()));
        let lifetime = clock.after(Duration::from_secs(100_000));
        let mut deadlines = Deadlines { lifetime, ..Deadlines::NONE };
        for _ in 0..100 {
            deadlines.message = clock.after(Duration::from_millis(200));
            deadlines.register(&clock, slot, 1);
            tokio::time::sleep(Duration::from_millis(251)).await;
            deadlines.note_rung(clock.now());
            deadlines.message = Moment::NEVER;
            deadlines.register(&clock, slot, 1);
            assert_eq!(clock.pending(), 1);
        }
        assert_eq!(deadlines.registered, lifetime);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_keeps_nothing_of_a_connection_that_is_over() {
        let (clock, slot): (_, &'static Slot) = (Clock::new(false), Box::leak(Box::default()));
        let after = |seconds| clock.after(Duration::from_secs(seconds));
        for number in 1..=1000 {
            let mut deadlines = Deadlines { lifetime: after(86_400), ..Deadlines::NONE };
            deadlines.register(&clock, slot, number);
            deadlines.write = after(30);
            deadlines.register(&clock, slot, number);
            deadlines.close = after(10);
            deadlines.register(&clock, slot, number);
            assert_eq!(clock.pending(), 1);
            deadlines.forget(&clock, number);
            assert_eq!(clock.pending(), 0);
        }
    }
}
