//! What the crate's source gets instead of what it names: see `build.rs`.

pub mod dashmap;
pub mod net;
pub mod notify;
pub mod parking_lot;
pub mod time;

/// Atomics, each use of which lets others run first.
pub mod sync {
    pub use shuttle::sync::*;
    /// The original type: its initializers never yield, so no thread ever waits for one.
    pub use std::sync::OnceLock;
}

/// Of tokio all that never blocks a thread stays as it is.
pub mod tokio {
    pub use shuttle::future::spawn;
    pub use tokio::{io, signal};

    pub use super::{net, notify as sync, time};

    pub mod task {
        pub use shuttle::future::{AbortHandle, JoinHandle, yield_now};
    }

    pub mod runtime {
        /// There is one runtime, and all run on it.
        #[derive(Clone, Debug)]
        pub struct Handle;

        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct Id;

        impl Handle {
            pub fn current() -> Handle {
                Handle
            }

            pub fn try_current() -> Result<Handle, ()> {
                Ok(Handle)
            }

            pub fn id(&self) -> Id {
                Id
            }

            pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) {
                shuttle::future::spawn(future);
            }
        }
    }
}
