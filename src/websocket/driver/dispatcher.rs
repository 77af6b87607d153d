//! The calls of a connection's listeners, one at a time.
//!
//! The driver emits the events of received frames with `emit` or `emit_quickly`. Other events (`drain`,
//! `error`, `close`) are scheduled, and emitted in this order when no listener is running. While an
//! asynchronous listener runs, the driver delivers nothing, and polls the dispatcher.

use std::task::{Context, Poll, Waker};

use crate::emitter::{BoxError, Change, Emission, Table, contain};
use crate::runtime::trace;
use crate::sync::atomic::Ordering;
use crate::websocket::driver::pending_events::{Due, Running};
use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::{
    Args, BINARY, CLOSE, ConnectionEvents, DRAIN, ERROR, MESSAGE, NAMES, OwnedArgs, TEXT,
};
use crate::websocket::state::flags::{DISCARD_INPUT, PENDING_CHANGES};
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::slot::Slot;

/// Calls a connection's listeners one at a time. An asynchronous listener is awaited before the
/// next is called.
pub(crate) struct Dispatcher {
    connection: WebSocketConnection,
    slot: &'static Slot,
    listeners: Table<ConnectionEvents>,
    /// Created when an asynchronous listener is pending for the first time, and reused.
    running: Option<Box<Running>>,
    /// Created when an event is due.
    due: Option<Box<Due>>,
    failure: Option<BoxError>,
}

impl Dispatcher {
    pub(crate) fn new(connection: WebSocketConnection) -> Dispatcher {
        Dispatcher {
            connection,
            slot: connection.slot(),
            listeners: Table::default(),
            running: None,
            due: None,
            failure: None,
        }
    }

    #[inline(always)]
    pub(crate) fn connection(&self) -> WebSocketConnection {
        self.connection
    }

    #[inline(always)]
    pub(crate) fn slot(&self) -> &'static Slot {
        self.slot
    }

    /// Whether no listener is running.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.running.as_ref().is_none_or(|running| !running.active)
    }

    /// Whether `close`, the last event, has been emitted.
    pub(crate) fn is_over(&self) -> bool {
        self.is_free() && self.due.as_ref().is_some_and(|due| due.done)
    }

    /// Returns whether [`poll`](Dispatcher::poll) has nothing to continue.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.is_free() && self.due.is_none()
    }

    /// Emits an event. The caller has checked that no listener is running. Returns `false` if a
    /// listener returned an error, which [`take_failure`](Dispatcher::take_failure) returns.
    #[inline]
    pub(crate) fn emit(&mut self, event: u8, args: Args<'_>, cx: &mut Context<'_>) -> bool {
        self.apply_pending();
        if self.listeners.listens_to(event) {
            self.emit_from(event, 0, args, cx);
        }
        self.emit_message(event, args, cx);
        self.failure.is_none()
    }

    /// Like [`emit`](Dispatcher::emit), for a message. Fast for many messages in one read. The caller
    /// has checked that no changes of listeners are pending, and that the message may be delivered.
    /// Returns `false` if a listener is still running or has failed.
    #[inline(always)]
    pub(crate) fn emit_quickly(&mut self, event: u8, args: Args<'_>, cx: &mut Context<'_>) -> bool {
        self.slot.event.store(event, Ordering::Relaxed);
        let emission = match self.listeners.call_simple(event, &self.connection, &args) {
            Some(Ok(())) if self.flags() & PENDING_CHANGES == 0 => return true,
            Some(result) => result.map_or_else(Emission::Failed, |()| Emission::Done),
            None => return self.emit_to_several(event, args, cx),
        };
        self.emit_rest(event, emission, args, cx)
    }

    /// [`emit_quickly`](Dispatcher::emit_quickly) for listeners that are not a single simple one.
    #[inline(never)]
    fn emit_to_several(&mut self, event: u8, args: Args<'_>, cx: &mut Context<'_>) -> bool {
        let emission = self.listeners.emit(event, 0, &self.connection, &args);
        self.is_all(event, &emission) || self.emit_rest(event, emission, args, cx)
    }

    /// Returns whether the emission of a message is complete.
    #[inline(always)]
    fn is_all(&self, event: u8, emission: &Emission) -> bool {
        matches!(emission, Emission::Done)
            && !self.listeners.has_once(event)
            && !self.listeners.listens_to(MESSAGE)
            && self.flags() & PENDING_CHANGES == 0
    }

    /// The rest of [`emit_quickly`](Dispatcher::emit_quickly).
    #[inline(never)]
    fn emit_rest(&mut self, event: u8, mut emission: Emission, args: Args<'_>, cx: &mut Context<'_>) -> bool {
        if let Emission::Started(place) = emission {
            match self.poll_started(event, place, args, cx) {
                Some(next) if self.is_all(event, &next) => return true,
                Some(next) => emission = next,
                None => return false,
            }
        }
        self.conclude(event, emission, args, cx);
        self.emit_message(event, args, cx);
        self.is_free() && self.failure.is_none()
    }

    /// Emits `drain` as soon as possible.
    pub(crate) fn schedule_drain(&mut self) {
        self.due().drain = true;
    }

    /// Emits `error` as soon as possible.
    pub(crate) fn schedule_error(&mut self, error: ConnectionError) {
        self.due().error = Some(error);
    }

    /// Returns whether the app has a listener of `error`.
    pub(crate) fn listens_to_errors(&mut self) -> bool {
        self.apply_pending();
        self.listeners.listens_to(ERROR)
    }

    /// Whether all listeners of `error` have been called, and have ended.
    pub(crate) fn has_emitted_error(&self) -> bool {
        self.is_free() && self.due.as_ref().is_none_or(|due| due.error.is_none())
    }

    /// Emits `close` as soon as possible. No event follows it.
    pub(crate) fn schedule_close(&mut self, code: u16, reason: String) {
        self.due().close = Some((code, reason));
    }

    /// From now on asynchronous listeners are polled once, and not awaited.
    pub(crate) fn skip_async(&mut self) {
        self.due().skip_async = true;
        self.abandon();
    }

    /// Emits the due events at once, when the task no longer exists.
    pub(crate) fn finish(&mut self) {
        self.skip_async();
        self.due().drain = false;
        // All listeners called here contain their panics, and none is waited for.
        let _ = self.poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Ends a connection that was never opened. Only the crate's own listeners are called, which
    /// clean up.
    pub(crate) fn discard(mut self) {
        self.connection.begin_to_close(true);
        self.apply_pending();
        self.listeners.apply(Change::RemoveAll(None));
        let mut cx = Context::from_waker(Waker::noop());
        self.emit_to_each(CLOSE, 0, Args::Nothing, &mut cx);
        self.connection.retire();
    }

    /// Abandons the listener that is running. Of `error` and `close` the remaining listeners are
    /// called.
    pub(crate) fn abandon(&mut self) {
        let Some(running) = self.running.take().filter(|running| running.active) else { return };
        if running.event == ERROR || running.event == CLOSE {
            // The due listeners return what they wait for at the next poll.
            let mut cx = Context::from_waker(Waker::noop());
            self.emit_to_each(running.event, running.place + 1, running.args.as_args(), &mut cx);
        }
    }

    /// Continues the running listener, and emits the events that became due meanwhile. Ready when
    /// nothing is left to do.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_idle() { Poll::Ready(()) } else { self.poll_all(cx) }
    }

    fn due(&mut self) -> &mut Due {
        self.due.get_or_insert_default()
    }

    /// The error that a listener returned.
    pub(crate) fn take_failure(&mut self) -> Option<BoxError> {
        self.failure.take()
    }

    #[inline(never)]
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.poll_running(cx);
            if !self.is_free() {
                return Poll::Pending;
            }
            self.apply_pending();
            let Some(due) = &mut self.due else { return Poll::Ready(()) };
            if self.failure.is_some() && !due.skip_async {
                // The failure becomes the connection's error, which is emitted first.
                return Poll::Ready(());
            }
            if std::mem::take(&mut due.drain) {
                self.emit(DRAIN, Args::Nothing, cx);
            } else if let Some(error) = due.error.take() {
                self.apply_pending();
                self.emit_to_each(ERROR, 0, Args::Failed(&error), cx);
            } else if let Some((code, reason)) = due.close.take() {
                let skip_async = due.skip_async;
                if !self.connection.begin_to_close(skip_async) {
                    self.schedule_close(code, reason);
                    return Poll::Ready(());
                }
                self.due().done = true;
                // Listeners that were registered before the event get it.
                self.apply_pending();
                self.emit_to_each(CLOSE, 0, Args::Closed(code, &reason), cx);
            } else {
                if !due.done && !due.skip_async {
                    self.due = None;
                }
                return Poll::Ready(());
            }
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) {
        while let Some(running) = self.running.as_mut().filter(|running| running.active) {
            let (event, place) = (running.event, running.place);
            self.slot.event.store(event, Ordering::Relaxed);
            let polled = contain(|| Ok(self.listeners.poll(place, cx)));
            let Poll::Ready(result) = polled.unwrap_or_else(|error| Poll::Ready(Err(error))) else { return };
            // Taken out and put back for the next event, since the arguments are borrowed
            // meanwhile.
            let Some(mut running) = self.running.take() else { return };
            running.active = false;
            let args = std::mem::take(&mut running.args);
            self.running = Some(running);
            if event == ERROR || event == CLOSE {
                if let Err(error) = result {
                    trace::listener_failed(NAMES.name(event), error);
                }
                self.emit_to_each(event, place + 1, args.as_args(), cx);
                continue;
            }
            if let Err(error) = result {
                self.failure = Some(error);
                continue;
            }
            self.emit_from(event, place + 1, args.as_args(), cx);
            if !matches!(args, OwnedArgs::Nothing) {
                self.emit_message(event, args.as_args(), cx);
            }
        }
    }

    /// Emits `message` after `text` or `binary`, to its present listeners.
    #[inline(never)]
    fn emit_message(&mut self, event: u8, args: Args<'_>, cx: &mut Context<'_>) {
        if (event == TEXT || event == BINARY)
            && self.is_free()
            && self.failure.is_none()
            && self.flags() & DISCARD_INPUT == 0
        {
            self.apply_pending();
            self.emit_from(MESSAGE, 0, args, cx);
        }
    }

    #[inline]
    fn flags(&self) -> u16 {
        self.slot.flags.load(Ordering::Acquire)
    }

    /// Calls the listeners from this place on, until one fails.
    #[inline]
    fn emit_from(&mut self, event: u8, place: usize, args: Args<'_>, cx: &mut Context<'_>) {
        self.slot.event.store(event, Ordering::Relaxed);
        let emission = self.listeners.emit(event, place, &self.connection, &args);
        if !matches!(emission, Emission::Done) || self.listeners.has_once(event) {
            self.conclude(event, emission, args, cx);
        }
    }

    /// Continues an emission to its end, or to a pending listener.
    #[inline(never)]
    fn conclude(&mut self, event: u8, mut emission: Emission, args: Args<'_>, cx: &mut Context<'_>) {
        loop {
            match emission {
                Emission::Done => break,
                Emission::Failed(error) => {
                    self.failure = Some(error);
                    break;
                }
                Emission::Started(place) => match self.poll_started(event, place, args, cx) {
                    Some(next) => emission = next,
                    None => return,
                },
            }
        }
        self.remove_once(event);
    }

    /// Continues an emission after an asynchronous listener has started. `None` if that listener is
    /// pending.
    #[inline]
    fn poll_started(&mut self, event: u8, place: usize, args: Args<'_>, cx: &mut Context<'_>) -> Option<Emission> {
        Some(match self.listeners.poll(place, cx) {
            Poll::Ready(Ok(())) => self.listeners.emit(event, place + 1, &self.connection, &args),
            Poll::Ready(Err(error)) => Emission::Failed(error),
            Poll::Pending => {
                self.suspend(event, place, args);
                return None;
            }
        })
    }

    /// Calls all listeners from this place on. A listener of `error` or `close` that fails does not
    /// stop the others.
    fn emit_to_each(&mut self, event: u8, place: usize, args: Args<'_>, cx: &mut Context<'_>) {
        self.slot.event.store(event, Ordering::Relaxed);
        let mut next = place;
        while let Some(place) = self.listeners.place_of(event, next) {
            next = place + 1;
            let (listeners, connection) = (&mut self.listeners, &self.connection);
            let called = contain(|| Ok(listeners.call(place, connection, &args, cx)));
            let called = called.unwrap_or_else(|error| Poll::Ready(Err(error)));
            if let Poll::Ready(Err(error)) = called {
                trace::listener_failed(NAMES.name(event), error);
            } else if called.is_pending() && !self.due.as_ref().is_some_and(|due| due.skip_async) {
                return self.suspend(event, place, args);
            }
        }
        self.remove_once(event);
    }

    /// Removes the `once` listeners of an event that has been emitted.
    fn remove_once(&mut self, event: u8) {
        if self.listeners.has_once(event) {
            let over = self.listeners.remove_once(event);
            if let Some(mut state) = self.connection.lock() {
                state.registered.retain(|id| !over.contains(id));
            }
        }
    }

    #[cold]
    fn suspend(&mut self, event: u8, place: usize, args: Args<'_>) {
        // A `message` listener that is registered only now gets the next message: no arguments are
        // kept for it.
        let is_message = (event == TEXT || event == BINARY) && self.listeners.listens_to(MESSAGE);
        let is_needed = is_message || self.listeners.place_of(event, place + 1).is_some();
        let running =
            self.running.get_or_insert_with(|| Box::new(Running { active: false, event, place, args: OwnedArgs::Nothing }));
        let args = if is_needed { OwnedArgs::new(args) } else { OwnedArgs::Nothing };
        **running = Running { active: true, event, place, args };
    }

    /// Applies pending changes of the listeners. Without changes it only reads a flag.
    #[inline]
    pub(crate) fn apply_pending(&mut self) {
        if self.flags() & PENDING_CHANGES != 0 {
            self.apply_changes();
        }
    }

    #[cold]
    fn apply_changes(&mut self) {
        let Some(mut state) = self.connection.lock() else { return };
        self.slot.flags.fetch_and(!PENDING_CHANGES, Ordering::Relaxed);
        let pending_changes = std::mem::take(&mut state.pending_changes);
        drop(state);
        self.listeners.apply_all(pending_changes);
    }
}
