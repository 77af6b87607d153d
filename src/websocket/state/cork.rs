//! Writes that leave together.
//!
//! All messages that are written during a turn are collected. At the end of the turn each
//! connection that was written to is flushed once. That thread writes directly to the sockets,
//! without waking the connections' tasks.
//!
//! That makes bursts and broadcasts cheap: one system call sends many messages, and none is delayed
//! by more than the turn.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::protocol::{Opcode, frame};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::global;
use crate::sync::thread_local;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::held::SlowMemberPolicy;
use crate::websocket::state::log::Log;
use crate::websocket::state::order::Order;
use crate::websocket::state::slot::Slot;

thread_local! {
    // Two variables, since access is cheaper to one without a destructor.
    static THREAD: Thread = const { Thread { is_corked: Cell::new(false), token: Cell::new(0), first: Cell::new(None), has_more: Cell::new(false) } };
    static MORE: More = const { More { touched: RefCell::new(Vec::new()), log: Cell::new(None) } };
}

struct Thread {
    is_corked: Cell<bool>,
    token: Cell<u32>,
    /// The connection that was touched first, with its slot. In most turns it is the only one.
    first: Cell<Option<(WebSocketConnection, &'static Slot)>>,
    /// [`More`] needs attention at the end of the turn.
    has_more: Cell<bool>,
}

struct More {
    /// The connections that were touched after the first.
    touched: RefCell<Vec<WebSocketConnection>>,
    /// The turn's broadcasts.
    log: Cell<Option<Arc<Log>>>,
}

/// Maximum number of connections that are flushed at once. A task flushes the rest and yields to
/// other tasks in between. A flush is a system call, so 256 of them take some milliseconds.
const FLUSH_MAX: usize = if cfg!(models) { 1 } else { 256 };

/// A log of more bytes is not extended, since members with unsent bytes keep all of it in memory.
const LOG_MAX: usize = 256 * 1024;

/// Runs `work`, and sends all messages that `work` writes together at its end. Returns the value of
/// `work`. Use it outside of listeners. In listeners messages are collected automatically.
///
/// ```
/// # fn send_all(connections: &[react_websocket::WebSocketConnection]) {
/// react_websocket::cork(|| {
///     for connection in connections {
///         connection.write("one");
///         connection.write("two");
///     }
/// });
/// # }
/// ```
pub fn cork<R>(work: impl FnOnce() -> R) -> R {
    let _cork = Cork::begin();
    work()
}

/// Collects the writes of this thread while the `Cork` exists. Dropping it flushes them, also after a panic. An inner
/// cork is a part of the outer cork.
pub(crate) struct Cork {
    is_outermost: bool,
}

impl Cork {
    #[inline]
    pub(crate) fn begin() -> Cork {
        Cork { is_outermost: !THREAD.with(|thread| thread.is_corked.replace(true)) }
    }

    /// Sends all messages that have been written so far.
    #[inline]
    pub(crate) fn flush(&self) {
        if self.is_outermost {
            flush_touched();
        }
    }
}

impl Drop for Cork {
    fn drop(&mut self) {
        if self.is_outermost {
            self.flush();
            THREAD.with(|thread| thread.is_corked.set(false));
        }
    }
}

/// Returns the number of this thread. A connection notes which thread is going to flush it. If that
/// thread is held up in a listener, another thread that writes to the connection lists it as well.
#[inline]
pub(crate) fn token() -> u32 {
    #[cold]
    fn new_token() -> u32 {
        global! { static NEXT: AtomicU32 = AtomicU32::new(1); }
        let token = NEXT.fetch_add(1, Ordering::Relaxed);
        THREAD.with(|thread| thread.token.set(token));
        token
    }
    match THREAD.with(|thread| thread.token.get()) {
        0 => new_token(),
        token => token,
    }
}

/// Flushes a connection at the end of the turn, or at once outside of a turn.
#[inline]
pub(crate) fn touch(connection: WebSocketConnection, slot: &'static Slot) {
    THREAD.with(|thread| {
        if !thread.is_corked.get() {
            connection.flush_at(slot);
        } else if thread.first.get().is_none() {
            thread.first.set(Some((connection, slot)));
        } else {
            touch_more(thread, connection);
        }
    });
}

fn touch_more(thread: &Thread, connection: WebSocketConnection) {
    // When a thread ends, its list may no longer exist.
    let listed = MORE.try_with(|more| {
        more.touched.borrow_mut().push(connection);
        thread.has_more.set(true);
    });
    if listed.is_err() {
        connection.flush();
    }
}

/// A flush calls no listener, so no connection is added to the list meanwhile.
#[inline]
fn flush_touched() {
    THREAD.with(|thread| {
        if let Some((first, slot)) = thread.first.get() {
            thread.first.set(None);
            first.flush_at(slot);
        }
        if thread.has_more.get() {
            thread.has_more.set(false);
            flush_more();
        }
    });
}

#[inline(never)]
fn flush_more() {
    let _ = MORE.try_with(|more| {
        let mut touched = more.touched.take();
        let rest = if touched.len() > FLUSH_MAX { touched.split_off(FLUSH_MAX) } else { Vec::new() };
        touched.drain(..).for_each(WebSocketConnection::flush);
        more.touched.replace(touched);
        if !rest.is_empty() {
            flush_later(rest);
        }
        recycle_log(more);
    });
}

/// Connections that are still to be flushed, even if the task that flushes them is dropped.
struct Unflushed(Vec<WebSocketConnection>);

impl Drop for Unflushed {
    fn drop(&mut self) {
        self.0.drain(..).for_each(WebSocketConnection::flush);
    }
}

/// Flushes connections on the runtimes that they run on. The caller's own runtime may no longer
/// run.
fn flush_later(touched: Vec<WebSocketConnection>) {
    let mut parts: Vec<(Handle, Unflushed)> = Vec::new();
    for connection in touched {
        let Some(mut state) = connection.lock() else { continue };
        // The task may be delayed. Writes from now on do not wait for it.
        state.corked_by = 0;
        // Without a lifetime there is no socket yet: all messages leave after the 101.
        let Some(runtime) = state.lifetime.as_ref().map(|lifetime| lifetime.runtime()) else { continue };
        match parts.iter_mut().find(|(other, _)| other.id() == runtime.id()) {
            Some((_, unflushed)) => unflushed.0.push(connection),
            None => parts.push((runtime.clone(), Unflushed(vec![connection]))),
        }
    }
    for (runtime, mut unflushed) in parts {
        // A runtime that has ended drops the task at once.
        runtime.spawn(async move {
            while !unflushed.0.is_empty() {
                let some = unflushed.0.len().min(FLUSH_MAX);
                unflushed.0.drain(..some).for_each(WebSocketConnection::flush);
                tokio::task::yield_now().await;
            }
        });
    }
}

/// Writes one message to many connections, and encodes it once.
pub(crate) fn broadcast(members: impl Iterator<Item = WebSocketConnection>, order: &Order, opcode: Opcode, payload: &[u8]) {
    encode_once(order, opcode, payload, |log, range| match range {
        Some((start, end)) => members.for_each(|member| member.write_range(log, start, end)),
        // A message of several gigabytes. No single write can send it anyway.
        None => members.for_each(|member| {
            member.write_frame(opcode, payload);
        }),
    });
}

/// Writes one message to the members of a group, under the group's policy for slow consumers.
/// Returns the members that have missed messages, and how many.
pub(crate) fn broadcast_to_group(
    members: impl Iterator<Item = WebSocketConnection>,
    order: &Order,
    opcode: Opcode,
    payload: &[u8],
    group: u64,
    policy: SlowMemberPolicy,
) -> Vec<(WebSocketConnection, u64)> {
    let mut missed = Vec::new();
    if policy == SlowMemberPolicy::Keep {
        broadcast(members, order, opcode, payload);
        return missed;
    }
    encode_once(order, opcode, payload, |log, range| {
        for member in members {
            let dropped = range.map_or(1, |range| member.write_range_with_policy(log, range, group, policy));
            if dropped > 0 {
                missed.push((member, dropped));
            }
        }
    });
    missed
}

/// Calls `write`, under the order's lock, with the turn's log and the message's range in it.
fn encode_once(order: &Order, opcode: Opcode, payload: &[u8], write: impl FnOnce(&Arc<Log>, Option<(u32, u32)>)) {
    let _cork = Cork::begin();
    let log = MORE.try_with(|more| more.log.take()).ok().flatten();
    let log = log.filter(|log| length(log) <= LOG_MAX).unwrap_or_default();
    let range = {
        let mut bytes = log.write();
        let start = bytes.len();
        frame::encode(&mut bytes, true, opcode, payload);
        u32::try_from(start).ok().zip(u32::try_from(bytes.len()).ok())
    };
    {
        let _order = order.lock();
        write(&log, range);
    }
    let _ = MORE.try_with(|more| more.log.set(Some(log)));
    THREAD.with(|thread| thread.has_more.set(true));
}

/// Reuses the log if no connection has unsent bytes in it.
fn recycle_log(more: &More) {
    if let Some(mut log) = more.log.take()
        && let Some(bytes) = Arc::get_mut(&mut log)
    {
        let bytes = bytes.get_mut();
        if bytes.capacity() <= LOG_MAX {
            bytes.clear();
            more.log.set(Some(log));
        }
    }
}

fn length(log: &Log) -> usize {
    log.read().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Broadcasts without members, and returns the log and the message's place in it.
    fn write(size: usize) -> (Arc<Log>, (u32, u32)) {
        let mut written = None;
        encode_once(&Order::default(), Opcode::Binary, &vec![0; size], |log, range| {
            written = range.map(|range| (log.clone(), range));
        });
        written.expect("it is called, and a log is small")
    }

    /// Returns the capacity of the log that the thread keeps.
    fn kept() -> Option<usize> {
        MORE.with(|more| more.log.take()).map(|log| log.read().capacity())
    }

    #[test]
    fn the_broadcasts_of_a_turn_share_a_log_until_it_is_large() {
        let cork = Cork::begin();
        let (first, second) = (write(10), write(LOG_MAX));
        assert!(Arc::ptr_eq(&first.0, &second.0));
        assert_eq!((first.1, second.1.0), ((0, 12), 12));
        let third = write(10);
        assert!(!Arc::ptr_eq(&first.0, &third.0));
        assert_eq!(third.1, (0, 12));
        drop(cork);
    }

    #[test]
    fn a_log_is_used_again_if_it_is_not_large_and_nobody_has_anything_of_it_to_send() {
        let cork = Cork::begin();
        drop(write(100));
        cork.flush();
        let log = MORE.with(|more| more.log.take()).expect("it is kept");
        assert!(log.read().is_empty());

        let unsent = write(100);
        cork.flush();
        assert_eq!(kept(), None, "somebody has something of it to send");
        assert_eq!(unsent.0.read().len(), 102);

        drop(write(LOG_MAX));
        cork.flush();
        assert_eq!(kept(), None, "it is large");
    }
}
