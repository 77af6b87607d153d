use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::runtime::clock::Clock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::global;

/// The progress of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Graceful: no new connection or request is accepted, and present ones may end.
    Closing,
    /// All connections and tasks are cut.
    Terminated,
    /// No task is left.
    Finished,
}

/// The tasks that one call of `listen` or `serve` began, and their graceful shutdown.
pub(crate) struct Shutdown {
    number: u64,
    /// It belongs to a `listen`, and so has tasks until the shutdown begins.
    listens: bool,
    phase: watch::Sender<Phase>,
    tasks: AtomicUsize,
    /// Notified when the last task ends.
    empty: Notify,
    upgraded: Mutex<Vec<Arc<dyn UpgradedConnections>>>,
    clock: Clock,
    runtime: Handle,
}

/// Upgraded connections, which end in the manner of their own protocol.
pub(crate) trait UpgradedConnections: Send + Sync {
    /// Returns closures that begin the closing handshake, one for each connection of the shutdown
    /// with this number.
    fn close_gracefully(&self, shutdown: u64) -> Vec<Box<dyn FnOnce() + Send>>;

    /// Terminates the connections of the shutdown with this number.
    fn terminate(&self, shutdown: u64);
}

/// Counts a task as running until it is dropped.
pub(crate) struct TaskGuard(Arc<Shutdown>);

impl TaskGuard {
    pub(crate) fn shutdown(&self) -> &Arc<Shutdown> {
        &self.0
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if self.0.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
            if self.0.listens {
                self.0.runtime_is_gone();
            }
        }
    }
}

/// Finishes a shutdown when it is dropped. That also happens if the runtime no longer runs the
/// shutdown's task.
struct FinishOnDrop(Arc<Shutdown>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        self.0.advance(Phase::Finished);
    }
}

impl Shutdown {
    /// Begins to serve on the present runtime. `listens`: on sockets, so the runtime can wait for
    /// descriptors.
    #[track_caller]
    pub(crate) fn new(listens: bool) -> Arc<Shutdown> {
        Shutdown::with_clock(listens, listens)
    }

    /// Begins to run connections on the present runtime that no server of this crate accepted. `has_io`: on sockets.
    #[cfg(any(feature = "client", feature = "hyper"))]
    #[track_caller]
    pub(crate) fn of_connections(has_io: bool) -> Arc<Shutdown> {
        Shutdown::with_clock(false, has_io)
    }

    #[track_caller]
    fn with_clock(listens: bool, has_io: bool) -> Arc<Shutdown> {
        global! { static NEXT: AtomicU64 = AtomicU64::new(0); }
        // A runtime without time must fail here, and not at the first client.
        drop(sleep(Duration::ZERO));
        Arc::new(Shutdown {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            listens,
            phase: watch::Sender::new(Phase::Serving),
            tasks: AtomicUsize::new(0),
            empty: Notify::new(),
            upgraded: Mutex::default(),
            clock: Clock::new(has_io),
            runtime: Handle::current(),
        })
    }

    /// Returns the number of this shutdown, which no other has.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the runtime of its connections.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Returns the clock of all its connections.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Returns whether the shutdown has begun.
    pub(crate) fn is_closing(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }

    /// Returns whether the time for a graceful end has passed.
    pub(crate) fn is_terminated(&self) -> bool {
        *self.phase.borrow() >= Phase::Terminated
    }

    /// Counts a task for as long as the guard lives.
    pub(crate) fn track_task(self: &Arc<Shutdown>) -> TaskGuard {
        self.tasks.fetch_add(1, Ordering::AcqRel);
        TaskGuard(self.clone())
    }

    /// Registers upgraded connections, so that the shutdown closes them. Idempotent.
    ///
    /// A connection that is added afterwards must check [`is_closing`](Shutdown::is_closing) and
    /// [`is_terminated`](Shutdown::is_terminated) itself.
    pub(crate) fn register(&self, connections: Arc<dyn UpgradedConnections>) {
        let mut upgraded = self.upgraded.lock();
        if !upgraded.iter().any(|other| Arc::ptr_eq(other, &connections)) {
            upgraded.push(connections);
        }
    }

    /// Begins the shutdown, which continues in a task. Idempotent.
    pub(crate) fn close(self: &Arc<Shutdown>, grace: Duration, spread: Duration) {
        if self.advance(Phase::Closing) {
            let finish = FinishOnDrop(self.clone());
            self.runtime.spawn(async move { finish.0.run(grace, spread).await });
        }
    }

    /// Like [`close`](Shutdown::close) without a grace. It ends a grace that has begun.
    pub(crate) fn terminate(self: &Arc<Shutdown>) {
        self.close(Duration::ZERO, Duration::ZERO);
        self.advance(Phase::Terminated);
    }

    /// Waits until the shutdown has reached this phase.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut now = self.phase();
        async move {
            // It fails only when the shutdown is dropped, and then no task is left.
            let _ = now.wait_for(|now| *now >= phase).await;
        }
    }

    /// Waits until all tasks have ended, including the clock's.
    pub(crate) async fn wait_for_tasks(&self) {
        loop {
            let mut empty = std::pin::pin!(self.empty.notified());
            empty.as_mut().enable();
            if self.tasks.load(Ordering::Acquire) == 0 {
                break;
            }
            empty.await;
        }
        self.clock.stop().await;
    }

    async fn run(&self, grace: Duration, spread: Duration) {
        let start = Instant::now();
        let closes: Vec<_> = self.upgraded().iter().flat_map(|upgraded| upgraded.close_gracefully(self.number)).collect();
        let pause = spread / u32::try_from(closes.len()).unwrap_or(u32::MAX).max(1);
        let close_all = async {
            for (close, n) in closes.into_iter().zip(0u32..) {
                if !pause.is_zero() {
                    match start.checked_add(pause.saturating_mul(n)) {
                        Some(moment) => sleep_until(moment).await,
                        // The tasks never end, but the grace does.
                        None => std::future::pending().await,
                    }
                }
                close();
            }
            self.wait_for_tasks().await;
        };
        if !timeout(grace, self.unless_terminated(close_all)).await.unwrap_or(false) {
            self.advance(Phase::Terminated);
            for upgraded in self.upgraded() {
                upgraded.terminate(self.number);
            }
            self.wait_for_tasks().await;
        }
    }

    /// Waits for a future. Returns whether it was ready before the termination.
    async fn unless_terminated(&self, something: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = something => true,
            () = self.reached(Phase::Terminated) => false,
        }
    }

    /// The last task has ended. Without a shutdown this means that the runtime has ended.
    fn runtime_is_gone(&self) {
        self.phase.send_if_modified(|now| {
            let is_unexpected = *now == Phase::Serving;
            if is_unexpected {
                *now = Phase::Finished;
            }
            is_unexpected
        });
    }

    fn upgraded(&self) -> Vec<Arc<dyn UpgradedConnections>> {
        self.upgraded.lock().clone()
    }

    fn advance(&self, phase: Phase) -> bool {
        self.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = (*now).max(phase);
            later
        })
    }
}
