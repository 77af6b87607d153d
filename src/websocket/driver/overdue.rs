//! The deadlines of a connection that have passed, and what happens then.
//!
//! `deadlines.rs` has the moments, and registers the earliest with the server's clock. The clock sets
//! `ALARM`, and `meet_deadlines` checks each deadline: the peer, the listeners, the close handshake
//! and the lifetime.

use std::time::Duration;

use crate::protocol::close_code;
use crate::runtime::acknowledged::Acknowledged;
use crate::runtime::clock::{Clock, Moment};
use crate::runtime::stream::ReadHalf;
use crate::sync::atomic::Ordering;
use crate::websocket::driver::Driver;
use crate::websocket::driver::deadlines::{LEAST_RATE, look_interval, next_ping};
use crate::websocket::error::ConnectionError;
use crate::websocket::options::WebSocketOptions;
use crate::websocket::state::flags::{ALARM, BLOCKED, DISCARD_INPUT};

/// Maximum time for the delivery of received messages beyond the close timeout, in close timeouts.
/// Each message has its own time as well. So neither a peer that sends forever instead of answering
/// our Close, nor an app that never resumes, keeps a connection.
const OVERDUE_MAX: u32 = 6;

/// The actions for deadlines that have passed.
impl Driver {
    pub(crate) fn meet_deadlines(&mut self) {
        let (shared, clock) = (self.shared.clone(), self.permit.clock().clone());
        let (options, clock) = (&shared.options, &clock);
        let now = clock.now();
        self.deadlines.note_rung(now);
        if self.deadlines.message <= now {
            self.deadlines.message = Moment::NEVER;
        }
        if self.deadlines.rare.as_ref().is_some_and(|rare| rare.look <= now) {
            self.look_at_peer(options, clock);
        }
        if self.deadlines.close <= now {
            self.meet_close_deadline(options, clock);
        }
        if self.deadlines.write <= now {
            let limit = options.write_timeout.unwrap_or_default();
            self.deadlines.write = Moment::NEVER;
            if self.closing.discards() {
                return self.hang_up();
            }
            self.connection().fail(ConnectionError::WriteTimeout { limit });
            return;
        }
        if self.deadlines.rare.as_ref().is_some_and(|rare| rare.overdue <= now) {
            self.deadlines.clear_overdue();
            self.hang_up();
        }
        if !self.connection().is_writable() {
            self.deadlines.forget_all_but_the_end();
            return;
        }
        if self.deadlines.pong <= now {
            self.meet_pong_deadline(options, clock);
        }
        if self.deadlines.ping <= now && self.connection().is_writable() {
            self.watch_if_under_way();
            let written = self.connection().lock().map_or(0, |state| state.outbox.written());
            self.connection().ping([]);
            self.deadlines.ping = next_ping(options, clock);
            // The deadline of an unanswered ping stays as it is.
            if std::mem::take(&mut self.progress.heard) || self.deadlines.pong == Moment::NEVER {
                self.deadlines.estimate_unread(written as u32, options.ping_interval.unwrap_or_default().as_secs());
                self.deadlines.pong = options.pong_timeout.map_or(Moment::NEVER, |limit| clock.after(limit));
            }
        }
        if self.deadlines.idle <= now {
            let limit = options.idle_timeout.unwrap_or_default();
            if self.is_silent() {
                return self.connection().close_with(close_code::GOING_AWAY, "idle");
            } else if !self.reads_first() {
                self.deadlines.idle = clock.after(limit);
            }
        }
        if self.deadlines.lifetime <= now {
            self.deadlines.lifetime = Moment::NEVER;
            self.connection().close_with(close_code::GOING_AWAY, "end of lifetime");
        }
    }

    fn meet_pong_deadline(&mut self, options: &WebSocketOptions, clock: &Clock) {
        let limit = options.pong_timeout.unwrap_or_default();
        if self.progress.heard {
            self.deadlines.pong = Moment::NEVER;
        } else if self.is_not_asked_yet(options) {
            self.deadlines.pong = clock.after(limit);
        } else if let Some(time) = self.time_to_read() {
            self.deadlines.pong = clock.after(time);
        } else if self.is_silent() {
            self.connection().fail(ConnectionError::PongTimeout { limit });
        } else if !self.reads_first() {
            self.deadlines.pong = clock.after(limit);
        }
    }

    /// Handles the close deadline: the peer has not answered our Close in time, or a listener has
    /// not ended in time.
    fn meet_close_deadline(&mut self, options: &WebSocketOptions, clock: &Clock) {
        let limit = options.close_timeout;
        let has_failed = self.closing.is_failing() && self.connection().is_writable();
        let awaits_answer =
            !has_failed && self.read.is_some() && !self.closing.has_peer_ended() && !self.closing.is_broken();
        self.deadlines.close = clock.after(limit);
        if awaits_answer && (self.is_not_asked_yet(options) || self.is_close_under_way(options, clock)) {
            return;
        }
        if awaits_answer {
            // Our Close was the end of all pings.
            let written = self.connection().lock().map_or(0, |state| state.outbox.written());
            self.deadlines.estimate_unread(written as u32, 0);
            if let Some(time) = self.time_to_read() {
                self.deadlines.close = clock.after(time);
                return;
            }
        }
        if has_failed {
            // A listener of `error` has used up its time. Our Close follows.
            self.dispatcher.abandon();
        } else if self.read.is_some() && self.flags() & DISCARD_INPUT == 0 && self.has_undelivered() {
            // The running listener has used up its time. The other received messages are delivered.
            self.dispatcher.abandon();
            let latest = clock.after(limit.saturating_mul(OVERDUE_MAX));
            let rare = self.deadlines.rare();
            rare.overdue = rare.overdue.min(latest);
        } else if self.may_hear_a_close() {
            self.dispatcher.abandon();
            // No other received message is delivered. The peer is judged after that.
            self.slot().flags.fetch_or(ALARM, Ordering::Relaxed);
            self.deadlines.close = clock.now();
        } else {
            // The first timeout is for the peer, and for listeners of its messages. A second one is
            // for listeners of `error` and `close`.
            if self.read.is_none() {
                self.dispatcher.skip_async();
            }
            if !self.closing.is_close_scheduled() {
                self.dispatcher.abandon();
            }
            self.hang_up();
        }
    }

    /// Checks what a slow peer has acknowledged. Any progress restarts the deadlines that wait for
    /// the peer.
    fn look_at_peer(&mut self, options: &WebSocketOptions, clock: &Clock) {
        let before = self.deadlines.rare.as_ref().and_then(|rare| rare.seen);
        let (Some(stream), Some(seen)) = (&self.read, self.acknowledged()) else { return self.deadlines.stop_looking() };
        let is_blocked = self.flags() & BLOCKED != 0;
        match before {
            Some(before) if seen.has_grown_since(before) => self.deadlines.begin_anew(options, clock),
            None if is_blocked => stream.keep_little_unsent(),
            _ => {}
        }
        if is_blocked || !seen.all {
            let next = clock.after(look_interval(options));
            let rare = self.deadlines.rare();
            (rare.look, rare.seen) = (next, Some(seen));
        } else {
            self.deadlines.write = Moment::NEVER;
            self.deadlines.stop_looking();
        }
    }

    /// Checks the peer now and then from now on, since the socket is full.
    pub(crate) fn watch_slow_peer(&mut self) {
        let can_tell = !matches!(self.read, None | Some(ReadHalf::Other(_)));
        if can_tell && self.deadlines.rare.as_ref().is_none_or(|rare| rare.look == Moment::NEVER) {
            self.deadlines.rare().look = self.permit.clock().after(look_interval(&self.shared.options));
        }
    }

    /// Checks the peer now and then, if earlier bytes are still under way when the peer is about to
    /// be asked for an answer.
    pub(crate) fn watch_if_under_way(&mut self) {
        if self.acknowledged().is_some_and(|seen| !seen.all) {
            self.watch_slow_peer();
        }
    }

    /// Notes that all bytes have left. If they `had_to_wait`, the time for the answer begins now.
    pub(crate) fn all_has_left(&mut self, had_to_wait: bool) {
        self.deadlines.write = Moment::NEVER;
        if had_to_wait {
            self.deadlines.begin_anew(&self.shared.options, self.permit.clock());
        }
    }

    /// Returns what the peer has acknowledged. `None` without a stream.
    fn acknowledged(&self) -> Option<Acknowledged> {
        let written = self.connection().lock()?.outbox.written();
        self.read.as_ref().map(|stream| stream.acknowledged(written))
    }

    /// Returns whether the ping or Close that the peer must answer is still unsent, behind other
    /// bytes. Then the write deadline applies.
    fn is_not_asked_yet(&self, options: &WebSocketOptions) -> bool {
        self.flags() & BLOCKED != 0 && options.write_timeout.is_some()
    }

    /// Returns whether the peer's system has not acknowledged our Close. Then the write deadline
    /// applies, from the last acknowledgement on.
    fn is_close_under_way(&mut self, options: &WebSocketOptions, clock: &Clock) -> bool {
        let Some(limit) = options.write_timeout else { return false };
        let is_under_way = self.acknowledged().is_some_and(|seen| !seen.all);
        if is_under_way && self.deadlines.write == Moment::NEVER {
            self.deadlines.write = clock.after(limit.saturating_sub(options.close_timeout));
            self.watch_slow_peer();
        }
        is_under_way
    }

    /// Returns how long a peer whose system has everything may take to read it, before it reaches
    /// the frame to answer. The peer gets that time once.
    fn time_to_read(&mut self) -> Option<Duration> {
        if matches!(self.read, Some(ReadHalf::Other(_))) {
            // It is not known whether the peer's system has everything.
            return None;
        }
        let unread = std::mem::take(&mut self.deadlines.rare.as_mut()?.unread);
        let time = Duration::from_secs((unread / LEAST_RATE).into());
        (!time.is_zero() && self.acknowledged()?.all).then_some(time)
    }

    fn has_undelivered(&self) -> bool {
        !self.dispatcher.is_free() || !self.backlog.is_empty()
    }

    /// Returns whether the received bytes may contain the peer's answer to our Close, behind a
    /// message whose listener is running.
    fn may_hear_a_close(&self) -> bool {
        self.read.is_some() && !self.closing.discards() && !self.dispatcher.is_free() && !self.backlog.is_empty()
    }

    /// Returns whether everything that the peer has sent has been read. While this thread was held
    /// up, the system may have received bytes that tokio did not notice before the deadline. It may
    /// never notice bytes that follow TCP's urgent data.
    fn is_silent(&mut self) -> bool {
        let has_unread = self.read.as_ref().is_some_and(ReadHalf::has_unread);
        self.progress.has_unread = has_unread && self.progress.waits_for_peer;
        self.progress.waits_for_peer && !has_unread
    }

    /// Returns whether received bytes can be read before the peer is judged. A peer that is not
    /// read cannot show a sign of life.
    fn reads_first(&self) -> bool {
        let may_read = self.may_read();
        if may_read {
            self.slot().flags.fetch_or(ALARM, Ordering::Relaxed);
        }
        may_read
    }
}
