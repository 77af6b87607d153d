use std::sync::Arc;

use super::admission::Admitted;
use super::shutdown::{Shutdown, TaskGuard};
use crate::runtime::clock::Clock;

/// Permits a connection to exist. Until it is dropped, its server's admission counts the
/// connection, and its shutdown waits for it. It must be dropped last.
pub(crate) struct ConnectionPermit {
    /// `None` for a connection that no server of this crate accepted.
    _admitted: Option<Admitted>,
    task: TaskGuard,
}

impl ConnectionPermit {
    pub(crate) fn new(admitted: Admitted, task: TaskGuard) -> ConnectionPermit {
        ConnectionPermit { _admitted: Some(admitted), task }
    }

    /// Permits a connection that no server of this crate accepted. There is no limit on these.
    #[cfg(any(feature = "client", feature = "hyper"))]
    pub(crate) fn without_limit(task: TaskGuard) -> ConnectionPermit {
        ConnectionPermit { _admitted: None, task }
    }

    pub(crate) fn shutdown(&self) -> &Arc<Shutdown> {
        self.task.shutdown()
    }

    /// The clock of all connections of the shutdown.
    pub(crate) fn clock(&self) -> &Clock {
        self.shutdown().clock()
    }
}
