//! Events and their listeners, for all objects: names, conversion of closures, and three kinds of
//! collections.
//!
//! * [`Table`] belongs to one task, which alone calls its listeners: `FnMut`, synchronous or asynchronous, no lock.
//! * [`Listeners`] are shared by many tasks and called by one at a time, see [`SerialQueue`] and [`SharedEmitter`]: `FnMut`,
//!   synchronous.
//! * [`ConcurrentListeners`] are shared and called by many at a time: `Fn`, synchronous or asynchronous.
//!
//! All keep the rules of Évenement: `on` before `once`, each in the order of registration, on a snapshot.

mod concurrent;
mod error;
mod event_emitter;
mod listener;
mod methods;
mod names;
mod output;
mod panics;
mod sealed;
mod serial_queue;
mod shared;
mod shared_emitter;
mod table;

pub use concurrent::IntoListenerFuture;
pub(crate) use concurrent::{ConcurrentClosure, ConcurrentListener, ConcurrentListeners, ListenerCall, call_once};
pub(crate) use concurrent::{Later, Now};
pub(crate) use error::expect_fit;
pub use error::{ListenerError, report};
pub use event_emitter::EventEmitter;
pub use listener::ListenerId;
pub(crate) use listener::{Asynchronous, ClonedForEachCallSoUseArc, EachTime, Events, Listener, Once, Rank, Synchronous};
pub(crate) use methods::{listener_methods, listeners_of, removal_methods};
pub(crate) use names::{EventNames, did_you_mean};
pub(crate) use output::Never;
pub use output::{BoxError, ListenerOutput};
pub(crate) use panics::{Contained, contain, drop_each, output_of, panic_error, poll_to_end};
pub(crate) use sealed::Sealed;
pub(crate) use serial_queue::SerialQueue;
pub(crate) use shared::Listeners;
pub(crate) use shared_emitter::SharedEmitter;
pub(crate) use table::{Change, Emission, Entry, Table};
