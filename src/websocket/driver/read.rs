//! Passes received bytes from the socket through `protocol::Connection` to the listeners.
//!
//! `poll_read` reads into the thread's buffer. `deliver_read` takes messages from the buffer and calls
//! their listeners. Bytes that cannot be delivered yet go into the backlog: a listener is running,
//! reading is paused, or the turn's budget is used up. The next turn begins with the backlog.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::protocol::{BufferPool, Event, Opcode, check_text, frame};
use crate::runtime::clock::Moment;
use crate::websocket::driver::scratch::{AlignedCopy, ReadScratch};
use crate::websocket::driver::{Budget, Driver};
use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::{self, Args};
use crate::websocket::state::flags::{DISCARD_INPUT, HELD_UP, PAUSED, PENDING_CHANGES, TERMINATED};

/// Frames that are read ahead while a listener runs.
const READ_AHEAD_FRAMES: usize = 64;

/// The way from the socket to the listeners.
impl Driver {
    /// Returns whether there is room for a read.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        if self.read.is_none() || !self.closing.reads() {
            return false;
        }
        // A client reads until the server's FIN.
        if self.closing.discards() || self.closing.has_peer_closed() {
            return true;
        }
        // A pause has no effect once messages are no longer delivered.
        if self.flags() & (PAUSED | DISCARD_INPUT) == PAUSED || self.deadlines.message != Moment::NEVER {
            return false;
        }
        if self.dispatcher.is_free() {
            return self.backlog.is_empty();
        }
        self.backlog.len() < self.shared.options.read_ahead && self.backlog.frames() < READ_AHEAD_FRAMES
    }

    /// Reads once, and delivers the bytes.
    #[inline]
    pub(crate) fn poll_read(&mut self, scratch: &mut ReadScratch, cx: &mut Context<'_>, budget: &mut Budget) -> Poll<()> {
        let Some(stream) = &mut self.read else { return Poll::Pending };
        if std::mem::take(&mut budget.is_dry)
            && let Err(error) = ready!(stream.poll_read_ready(cx))
        {
            self.note_stream_end(Some(error));
            return Poll::Ready(());
        }
        if self.session.is_amid_message()
            && self.backlog.is_empty()
            && self.dispatcher.is_free()
            && stream.is_plain()
            && let Some((buffer, room)) = self.session.direct(&mut scratch.pool)
        {
            let read = {
                let mut buffer = buffer.limit(room);
                let read = std::pin::pin!(stream.read_buf(&mut buffer));
                ready!(read.poll(cx))
            };
            self.received_direct(read, scratch, cx, budget);
            return Poll::Ready(());
        }
        let size = scratch.bytes.len();
        let mut buffer;
        let read = match stream.try_read(&mut scratch.bytes) {
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Err(error) = ready!(stream.poll_read_ready(cx)) {
                    self.note_stream_end(Some(error));
                }
                return Poll::Ready(());
            }
            Some(read) => read,
            #[cfg(feature = "__tls")]
            None if !stream.is_plain() => return self.poll_read_tls(scratch, cx, budget),
            None => {
                buffer = ReadBuf::uninit(&mut scratch.bytes);
                ready!(Pin::new(stream).poll_read(cx, &mut buffer)).map(|()| buffer.filled_mut())
            }
        };
        match read {
            Ok(bytes) if !bytes.is_empty() => {
                budget.is_dry = bytes.len() < size;
                self.deliver_read(bytes, &mut scratch.pool, cx, budget);
            }
            read => self.note_stream_end(read.err()),
        }
        Poll::Ready(())
    }

    /// Delivers bytes that were read.
    #[inline(always)]
    pub(crate) fn deliver_read(
        &mut self,
        mut bytes: &mut [u8],
        spare: &mut BufferPool,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) {
        self.progress.heard = true;
        budget.bytes = budget.bytes.wrapping_sub_unsigned(bytes.len());
        self.slot().received.add_bytes(bytes.len());
        if self.closing.discards() {
            return;
        }
        if self.dispatcher.is_free() {
            if !self.feed_quickly(&mut bytes, cx, budget) || !bytes.is_empty() {
                self.feed_all(&mut bytes, spare, cx, budget);
            }
            if self.session.is_amid_message() {
                self.note_data();
            }
            if bytes.is_empty() {
                return;
            }
        }
        self.keep(bytes);
    }

    /// Keeps bytes that cannot be delivered yet. Pings among them are answered at once.
    #[inline(never)]
    fn keep(&mut self, bytes: &[u8]) {
        if self.session.is_over() {
            return;
        }
        if self.dispatcher.is_free() {
            return self.backlog.push(bytes);
        }
        let (connection, auto_pong) = (self.connection(), self.shared.options.auto_pong);
        let has_data = self.backlog.push_and_look(bytes, &self.session, |ping| {
            if auto_pong {
                connection.answer_ping(ping, false);
            }
        });
        if has_data {
            self.note_data();
        }
    }

    /// Handles bytes that were read directly into the buffer of a large message.
    #[inline(never)]
    fn received_direct(
        &mut self,
        read: io::Result<usize>,
        scratch: &mut ReadScratch,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) {
        let count = match read {
            Ok(count @ 1..) => count,
            Ok(_) => return self.note_stream_end(None),
            Err(error) => return self.note_stream_end(Some(error)),
        };
        self.progress.heard = true;
        budget.bytes = budget.bytes.wrapping_sub_unsigned(count);
        self.slot().received.add_bytes(count);
        let mut message = Vec::new();
        match self.session.receive_direct(count, &mut message) {
            Ok((event, following)) => {
                self.note_data();
                if let Some(event) = event {
                    self.take(event, &mut scratch.pool, cx, budget);
                }
                self.keep(&following);
            }
            Err(error) => _ = self.connection().fail(error.into()),
        }
        scratch.pool.give(message);
    }

    pub(crate) fn note_stream_end(&mut self, error: Option<io::Error>) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
        self.closing.peer_ended();
        self.progress.is_fast = false;
        self.start_close_deadline();
        match error {
            // A peer that leaves without a closing handshake is not an error.
            Some(error)
                if !matches!(
                    error.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
                ) =>
            {
                self.connection().fail(ConnectionError::Io(Arc::new(error)));
            }
            _ => {}
        }
    }

    /// Delivers the bytes that were kept.
    #[inline]
    pub(crate) fn deliver_backlog(&mut self, scratch: &mut ReadScratch, cx: &mut Context<'_>, budget: &mut Budget) {
        if !self.backlog.is_empty() {
            self.deliver_kept(scratch, cx, budget);
        }
    }

    #[inline(never)]
    fn deliver_kept(&mut self, scratch: &mut ReadScratch, cx: &mut Context<'_>, budget: &mut Budget) {
        if self.closing.discards() {
            return self.backlog.clear();
        }
        let Some(mut buffer) = self.backlog.take() else { return };
        let before = buffer.left();
        let mut rest = buffer.bytes.get_mut(buffer.at..).unwrap_or_default();
        self.feed_all(&mut rest, &mut scratch.pool, cx, budget);
        let used = before.saturating_sub(rest.len());
        buffer.advance(used);
        if used > 0 && (self.closing.has_peer_ended() || self.closing.is_broken()) && self.flags() & DISCARD_INPUT == 0 {
            // The peer has left, and some of its messages have not been delivered. Each has its own
            // time.
            self.deadlines.close = Moment::NEVER;
            self.deadlines.clear_overdue();
            self.start_close_deadline();
        }
        self.backlog.put_back(buffer);
        self.keep(&[]);
    }

    /// Delivers messages until `input` is used up, or no more can be delivered for now.
    #[inline(never)]
    fn feed_all(&mut self, input: &mut &mut [u8], spare: &mut BufferPool, cx: &mut Context<'_>, budget: &mut Budget) {
        while self.dispatcher.is_free() && !budget.is_spent() && !self.is_held_up() {
            if self.feed_quickly(input, cx, budget) {
                continue;
            }
            match self.session.receive(input, &self.shared.options.limits, spare) {
                Ok(Some(event)) => self.take(event, spare, cx, budget),
                Ok(None) => return,
                Err(error) => {
                    self.connection().fail(error.into());
                    return;
                }
            }
        }
    }

    /// The fast way for complete messages while no listener is running and no other event is due.
    /// Returns whether there was one.
    #[inline(always)]
    fn feed_quickly(&mut self, input: &mut &mut [u8], cx: &mut Context<'_>, budget: &mut Budget) -> bool {
        if !self.session.is_between_messages() {
            return self.feed_quickly_as_client(input, cx, budget);
        }
        self.feed_whole::<true>(input, cx, budget)
    }

    #[inline(never)]
    fn feed_quickly_as_client(&mut self, input: &mut &mut [u8], cx: &mut Context<'_>, budget: &mut Budget) -> bool {
        cfg!(feature = "client")
            && self.session.is_between_unmasked_messages()
            && self.feed_whole::<false>(input, cx, budget)
    }

    /// Delivers complete messages. Returns whether there was one.
    #[inline(always)]
    fn feed_whole<const MASKED: bool>(&mut self, input: &mut &mut [u8], cx: &mut Context<'_>, budget: &mut Budget) -> bool {
        let Some(limit) = self.shared.options.limits.max_whole_message() else { return false };
        let mut frames = budget.frames;
        let mut rest = std::mem::take(input);
        while self.flags() & (PENDING_CHANGES | DISCARD_INPUT | PAUSED | TERMINATED | HELD_UP) == 0
            && frames > 0
            && let Some((opcode, payload)) = if MASKED {
                frame::take_whole_message(&mut rest, limit)
            } else {
                frame::take_whole_unmasked(&mut rest, limit)
            }
        {
            frames -= 1;
            let is_over = if opcode == Opcode::Text {
                let mut copy = AlignedCopy::default();
                let text = if MASKED { payload } else { copy.of(payload) };
                match check_text(text) {
                    Ok(text) => self.dispatcher.emit_quickly(event::TEXT, Args::Text(text), cx),
                    Err(error) => {
                        rest = &mut [];
                        self.connection().fail(error.into());
                        break;
                    }
                }
            } else {
                self.dispatcher.emit_quickly(event::BINARY, Args::Bytes(payload), cx)
            };
            if self.progress.is_counted || !is_over {
                self.note_failure();
                self.note_message();
                break;
            }
        }
        *input = rest;
        let taken = std::mem::replace(&mut budget.frames, frames) - frames;
        self.slot().received.add_messages(taken);
        taken > 0
    }

    #[inline]
    fn is_held_up(&self) -> bool {
        let flags = self.flags();
        flags & (PAUSED | DISCARD_INPUT) == PAUSED
            || flags & (TERMINATED | HELD_UP) != 0
            || self.deadlines.message != Moment::NEVER
    }

    /// Handles one event of the protocol.
    #[inline]
    fn take(&mut self, event: Event<'_>, spare: &mut BufferPool, cx: &mut Context<'_>, budget: &mut Budget) {
        budget.frames = budget.frames.saturating_sub(1);
        #[cfg(feature = "deflate")]
        self.note_inflated(spare, budget);
        match event {
            Event::Text(text) => {
                self.emit(event::TEXT, Args::Text(&text), cx);
                if let Cow::Owned(text) = text {
                    spare.give(text.into_bytes());
                }
                self.slot().received.add_messages(1);
                self.note_message();
            }
            Event::Binary(bytes) => {
                self.emit(event::BINARY, Args::Bytes(&bytes), cx);
                if let Cow::Owned(bytes) = bytes {
                    spare.give(bytes);
                }
                self.slot().received.add_messages(1);
                self.note_message();
            }
            Event::Ping(payload) => {
                if self.answer_ping(&payload) {
                    self.emit(event::PING, Args::Bytes(&payload), cx);
                }
            }
            // A pong needs no answer.
            Event::Pong(payload) => self.emit(event::PONG, Args::Bytes(&payload), cx),
            Event::Close(close) => self.answer_close(close, cx),
        }
    }

    /// Emits an event of the protocol, unless the connection drops them.
    #[inline]
    pub(crate) fn emit(&mut self, event: u8, args: Args<'_>, cx: &mut Context<'_>) {
        if self.flags() & DISCARD_INPUT == 0 && !self.dispatcher.emit(event, args, cx) {
            self.note_failure();
        }
    }

    /// Counts a message for the deadline and the rate that some apps set.
    #[inline]
    fn note_message(&mut self) {
        if self.progress.is_counted {
            self.count_message();
        }
    }

    #[inline(never)]
    fn count_message(&mut self) {
        self.note_data();
        let clock = self.permit.clock();
        if let Some(rate) = self.shared.options.message_rate {
            let wait = self.rare.get_or_insert_default().messages.spend(clock.millis(), rate, rate);
            if wait > 0 {
                self.deadlines.message = clock.after(Duration::from_millis(wait));
            }
        }
    }

    /// Notes that a frame of a message has arrived: the peer is not idle.
    pub(crate) fn note_data(&mut self) {
        if let Some(limit) = self.shared.options.idle_timeout {
            self.deadlines.idle = self.permit.clock().after(limit);
        }
    }
}
