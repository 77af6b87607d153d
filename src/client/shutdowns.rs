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
    /// Each lives as long as a connection of its runtime.
    of_runtimes: Vec<Weak<Shutdown>>,
}

impl Shutdowns {
    /// Returns the shutdown of the present runtime.
    #[track_caller]
    pub(super) fn of_runtime(&self) -> Result<Arc<Shutdown>, ConnectError> {
        let runtime = Handle::current().id();
        let mut list = self.0.lock();
        if list.is_closed {
            return Err(ConnectError::Closed);
        }
        list.of_runtimes.retain(|shutdown| shutdown.strong_count() > 0);
        let found = list.of_runtimes.iter().filter_map(Weak::upgrade).find(|found| found.runtime().id() == runtime);
        Ok(found.unwrap_or_else(|| {
            let created = Shutdown::new(false);
            list.of_runtimes.push(Arc::downgrade(&created));
            created
        }))
    }

    /// Begins the end of all connections, also of those that are being opened. The future is ready when none is
    /// left.
    pub(super) fn close(&self, grace: Duration) -> impl Future<Output = ()> + Send + use<> {
        let mut list = self.0.lock();
        list.is_closed = true;
        let shutdowns: Vec<_> = list.of_runtimes.iter().filter_map(Weak::upgrade).collect();
        drop(list);
        shutdowns.iter().for_each(|shutdown| shutdown.close(grace, Duration::ZERO));
        async move {
            for shutdown in shutdowns {
                shutdown.reached(Phase::Finished).await;
            }
        }
    }
}
