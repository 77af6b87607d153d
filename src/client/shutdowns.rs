use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::error::ConnectError;
use crate::http::{Phase, Shutdown};

/// The clocks and the shutdowns of a connector's connections, one for each runtime.
#[derive(Default)]
pub(super) struct Shutdowns(Mutex<List>);

#[derive(Default)]
struct List {
    is_closed: bool,
    /// Each lives as long as a connection of its runtime. Whether its clock waits on a descriptor, as a clock of
    /// sockets does. It costs less, but knows nothing of paused time.
    of_runtimes: Vec<(bool, Weak<Shutdown>)>,
}

impl Shutdowns {
    /// Returns the shutdown of the present runtime. `has_io`: for sockets.
    #[track_caller]
    pub(super) fn of_runtime(&self, has_io: bool) -> Result<Arc<Shutdown>, ConnectError> {
        let runtime = Handle::current().id();
        let mut list = self.0.lock();
        if list.is_closed {
            return Err(ConnectError::Closed);
        }
        list.of_runtimes.retain(|(_, shutdown)| shutdown.strong_count() > 0);
        let of_kind = list.of_runtimes.iter().filter(|(other, _)| *other == has_io);
        let found = of_kind.filter_map(|(_, found)| found.upgrade()).find(|found| found.runtime().id() == runtime);
        Ok(found.unwrap_or_else(|| {
            let created = Shutdown::of_clients(has_io);
            list.of_runtimes.push((has_io, Arc::downgrade(&created)));
            created
        }))
    }

    /// Begins the end of all connections, also of those that are being opened. The future is ready when none is
    /// left.
    pub(super) fn close(&self, grace: Duration) -> impl Future<Output = ()> + Send + use<> {
        let mut list = self.0.lock();
        list.is_closed = true;
        let shutdowns: Vec<_> = list.of_runtimes.iter().filter_map(|(_, shutdown)| shutdown.upgrade()).collect();
        drop(list);
        shutdowns.iter().for_each(|shutdown| shutdown.close(grace, Duration::ZERO));
        async move {
            for shutdown in shutdowns {
                shutdown.reached(Phase::Finished).await;
            }
        }
    }
}

/// Opens a connection, unless its connector is closed meanwhile.
pub(super) async fn unless_closed<T>(
    shutdown: &Shutdown,
    open: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::select! {
        biased;
        () = shutdown.reached(Phase::Closing) => Err(ConnectError::Closed),
        opened = open => opened,
    }
}
