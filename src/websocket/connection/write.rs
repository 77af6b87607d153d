use parking_lot::MutexGuard;
use tokio::sync::futures::OwnedNotified;

use crate::protocol::Opcode;
use crate::websocket::connection::message_writer::{BinaryPayload, MessageWriter, TextPayload};
use crate::websocket::error::{Closed, ConnectionError};
use crate::websocket::message::Message;
use crate::websocket::state::cork;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::slot::{Phase, Slot, State, WaitingPong};
use crate::websocket::state::streaming::Streaming;

/// Payloads of this size and above are written at once, without a copy. Below it a copy is cheaper
/// than a system call with several buffers. At 16 KiB the copy saves 2 % of an echo, at 32 KiB it
/// costs 4 %.
const LARGE: usize = 24 * 1024;

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;

/// # Writing
impl WebSocketConnection {
    /// Sends a text message.
    ///
    /// Returns `true` if the unsent bytes are below the soft limit (default: 64 KiB). Otherwise it
    /// accepts the message and returns `false`: wait for `drain` before the next write. It also
    /// returns `false`, and drops the message, if the connection is closing or closed. A write at
    /// or above the hard limit (default: 4 MiB) fails the connection with 1013.
    ///
    /// In a listener the message is sent at the end of the current turn, when all listeners of the
    /// received messages have returned. Outside of listeners it is sent at once;
    /// [`cork`](crate::cork) combines several messages. A message that a `connection` listener
    /// writes is sent after the 101 response.
    pub fn write(&self, text: impl AsRef<str>) -> bool {
        self.write_frame(Opcode::Text, text.as_ref().as_bytes())
    }

    /// Sends a binary message. Returns the same as [`write`](WebSocketConnection::write).
    pub fn write_binary(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.write_frame(Opcode::Binary, bytes.as_ref())
    }

    /// Sends a text or binary message. Returns the same as [`write`](WebSocketConnection::write).
    pub fn write_message(&self, message: &Message) -> bool {
        match message {
            Message::Text(text) => self.write(text),
            Message::Binary(bytes) => self.write_binary(bytes),
        }
    }

    /// Sends a value as JSON, in a text message. Returns the same as
    /// [`write`](WebSocketConnection::write).
    ///
    /// ```
    /// # fn serve(connection: react_websocket::WebSocketConnection) {
    /// connection.on("text", move |text: &str| connection.write_json(&vec![text; 2]));
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the value cannot be converted to JSON, for example a map whose keys are not strings. In
    /// this case no message is sent.
    #[cfg(feature = "json")]
    pub fn write_json(&self, value: &(impl serde::Serialize + ?Sized)) -> Result<bool, serde_json::Error> {
        // JSON is UTF-8.
        Ok(self.write_frame(Opcode::Text, &serde_json::to_vec(value)?))
    }

    /// Waits until the unsent bytes are below the soft limit, then sends a text message. This
    /// combines [`write`](WebSocketConnection::write) and `drain` for asynchronous code.
    ///
    /// A listener of the same connection may await it, because the connection sends bytes while the
    /// listener waits. In a `connection` listener it does not wait, because the connection is not
    /// open yet.
    ///
    /// # Errors
    /// [`Closed`] if the connection closes or ends before the message is accepted.
    pub async fn send(&self, text: impl AsRef<str>) -> Result<(), Closed> {
        self.send_frame(Opcode::Text, text.as_ref().as_bytes()).await
    }

    /// Sends a binary message like [`send`](WebSocketConnection::send).
    ///
    /// # Errors
    /// Like [`send`](WebSocketConnection::send).
    pub async fn send_binary(&self, bytes: impl AsRef<[u8]>) -> Result<(), Closed> {
        self.send_frame(Opcode::Binary, bytes.as_ref()).await
    }

    /// Begins a text message that is written in pieces.
    pub fn begin_text(&self) -> MessageWriter<TextPayload> {
        MessageWriter::begin(*self)
    }

    /// Begins a binary message that is written in pieces.
    pub fn begin_binary(&self) -> MessageWriter<BinaryPayload> {
        MessageWriter::begin(*self)
    }

    /// Sends a ping with a payload of at most 125 bytes (RFC 6455 §5.5). When the peer answers,
    /// `pong` fires with the same payload. Returns `false` if the payload is longer, or if the
    /// connection is closing or closed.
    ///
    /// The crate pings connections automatically, see
    /// [`WebSocketOptions::ping_interval`](crate::WebSocketOptions::ping_interval).
    pub fn ping(&self, payload: impl AsRef<[u8]>) -> bool {
        self.write_control(Opcode::Ping, payload.as_ref())
    }

    /// Sends a pong. Use it to answer a `ping` if [`auto_pong`](crate::WebSocketOptions::auto_pong)
    /// is off. Returns the same as [`ping`](WebSocketConnection::ping).
    pub fn pong(&self, payload: impl AsRef<[u8]>) -> bool {
        self.write_control(Opcode::Pong, payload.as_ref())
    }

    /// Returns the number of unsent bytes: accepted by `write`, but not yet in the kernel.
    pub fn buffered_amount(&self) -> usize {
        self.lock().map_or(0, |state| state.unsent())
    }

    /// Returns whether the connection accepts messages. Returns `false` if it is closing or closed.
    pub fn is_writable(&self) -> bool {
        self.lock().is_some_and(|state| state.is_writable())
    }
}

/// Methods for the crate itself.
impl WebSocketConnection {
    /// Locks the state if the connection accepts a message.
    pub(crate) fn lock_or_fail_slow_consumer(&self) -> Option<MutexGuard<'static, State>> {
        let mut state = self.lock()?;
        if !state.is_writable() {
            return None;
        }
        let limit = state.hard_limit;
        if state.unsent() >= limit && !state.blocked {
            self.flush_early(&mut state);
        }
        let unsent = state.unsent();
        if unsent >= limit {
            self.fail_locked(state, ConnectionError::SlowReader { unsent, limit });
            return None;
        }
        Some(state)
    }

    /// Flushes before the end of the turn: before the connection fails as a slow consumer, or waits
    /// for room.
    #[cold]
    pub(crate) fn flush_early(&self, state: &mut State) {
        let flushed = state.outbox.flush();
        self.handle_flushed(state, flushed);
    }

    /// Adds a message to the unsent bytes.
    #[inline]
    pub(crate) fn write_frame(&self, opcode: Opcode, payload: &[u8]) -> bool {
        // The fast way. It only keeps few values, so that rare cases cost it nothing.
        let slot = self.slot();
        match self.write_plainly(slot, opcode, payload) {
            Some((room, is_corked)) => {
                if !is_corked {
                    cork::touch(*self, slot);
                }
                room
            }
            None => self.write_slowly(opcode, payload),
        }
    }

    /// Adds a message in the simple case. Returns whether there is room for more, and whether this
    /// thread is going to flush the connection anyway.
    #[inline(always)]
    fn write_plainly(&self, slot: &'static Slot, opcode: Opcode, payload: &[u8]) -> Option<(bool, bool)> {
        if payload.len() >= LARGE {
            return None;
        }
        let mut state = self.lock_at(slot)?;
        if !state.is_plain() {
            return Self::write_masked(state, opcode, payload);
        }
        state.messages_out += 1;
        let unsent = state.outbox.push(true, opcode, payload);
        let room = unsent < state.soft_limit;
        if !room {
            state.wants_drain = true;
        }
        let token = cork::token();
        let is_corked = std::mem::replace(&mut state.corked_by, token) == token;
        Some((room, is_corked))
    }

    /// Like [`write_plainly`](WebSocketConnection::write_plainly) for a client. `None` for a server, and in
    /// other cases than the simple one.
    #[inline(never)]
    fn write_masked(mut state: MutexGuard<'static, State>, opcode: Opcode, payload: &[u8]) -> Option<(bool, bool)> {
        if !state.is_plainly_masked() {
            return None;
        }
        state.messages_out += 1;
        let unsent = state.outbox.push_masked(true, opcode, payload);
        let room = unsent < state.soft_limit;
        state.wants_drain |= !room;
        let token = cork::token();
        Some((room, std::mem::replace(&mut state.corked_by, token) == token))
    }

    /// Writes a large message at once. Keeps a message for later while another is being streamed.
    #[inline(never)]
    fn write_slowly(&self, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(mut state) = self.lock_or_fail_slow_consumer() else { return false };
        state.messages_out += 1;
        if state.framing.is_streaming() {
            state.cold().stream.push_behind(opcode, payload);
            return self.note_room(&mut state);
        }
        #[cfg(feature = "deflate")]
        if state.framing.deflates() && state.push_deflated(opcode, payload) {
            return self.finish_write(state);
        }
        // A masked frame is a copy anyway.
        if payload.len() < LARGE || state.blocked || state.framing.masks() {
            state.push(true, opcode, payload);
            return self.finish_write(state);
        }
        let flushed = state.outbox.push_large(opcode, payload);
        self.handle_flushed(&mut state, flushed)
    }

    /// Sends bytes that are not framed. Returns `false` if the connection is closing or closed.
    #[cfg(feature = "testing")]
    pub(crate) fn write_raw(&self, bytes: &[u8]) -> bool {
        let Some(mut state) = self.lock().filter(|state| state.is_writable()) else { return false };
        state.outbox.own().extend_from_slice(bytes);
        self.schedule_flush(state);
        true
    }

    async fn send_frame(&self, opcode: Opcode, payload: &[u8]) -> Result<(), Closed> {
        while let Some(room) = self.room_to_come()? {
            room.await;
        }
        self.write_frame(opcode, payload);
        if self.is_writable() { Ok(()) } else { Err(Closed) }
    }

    /// Returns what to wait for until there is room. `None` if there is room already, or no socket
    /// yet.
    pub(crate) fn room_to_come(&self) -> Result<Option<OwnedNotified>, Closed> {
        let mut state = self.lock().filter(|state| state.is_writable()).ok_or(Closed)?;
        if state.unsent() >= state.soft_limit && !state.blocked {
            // This thread may be the one that is going to flush it, after it has waited.
            self.flush_early(&mut state);
        }
        // In a `connection` listener there is no socket yet that could make room.
        if state.unsent() < state.soft_limit || state.phase < Phase::Open {
            return Ok(None);
        }
        state.wants_drain = true;
        Ok(Some(state.cold().senders.get_or_insert_default().clone().notified_owned()))
    }

    fn write_control(&self, opcode: Opcode, payload: &[u8]) -> bool {
        if payload.len() > CONTROL_MAX {
            return false;
        }
        let Some(mut state) = self.lock().filter(|state| state.is_writable()) else { return false };
        state.push(true, opcode, payload);
        self.schedule_flush(state);
        true
    }

    /// Answers a ping. While the socket is full only the latest answer is kept (RFC 6455 §5.5.3).
    /// So a peer that pings and does not read cannot make the server keep more.
    ///
    /// With `may_wait` the answer may be delayed until
    /// [`answer_pings_so_far`](WebSocketConnection::answer_pings_so_far), and be replaced by the
    /// answer to a later ping.
    pub(crate) fn answer_ping(&self, payload: &[u8], may_wait: bool) {
        let Some(mut state) = self.lock().filter(|state| state.is_writable()) else { return };
        if state.blocked || may_wait {
            let behind = if state.blocked { state.outbox.written() + state.outbox.unsent() as u64 } else { 0 };
            let pong = state.cold().pong.get_or_insert_with(|| WaitingPong { payload: Vec::new(), behind });
            payload.clone_into(&mut pong.payload);
        } else {
            state.push(true, Opcode::Pong, payload);
            self.schedule_flush(state);
        }
    }

    /// Sends the pong that may have been delayed.
    pub(crate) fn answer_pings_so_far(&self) {
        let Some(mut state) = self.lock().filter(|state| !state.blocked) else { return };
        self.queue_pong(&mut state);
        if state.outbox.unsent() > 0 {
            self.schedule_flush(state);
        }
    }

    pub(crate) fn begin_stream(&self) -> u64 {
        self.lock().filter(|state| state.is_writable()).map_or(0, |mut state| {
            state.framing.set_streaming(true);
            state.cold().stream.begin()
        })
    }

    pub(crate) fn write_fragment(&self, ticket: u64, fin: bool, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(mut state) = self.lock_or_fail_slow_consumer() else { return false };
        state.messages_out += u64::from(fin);
        let mut stream = std::mem::take(&mut state.cold().stream);
        state.push_frames(|out| stream.push_fragment(out, ticket, fin, opcode, payload));
        self.put_back(state, stream)
    }

    pub(crate) fn forget_stream(&self, ticket: u64) {
        let Some(mut state) = self.lock() else { return };
        let mut stream = std::mem::take(&mut state.cold().stream);
        state.push_frames(|out| stream.forget(out, ticket));
        self.put_back(state, stream);
    }

    fn put_back(&self, mut state: MutexGuard<'static, State>, stream: Streaming) -> bool {
        state.framing.set_streaming(!stream.is_idle());
        state.cold().stream = stream;
        state.trim_cold();
        self.finish_write(state)
    }

    /// Flushes the connection at the end of the turn after bytes were added. Returns whether there
    /// is room for more.
    #[inline(always)]
    pub(crate) fn finish_write(&self, mut state: MutexGuard<'static, State>) -> bool {
        let room = self.note_room(&mut state);
        self.schedule_flush(state);
        room
    }

    #[inline(always)]
    pub(crate) fn schedule_flush(&self, mut state: MutexGuard<'static, State>) {
        let token = cork::token();
        if state.corked_by != token && !state.blocked {
            state.corked_by = token;
            drop(state);
            cork::touch(*self, self.slot());
        }
    }

    #[inline]
    pub(crate) fn note_room(&self, state: &mut State) -> bool {
        let room = state.unsent() < state.soft_limit;
        state.wants_drain |= !room;
        room
    }
}
