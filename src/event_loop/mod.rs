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
/// `main` returns. So there is no `run()` and no `stop()`: `main` awaits what it waits for, such as
/// the [`Listening`](crate::Listening) of a server.
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
/// As in ReactPHP, the loop goes round. In each round it calls
///
/// 1. the future ticks that were enqueued before the round, and callbacks of signals, in the order
///    of enqueuing;
/// 2. the timers that are due, in the order of the moments at which they are due. Timers with the
///    same moment are called in the order in which they were added.
///
/// Then connections are read, and other tasks of the runtime run. A tick that a callback enqueues
/// belongs to the next round.
///
/// The time of a timer runs from the call of `add_timer`. A timer is never called early, and
/// usually within a millisecond. A timer of 0 seconds is called in the next round, without any
/// delay.
///
/// A tick or timer that a listener or callback has made is called after that listener or callback
/// has returned. So neither may block until it has been called. If it was made in a listener of a
/// connection, a middleware or a router, and is due, it is called before that connection is read
/// again. So `connection.on("text", …)` in a tick or in a timer of 0 seconds, made in a
/// `connection` listener, misses no message. Messages that arrive together are delivered together,
/// as in a `data` event of ReactPHP, and the ticks of their listeners are called after them.
///
/// # One at a time
///
/// The callbacks of one runtime are called one after the other, on a runtime with several threads
/// as well. While a callback is called, listeners of connections may run on other threads. They do
/// not on `#[tokio::main(flavor = "current_thread")]`, where everything runs one at a time as in
/// PHP.
///
/// # Asynchronous callbacks
///
/// A callback may return a future, as one may return a promise in PHP. The future runs in its place
/// up to its first `await`. The rest runs in a task of its own, and the loop goes on: the next
/// callback does not wait for it. A periodic timer that is due while its last call is still running
/// skips this time. A signal that is received while its last call is still running is handled when
/// that call has ended.
///
/// # Several runtimes
///
/// Each runtime has a loop of its own. A tick, a timer or a listener for a signal belongs to the
/// runtime in which it was made. It is called as long as that runtime runs, and is dropped with it.
/// Timers and listeners can be cancelled from everywhere.
///
/// # Errors and panics
///
/// A callback that panics or returns `Err` ends nothing but that call. A periodic timer goes on.
/// The panic is printed by the panic hook. The `Err` is printed to stderr, at most ten a second, or
/// logged with the feature `tracing`.
#[derive(Debug)]
pub enum Loop {}

/// A handle of a timer, to cancel it with: ReactPHP's `TimerInterface`.
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

/// A handle of a listener for a signal, to remove it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalListener {
    runtime: Id,
    number: u64,
}

/// The shortest interval of a periodic timer, as in ReactPHP.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

impl Loop {
    /// Calls `callback` once, when `after` has passed: `addTimer`.
    ///
    /// `after` is in seconds, or a [`Duration`]. `callback` takes nothing or the [`Timer`], may be
    /// asynchronous, and is called in its [order](Loop#order). The returned timer can be
    /// [cancelled](Loop::cancel_timer).
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

    /// Calls `callback` each time `every` has passed, until the timer is cancelled:
    /// `addPeriodicTimer`.
    ///
    /// `every` is in seconds, or a [`Duration`]. The shortest interval is 1 µs. `callback` takes
    /// nothing or the [`Timer`]. The next interval begins when the timer's turn comes in a
    /// [round](Loop#order), so calls that are missed while the loop is busy are not made up for. An
    /// asynchronous callback is cloned for each call, and never runs twice at the same time. A call
    /// that is due while the last one is still running is skipped.
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

    /// Cancels a timer: `cancelTimer`.
    ///
    /// It is not called any more, also if it is due already. A call that has begun goes on.
    /// Cancelling a timer that has been called or cancelled does nothing. A timer may cancel
    /// itself.
    pub fn cancel_timer(timer: Timer) {
        if let Some(queue) = Queue::of(timer.runtime) {
            queue.remove(timer.number);
        }
    }

    /// Calls `callback` in the next [round](Loop#order), after the present listener or callback has
    /// returned: `futureTick`.
    ///
    /// In a task of the app's own it is called when the task waits for something. On a runtime with
    /// several threads it may be called there at once, on another thread.
    ///
    /// There is no limit to how many ticks may be enqueued.
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

    /// Calls `callback` for each signal of this kind that the process receives: `addSignal`.
    ///
    /// `callback` takes nothing or the [`Signal`], and is called in the next [round](Loop#order).
    /// The system's default action, such as the end of the process, is off from then on, also after
    /// [`remove_signal`](Loop::remove_signal). Signals of one kind that are received together may
    /// be one call. An asynchronous callback is cloned for each call, and never runs twice at the
    /// same time: a signal that is received meanwhile is handled afterwards.
    ///
    /// Unlike in ReactPHP, adding the same closure twice has it called twice.
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

    /// Removes a listener for a signal: `removeSignal`. A call that has begun goes on. Removing a
    /// listener twice does nothing.
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
