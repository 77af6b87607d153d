//! Timers, future ticks and signals under ReactPHP's names.

mod callback;
mod delay;
mod enqueued;
mod queue;
mod schedule;
mod signal;

use std::io;
use std::time::Duration;

use tokio::runtime::Id;
use tokio::time::sleep;

pub use callback::{IntoCallback, IntoOnceCallback};
pub use delay::Delay;
use queue::{Queue, next_number};
pub use signal::Signal;
use signal::Signals;

use crate::emitter::{BoxError, IntoListenerFuture, ListenerOutput};

/// Timers, future ticks and signals under the names of ReactPHP's `React\EventLoop\Loop`.
///
/// The loop itself is tokio's runtime, which runs from the beginning of `#[tokio::main]` until
/// `main` returns. So there is no `run()` and no `stop()`: `main` awaits, for example, the
/// [`Listening`](crate::Listening) of a server.
///
/// ```
/// use react_websocket::{Loop, Timer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// Loop::add_periodic_timer(1.0, || println!("a second has passed"));
/// Loop::future_tick(|| println!("main waits for something"));
/// let mut ticks = 0;
/// Loop::add_periodic_timer(0.5, move |timer: Timer| {
///     ticks += 1;
///     if ticks == 3 {
///         Loop::cancel_timer(timer);
///     }
/// });
/// # tokio::time::sleep(std::time::Duration::from_secs(7)).await;
/// # }
/// ```
///
/// # Order
///
/// As in ReactPHP, the loop runs in rounds. In each round it calls
///
/// 1. the future ticks that were enqueued before the round, and callbacks of signals, in the order
///    of enqueuing;
/// 2. the timers that are due, in the order of their due times. Timers with the same due time are
///    called in the order in which they were added.
///
/// After each round connections are read, and other tasks of the runtime run. A tick that a
/// callback enqueues belongs to the next round.
///
/// The time of a timer starts at the call of `add_timer`. A timer is never called early, and
/// usually within a millisecond. A timer of 0 seconds is called in the next round, without a delay.
///
/// A tick or timer that a listener or callback adds is called after that listener or callback has
/// returned. So a listener or callback must not block until its own tick or timer has been called.
/// Listeners of a connection, middlewares and routers have a stronger guarantee. The connection is
/// not read again until their ticks and due timers have been called. For example, a `connection`
/// listener adds a tick or a timer of 0 seconds, and the tick or timer calls
/// `connection.on("text", …)`. The new listener gets every message. Messages that arrive together
/// are delivered together, as in a `data` event of ReactPHP. The ticks of their listeners are
/// called after all these messages.
///
/// # One at a time
///
/// The callbacks of one runtime are called one after the other, also on a runtime with several
/// threads. While a callback runs, listeners of connections may run on other threads. With
/// `#[tokio::main(flavor = "current_thread")]` everything runs one at a time, as in PHP.
///
/// # Asynchronous callbacks
///
/// A callback may return a future, as a callback in PHP may return a promise. The future runs in
/// the order of the loop up to its first `await`. The rest runs in a separate task, and the next
/// callback does not wait for it. If a periodic timer is due while its last call is still running,
/// the loop skips this call. If a signal is received while the last call of its callback is still
/// running, the callback is called again after that call.
///
/// # Several runtimes
///
/// Each runtime has its own loop. A tick, a timer or a listener for a signal belongs to the runtime
/// in which it was added. It is called as long as that runtime runs, and is dropped with the
/// runtime. Timers and listeners can be cancelled from any thread.
///
/// # Errors and panics
///
/// A callback that panics or returns `Err` ends only that call. A periodic timer continues. The
/// panic hook prints the panic. The `Err` is printed on stderr, at most ten times a second. With
/// the feature `tracing` it is logged instead.
#[derive(Debug)]
pub enum Loop {}

/// A handle of a timer, for [`Loop::cancel_timer`]: ReactPHP's `TimerInterface`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer {
    runtime: Id,
    number: u64,
}

/// So that a listener or callback may end with the call that makes a timer.
impl ListenerOutput for Timer {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// A handle of a listener for a signal, for [`Loop::remove_signal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalListener {
    runtime: Id,
    number: u64,
}

/// The shortest interval of a periodic timer, as in ReactPHP.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

impl Loop {
    /// Calls `callback` once, after the delay `after`: ReactPHP's `addTimer`.
    ///
    /// `after` is a number of seconds, or a [`Duration`]. `callback` takes nothing or the
    /// [`Timer`], and may be asynchronous. The section [Order](Loop#order) says when it is called.
    /// Returns the timer, which can be [cancelled](Loop::cancel_timer).
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn add_timer<F, M>(after: impl Into<Delay>, callback: F) -> Timer
    where
        F: IntoOnceCallback<Timer, M>,
    {
        let Delay(after) = after.into();
        add_timer(after, None, |timer| callback.into_once_callback(timer))
    }

    /// Calls `callback` again and again with the interval `every`, until the timer is cancelled:
    /// ReactPHP's `addPeriodicTimer`.
    ///
    /// `every` is a number of seconds, or a [`Duration`]. The shortest interval is 1 µs. `callback`
    /// takes nothing or the [`Timer`]. The next interval begins when a [round](Loop#order) calls
    /// the timer, so the loop does not repeat calls that it missed while it was busy. An
    /// asynchronous callback is cloned for each call, and never runs twice at the same time. If a
    /// call is due while the last call is still running, it is skipped. Returns the timer, which
    /// can be [cancelled](Loop::cancel_timer).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use react_websocket::Loop;
    /// # struct Database;
    /// # impl Database { async fn clean_up(&self) {} }
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let database = Arc::new(Database);
    /// Loop::add_periodic_timer(60, async move || database.clean_up().await);
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    #[track_caller]
    pub fn add_periodic_timer<F, M>(every: impl Into<Delay>, callback: F) -> Timer
    where
        F: IntoCallback<Timer, M>,
    {
        let Delay(every) = every.into();
        let every = every.max(INTERVAL_MIN);
        add_timer(every, Some(every), |timer| callback.into_callback(timer))
    }

    /// Cancels a timer: ReactPHP's `cancelTimer`.
    ///
    /// After this method returns, no new call of the timer begins, also if the timer is already
    /// due. A call that has begun continues. Cancelling a timer that has been called or cancelled
    /// does nothing. A timer may cancel itself.
    pub fn cancel_timer(timer: Timer) {
        if let Some(queue) = Queue::of(timer.runtime) {
            queue.remove(timer.number);
        }
    }

    /// Calls `callback` in the next [round](Loop#order), after the current listener or callback has
    /// returned: ReactPHP's `futureTick`.
    ///
    /// In a task that the app has spawned, `callback` is called when the task awaits. On a runtime
    /// with several threads another thread may call `callback` at once.
    ///
    /// The number of enqueued ticks has no limit.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn future_tick<F, R, K>(callback: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoListenerFuture<K>,
    {
        enqueued::tick(&Queue::current(), move || callback().into_call());
    }

    /// Calls `callback` for each signal of this kind that the process receives: ReactPHP's
    /// `addSignal`.
    ///
    /// `callback` takes nothing or the [`Signal`], and is called in the next [round](Loop#order).
    /// This switches off the system's default action, such as the end of the process, also after
    /// [`remove_signal`](Loop::remove_signal). Signals of one kind that arrive together may cause
    /// only one call. An asynchronous callback is cloned for each call, and never runs twice at the
    /// same time. A signal that arrives during a call is handled after the call. Returns a handle
    /// for [`remove_signal`](Loop::remove_signal).
    ///
    /// Unlike in ReactPHP, the same closure is called twice if it is added twice.
    ///
    /// ```no_run
    /// # use react_websocket::{HttpServer, Response, ServerRequest, SocketServer};
    /// use react_websocket::{Loop, Signal};
    ///
    /// # async fn run() -> Result<(), react_websocket::Error> {
    /// # let http = HttpServer::new(|_: ServerRequest| Response::plaintext("hello"));
    /// let listening = http.listen(SocketServer::new("0.0.0.0:8000")?);
    /// let server = listening.clone();
    /// Loop::add_signal(Signal::TERM, async move || server.close().await)?;
    /// Ok(listening.await?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the system does not allow listening to this signal, such as `SIGKILL`.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O enabled.
    #[track_caller]
    pub fn add_signal<F, M>(signal: Signal, callback: F) -> io::Result<SignalListener>
    where
        F: IntoCallback<Signal, M>,
    {
        let mut signals = Signals::new(signal)?;
        let (queue, number) = (Queue::current(), next_number());
        let mut removed = queue.add_signal(number, callback.into_callback(signal));
        let listener = SignalListener { runtime: queue.runtime(), number };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut removed => return,
                    received = signals.next() => match received {
                        Some(()) => queue.signal(number),
                        None => return,
                    },
                }
            }
        });
        Ok(listener)
    }

    /// Removes a listener for a signal: ReactPHP's `removeSignal`. A call that has begun continues.
    /// Removing a listener again does nothing.
    pub fn remove_signal(listener: SignalListener) {
        if let Some(queue) = Queue::of(listener.runtime) {
            queue.remove(listener.number);
        }
    }
}

#[track_caller]
fn add_timer(delay: Duration, every: Option<Duration>, callback: impl FnOnce(Timer) -> callback::Callback) -> Timer {
    let queue = Queue::current();
    // A runtime without time must fail here, and not in the loop.
    drop(sleep(Duration::ZERO));
    let timer = Timer { runtime: queue.runtime(), number: next_number() };
    if queue.add_timer(timer.number, delay, every, callback(timer)) {
        enqueued::timer(&queue, timer.number);
    }
    timer
}
