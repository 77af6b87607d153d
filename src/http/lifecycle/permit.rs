use std::sync::Arc;

use super::admission::Admitted;
use super::shutdown::{Shutdown, TaskGuard};
use crate::runtime::clock::Clock;

/// Permits a connection to exist: it is counted by its server's admission and as a task of its shutdown until this is dropped,
/// which must be the last of the connection.
pub(crate) struct ConnectionPermit {
    _admitted: Admitted,
    task: TaskGuard,
}

impl ConnectionPermit {
    pub(crate) fn new(admitted: Admitted, task: TaskGuard) -> ConnectionPermit {
        ConnectionPermit { _admitted: admitted, task }
    }

    pub(crate) fn shutdown(&self) -> &Arc<Shutdown> {
        self.task.shutdown()
    }

    /// The clock of all connections of the shutdown.
    pub(crate) fn clock(&self) -> &Clock {
        self.shutdown().clock()
    }
}
