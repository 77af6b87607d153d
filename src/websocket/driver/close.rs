use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Context;

use tokio::io::AsyncWrite;

use crate::emitter::drop_each;
use crate::protocol::close_code;
use crate::runtime::clock::Moment;
use crate::runtime::stream::ReadHalf;
use crate::runtime::trace;
use crate::websocket::driver::{Driver, Progress};
use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::{self, Args};
use crate::websocket::state::slot::{ATTEND, BLOCKED, HEARD_OUT, Phase};

/// What the peer's Close said.
pub(crate) struct PeerClose {
    close: Option<(u16, String)>,
    /// It came before ours.
    first: bool,
}

/// How a connection comes to its end.
impl Driver {
    /// The peer has said Close (RFC 6455 §5.5.1): answers it, unless it is the answer to ours.
    pub(crate) fn answer_close(&mut self, close: Option<(u16, String)>, cx: &mut Context<'_>) {
        let Some(mut state) = self.connection().lock() else { return };
        let first = state.existing_extras().is_none_or(|extras| extras.closing.is_none());
        self.slot().flags.fetch_or(HEARD_OUT, Ordering::Relaxed);
        if state.is_writable() {
            let (code, reason) = close.as_ref().map_or((close_code::NO_STATUS, ""), |(code, reason)| (*code, reason));
            self.connection().queue_close(&mut state, code, reason);
            // It is sent when the task looks at the state, which it does next.
            self.slot().signal(&state, ATTEND);
        }
        drop(state);
        self.progress.is_calm = false;
        self.peer_close = Some(Box::new(PeerClose { close, first }));
        self.emit(event::END, Args::Nothing, cx);
    }

    /// Lets the socket go when there is nothing more to do with it, and has `close` emitted then. Whether it has.
    #[inline]
    pub(crate) fn end_if_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Progress { ended, failed, closed, .. } = &self.progress;
        let may_be_over = *ended || *failed || self.peer_close.is_some() || self.read.is_none();
        !closed && may_be_over && self.end_now(cx)
    }

    #[inline(never)]
    pub(crate) fn end_now(&mut self, cx: &mut Context<'_>) -> bool {
        if self.read.is_some() {
            if self.progress.failed && self.close_after_error() {
                return false;
            }
            let is_flushed = self.is_flushed();
            let is_over = if self.progress.ended {
                // What arrived before is delivered first, and answered.
                self.inbox.is_empty() && self.delivery.is_free() && is_flushed
            } else if self.peer_close.is_some() {
                is_flushed
            } else {
                if is_flushed {
                    self.shut_down(cx);
                }
                false
            };
            if !is_over || !self.shut_down_stream(cx) {
                return false;
            }
            self.hang_up();
        }
        let (code, reason) = self.close_args();
        self.progress.closed = true;
        let cause = self.cause();
        self.shared.connections.begin_to_end(self.connection(), cause);
        trace::connection_closed(cause, code, &reason);
        self.delivery.close(code, reason);
        true
    }

    /// A listener has failed, and listeners of `error` may have said how to close: if none has, with 1011. `false` if our Close is
    /// on its way already.
    fn close_after_error(&mut self) -> bool {
        let connection = self.connection();
        if !connection.is_writable() {
            return false;
        }
        if self.delivery.has_told_error()
            && let Some(error) = connection.error()
        {
            connection.close_with(error.close_code(), error.public_reason());
        }
        true
    }

    /// Whether all has left that will.
    fn is_flushed(&self) -> bool {
        let connection = self.connection();
        let Some(mut state) = connection.lock() else { return true };
        // Another thread may have written and be about to flush it, and would not tell this task that it has.
        connection.flush_locked(&mut state);
        state.broken || state.unsent() == 0 && !state.blocked
    }

    /// After a fault, when the peer has been told: a FIN, so that it ends its side too. Closing the socket while it still
    /// sends would be a reset, which takes our Close from it.
    fn shut_down(&mut self, cx: &mut Context<'_>) {
        if self.shut_down_stream(cx)
            && !std::mem::replace(&mut self.progress.shut_down, true)
            && let Some(mut state) = self.connection().lock()
        {
            state.outbox.shut_down();
        }
    }

    /// Ends a stream that is not a socket in order: TLS says by its close_notify that nothing is missing (RFC 8446 §6.1). `false` if
    /// it takes time.
    fn shut_down_stream(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.read {
            Some(ReadHalf::Other(stream)) if !self.progress.shut_down => Pin::new(stream).poll_shutdown(cx).is_ready(),
            _ => true,
        }
    }

    /// Lets the socket go.
    pub(crate) fn hang_up(&mut self) {
        self.inbox.clear();
        self.writing = None;
        if let Some(mut state) = self.connection().lock() {
            state.phase = state.phase.max(Phase::Closing);
            state.blocked = false;
            state.outbox.break_off();
            self.slot().flags.fetch_and(!BLOCKED, Ordering::Relaxed);
        }
        // The stream may be an app's, and do anything then.
        drop_each(self.read.take());
        self.progress.is_calm = false;
        self.begin_to_end();
    }

    /// From now on there is a time by which it has to be over.
    pub(crate) fn begin_to_end(&mut self) {
        if self.deadlines.close == Moment::NEVER {
            self.deadlines.close = self.lifetime.clock().after(self.shared.options.close_timeout);
        }
    }

    /// Why it has ended, in a word.
    fn cause(&self) -> &'static str {
        match (self.connection().error(), &self.peer_close) {
            (Some(error), _) => error.cause(),
            (None, None) => "lost",
            (None, Some(peer)) if peer.first => "peer",
            (None, Some(_)) => "server",
        }
    }

    /// What `close` says: the fault, or what the side said that began to close; 1006 if none did, or it got no answer.
    pub(crate) fn close_args(&self) -> (u16, String) {
        let ours = self.connection().lock().and_then(|mut state| state.existing_extras()?.closing.clone());
        if let Some(error) = self.connection().error() {
            let default = (error.close_code(), error.public_reason());
            if let (ConnectionError::Listener(_), Some(ours)) = (&error, ours)
                && (ours.0, ours.1.as_str()) != (default.0, &*default.1)
            {
                return ours;
            }
            return (error.close_code(), error.reason().into_owned());
        }
        let Some(peer) = &self.peer_close else { return (close_code::ABNORMAL, String::new()) };
        if peer.first {
            return peer.close.clone().unwrap_or((close_code::NO_STATUS, String::new()));
        }
        ours.unwrap_or((close_code::NORMAL, String::new()))
    }
}
