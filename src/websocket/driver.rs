use std::borrow::Cow;
use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::buffers;
use super::connection::WebSocketConnection;
use super::cork::Turn;
use super::deadlines::{Deadlines, next_ping};
use super::delivery::Delivery;
use super::error::ConnectionError;
use super::event::{self, Args};
use super::inbox::Inbox;
use super::outbox::Flushed;
use super::shared::Shared;
use super::slot::{ALARM, ATTEND, BLOCKED, DEAF, DRAINED, PAUSED, Phase};
use crate::clock::Moment;
use crate::emitter::panic_error;
use crate::http::{Lifetime, Upgraded};
use crate::protocol::{Bucket, Event, ProtocolError, Session, Spare, close, close_code};
use crate::stream::ReadHalf;

/// The task of one connection: it reads, has what it read delivered, and writes what others could not.
///
/// A turn is one poll. In it, in this order and again as long as anything moves: what others asked for, a listener that
/// was not done, what has been read and not been delivered, a read. Then all that was written in the turn leaves together.
pub(super) struct Driver {
    connection: WebSocketConnection,
    shared: Arc<Shared>,
    lifetime: Arc<Lifetime>,
    /// None when the socket has been let go.
    read: Option<ReadHalf>,
    session: Session,
    delivery: Delivery,
    inbox: Inbox,
    deadlines: Deadlines,
    control: Bucket,
    messages: Option<Box<Bucket>>,
    /// Bytes that this task has taken from the outbox of a stream that only it can write.
    writing: Writing,
    progress: Progress,
}

#[derive(Default)]
struct Writing {
    bytes: Vec<u8>,
    at: usize,
}

/// How far the connection has come.
#[derive(Default)]
struct Progress {
    /// The task's waker is where others find it.
    introduced: bool,
    /// The socket is full, and the task is told when it is not.
    waits_for_socket: bool,
    /// Something has arrived since the last ping.
    heard: bool,
    /// The stream has ended or failed.
    ended: bool,
    /// There is a fault: what still arrives is thrown away.
    failed: bool,
    /// We have said that nothing more comes.
    shut_down: bool,
    peer_close: Option<Box<PeerClose>>,
    /// `close` is with the delivery.
    closed: bool,
}

/// What the peer's Close said.
struct PeerClose {
    close: Option<(u16, String)>,
    /// It came before ours.
    first: bool,
}

/// What a thread needs to read, for whichever connection has its turn. Due to this an idle connection owns no buffer.
struct Desk {
    scratch: Box<[MaybeUninit<u8>]>,
    spare: Spare,
}

/// A message of 64 KiB and its header come in one read, and do not fill it to the last byte, which would take another read
/// to learn that there is no more. With a quarter of it bursts of 1 KiB messages cost twice as much; four times as much
/// gains nothing.
const SCRATCH: usize = 64 * 1024 + 64;

thread_local! {
    static DESK: Cell<Option<Box<Desk>>> = const { Cell::new(None) };
}

/// So many messages, or bytes, and others have their turn.
const TURN_FRAMES: usize = 64;
const TURN_BYTES: usize = 256 * 1024;

/// Frames that are read ahead while a listener runs.
const READ_AHEAD_FRAMES: usize = 64;

/// What a turn may still do.
struct Budget {
    frames: usize,
    bytes: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }
}

impl Driver {
    /// The rest of a connection's life, from when the 101 has left.
    pub(super) fn start(connection: WebSocketConnection, shared: Arc<Shared>, upgraded: Upgraded) -> Driver {
        let Upgraded { stream, read_ahead, lifetime } = upgraded;
        let (read, write) = stream.into_halves();
        if let Some(mut state) = connection.lock() {
            if write.local_address().is_some()
                && let Some(extras) = state.existing_extras()
            {
                // The socket knows it.
                extras.local = None;
                state.trim_extras();
            }
            state.outbox.attach(write);
            state.phase = state.phase.max(Phase::Open);
            // What has been written so far is to leave with the first turn.
            connection.slot.signal(&state, ATTEND);
        }
        shared.connections.insert(connection, lifetime.number());
        lifetime.include(shared.connections.clone());
        if lifetime.is_closing() {
            connection.close_with(close_code::GOING_AWAY, "server shutdown");
        }
        let clock = lifetime.clock();
        let mut inbox = Inbox::default();
        inbox.push(&read_ahead);
        Driver {
            connection,
            read: Some(read),
            session: Session::default(),
            delivery: Delivery::new(connection),
            inbox,
            deadlines: Deadlines::new(&shared.options, clock),
            control: Bucket::full(clock.millis()),
            messages: shared.options.message_rate.map(|_| Box::new(Bucket::full(clock.millis()))),
            writing: Writing::default(),
            progress: Progress::default(),
            shared,
            lifetime,
        }
    }

    /// A connection whose listeners have been called and whose 101 did not leave: all that is left of it is its `close`.
    pub(super) fn never_started(connection: WebSocketConnection) {
        let mut delivery = Delivery::new(connection);
        delivery.close(close_code::ABNORMAL, String::new());
        delivery.finish();
        connection.retire();
    }

    #[inline]
    fn turns(&mut self, turn: &Turn, desk: &mut Desk, cx: &mut Context<'_>) -> Poll<()> {
        let mut budget = Budget { frames: TURN_FRAMES, bytes: TURN_BYTES };
        loop {
            self.attend(cx);
            if self.delivery.poll(cx).is_ready() {
                if self.delivery.is_over() {
                    return Poll::Ready(());
                }
                self.note_failure();
                self.deliver_inbox(desk, cx, &mut budget);
            }
            turn.flush();
            if self.end_if_over() || self.needs_attention() {
                continue;
            }
            if budget.is_spent() {
                // Others first. What is left is in the inbox, or in the socket.
                cx.waker().wake_by_ref();
                break;
            }
            if !self.may_read() || self.poll_read(desk, cx, &mut budget).is_pending() {
                break;
            }
        }
        self.deadlines.tell(self.lifetime.clock(), self.connection.slot, self.connection.id());
        Poll::Pending
    }

    #[inline]
    fn flags(&self) -> u32 {
        self.connection.slot.flags.load(Ordering::Acquire)
    }

    /// Whether others ask for something.
    #[inline]
    fn needs_attention(&self) -> bool {
        let flags = self.flags();
        flags & (DRAINED | ALARM | ATTEND) != 0 || flags & BLOCKED != 0 && !self.progress.waits_for_socket
    }

    /// Does what others ask for.
    #[inline]
    fn attend(&mut self, cx: &mut Context<'_>) {
        self.progress.waits_for_socket = false;
        if self.flags() & (DRAINED | ALARM | ATTEND | BLOCKED) != 0 || !self.progress.introduced {
            self.attend_now(cx);
        }
    }

    #[inline(never)]
    fn attend_now(&mut self, cx: &mut Context<'_>) {
        if !self.progress.introduced {
            self.progress.introduced = true;
            if let Some(mut state) = self.connection.lock() {
                state.task = Some(cx.waker().clone());
            }
        }
        let asked = self.connection.slot.flags.fetch_and(!(DRAINED | ALARM | ATTEND), Ordering::Acquire);
        if asked & DRAINED != 0 {
            self.wake_senders();
            if self.connection.release_held() {
                self.delivery.drain();
            }
        }
        if asked & ALARM != 0 {
            self.deadlines.rung();
            self.meet_deadlines();
        }
        if asked & ATTEND != 0 {
            self.look_at_state();
        }
        if asked & BLOCKED != 0 {
            self.write(cx);
        }
    }

    /// What has become of the connection by what others did.
    fn look_at_state(&mut self) {
        let Some(mut state) = self.connection.lock() else { return };
        let fault = state.existing_extras().and_then(|extras| extras.fault.take());
        let terminated = state.existing_extras().is_some_and(|extras| extras.terminated);
        if let Some(fault) = &fault {
            state.extras().error = Some(fault.clone());
        }
        if state.broken {
            state.phase = state.phase.max(Phase::Closing);
        }
        let is_closing = state.phase >= Phase::Closing;
        drop(state);
        // What was written before there was a socket.
        self.connection.flush();
        if is_closing {
            self.wake_senders();
            if self.deadlines.close == Moment::NEVER {
                self.deadlines.close = self.lifetime.clock().after(self.shared.options.close_timeout);
            }
        }
        let is_cut = terminated || fault.as_ref().is_some_and(|fault| fault.close_code() == close_code::ABNORMAL);
        if let Some(fault) = fault {
            self.progress.failed = true;
            self.delivery.fail(fault);
        }
        if is_cut {
            self.hang_up();
        }
    }

    /// Makes an error that a listener returned the connection's.
    #[inline]
    fn note_failure(&mut self) {
        if let Some(error) = self.delivery.take_failure() {
            self.connection.fail(ConnectionError::Listener(error.into()));
        }
    }

    fn wake_senders(&self) {
        let Some(mut state) = self.connection.lock() else { return };
        let senders = state.existing_extras().map(|extras| std::mem::take(&mut extras.senders));
        state.trim_extras();
        drop(state);
        senders.into_iter().flatten().for_each(Waker::wake);
    }

    fn meet_deadlines(&mut self) {
        let (shared, lifetime) = (self.shared.clone(), self.lifetime.clone());
        let (options, clock) = (&shared.options, lifetime.clock());
        let now = clock.now();
        if self.deadlines.message <= now {
            self.deadlines.message = Moment::NEVER;
            if let (Some(bucket), Some(rate)) = (&mut self.messages, options.message_rate) {
                // The message that had to wait.
                let _ = bucket.take(clock.millis(), rate, rate);
            }
        }
        if self.deadlines.close <= now {
            // First for the peer, then for listeners.
            self.deadlines.close = clock.after(options.close_timeout);
            if self.read.is_none() {
                self.delivery.hurry();
            }
            self.hang_up();
        }
        if !self.connection.is_writable() {
            return;
        }
        if self.deadlines.write <= now {
            let limit = options.write_timeout.unwrap_or_default();
            return self.connection.fail(ConnectionError::WriteTimeout { limit });
        }
        if self.deadlines.pong <= now {
            let limit = options.pong_timeout.unwrap_or_default();
            self.deadlines.pong = Moment::NEVER;
            if !self.may_read() {
                // Who is not read cannot be heard.
                self.deadlines.pong = clock.after(limit);
            } else if !self.progress.heard {
                return self.connection.fail(ConnectionError::PongTimeout { limit });
            }
        }
        if self.deadlines.ping <= now {
            self.connection.ping([]);
            self.deadlines.ping = next_ping(options, clock);
            // The time of a ping that has not been answered runs on.
            if std::mem::take(&mut self.progress.heard) || self.deadlines.pong == Moment::NEVER {
                self.deadlines.pong = options.pong_timeout.map_or(Moment::NEVER, |limit| clock.after(limit));
            }
        }
        if self.deadlines.idle <= now {
            if self.may_read() {
                return self.connection.close_with(close_code::GOING_AWAY, "idle");
            }
            self.note_message();
        }
        if self.deadlines.lifetime <= now {
            self.connection.close_with(close_code::GOING_AWAY, "end of lifetime");
        }
    }

    /// Whether there is room for what a read would bring.
    #[inline]
    fn may_read(&self) -> bool {
        if self.read.is_none() || self.progress.ended || self.progress.peer_close.is_some() {
            return false;
        }
        if self.progress.failed {
            return true;
        }
        if self.flags() & PAUSED != 0 || self.deadlines.message != Moment::NEVER {
            return false;
        }
        if self.delivery.is_free() {
            return self.inbox.is_empty();
        }
        self.inbox.len() < self.shared.options.read_ahead && self.inbox.frames() < READ_AHEAD_FRAMES
    }

    /// Reads once, and has it delivered.
    #[inline]
    fn poll_read(&mut self, desk: &mut Desk, cx: &mut Context<'_>, budget: &mut Budget) -> Poll<()> {
        let Some(stream) = &mut self.read else { return Poll::Pending };
        if self.inbox.is_empty()
            && self.delivery.is_free()
            && let Some((buffer, room)) = self.session.direct(&mut desk.spare)
        {
            let read = {
                let mut buffer = buffer.limit(room);
                let read = std::pin::pin!(stream.read_buf(&mut buffer));
                ready!(read.poll(cx))
            };
            self.received_direct(read, desk, cx, budget);
            return Poll::Ready(());
        }
        let mut buffer = ReadBuf::uninit(&mut desk.scratch);
        let read = ready!(Pin::new(stream).poll_read(cx, &mut buffer));
        let mut bytes = buffer.filled_mut();
        if read.is_err() || bytes.is_empty() {
            self.ended(read.err());
            return Poll::Ready(());
        }
        self.progress.heard = true;
        budget.bytes = budget.bytes.saturating_sub(bytes.len());
        if self.progress.failed {
            return Poll::Ready(());
        }
        if self.delivery.is_free() {
            self.feed(&mut bytes, &mut desk.spare, cx, budget);
            self.inbox.push(bytes);
        } else {
            let (connection, auto_pong) = (self.connection, self.shared.options.auto_pong);
            self.inbox.push_and_look(bytes, &self.session, |ping| {
                if auto_pong {
                    connection.answer_ping(ping);
                }
            });
        }
        Poll::Ready(())
    }

    /// More of a large message is in the buffer that it is put together in.
    #[inline(never)]
    fn received_direct(&mut self, read: io::Result<usize>, desk: &mut Desk, cx: &mut Context<'_>, budget: &mut Budget) {
        let count = match read {
            Ok(count @ 1..) => count,
            Ok(_) => return self.ended(None),
            Err(error) => return self.ended(Some(error)),
        };
        self.progress.heard = true;
        budget.bytes = budget.bytes.saturating_sub(count);
        match self.session.receive_direct(count) {
            Ok((event, following)) => {
                if let Some(event) = event {
                    self.take(event, &mut desk.spare, cx, budget);
                }
                self.inbox.push(&following);
            }
            Err(error) => self.connection.fail(error.into()),
        }
    }

    fn ended(&mut self, error: Option<io::Error>) {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
        self.progress.ended = true;
        match error {
            // A peer that leaves, however rudely, is no fault.
            Some(error)
                if !matches!(
                    error.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
                ) =>
            {
                self.connection.fail(ConnectionError::Io(Arc::new(error)));
            }
            _ => {}
        }
    }

    /// Delivers what has been kept.
    #[inline]
    fn deliver_inbox(&mut self, desk: &mut Desk, cx: &mut Context<'_>, budget: &mut Budget) {
        if !self.inbox.is_empty() {
            self.deliver_kept(desk, cx, budget);
        }
    }

    #[inline(never)]
    fn deliver_kept(&mut self, desk: &mut Desk, cx: &mut Context<'_>, budget: &mut Budget) {
        if self.progress.failed {
            return self.inbox.clear();
        }
        let Some((mut bytes, at)) = self.inbox.take() else { return };
        let mut rest = bytes.get_mut(at..).unwrap_or_default();
        self.feed(&mut rest, &mut desk.spare, cx, budget);
        let left = rest.len();
        let at = bytes.len() - left;
        self.inbox.put_back(bytes, at);
    }

    /// Has messages delivered until there are no more in `input`, or no more can be delivered now.
    #[inline]
    fn feed(&mut self, input: &mut &mut [u8], spare: &mut Spare, cx: &mut Context<'_>, budget: &mut Budget) {
        while self.delivery.is_free() && !budget.is_spent() && !self.is_held_up() {
            match self.session.receive(input, &self.shared.options.limits, spare) {
                Ok(Some(event)) => self.take(event, spare, cx, budget),
                Ok(None) => return,
                Err(error) => return self.connection.fail(error.into()),
            }
        }
    }

    #[inline]
    fn is_held_up(&self) -> bool {
        self.flags() & PAUSED != 0 || self.deadlines.message != Moment::NEVER
    }

    /// One thing that the peer has said.
    #[inline]
    fn take(&mut self, event: Event<'_>, spare: &mut Spare, cx: &mut Context<'_>, budget: &mut Budget) {
        budget.frames = budget.frames.saturating_sub(1);
        match event {
            Event::Text(text) => {
                self.emit(event::TEXT, Args::Text(&text), cx);
                if let Cow::Owned(text) = text {
                    spare.give(text.into_bytes());
                }
                self.note_message();
            }
            Event::Binary(bytes) => {
                self.emit(event::BINARY, Args::Bytes(&bytes), cx);
                if let Cow::Owned(bytes) = bytes {
                    spare.give(bytes);
                }
                self.note_message();
            }
            Event::Ping(payload) => {
                if self.admit_control() {
                    if !self.inbox.was_answered() && self.shared.options.auto_pong {
                        self.connection.answer_ping(&payload);
                    }
                    self.emit(event::PING, Args::Bytes(&payload), cx);
                }
            }
            Event::Pong(payload) => {
                if self.admit_control() {
                    self.emit(event::PONG, Args::Bytes(&payload), cx);
                }
            }
            Event::Close(close) => self.answer_close(close, cx),
        }
    }

    /// Emits an event of the wire, if that is still wanted.
    #[inline]
    fn emit(&mut self, event: u8, args: Args<'_>, cx: &mut Context<'_>) {
        if self.flags() & DEAF == 0 && !self.delivery.emit(event, args, cx) {
            self.note_failure();
        }
    }

    /// A message has come: for the deadline and the limit that some apps set.
    #[inline]
    fn note_message(&mut self) {
        if self.deadlines.idle != Moment::NEVER || self.messages.is_some() {
            self.count_message();
        }
    }

    #[inline(never)]
    fn count_message(&mut self) {
        let (options, clock) = (&self.shared.options, self.lifetime.clock());
        if let Some(limit) = options.idle_timeout {
            self.deadlines.idle = clock.after(limit);
        }
        if let (Some(bucket), Some(rate)) = (&mut self.messages, options.message_rate)
            && let Err(wait) = bucket.take(clock.millis(), rate, rate)
        {
            self.deadlines.message = clock.after(Duration::from_millis(wait));
        }
    }

    /// Whether one more control frame is accepted. If not, the connection fails.
    fn admit_control(&mut self) -> bool {
        let Some(rate) = self.shared.options.control_rate else { return true };
        let admitted = self.control.take(self.lifetime.clock().millis(), rate.burst, rate.per_second).is_ok();
        if !admitted {
            self.connection.fail(ProtocolError::TooManyControlFrames.into());
        }
        admitted
    }

    /// The peer has said Close (RFC 6455 §5.5.1): answers it, unless it is the answer to ours.
    fn answer_close(&mut self, close: Option<(u16, String)>, cx: &mut Context<'_>) {
        let mut first = false;
        if let Some(mut state) = self.connection.lock().filter(|state| state.is_writable()) {
            first = true;
            let code = close.as_ref().map_or(close_code::NO_STATUS, |(code, _)| *code);
            self.connection.queue_close(&mut state, code, "");
            self.connection.slot.signal(&state, ATTEND);
            self.connection.touched(state);
        }
        self.progress.peer_close = Some(Box::new(PeerClose { close, first }));
        self.emit(event::END, Args::Nothing, cx);
    }

    /// Lets the socket go when there is nothing more to do with it, and has `close` emitted then. Whether it has.
    #[inline]
    fn end_if_over(&mut self) -> bool {
        let Progress { ended, failed, peer_close, closed, .. } = &self.progress;
        let may_be_over = *ended || *failed || peer_close.is_some() || self.read.is_none();
        !closed && may_be_over && self.end_now()
    }

    #[inline(never)]
    fn end_now(&mut self) -> bool {
        if self.read.is_some() {
            let is_flushed = self.connection.buffered_amount() == 0;
            let is_over = if self.progress.ended {
                // What arrived before is delivered first.
                self.inbox.is_empty() && self.delivery.is_free()
            } else if self.progress.peer_close.is_some() {
                is_flushed
            } else {
                if is_flushed {
                    self.shut_down();
                }
                false
            };
            if !is_over {
                return false;
            }
            self.hang_up();
        }
        self.progress.closed = true;
        self.shared.connections.remove(self.connection);
        let (code, reason) = self.close_args();
        self.delivery.close(code, reason);
        true
    }

    /// After a fault, when the peer has been told: a FIN, so that it ends its side too. Closing the socket while it still
    /// sends would be a reset, which takes our Close from it.
    fn shut_down(&mut self) {
        if std::mem::replace(&mut self.progress.shut_down, true) {
            return;
        }
        if let Some(mut state) = self.connection.lock() {
            state.outbox.shut_down();
        }
        if let Some(ReadHalf::Other(stream)) = &mut self.read {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(stream).poll_shutdown(&mut cx);
        }
    }

    /// Lets the socket go.
    fn hang_up(&mut self) {
        self.inbox.clear();
        self.writing = Writing::default();
        if let Some(mut state) = self.connection.lock() {
            state.phase = state.phase.max(Phase::Closing);
            state.blocked = false;
            if let Some(local) = state.outbox.socket().and_then(|socket| socket.local_address()) {
                state.extras().local = Some(local);
            }
            state.outbox.break_off();
            self.connection.slot.flags.fetch_and(!BLOCKED, Ordering::Relaxed);
        }
        self.read = None;
        if self.deadlines.close == Moment::NEVER {
            self.deadlines.close = self.lifetime.clock().after(self.shared.options.close_timeout);
        }
    }

    /// What `close` says: the fault, or what the side said that began to close; 1006 if none did, or it got no answer.
    fn close_args(&self) -> (u16, String) {
        if let Some(error) = self.connection.error() {
            return (error.close_code(), error.reason().into_owned());
        }
        let Some(peer) = &self.progress.peer_close else { return (close_code::ABNORMAL, String::new()) };
        if peer.first {
            return peer.close.clone().unwrap_or((close_code::NO_STATUS, String::new()));
        }
        let ours = self.connection.lock().and_then(|mut state| state.existing_extras()?.closing.clone());
        let (code, reason) = ours.unwrap_or((close_code::NORMAL, String::new()));
        (close::sendable(code), reason)
    }

    /// Writes what others could not: the socket was full, or is one that only this task can write.
    fn write(&mut self, cx: &mut Context<'_>) {
        match &self.read {
            Some(ReadHalf::Other(_)) => self.write_stream(cx),
            Some(_) => self.write_socket(cx),
            None => {}
        }
    }

    fn write_socket(&mut self, cx: &mut Context<'_>) {
        loop {
            let Some(mut state) = self.connection.lock() else { return };
            let before = state.unsent();
            match state.outbox.flush() {
                Flushed::All | Flushed::NotYet => {
                    if self.connection.unblock(&mut state) {
                        self.deadlines.write = Moment::NEVER;
                        return;
                    }
                }
                Flushed::Full => {
                    let has_moved = state.unsent() < before;
                    self.connection.drained(&mut state);
                    drop(state);
                    self.note_write(has_moved);
                    let Some(stream) = &self.read else { return };
                    match stream.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return self.connection.broken(),
                        Poll::Pending => {
                            self.progress.waits_for_socket = true;
                            return;
                        }
                    }
                }
                Flushed::Broken => {
                    drop(state);
                    return self.connection.broken();
                }
            }
        }
    }

    fn write_stream(&mut self, cx: &mut Context<'_>) {
        let Some(ReadHalf::Other(stream)) = &mut self.read else { return };
        loop {
            let Writing { bytes, at } = &mut self.writing;
            if *at == bytes.len() {
                let taken = self.connection.lock().map(|mut state| state.outbox.take()).unwrap_or_default();
                buffers::give(std::mem::replace(bytes, taken));
                *at = 0;
            }
            let polled = match bytes.get(*at..) {
                Some(rest @ [_, ..]) => Pin::new(&mut *stream).poll_write(cx, rest),
                _ => Pin::new(&mut *stream).poll_flush(cx).map_ok(|()| 0),
            };
            match polled {
                Poll::Ready(Ok(0)) if bytes.is_empty() => {
                    let Some(mut state) = self.connection.lock() else { return };
                    if self.connection.unblock(&mut state) {
                        self.deadlines.write = Moment::NEVER;
                        return;
                    }
                }
                Poll::Ready(Ok(count @ 1..)) => {
                    *at += count;
                    if let Some(mut state) = self.connection.lock() {
                        state.outbox.wrote(count);
                        self.connection.drained(&mut state);
                    }
                    self.deadlines.write = Moment::NEVER;
                }
                Poll::Ready(_) => return self.connection.broken(),
                Poll::Pending => {
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
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        let turn = Turn::begin();
        let mut desk = Desk::take();
        let mut panics = 0;
        let polled = loop {
            match catch_unwind(AssertUnwindSafe(|| driver.turns(&turn, &mut desk, cx))) {
                Ok(polled) => break polled,
                Err(panic) => {
                    // A listener panicked, and what it was called with is lost. It ends this connection only.
                    panics += 1;
                    driver.progress.failed = true;
                    driver.delivery.abandon();
                    driver.connection.fail(ConnectionError::Listener(panic_error(panic.as_ref()).into()));
                    if panics > 1 {
                        driver.hang_up();
                        driver.delivery.hurry();
                    }
                }
            }
        };
        desk.put_back();
        polled
    }
}

impl Drop for Driver {
    /// The connection is over, or its runtime is: `close` fires in any case.
    fn drop(&mut self) {
        if !self.delivery.is_over() {
            self.look_at_state();
            self.hang_up();
            self.end_now();
            self.delivery.finish();
        }
        self.connection.retire();
    }
}

impl Desk {
    fn take() -> Box<Desk> {
        // When a thread ends its desk may be gone already.
        DESK.try_with(Cell::take)
            .ok()
            .flatten()
            .unwrap_or_else(|| Box::new(Desk { scratch: Box::new_uninit_slice(SCRATCH), spare: Spare::default() }))
    }

    fn put_back(self: Box<Desk>) {
        let _ = DESK.try_with(|desk| desk.set(Some(self)));
    }
}
