//! Writes of the task. Other threads write to a socket until it is full (`state/flush.rs`). Then the
//! task writes the unsent bytes when the socket is ready again. On other streams only the task writes.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::runtime::clock::Moment;
use crate::runtime::stream::ReadHalf;
use crate::websocket::driver::Driver;
use crate::websocket::state::buffers;
use crate::websocket::state::outbox::Flushed;

/// Writes by the connection's task.
impl Driver {
    /// Writes what other threads could not write: the socket was full, or only this task can write
    /// it.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) {
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
                    self.connection().note_progress(&mut state);
                    drop(state);
                    self.note_write(has_moved);
                    let Some(stream) = &self.read else { return };
                    match stream.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return self.connection().break_socket(),
                        Poll::Pending => {
                            self.progress.waits_for_socket = true;
                            return;
                        }
                    }
                }
                Flushed::Broken => {
                    drop(state);
                    return self.connection().break_socket();
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
                        connection.note_progress(&mut state);
                    }
                    self.deadlines.write = Moment::NEVER;
                }
                (Poll::Ready(_), _) => return connection.break_socket(),
                (Poll::Pending, _) => {
                    self.progress.waits_for_socket = true;
                    return self.note_write(false);
                }
            }
        }
    }

    /// Notes that the socket is full. If it has taken something, the write deadline restarts.
    fn note_write(&mut self, has_moved: bool) {
        if has_moved || self.deadlines.write == Moment::NEVER {
            let limit = self.shared.options.write_timeout;
            self.deadlines.write = limit.map_or(Moment::NEVER, |limit| self.permit.clock().after(limit));
        }
        self.watch_slow_peer();
    }
}
