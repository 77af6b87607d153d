use parking_lot::MutexGuard;

use crate::emitter::drop_each;
use crate::http::Response;
use crate::protocol::{Opcode, Role, close, close_code};
use crate::sync::atomic::Ordering;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::flags::{DISCARD_INPUT, PAUSED, PEER_CLOSED, STATE_CHANGED, TERMINATED};
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::held::HeldMessages;
use crate::websocket::state::slot::{Phase, State};

/// # Ending
impl WebSocketConnection {
    /// Ends the connection: sends all written messages, then a Close frame with 1000. Messages of
    /// the peer are still delivered until its Close frame arrives. `close` fires at the end.
    pub fn end(&self) {
        self.begin_close(close_code::NORMAL, "", false);
    }

    /// Sends a last text message and [ends](WebSocketConnection::end) the connection.
    pub fn end_with(&self, text: impl AsRef<str>) {
        if let Some(mut state) = self.lock().filter(|state| state.is_writable()) {
            state.let_out_held();
        }
        self.write(text);
        self.end();
    }

    /// Closes the connection: sends all written messages, then a Close frame with 1000. Messages of
    /// the peer are no longer delivered. `close` fires when the peer has answered the Close frame,
    /// or after [`close_timeout`](crate::WebSocketOptions::close_timeout).
    pub fn close(&self) {
        self.close_with(close_code::NORMAL, "");
    }

    /// Closes the connection like [`close`](WebSocketConnection::close), with this code and this
    /// reason.
    ///
    /// A code that RFC 6455 §7.4 does not allow is replaced: for 1005 the Close frame has no code,
    /// and any other code becomes 1011. A reason longer than 123 bytes is shortened.
    pub fn close_with(&self, code: u16, reason: impl AsRef<str>) {
        self.begin_close(code, reason.as_ref(), true);
    }

    /// Ends the connection at once: drops unsent bytes, and sends no Close frame. `close` fires
    /// with 1006.
    pub fn terminate(&self) {
        if let Some(mut state) = self.lock().filter(|state| state.phase < Phase::Closed) {
            state.phase = Phase::Closing;
            state.cold().terminated = true;
            self.slot().signal(&state, STATE_CHANGED | DISCARD_INPUT | TERMINATED);
        }
    }

    /// Refuses the handshake: answers it with `response` instead of the 101. Returns `false` if it
    /// is too late, because the `connection` listeners have returned. If it is called several
    /// times, the client gets the last response.
    ///
    /// The connection emits no event, not even `close`. After this call `write` returns `false`,
    /// and the connection cannot join a group. The middleware emits `error`. `reject` does not end
    /// the listener: return after the call.
    ///
    /// ```
    /// # use react_websocket::{Response, WebSocketConnection, WebSocketMiddleware};
    /// # let websocket = WebSocketMiddleware::new();
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     if connection.request().is_none_or(|request| request.query_params().get("token") != Some("secret")) {
    ///         connection.reject(Response::plaintext("no").with_status(401));
    ///     }
    /// });
    /// ```
    pub fn reject(&self, response: Response) -> bool {
        let Some(mut state) = self.lock() else { return false };
        let is_rejected = state.cold_if_any().is_some_and(|cold| cold.rejection.is_some());
        if state.phase != Phase::Handshake && !is_rejected {
            return false;
        }
        state.phase = Phase::Closing;
        let before = state.cold().rejection.replace(response);
        drop(state);
        drop_each(before);
        true
    }

    /// Pauses reading: the socket is not read, and no event of received bytes fires. TCP slows down
    /// the peer. Deadlines that depend on reading are suspended.
    pub fn pause(&self) {
        if let Some(state) = self.lock() {
            self.slot().signal(&state, PAUSED);
        }
    }

    /// Resumes reading after [`pause`](WebSocketConnection::pause).
    pub fn resume(&self) {
        if let Some(state) = self.lock() {
            self.slot().flags.fetch_and(!PAUSED, Ordering::Release);
            self.slot().signal(&state, STATE_CHANGED);
        }
    }

    /// Returns whether messages of the peer may still be delivered, now or after
    /// [`resume`](WebSocketConnection::resume).
    pub fn is_readable(&self) -> bool {
        let is_delivered = || self.slot().flags.load(Ordering::Relaxed) & (DISCARD_INPUT | PEER_CLOSED) == 0;
        self.lock().is_some_and(|state| state.phase < Phase::Closed && is_delivered())
    }
}

/// Methods for the crate itself.
impl WebSocketConnection {
    /// Closes the connection because its server or its connector ends.
    pub(crate) fn close_for_shutdown(&self) {
        let role = self.shared().map_or(Role::Server, |shared| shared.role);
        let reason = match role {
            Role::Server => "server shutdown",
            Role::Client => "client shutdown",
        };
        self.close_with(close_code::GOING_AWAY, reason);
    }

    /// Cuts the connection when the server's grace is over, like
    /// [`terminate`](WebSocketConnection::terminate). No listener is awaited.
    pub(crate) fn cut(&self) {
        self.terminate();
        if let Some(mut state) = self.lock() {
            state.cold().skip_async = true;
            self.slot().signal(&state, STATE_CHANGED);
        }
    }

    /// Fails the connection: `error` fires, the peer gets a Close frame, and `close` follows. Does
    /// nothing if the connection has already failed, or its end is being emitted. Returns whether
    /// the connection failed by this call.
    pub(crate) fn fail(&self, error: ConnectionError) -> bool {
        match self.lock() {
            Some(state) => self.fail_locked(state, error),
            None => {
                drop_each([error]);
                false
            }
        }
    }

    #[cold]
    pub(crate) fn fail_locked(&self, mut state: MutexGuard<'static, State>, error: ConnectionError) -> bool {
        let is_known =
            state.cold_if_any().is_some_and(|cold| cold.fault.is_some() || cold.error.is_some() || cold.terminated);
        if is_known || state.phase == Phase::Closed {
            // The lock must be released before the error is dropped. The error may be the app's,
            // and its `drop` may do anything.
            drop(state);
            drop_each([error]);
            return false;
        }
        // After the error of a listener, a listener of `error` may choose the code.
        if state.is_writable() && !matches!(error, ConnectionError::Listener(_)) {
            self.queue_close(&mut state, error.close_code(), &error.public_reason());
        }
        state.cold().fault = Some(error);
        self.slot().signal(&state, STATE_CHANGED | DISCARD_INPUT);
        self.schedule_flush(state);
        true
    }

    fn begin_close(&self, code: u16, reason: &str, deaf: bool) {
        let Some(mut state) = self.lock().filter(|state| state.phase < Phase::Closed) else { return };
        if deaf {
            self.slot().signal(&state, STATE_CHANGED | DISCARD_INPUT);
        }
        if state.phase == Phase::Closing {
            return;
        }
        let code = close::sendable(code);
        let reason = if code == close_code::NO_STATUS { "" } else { close::sendable_reason(reason) };
        state.let_out_held();
        self.queue_close(&mut state, code, reason);
        state.cold().our_close = Some((code, reason.to_owned()));
        self.slot().signal(&state, STATE_CHANGED);
        self.schedule_flush(state);
    }

    /// Queues our Close behind the unsent bytes. It overtakes a message that is being streamed,
    /// which cannot end any more.
    pub(crate) fn queue_close(&self, state: &mut State, code: u16, reason: &str) {
        state.phase = Phase::Closing;
        // With this flag every flush signals the task, which has nothing to release any more.
        if std::mem::take(&mut state.holds) {
            state.cold().held = HeldMessages::default();
        }
        if state.framing.is_streaming() {
            state.framing.set_streaming(false);
            let stream = std::mem::take(&mut state.cold().stream);
            state.push_frames(|out| stream.give_up(out));
        }
        // The answer to an earlier ping.
        if let Some(pong) = state.cold_if_any().and_then(|cold| cold.pong.take()) {
            state.push(true, Opcode::Pong, &pong.payload);
        }
        if code != close_code::ABNORMAL {
            state.push_frames(|out| close::encode(out, code, reason));
        }
    }
}
