use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::runtime::clock::Clock;

/// How far a server's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Nothing new is accepted or begun; what is under way may end.
    Closing,
    /// What is under way is dropped.
    Cut,
    /// There is nobody left.
    Over,
}

/// The life of what one call of `listen` or `serve` began: who is there, and how they are told that it ends.
pub(crate) struct Lifetime {
    number: u64,
    /// It is of a `listen`, and so has tasks until its end begins.
    listens: bool,
    phase: watch::Sender<Phase>,
    tasks: AtomicUsize,
    /// Told when the last task ends.
    empty: Notify,
    upgraded: Mutex<Vec<Arc<dyn UpgradedConnections>>>,
    clock: Clock,
    runtime: Handle,
}

/// Connections that have gone on as something else, which knows how they end. HTTP does not.
pub(crate) trait UpgradedConnections: Send + Sync {
    /// Goodbyes to say, one for each connection of a lifetime.
    fn goodbyes(&self, lifetime: u64) -> Vec<Box<dyn FnOnce() + Send>>;

    /// Ends them now.
    fn cut(&self, lifetime: u64);
}

/// Holds a place in a lifetime as long as a task lives.
pub(crate) struct Member(Arc<Lifetime>);

impl Member {
    pub(crate) fn lifetime(&self) -> &Arc<Lifetime> {
        &self.0
    }
}

impl Deref for Member {
    type Target = Lifetime;

    fn deref(&self) -> &Lifetime {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.0.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
            if self.0.listens {
                self.0.abandoned();
            }
        }
    }
}

/// The task of a lifetime's end. Also where its runtime does not run it any more, nobody waits for the end in vain.
struct Ending(Arc<Lifetime>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.advance(Phase::Over);
    }
}

impl Lifetime {
    /// Begins a life on the present runtime. `listens`: it is one of sockets, so the runtime can wait for descriptors.
    #[track_caller]
    pub(crate) fn new(listens: bool) -> Arc<Lifetime> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // If there is no time, that is to be known here, and not when the first client comes.
        drop(sleep(Duration::ZERO));
        Arc::new(Lifetime {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            listens,
            phase: watch::Sender::new(Phase::Serving),
            tasks: AtomicUsize::new(0),
            empty: Notify::new(),
            upgraded: Mutex::default(),
            clock: Clock::new(listens),
            runtime: Handle::current(),
        })
    }

    /// Tells lifetimes apart.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The runtime that its connections run on.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The clock of all its connections.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether it is about to end.
    pub(crate) fn is_closing(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }

    /// Whether the time to end has passed.
    pub(crate) fn is_cut(&self) -> bool {
        *self.phase.borrow() >= Phase::Cut
    }

    pub(crate) fn enter(self: &Arc<Lifetime>) -> Member {
        self.tasks.fetch_add(1, Ordering::AcqRel);
        Member(self.clone())
    }

    /// Makes upgraded connections known, so that the end is told to them. Doing it again is no harm.
    ///
    /// A connection that joins them afterwards has to ask [`is_closing`](Lifetime::is_closing) and [`is_cut`](Lifetime::is_cut)
    /// itself, then.
    pub(crate) fn include(&self, connections: Arc<dyn UpgradedConnections>) {
        let mut upgraded = self.upgraded.lock();
        if !upgraded.iter().any(|other| Arc::ptr_eq(other, &connections)) {
            upgraded.push(connections);
        }
    }

    /// Begins the end; it goes on in a task. Doing it again is no harm.
    pub(crate) fn close(self: &Arc<Lifetime>, grace: Duration, spread: Duration) {
        if self.advance(Phase::Closing) {
            let ending = Ending(self.clone());
            self.runtime.spawn(async move { ending.0.end(grace, spread).await });
        }
    }

    /// As [`close`](Lifetime::close) without a grace, also where the end has begun with one.
    pub(crate) fn terminate(self: &Arc<Lifetime>) {
        self.close(Duration::ZERO, Duration::ZERO);
        self.advance(Phase::Cut);
    }

    /// Waits until the end has come so far.
    pub(crate) fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut now = self.phase();
        async move {
            // Cannot fail but when the lifetime is gone, and that is the end.
            let _ = now.wait_for(|now| *now >= phase).await;
        }
    }

    /// Waits until all tasks have ended, and the clock's too.
    pub(crate) async fn settle(&self) {
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

    async fn end(&self, grace: Duration, spread: Duration) {
        let start = Instant::now();
        let goodbyes: Vec<_> = self.upgraded().iter().flat_map(|upgraded| upgraded.goodbyes(self.number)).collect();
        let pause = spread / u32::try_from(goodbyes.len()).unwrap_or(u32::MAX).max(1);
        let say_goodbye = async {
            for (goodbye, n) in goodbyes.into_iter().zip(0u32..) {
                if !pause.is_zero() {
                    match start.checked_add(pause.saturating_mul(n)) {
                        Some(moment) => sleep_until(moment).await,
                        // It does not come, but the end of the grace does.
                        None => std::future::pending().await,
                    }
                }
                goodbye();
            }
            self.settle().await;
        };
        if !timeout(grace, self.unless_cut(say_goodbye)).await.unwrap_or(false) {
            self.advance(Phase::Cut);
            for upgraded in self.upgraded() {
                upgraded.cut(self.number);
            }
            self.settle().await;
        }
    }

    /// Waits for something. Returns whether it was there before all is cut.
    async fn unless_cut(&self, something: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = something => true,
            () = self.reached(Phase::Cut) => false,
        }
    }

    /// All tasks are gone. If the end has not begun, the runtime has ended, and nobody is left to do anything.
    fn abandoned(&self) {
        self.phase.send_if_modified(|now| {
            let is_unexpected = *now == Phase::Serving;
            if is_unexpected {
                *now = Phase::Over;
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
