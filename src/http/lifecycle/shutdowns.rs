use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::shutdown::{Phase, Shutdown, TaskGuard};

/// The clocks and the shutdowns of connections that no server of this crate accepted, one for each runtime.
#[derive(Default)]
pub(crate) struct Shutdowns(Mutex<List>);

#[derive(Default)]
struct List {
    is_closed: bool,
    /// Each lives as long as a connection of its runtime. Whether its clock waits on a descriptor, as a clock of
    /// sockets does. It costs less, but knows nothing of paused time.
    of_runtimes: Vec<(bool, Weak<Shutdown>)>,
}

impl Shutdowns {
    /// Returns the shutdown of the present runtime, or `None` after [`close`](Shutdowns::close). `has_io`: for
    /// sockets.
    #[cfg(feature = "client")]
    #[track_caller]
    pub(crate) fn of_runtime(&self, has_io: bool) -> Option<Arc<Shutdown>> {
        self.0.lock().of_runtime(has_io)
    }

    /// Counts a task of this shutdown, for which a later [`close`](Shutdowns::close) waits. `None` after `close`.
    #[cfg(feature = "client")]
    pub(crate) fn track(&self, shutdown: &Arc<Shutdown>) -> Option<TaskGuard> {
        // Under the lock, so that `close` does not miss it.
        let list = self.0.lock();
        (!list.is_closed).then(|| shutdown.track_task())
    }

    /// Counts a task of the present runtime, for which a later [`close`](Shutdowns::close) waits. `None` after
    /// `close`. `has_io`: for sockets.
    #[cfg(feature = "hyper")]
    #[track_caller]
    pub(crate) fn track_task(&self, has_io: bool) -> Option<TaskGuard> {
        // Under the lock, so that `close` does not miss it.
        let mut list = self.0.lock();
        Some(list.of_runtime(has_io)?.track_task())
    }

    /// Begins the end of all connections, also of those that are being opened. The future is ready when none is
    /// left.
    pub(crate) fn close(&self, grace: Duration, spread: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.end(&|shutdown| shutdown.close(grace, spread))
    }

    /// Like [`close`](Shutdowns::close) without a grace. It ends a grace that has begun.
    #[cfg(feature = "hyper")]
    pub(crate) fn terminate(&self) -> impl Future<Output = ()> + Send + use<> {
        self.end(&Shutdown::terminate)
    }

    fn end(&self, begin: &dyn Fn(&Arc<Shutdown>)) -> impl Future<Output = ()> + Send + use<> {
        let mut list = self.0.lock();
        list.is_closed = true;
        let shutdowns: Vec<_> = list.of_runtimes.iter().filter_map(|(_, shutdown)| shutdown.upgrade()).collect();
        drop(list);
        shutdowns.iter().for_each(begin);
        async move {
            for shutdown in shutdowns {
                shutdown.reached(Phase::Finished).await;
            }
        }
    }
}

impl List {
    #[track_caller]
    fn of_runtime(&mut self, has_io: bool) -> Option<Arc<Shutdown>> {
        if self.is_closed {
            return None;
        }
        let runtime = Handle::current().id();
        self.of_runtimes.retain(|(_, shutdown)| shutdown.strong_count() > 0);
        let of_kind = self.of_runtimes.iter().filter(|(other, _)| *other == has_io);
        let found = of_kind.filter_map(|(_, found)| found.upgrade()).find(|found| found.runtime().id() == runtime);
        Some(found.unwrap_or_else(|| {
            let created = Shutdown::of_connections(has_io);
            self.of_runtimes.push((has_io, Arc::downgrade(&created)));
            created
        }))
    }
}
