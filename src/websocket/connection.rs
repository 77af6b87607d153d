use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;

use super::cork;
use super::error::{Closed, ConnectionError};
use super::event::{BINARY, CLOSE, ConnectionEvents, DRAIN, END, ERROR, IntoListener, MESSAGE, NAMES, PING, PONG, TEXT};
use super::lag::SlowMemberPolicy;
use super::message::{Message, Text};
use super::outbox::{Flushed, Log};
use super::shared::Shared;
use super::slot::{ATTEND, BLOCKED, DEAF, DRAINED, MAIL, PAUSED, Phase, Slot, State};
use super::writer::{BinaryPayload, MessageWriter, TextPayload};
use crate::emitter::{BoxError, Change, Entry, Listener, ListenerError, ListenerId, Outcome, Rank};
use crate::http::{Response, ServerRequest};
use crate::protocol::{Opcode, close, close_code};

/// One WebSocket connection, as an address: `Copy`, 16 bytes, usable from any thread.
///
/// It owns nothing. The connection belongs to its task, as it belongs to the event loop in ReactPHP, so a closure that
/// captures a handle keeps nothing alive and leaks nothing. A handle whose connection has ended answers `false` or `None`;
/// it never reaches a later connection. Handles of one connection are equal, so sets and maps of them work as
/// `SplObjectStorage` does.
///
/// # Events
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `text` | `&str` | once for each complete text message |
/// | `binary` | `&[u8]` | once for each complete binary message |
/// | `message` | [`Message`] | with either, after `text` or `binary` |
/// | `ping`, `pong` | `&[u8]` | for each ping or pong; the pong that answers a ping is on its way already |
/// | `drain` | | each time the unsent bytes have fallen below the soft limit after a write returned `false` |
/// | `end` | | when the peer's Close has come |
/// | `error` | `Option<&str>, Option<u16>` or [`&ConnectionError`](ConnectionError) | at most once, for a fault; `close` follows |
/// | `close` | `u16, &str` | **exactly once, last**, however the connection ended |
///
/// Listeners may take fewer arguments (`||` fits any event), or the connection first. See [`IntoListener`] for all the
/// closures that fit. The listeners of a connection never run at the same time and are never called from within each other;
/// an asynchronous one is awaited before the next message is delivered. One that panics or returns `Err` makes `error` with
/// 1011 and ends this connection, no other.
#[derive(Clone, Copy)]
pub struct WebSocketConnection {
    pub(super) slot: &'static Slot,
    number: u64,
}

/// Payloads of this size and above leave at once, without a copy; for smaller ones a copy is cheaper than a system call.
const LARGE: usize = 16 * 1024;

/// The longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;

/// # Listeners
impl WebSocketConnection {
    /// Calls `listener` at every `event` from the next one on.
    ///
    /// On a connection that has ended it is accepted and does nothing.
    ///
    /// ```
    /// # use react_websocket::{WebSocketConnection, WebSocketMiddleware};
    /// # let websocket = WebSocketMiddleware::new();
    /// websocket.on("connection", |connection: WebSocketConnection| {
    ///     connection.on("text", move |text: &str| connection.write(text));
    ///     connection.on("close", |code: u16, reason: &str| println!("{code} {reason}"));
    /// });
    /// ```
    ///
    /// # Panics
    /// If there is no such event, or the closure does not take what it gives; the message tells which there are.
    #[track_caller]
    pub fn on<M>(&self, event: &str, listener: impl IntoListener<M>) -> ListenerId {
        self.try_on(event, listener).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Calls `listener` at the next `event` only, after all `on` listeners.
    ///
    /// # Panics
    /// As [`on`](WebSocketConnection::on).
    #[track_caller]
    pub fn once<M>(&self, event: &str, listener: impl IntoListener<M>) -> ListenerId {
        self.try_once(event, listener).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`on`](WebSocketConnection::on), a mistake being returned.
    ///
    /// # Errors
    /// [`ListenerError::UnknownEvent`], [`ListenerError::WrongSignature`].
    pub fn try_on<M>(&self, event: &str, listener: impl IntoListener<M>) -> Result<ListenerId, ListenerError> {
        let event = NAMES.resolve(event)?;
        Ok(self.add(event, Rank::On, listener.into_listener().fit(event)?))
    }

    /// As [`once`](WebSocketConnection::once), a mistake being returned.
    ///
    /// # Errors
    /// As [`try_on`](WebSocketConnection::try_on).
    pub fn try_once<M>(&self, event: &str, listener: impl IntoListener<M>) -> Result<ListenerId, ListenerError> {
        let event = NAMES.resolve(event)?;
        Ok(self.add(event, Rank::Once, listener.into_listener().fit(event)?))
    }

    /// Removes a listener. One that is not there any more is no error. During an emission it takes effect at the next one.
    pub fn remove_listener(&self, id: ListenerId) {
        self.change(Change::Remove(id), |counts| {
            if let Some(count) = counts.get_mut(usize::from(id.event)) {
                *count = count.saturating_sub(1);
            }
        });
    }

    /// Removes the listeners of one event, or with `None` of all.
    ///
    /// # Panics
    /// If there is no such event.
    #[track_caller]
    pub fn remove_all_listeners(&self, event: Option<&str>) {
        let event = event.map(|event| NAMES.resolve(event).unwrap_or_else(|error| panic!("{error}")));
        self.change(Change::RemoveAll(event), |counts| match event {
            None => counts.fill(0),
            Some(event) => counts.iter_mut().skip(usize::from(event)).take(1).for_each(|count| *count = 0),
        });
    }

    /// How many listeners an event has.
    ///
    /// # Panics
    /// If there is no such event.
    #[track_caller]
    pub fn listener_count(&self, event: &str) -> usize {
        let event = NAMES.resolve(event).unwrap_or_else(|error| panic!("{error}"));
        self.lock().and_then(|state| state.listener_counts.get(usize::from(event)).copied()).map_or(0, usize::from)
    }

    /// `on("text", …)`, the name and the argument checked by the compiler, the argument's type inferred.
    pub fn on_text<R: Outcome>(&self, listener: impl FnMut(&str) -> R + Send + 'static) -> ListenerId {
        self.add_typed(TEXT, listener)
    }

    /// `on("binary", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_binary<R: Outcome>(&self, listener: impl FnMut(&[u8]) -> R + Send + 'static) -> ListenerId {
        self.add_typed(BINARY, listener)
    }

    /// `on("message", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_message<R: Outcome>(&self, listener: impl FnMut(Message) -> R + Send + 'static) -> ListenerId {
        self.add_typed(MESSAGE, listener)
    }

    /// `on("ping", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_ping<R: Outcome>(&self, listener: impl FnMut(&[u8]) -> R + Send + 'static) -> ListenerId {
        self.add_typed(PING, listener)
    }

    /// `on("pong", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_pong<R: Outcome>(&self, listener: impl FnMut(&[u8]) -> R + Send + 'static) -> ListenerId {
        self.add_typed(PONG, listener)
    }

    /// `on("drain", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_drain<R: Outcome>(&self, listener: impl FnMut() -> R + Send + 'static) -> ListenerId {
        self.add_typed(DRAIN, listener)
    }

    /// `on("end", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_end<R: Outcome>(&self, listener: impl FnMut() -> R + Send + 'static) -> ListenerId {
        self.add_typed(END, listener)
    }

    /// `on("error", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_error<R: Outcome>(&self, listener: impl FnMut(&ConnectionError) -> R + Send + 'static) -> ListenerId {
        self.add_typed(ERROR, listener)
    }

    /// `on("close", …)`, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_close<R: Outcome>(&self, listener: impl FnMut(u16, &str) -> R + Send + 'static) -> ListenerId {
        self.add_typed(CLOSE, listener)
    }

    /// `on("text", …)` with an asynchronous closure, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_text_async<F, Fut, R>(&self, listener: F) -> ListenerId
    where
        F: AsyncFn(Text) -> R + FnOnce(Text) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        self.add_typed(TEXT, listener)
    }

    /// `on("binary", …)` with an asynchronous closure, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_binary_async<F, Fut, R>(&self, listener: F) -> ListenerId
    where
        F: AsyncFn(Bytes) -> R + FnOnce(Bytes) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        self.add_typed(BINARY, listener)
    }

    /// `on("message", …)` with an asynchronous closure, as [`on_text`](WebSocketConnection::on_text).
    pub fn on_message_async<F, Fut, R>(&self, listener: F) -> ListenerId
    where
        F: AsyncFn(Message) -> R + FnOnce(Message) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Outcome,
    {
        self.add_typed(MESSAGE, listener)
    }
}

/// # Writing
impl WebSocketConnection {
    /// Sends a text message.
    ///
    /// `true` while fewer bytes than the soft limit (64 KiB) are unsent. `false` from there on: the message is accepted all
    /// the same, but stop until `drain`; and on a connection that is closed or closing: the message is dropped. Who is
    /// written to past the hard limit (4 MiB) reads too slowly, and is closed with 1013.
    ///
    /// The message leaves when the present turn ends: when the listeners of what has arrived are done. Outside of listeners
    /// it leaves at once; see [`cork`](crate::cork). Written in a `connection` listener, it leaves behind the 101.
    pub fn write(&self, text: impl AsRef<str>) -> bool {
        self.write_frame(Opcode::Text, text.as_ref().as_bytes())
    }

    /// Sends a binary message. It answers as [`write`](WebSocketConnection::write) does.
    pub fn write_binary(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.write_frame(Opcode::Binary, bytes.as_ref())
    }

    /// Waits until fewer bytes than the soft limit are unsent, and sends a text message: [`write`](WebSocketConnection::write)
    /// and `drain` for asynchronous code. In a listener of the same connection it waits for the socket only, which goes on.
    ///
    /// # Errors
    /// [`Closed`], if the connection ends or closes first.
    pub async fn send(&self, text: impl AsRef<str>) -> Result<(), Closed> {
        self.send_frame(Opcode::Text, text.as_ref().as_bytes()).await
    }

    /// The same for a binary message.
    ///
    /// # Errors
    /// As [`send`](WebSocketConnection::send).
    pub async fn send_binary(&self, bytes: impl AsRef<[u8]>) -> Result<(), Closed> {
        self.send_frame(Opcode::Binary, bytes.as_ref()).await
    }

    /// Begins a text message that is written piece by piece.
    pub fn begin_text(&self) -> MessageWriter<TextPayload> {
        MessageWriter::begin(*self)
    }

    /// Begins a binary message that is written piece by piece.
    pub fn begin_binary(&self) -> MessageWriter<BinaryPayload> {
        MessageWriter::begin(*self)
    }

    /// Sends a ping; the answer is a `pong` event with the same payload. `false` if the connection is closed or closing, or
    /// the payload has more than 125 bytes (RFC 6455 §5.5).
    ///
    /// Connections are pinged by themselves, see [`WebSocketOptions::ping_interval`](crate::WebSocketOptions::ping_interval).
    pub fn ping(&self, payload: impl AsRef<[u8]>) -> bool {
        self.write_control(Opcode::Ping, payload.as_ref())
    }

    /// Sends a pong: the answer to a `ping`, where [`auto_pong`](crate::WebSocketOptions::auto_pong) is off. It answers as
    /// [`ping`](WebSocketConnection::ping) does.
    pub fn pong(&self, payload: impl AsRef<[u8]>) -> bool {
        self.write_control(Opcode::Pong, payload.as_ref())
    }

    /// Bytes written and not yet in the socket.
    pub fn buffered_amount(&self) -> usize {
        self.lock().map_or(0, |state| state.unsent())
    }

    /// Whether messages are accepted.
    pub fn is_writable(&self) -> bool {
        self.lock().is_some_and(|state| state.is_writable())
    }
}

/// # Ending
impl WebSocketConnection {
    /// Says that nothing more is written: what is queued leaves, then a Close with 1000. Messages of the peer are still
    /// delivered until its Close.
    pub fn end(&self) {
        self.begin_close(close_code::NORMAL, "", false);
    }

    /// Writes a last text message and [ends](WebSocketConnection::end).
    pub fn end_with(&self, text: impl AsRef<str>) {
        self.write(text);
        self.end();
    }

    /// Closes with 1000: what is queued leaves, then a Close. No message of the peer is delivered any more. `close` fires
    /// when the peer has answered, or after [`close_timeout`](crate::WebSocketOptions::close_timeout).
    pub fn close(&self) {
        self.close_with(close_code::NORMAL, "");
    }

    /// Closes with a code and a reason.
    ///
    /// A code that RFC 6455 §7.4 does not allow is not sent: 1005 sends a Close without a code, any other becomes 1011. A
    /// reason over 123 bytes is cut.
    pub fn close_with(&self, code: u16, reason: impl AsRef<str>) {
        self.begin_close(code, reason.as_ref(), true);
    }

    /// Cuts the connection now: nothing that is queued leaves, and no Close. `close` fires with 1006.
    pub fn terminate(&self) {
        let Some(mut state) = self.lock() else { return };
        if state.phase == Phase::Closed {
            return;
        }
        state.phase = Phase::Closing;
        state.extras().terminated = true;
        self.slot.signal(&state, ATTEND | DEAF);
    }

    /// In a `connection` listener: answers the handshake with `response` instead of the 101. The connection was never there,
    /// and emits nothing. `false` if it is too late.
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
        let Some(mut state) = self.lock().filter(|state| state.phase == Phase::Handshake) else { return false };
        let before = state.extras().rejection.replace(response);
        drop(state);
        drop(before);
        true
    }

    /// Stops reading, and delivering what has been read. TCP makes the peer wait. Deadlines that need reading wait too.
    pub fn pause(&self) {
        if let Some(state) = self.lock() {
            self.slot.signal(&state, PAUSED);
        }
    }

    /// Goes on reading.
    pub fn resume(&self) {
        if let Some(state) = self.lock() {
            self.slot.flags.fetch_and(!PAUSED, Ordering::Release);
            self.slot.signal(&state, ATTEND);
        }
    }

    /// Whether messages of the peer may still be delivered, now or after [`resume`](WebSocketConnection::resume).
    pub fn is_readable(&self) -> bool {
        self.lock().is_some_and(|state| state.phase < Phase::Closed && self.slot.flags.load(Ordering::Relaxed) & DEAF == 0)
    }
}

/// # Facts
impl WebSocketConnection {
    /// A number that no other connection of this process has: `spl_object_id`, Ratchet's `resourceId`.
    pub fn id(&self) -> u64 {
        self.number
    }

    /// The request that began the connection: in `connection` listeners, and later only with
    /// [`WebSocketOptions::keep_request`](crate::WebSocketOptions::keep_request). It is cheap to clone into a closure.
    pub fn request(&self) -> Option<ServerRequest> {
        self.lock()?.existing_extras()?.request.clone()
    }

    /// The peer's address; `None` on a Unix socket or a stream without, and after `close`.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.lock()?.remote
    }

    /// The address that the peer connected to; `None` as with [`remote_address`](WebSocketConnection::remote_address).
    pub fn local_address(&self) -> Option<SocketAddr> {
        let mut state = self.lock()?;
        let kept = state.existing_extras().and_then(|extras| extras.local);
        kept.or_else(|| state.outbox.socket()?.local_address())
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<Arc<str>> {
        self.lock()?.existing_extras()?.subprotocol.clone()
    }

    /// Messages of groups that this connection has missed, because it read too slowly and the group's
    /// [policy](crate::SlowMemberPolicy) is to drop them then.
    pub fn dropped(&self) -> u64 {
        self.lock().and_then(|mut state| Some(state.existing_extras()?.dropped)).unwrap_or(0)
    }

    /// The fault that ended the connection: in listeners of `error` and `close`, and in those of the middleware's `error`.
    pub fn error(&self) -> Option<ConnectionError> {
        self.lock()?.existing_extras()?.error.clone()
    }

    /// Attaches something of the app's own, replacing what has the same type: PHP's dynamic properties. It goes with the
    /// connection. `false`, and dropped, if the connection has ended.
    ///
    /// ```
    /// # fn login(connection: react_websocket::WebSocketConnection) {
    /// struct User { name: String }
    ///
    /// connection.set(User { name: "ann".into() });
    /// connection.on("text", move |text: &str| {
    ///     let user = connection.get::<User>();
    ///     println!("{}: {text}", user.map_or("?".into(), |user| user.name.clone()));
    /// });
    /// # }
    /// ```
    pub fn set<T: Send + Sync + 'static>(&self, value: T) -> bool {
        self.set_shared(Arc::new(value))
    }

    /// What was [set](WebSocketConnection::set) of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut state = self.lock()?;
        let data = &state.existing_extras()?.data;
        let found = data.iter().find(|value| value.is::<T>())?.clone();
        drop(state);
        found.downcast().ok()
    }

    /// Takes back what was [set](WebSocketConnection::set) of this type.
    pub fn take<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut state = self.lock()?;
        let data = &mut state.existing_extras()?.data;
        let place = data.iter().position(|value| value.is::<T>())?;
        let taken = data.swap_remove(place);
        state.trim_extras();
        drop(state);
        taken.downcast().ok()
    }
}

/// What the crate itself uses.
impl WebSocketConnection {
    pub(super) fn new(slot: &'static Slot, number: u64) -> WebSocketConnection {
        WebSocketConnection { slot, number }
    }

    /// The state, if the connection is still there.
    #[inline(always)]
    pub(super) fn lock(&self) -> Option<MutexGuard<'static, State>> {
        let state = self.slot.lock();
        (state.number == self.number).then_some(state)
    }

    pub(super) fn retire(self) {
        self.slot.retire(self.number);
    }

    /// What is attached of this type, made if there is none; and whether it was.
    pub(crate) fn get_or_set<T: Default + Send + Sync + 'static>(&self) -> Option<(Arc<T>, bool)> {
        let mut state = self.lock()?;
        let data = &mut state.extras().data;
        let (value, is_new) = match data.iter().find(|value| value.is::<T>()) {
            Some(found) => (found.clone(), false),
            None => {
                let made: Arc<dyn Any + Send + Sync> = Arc::new(T::default());
                data.push(made.clone());
                (made, true)
            }
        };
        drop(state);
        Some((value.downcast().ok()?, is_new))
    }

    /// Has `last` called after all listeners of `close`, also if the connection is refused and has none. `false` if it is too
    /// late.
    pub(crate) fn at_the_end(&self, last: impl FnOnce(WebSocketConnection) + Send + 'static) -> bool {
        let mut last = Some(last);
        let listener = move |connection: &WebSocketConnection| {
            if let Some(last) = last.take() {
                last(*connection);
            }
        };
        let Ok(listener) = listener.into_listener().fit(CLOSE) else { return false };
        self.add(CLOSE, Rank::Last, listener).number != u32::MAX
    }

    /// What a higher layer gave the middleware.
    pub(crate) fn extension<T: Send + Sync + Clone + 'static>(&self) -> Option<T> {
        self.shared()?.extension.as_ref()?.downcast_ref::<T>().cloned()
    }

    pub(crate) fn max_group_name(&self) -> Option<usize> {
        self.shared().map(|shared| shared.options.max_group_name)
    }

    pub(crate) fn max_groups(&self) -> Option<usize> {
        self.shared().map(|shared| shared.options.max_groups_per_connection)
    }

    /// A listener that concerns this connection failed somewhere else.
    pub(crate) fn listener_failed(&self, error: BoxError) {
        self.fail(ConnectionError::Listener(error.into()));
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        self.lock()?.shared.clone()
    }

    pub(super) fn set_shared(&self, value: Arc<dyn Any + Send + Sync>) -> bool {
        let Some(mut state) = self.lock() else { return false };
        let data = &mut state.extras().data;
        let kind = (*value).type_id();
        let before = match data.iter_mut().find(|other| (***other).type_id() == kind) {
            Some(other) => Some(std::mem::replace(other, value)),
            None => {
                data.push(value);
                None
            }
        };
        drop(state);
        drop(before);
        true
    }

    pub(super) fn add(&self, event: u8, rank: Rank, listener: Box<dyn Listener<ConnectionEvents>>) -> ListenerId {
        let Some(mut state) = self.lock().filter(|state| state.phase < Phase::Closed) else {
            return ListenerId { event, number: u32::MAX };
        };
        let id = ListenerId { event, number: state.next_listener };
        state.next_listener = state.next_listener.wrapping_add(1);
        if rank != Rank::Last
            && let Some(count) = state.listener_counts.get_mut(usize::from(event))
        {
            *count = count.saturating_add(1);
        }
        // Few connections have more than a handful of listeners: room for each, none to spare.
        state.mail.reserve_exact(1);
        state.mail.push(Change::Add(Entry { id, rank, listener }));
        self.slot.flags.fetch_or(MAIL, Ordering::Release);
        id
    }

    fn add_typed<M>(&self, event: u8, listener: impl IntoListener<M>) -> ListenerId {
        match listener.into_listener().fit(event) {
            Ok(listener) => self.add(event, Rank::On, listener),
            // The signatures of the typed methods are those of their events.
            Err(error) => unreachable!("{error}"),
        }
    }

    fn change(&self, change: Change<ConnectionEvents>, count: impl FnOnce(&mut [u16])) {
        if let Some(mut state) = self.lock() {
            count(&mut state.listener_counts);
            state.mail.push(change);
            self.slot.flags.fetch_or(MAIL, Ordering::Release);
        }
    }

    /// The state, if one more message may be added to it.
    #[inline(always)]
    fn lock_for_message(&self) -> Option<MutexGuard<'static, State>> {
        let state = self.lock()?;
        if !state.is_writable() {
            return None;
        }
        let (unsent, limit) = (state.unsent(), hard_limit(&state));
        if unsent >= limit {
            self.fail_locked(state, ConnectionError::SlowReader { unsent, limit });
            return None;
        }
        Some(state)
    }

    /// Adds a message to what is to be sent.
    #[inline]
    pub(super) fn write_frame(&self, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(mut state) = self.lock_for_message() else { return false };
        if state.streaming {
            state.extras().stream.push_behind(opcode, payload);
            return self.room(&mut state);
        }
        if payload.len() >= LARGE && !state.blocked {
            let flushed = state.outbox.push_large(opcode, payload);
            return self.flushed(&mut state, flushed);
        }
        state.outbox.push(true, opcode, payload);
        self.touched(state)
    }

    /// Adds a message that stands in a broadcast's log.
    #[inline]
    pub(super) fn write_range(&self, log: &Arc<Log>, start: u32, end: u32) {
        let Some(mut state) = self.lock_for_message() else { return };
        if state.streaming {
            let log = log.read().unwrap_or_else(PoisonError::into_inner);
            state.extras().stream.push_encoded(log.get(start as usize..end as usize).unwrap_or_default());
            self.room(&mut state);
            return;
        }
        state.outbox.push_range(log, start, end);
        self.touched(state);
    }

    /// The same for a member of a group that has a policy for slow ones. Returns how many messages were dropped.
    pub(super) fn write_range_with_policy(
        &self,
        log: &Arc<Log>,
        (start, end): (u32, u32),
        group: u64,
        policy: SlowMemberPolicy,
    ) -> u64 {
        let Some(mut state) = self.lock_for_message() else { return 0 };
        let (unsent, limit) = (state.unsent(), soft_limit(&state));
        if unsent < limit && !state.holds || policy == SlowMemberPolicy::Keep {
            drop(state);
            self.write_range(log, start, end);
            return 0;
        }
        if policy == SlowMemberPolicy::Close {
            self.fail_locked(state, ConnectionError::SlowReader { unsent, limit });
            return 0;
        }
        let dropped = if policy == SlowMemberPolicy::DropNew {
            1
        } else {
            state.holds = true;
            let log = log.read().unwrap_or_else(PoisonError::into_inner);
            let frame = log.get(start as usize..end as usize).unwrap_or_default();
            state.extras().held.push(group, frame, policy == SlowMemberPolicy::KeepLatest, limit)
        };
        if dropped > 0 {
            state.extras().dropped += dropped;
        }
        dropped
    }

    /// Adds what was held, as far as there is room, and says whether `drain` is to be said.
    pub(super) fn release_held(&self) -> bool {
        let Some(mut state) = self.lock() else { return false };
        let says_drain = std::mem::take(&mut state.has_drained);
        let limit = soft_limit(&state);
        while state.holds && state.is_writable() && state.unsent() < limit {
            match state.extras().held.pop() {
                Some(frame) if state.streaming => state.extras().stream.push_encoded(&frame),
                Some(frame) => state.outbox.own().extend_from_slice(&frame),
                None => state.holds = false,
            }
        }
        state.trim_extras();
        if state.outbox.unsent() > 0 {
            self.touched_without_answer(state);
        }
        says_drain
    }

    async fn send_frame(&self, opcode: Opcode, payload: &[u8]) -> Result<(), Closed> {
        std::future::poll_fn(|cx| {
            let Some(mut state) = self.lock().filter(|state| state.is_writable()) else {
                return Poll::Ready(Err(Closed));
            };
            if state.unsent() < soft_limit(&state) {
                return Poll::Ready(Ok(()));
            }
            state.wants_drain = true;
            state.extras().senders.push(cx.waker().clone());
            Poll::Pending
        })
        .await?;
        self.write_frame(opcode, payload);
        if self.is_writable() { Ok(()) } else { Err(Closed) }
    }

    fn write_control(&self, opcode: Opcode, payload: &[u8]) -> bool {
        if payload.len() > CONTROL_MAX {
            return false;
        }
        let Some(mut state) = self.lock().filter(|state| state.is_writable()) else { return false };
        state.outbox.push(true, opcode, payload);
        self.touched(state);
        true
    }

    /// Answers a ping. While the socket is full only the latest answer waits, so that a peer that pings and does not read
    /// cannot make us keep more (RFC 6455 §5.5.3 allows it).
    pub(super) fn answer_ping(&self, payload: &[u8]) {
        let Some(mut state) = self.lock().filter(|state| state.is_writable()) else { return };
        if state.blocked {
            state.extras().pong = Some(payload.to_vec());
        } else {
            state.outbox.push(true, Opcode::Pong, payload);
            self.touched(state);
        }
    }

    pub(super) fn begin_stream(&self) -> u64 {
        self.lock().filter(|state| state.is_writable()).map_or(0, |mut state| {
            state.streaming = true;
            state.extras().stream.begin()
        })
    }

    pub(super) fn write_fragment(&self, ticket: u64, fin: bool, opcode: Opcode, payload: &[u8]) -> bool {
        let Some(mut state) = self.lock_for_message() else { return false };
        let mut stream = std::mem::take(&mut state.extras().stream);
        stream.push_fragment(state.outbox.own(), ticket, fin, opcode, payload);
        self.put_back(state, stream)
    }

    pub(super) fn forget_stream(&self, ticket: u64) {
        let Some(mut state) = self.lock() else { return };
        let mut stream = std::mem::take(&mut state.extras().stream);
        stream.forget(state.outbox.own(), ticket);
        self.put_back(state, stream);
    }

    fn put_back(&self, mut state: MutexGuard<'static, State>, stream: super::writer::Streaming) -> bool {
        state.streaming = !stream.is_idle();
        state.extras().stream = stream;
        state.trim_extras();
        self.touched(state)
    }

    /// Fails the connection: `error` fires, the peer is told, `close` follows. Nothing if there is a fault already, or the
    /// end has begun to be told.
    pub(super) fn fail(&self, error: ConnectionError) {
        if let Some(state) = self.lock() {
            self.fail_locked(state, error);
        }
    }

    #[cold]
    fn fail_locked(&self, mut state: MutexGuard<'static, State>, error: ConnectionError) {
        let is_known = state.existing_extras().is_some_and(|extras| extras.fault.is_some() || extras.error.is_some());
        if is_known || state.phase == Phase::Closed {
            return;
        }
        if state.is_writable() {
            self.queue_close(&mut state, error.close_code(), &error.public_reason());
        }
        state.extras().fault = Some(error);
        self.slot.signal(&state, ATTEND | DEAF);
        self.touched(state);
    }

    fn begin_close(&self, code: u16, reason: &str, deaf: bool) {
        let Some(mut state) = self.lock().filter(|state| state.phase < Phase::Closed) else { return };
        if deaf {
            self.slot.signal(&state, ATTEND | DEAF);
        }
        if state.phase == Phase::Closing {
            return;
        }
        self.queue_close(&mut state, code, reason);
        state.extras().closing = Some((code, reason.to_owned()));
        self.slot.signal(&state, ATTEND);
        self.touched(state);
    }

    /// Puts our Close behind what is queued. It passes a message that is being streamed, which cannot end any more.
    pub(super) fn queue_close(&self, state: &mut State, code: u16, reason: &str) {
        state.phase = Phase::Closing;
        if state.streaming {
            state.streaming = false;
            state.extras().stream = super::writer::Streaming::default();
        }
        if code != close_code::ABNORMAL {
            close::encode(state.outbox.own(), code, reason);
        }
    }

    /// Something was added: has it flushed when the turn ends, and says whether there is room for more.
    #[inline(always)]
    pub(super) fn touched(&self, mut state: MutexGuard<'static, State>) -> bool {
        let room = self.room(&mut state);
        self.touched_without_answer(state);
        room
    }

    #[inline(always)]
    fn touched_without_answer(&self, mut state: MutexGuard<'static, State>) {
        let token = cork::token();
        if state.corked_by != token && !state.blocked {
            state.corked_by = token;
            drop(state);
            cork::touch(*self);
        }
    }

    #[inline]
    fn room(&self, state: &mut State) -> bool {
        let room = state.unsent() < soft_limit(state);
        state.wants_drain |= !room;
        room
    }

    /// Sends what can be sent now.
    #[inline]
    pub(super) fn flush(self) {
        let Some(mut state) = self.lock() else { return };
        state.corked_by = 0;
        if !state.blocked {
            let flushed = state.outbox.flush();
            self.flushed(&mut state, flushed);
        }
    }

    /// Takes note of how a flush ended, and says whether there is room for more.
    #[inline]
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
                self.slot.signal(state, BLOCKED);
                self.room(state)
            }
            Flushed::Broken => {
                state.broken = true;
                self.slot.signal(state, ATTEND);
                false
            }
        }
    }

    /// Everything was sent: others may write to the socket again. `false` if there is more to send first.
    pub(super) fn unblock(&self, state: &mut State) -> bool {
        let pong = state.existing_extras().and_then(|extras| extras.pong.take());
        if let Some(pong) = pong.filter(|_| state.is_writable()) {
            state.outbox.push(true, Opcode::Pong, &pong);
        }
        if state.outbox.unsent() > 0 {
            return false;
        }
        state.trim_extras();
        state.blocked = false;
        self.slot.flags.fetch_and(!BLOCKED, Ordering::Relaxed);
        self.drained(state);
        true
    }

    /// The socket has failed.
    pub(super) fn broken(&self) {
        if let Some(mut state) = self.lock() {
            let flushed = state.outbox.break_off();
            state.blocked = false;
            self.slot.flags.fetch_and(!BLOCKED, Ordering::Relaxed);
            self.flushed(&mut state, flushed);
        }
    }

    /// If there is room again: lets those know who wait for it.
    #[cold]
    pub(super) fn drained(&self, state: &mut State) {
        if (state.wants_drain || state.holds) && state.unsent() < soft_limit(state) {
            state.has_drained |= std::mem::take(&mut state.wants_drain);
            self.slot.signal(state, DRAINED);
        }
    }
}

fn soft_limit(state: &State) -> usize {
    state.shared.as_ref().map_or(usize::MAX, |shared| shared.options.write_buffer_soft_limit)
}

fn hard_limit(state: &State) -> usize {
    state.shared.as_ref().map_or(usize::MAX, |shared| shared.options.write_buffer_hard_limit)
}

impl PartialEq for WebSocketConnection {
    fn eq(&self, other: &WebSocketConnection) -> bool {
        self.number == other.number
    }
}

impl Eq for WebSocketConnection {}

impl Hash for WebSocketConnection {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for WebSocketConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocketConnection({})", self.number)
    }
}
