use std::collections::HashMap;
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::emitter::{Reacting, Reaction, contain};

/// What ReactPHP apps use of its `Loop`, as thin names over tokio. The loop itself is tokio's runtime, which `#[tokio::main]`
/// runs; there is no `run()`.
///
/// Everything here has to be called within a tokio runtime, with time enabled, and panics outside of one. Callbacks may be
/// synchronous or asynchronous; a panic in one is reported as any panic of a task is, and ends nothing but that call. On a
/// runtime with several threads, callbacks of different timers may run at the same time.
///
/// ```
/// use react_websocket::Loop;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let timer = Loop::add_periodic_timer(1.0, || println!("tick"));
/// Loop::add_timer(5.5, move || Loop::cancel_timer(timer));
/// # tokio::time::sleep(std::time::Duration::from_secs(7)).await;
/// # }
/// ```
#[derive(Debug)]
pub enum Loop {}

/// A timer, to cancel it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(u64);

/// A listener for a signal, to remove it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalListener(u64);

/// A length of time: seconds, as ReactPHP has them, or a [`Duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// A signal of the system. Where there are no signals, [`Signal::INT`] is Ctrl-C, and the others cannot be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// `SIGHUP`: often taken for "read your configuration again".
    pub const HUP: Signal = Signal(1);
    /// `SIGINT`: Ctrl-C.
    pub const INT: Signal = Signal(2);
    /// `SIGQUIT`
    pub const QUIT: Signal = Signal(3);
    /// `SIGTERM`: what service managers end a service with.
    pub const TERM: Signal = Signal(15);

    /// Any other, by its number.
    pub const fn from_raw(number: i32) -> Signal {
        Signal(number)
    }

    /// The number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

/// The shortest interval, as in ReactPHP.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

/// The tasks of timers and signals, by the numbers that name them.
static TASKS: Mutex<Option<Tasks>> = Mutex::new(None);

#[derive(Default)]
struct Tasks {
    last: u64,
    running: HashMap<u64, Option<AbortHandle>>,
}

impl Loop {
    /// Calls `callback` once, after so much time: `addTimer`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn add_timer<F, R, K>(after: impl Into<Interval>, callback: F) -> Timer
    where
        F: FnOnce() -> R + Send + 'static,
        R: Reaction<K>,
    {
        let Interval(after) = after.into();
        Timer(spawn(async move {
            sleep(after).await;
            call(callback).await;
        }))
    }

    /// Calls `callback` again and again, so much time after the last call was done: `addPeriodicTimer`. A call that is late
    /// is not made up for.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn add_periodic_timer<F, R, K>(every: impl Into<Interval>, mut callback: F) -> Timer
    where
        F: FnMut() -> R + Send + 'static,
        R: Reaction<K>,
    {
        let Interval(every) = every.into();
        Timer(spawn(async move {
            loop {
                sleep(every.max(INTERVAL_MIN)).await;
                call(&mut callback).await;
            }
        }))
    }

    /// Cancels a timer: `cancelTimer`. One that has fired, or been cancelled, is no harm; a timer may cancel itself.
    pub fn cancel_timer(timer: Timer) {
        abort(timer.0);
    }

    /// Calls `callback` when what runs now has ended: `futureTick`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn future_tick<F, R, K>(callback: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Reaction<K>,
    {
        tokio::spawn(async move { call(callback).await });
    }

    /// Calls `callback` for each signal of that kind: `addSignal`. From then on the signal does not end the process any
    /// more, also after [`remove_signal`](Loop::remove_signal).
    ///
    /// # Errors
    /// If the system does not let this signal be listened to.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[track_caller]
    pub fn add_signal<F, R, K>(signal: Signal, mut callback: F) -> io::Result<SignalListener>
    where
        F: FnMut(Signal) -> R + Send + 'static,
        R: Reaction<K>,
    {
        let mut signals = Signals::new(signal)?;
        Ok(SignalListener(spawn(async move {
            while signals.next().await.is_some() {
                call(|| callback(signal)).await;
            }
        })))
    }

    /// Removes a listener of a signal: `removeSignal`. One that is not there any more is no harm.
    pub fn remove_signal(listener: SignalListener) {
        abort(listener.0);
    }
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new(signal: Signal) -> io::Result<Signals> {
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(signal.0)).map(Signals)
    }

    async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new(signal: Signal) -> io::Result<Signals> {
        if signal == Signal::INT { Ok(Signals) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    async fn next(&mut self) -> Option<()> {
        tokio::signal::ctrl_c().await.ok()
    }
}

async fn call<R, K>(callback: impl FnOnce() -> R)
where
    R: Reaction<K>,
{
    // The panic has been reported by the panic hook.
    let reacting = contain(|| Ok(callback().react()));
    if let Ok(Reacting::Later(future)) = reacting {
        // In a task of its own for the sake of its panic.
        let _ = tokio::spawn(future).await;
    }
}

/// Runs a task that can be aborted by its number.
#[track_caller]
fn spawn(work: impl Future<Output = ()> + Send + 'static) -> u64 {
    /// Also where its runtime ends before it does.
    struct Running(u64);
    impl Drop for Running {
        fn drop(&mut self) {
            TASKS.lock().get_or_insert_default().running.remove(&self.0);
        }
    }
    let number = {
        let mut tasks = TASKS.lock();
        let tasks = tasks.get_or_insert_default();
        tasks.last += 1;
        tasks.running.insert(tasks.last, None);
        tasks.last
    };
    let running = Running(number);
    // Outside of the lock: a runtime that is ending drops what is spawned at once, and what that has captured may do anything.
    let task = tokio::spawn(async move {
        let _running = running;
        work.await;
    });
    let is_known = match TASKS.lock().get_or_insert_default().running.get_mut(&number) {
        Some(place) => place.replace(task.abort_handle()).is_none(),
        None => false,
    };
    if !is_known {
        // It has ended, or has been cancelled already.
        task.abort();
    }
    number
}

fn abort(number: u64) {
    let task = TASKS.lock().get_or_insert_default().running.remove(&number);
    if let Some(task) = task.flatten() {
        task.abort();
    }
}

impl From<Duration> for Interval {
    fn from(duration: Duration) -> Interval {
        Interval(duration)
    }
}

impl From<f64> for Interval {
    /// Negative and undefined numbers are no time at all; too large ones are as long as there is.
    fn from(seconds: f64) -> Interval {
        let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
        Interval(Duration::try_from_secs_f64(seconds).unwrap_or(longest))
    }
}

impl From<i32> for Interval {
    /// Negative numbers are no time at all.
    fn from(seconds: i32) -> Interval {
        Interval(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn counter() -> (Arc<AtomicU32>, impl FnMut() + Clone + Send + 'static) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        (count, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
    }

    async fn seconds(seconds: f64) {
        sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// In a thread of its own, which would take the test with it if it hung.
    #[test]
    fn what_a_callback_has_captured_may_use_the_loop_when_it_is_dropped() {
        struct Cancels(Timer);
        impl Drop for Cancels {
            fn drop(&mut self) {
                Loop::cancel_timer(self.0);
            }
        }
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let handle = runtime.handle().clone();
            let timer = runtime.block_on(async { Loop::add_timer(1000, || {}) });
            drop(runtime);
            // Whatever is spawned now is dropped at once.
            let _entered = handle.enter();
            let cancels = Cancels(timer);
            let late = Loop::add_timer(1, move || _ = &cancels);
            let is_there = |timer: Timer| TASKS.lock().get_or_insert_default().running.contains_key(&timer.0);
            tell.send((is_there(timer), is_there(late)))
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok((false, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_fires_once_and_a_periodic_one_until_it_is_cancelled() {
        let ((once, count_once), (often, count_often)) = (counter(), counter());
        Loop::add_timer(1, count_once);
        let periodic = Loop::add_periodic_timer(Duration::from_secs(1), count_often);
        seconds(0.9).await;
        assert_eq!((once.load(Ordering::Relaxed), often.load(Ordering::Relaxed)), (0, 0));
        seconds(2.6).await;
        assert_eq!((once.load(Ordering::Relaxed), often.load(Ordering::Relaxed)), (1, 3));
        Loop::cancel_timer(periodic);
        Loop::cancel_timer(periodic);
        seconds(5.0).await;
        assert_eq!(often.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_may_cancel_itself_and_survives_its_panics() {
        let timer = Arc::new(Mutex::new(None));
        let (mine, mut calls) = (timer.clone(), 0);
        *timer.lock() = Some(Loop::add_periodic_timer(1.0, move || {
            calls += 1;
            if calls == 2 {
                Loop::cancel_timer(mine.lock().unwrap());
            }
            assert!(calls <= 2, "cancelled");
            assert!(calls != 1, "the first call panics");
        }));
        seconds(5.0).await;
        assert_eq!(Arc::strong_count(&timer), 1, "the callback is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn callbacks_may_be_asynchronous() {
        let (count, mut add) = counter();
        Loop::add_timer(1.0, || async move {
            seconds(1.0).await;
            add();
        });
        seconds(1.5).await;
        assert_eq!(count.load(Ordering::Relaxed), 0);
        seconds(1.0).await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_tick_comes_after_what_runs_now() {
        let (count, add) = counter();
        Loop::future_tick(add);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        tokio::task::yield_now().await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn intervals() {
        let seconds = |interval: Interval| interval.0;
        assert_eq!(seconds(0.5.into()), Duration::from_millis(500));
        assert_eq!(seconds((-1.0).into()), Duration::ZERO);
        assert_eq!(seconds(f64::NAN.into()), Duration::ZERO);
        assert_eq!(seconds(f64::INFINITY.into()), Duration::MAX);
        assert_eq!(seconds((-3).into()), Duration::ZERO);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_signal_is_heard_until_its_listener_is_removed() {
        let (heard, mut signals) = tokio::sync::mpsc::unbounded_channel();
        let signal = Signal::from_raw(rustix::process::Signal::USR1.as_raw());
        let listener = Loop::add_signal(signal, move |signal| {
            heard.send(signal).unwrap();
        })
        .unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1).unwrap();
        assert_eq!(signals.recv().await, Some(signal));
        Loop::remove_signal(listener);
        assert_eq!(signals.recv().await, None, "the callback is dropped with its listener");
        assert!(Loop::add_signal(Signal::from_raw(9), |_| {}).is_err(), "nobody can listen to SIGKILL");
    }
}
