use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::buffers;
use super::connection::WebSocketConnection;
use super::driver::Driver;
use super::outbox::Flushed;
use super::slot::{ATTEND, BLOCKED, DRAINED, Slot, State};
use crate::protocol::Opcode;
use crate::runtime::clock::Moment;
use crate::runtime::stream::ReadHalf;

/// By the task, where others could not.
impl Driver {
    /// Writes what others could not: the socket was full, or is one that only this task can write.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) {
        match &self.read {
            Some(ReadHalf::Other(_)) => self.write_stream(cx),
            Some(_) => self.write_socket(cx),
            None => {}
        }
    }

    fn write_socket(&mut self, cx: &mut Context<'_>) {
        let had_to_wait = self.deadlines.write != Moment::NEVER;
        loop {
            let Some(mut state) = self.connection().lock() else { return };
            let before = state.unsent();
            match state.outbox.flush() {
                Flushed::All | Flushed::NotYet => {
                    if self.connection().unblock(&mut state) {
                        drop(state);
                        return self.all_has_left(had_to_wait);
                    }
                }
                Flushed::Full => {
                    let has_moved = state.unsent() < before;
                    self.connection().moved(&mut state);
                    drop(state);
                    self.note_write(has_moved);
                    let Some(stream) = &self.read else { return };
                    match stream.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return self.connection().broken(),
                        Poll::Pending => {
                            self.progress.waits_for_socket = true;
                            return;
                        }
                    }
                }
                Flushed::Broken => {
                    drop(state);
                    return self.connection().broken();
                }
            }
        }
    }

    fn write_stream(&mut self, cx: &mut Context<'_>) {
        let had_to_wait = self.deadlines.write != Moment::NEVER;
        let connection = self.connection();
        let Some(ReadHalf::Other(stream)) = &mut self.read else { return };
        loop {
            if self.writing.as_ref().is_none_or(|buffer| buffer.left() == 0) {
                let taken = connection.lock().and_then(|mut state| state.outbox.take());
                if let Some(written) = std::mem::replace(&mut self.writing, taken) {
                    buffers::give(written);
                }
            }
            let polled = match &self.writing {
                Some(buffer) => Pin::new(&mut *stream).poll_write(cx, buffer.rest()),
                None => Pin::new(&mut *stream).poll_flush(cx).map_ok(|()| 0),
            };
            match (polled, &mut self.writing) {
                (Poll::Ready(Ok(_)), None) => {
                    let Some(mut state) = connection.lock() else { return };
                    if connection.unblock(&mut state) {
                        drop(state);
                        return self.all_has_left(had_to_wait);
                    }
                }
                (Poll::Ready(Ok(count @ 1..)), Some(buffer)) => {
                    buffer.at += count;
                    if let Some(mut state) = connection.lock() {
                        state.outbox.wrote(count);
                        connection.moved(&mut state);
                    }
                    self.deadlines.write = Moment::NEVER;
                }
                (Poll::Ready(_), _) => return connection.broken(),
                (Poll::Pending, _) => {
                    self.progress.waits_for_socket = true;
                    return self.note_write(false);
                }
            }
        }
    }

    /// The socket is full: the time that it may stay so runs anew if it has taken something.
    fn note_write(&mut self, has_moved: bool) {
        if has_moved || self.deadlines.write == Moment::NEVER {
            let limit = self.shared.options.write_timeout;
            self.deadlines.write = limit.map_or(Moment::NEVER, |limit| self.lifetime.clock().after(limit));
        }
        self.watch_slow_peer();
    }
}

/// From the outbox to the socket, by whichever thread.
impl WebSocketConnection {
    /// Sends what can be sent now.
    #[inline]
    pub(super) fn flush(self) {
        self.flush_at(self.slot());
    }

    /// The same, its slot being known.
    pub(super) fn flush_at(self, slot: &'static Slot) {
        if let Some(mut state) = self.lock_at(slot) {
            self.flush_locked(&mut state);
        }
    }

    #[inline(always)]
    pub(super) fn flush_locked(&self, state: &mut State) {
        state.corked_by = 0;
        if state.blocked {
            return;
        }
        let flushed = state.outbox.flush();
        if flushed != Flushed::All || state.wants_drain || state.holds {
            self.flushed(state, flushed);
        }
    }

    /// The same where nothing can follow.
    pub(super) fn flush_last(self) {
        if let Some(mut state) = self.lock().filter(|state| !state.blocked) {
            let flushed = state.outbox.flush_last();
            self.flushed(&mut state, flushed);
        }
    }

    /// Takes note of how a flush ended, and says whether there is room for more.
    pub(super) fn flushed(&self, state: &mut State, flushed: Flushed) -> bool {
        match flushed {
            Flushed::All => {
                if state.wants_drain || state.holds {
                    self.drained(state);
                }
                true
            }
            Flushed::NotYet => self.room(state),
            Flushed::Full => {
                state.blocked = true;
                self.slot().signal(state, BLOCKED);
                self.room(state)
            }
            Flushed::Broken => {
                state.broken = true;
                self.slot().signal(state, ATTEND);
                false
            }
        }
    }

    /// Everything was sent: others may write to the socket again. `false` if there is more to send first.
    pub(super) fn unblock(&self, state: &mut State) -> bool {
        self.queue_pong(state);
        if state.outbox.unsent() > 0 {
            return false;
        }
        state.trim_extras();
        state.blocked = false;
        self.slot().flags.fetch_and(!BLOCKED, Ordering::Relaxed);
        self.drained(state);
        true
    }

    /// The socket is full, and may have taken something.
    fn moved(&self, state: &mut State) {
        self.queue_pong(state);
        self.drained(state);
    }

    /// Queues the answer that waits, if what was to be sent before it has left. Not later: who heeds `drain` may keep the socket
    /// full for as long as it likes.
    pub(super) fn queue_pong(&self, state: &mut State) {
        let written = state.outbox.written();
        if state.is_writable()
            && let Some(extras) = state.existing_extras()
            && let Some(pong) = extras.pong.take_if(|pong| pong.behind <= written)
        {
            state.outbox.push(true, Opcode::Pong, &pong.payload);
        }
    }

    /// The socket has failed.
    pub(super) fn broken(&self) {
        if let Some(mut state) = self.lock() {
            let flushed = state.outbox.break_off();
            state.blocked = false;
            self.slot().flags.fetch_and(!BLOCKED, Ordering::Relaxed);
            self.flushed(&mut state, flushed);
        }
    }

    /// If there is room again: lets those know who wait for it.
    #[cold]
    pub(super) fn drained(&self, state: &mut State) {
        if (state.wants_drain || state.holds) && state.unsent() < state.soft_limit {
            state.has_drained |= std::mem::take(&mut state.wants_drain);
            self.slot().signal(state, DRAINED);
        }
    }
}
