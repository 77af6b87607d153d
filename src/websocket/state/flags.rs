//! The flags of a connection.
//!
//! Flags are requests to the connection's task, and facts that are read without the lock. Each flag
//! is one bit. Any thread sets and clears bits with atomic operations. Waking the task needs the
//! lock, see `Slot::signal`.
//!
//! | Flag | Set by | Cleared by |
//! |---|---|---|
//! | `PENDING_CHANGES` | `on`, `once`, `remove_listener` | `Dispatcher::apply_changes` |
//! | `BLOCKED` | a flush that fills the socket, or whose stream only the task can write | `unblock`, `break_socket`, `Driver::hang_up` |
//! | `DRAINED` | `signal_if_drained` | the task, in `Driver::attend` |
//! | `ALARM` | the clock; the task, if it must read before it judges a deadline | the task, in `attend` |
//! | `STATE_CHANGED` | `Driver::start`, `end`, `close_with`, `terminate`, `cut`, `fail`, `resume`, `remove_listener`, a flush whose socket has failed, the answer to the peer's Close frame | the task, in `attend` |
//! | `DISCARD_INPUT` | `close_with`, `terminate`, `fail` | never |
//! | `TERMINATED` | `terminate` | never |
//! | `PEER_CLOSED` | the peer's Close frame | never |
//! | `PAUSED` | `pause` | `resume` |
//! | `HELD_UP` | a listener that waits for other threads | the task, at the end of its turn |
//! | `FINISHED` | the end of the task, while guards keep the slot | with the slot |
//!
//! # How `drain` is emitted
//!
//! A `write` returns `false` and sets `wants_drain`. A flush that leaves fewer bytes than the soft
//! limit sets `has_drained` and `DRAINED`. The task then writes the held messages, has the
//! dispatcher schedule the event, and the dispatcher emits `drain`.
//!
//! # How an error is emitted
//!
//! `fail`, on any thread, sets `fault` and `STATE_CHANGED`. The task moves `fault` to `error`, and has
//! the dispatcher schedule the event. The dispatcher emits `error`, and `close` follows.

use crate::runtime::turn;

/// Listeners were added or removed.
pub(crate) const PENDING_CHANGES: u16 = 1 << 0;
/// The socket is full: the task has to write.
pub(crate) const BLOCKED: u16 = 1 << 1;
/// Fewer bytes than the soft limit are unsent again, and a writer waits for that.
pub(crate) const DRAINED: u16 = 1 << 2;
/// A deadline may have passed.
pub(crate) const ALARM: u16 = 1 << 3;
/// The state has changed in another way: see the table above.
pub(crate) const STATE_CHANGED: u16 = 1 << 4;
/// No message is delivered any more: `close` was called, or the connection has failed.
pub(crate) const DISCARD_INPUT: u16 = 1 << 5;
/// No message is delivered for now.
pub(crate) const PAUSED: u16 = 1 << 6;
/// The received bytes no longer count: `terminate` was called.
pub(crate) const TERMINATED: u16 = 1 << 7;
/// The peer has sent a Close frame. Nothing follows it.
pub(crate) const PEER_CLOSED: u16 = 1 << 8;
/// The task has ended, and guards still keep the slot.
pub(crate) const FINISHED: u16 = 1 << 9;
/// A listener had to wait for other threads. The turn ends, and the next one begins when these have
/// had theirs.
pub(crate) const HELD_UP: u16 = turn::HELD_UP;
