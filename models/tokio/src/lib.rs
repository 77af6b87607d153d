//! The part of tokio's interface that the crate uses, on the scheduler's tasks. Everything that
//! never blocks a thread is tokio's own.

pub mod net;
pub mod sync;
pub mod time;

#[doc(hidden)]
pub use ::tokio as real;
pub use ::tokio::{io, signal};
pub use shuttle::future::spawn;

/// Polls its branches in their order, since nothing but the schedule may be left to chance.
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)*) => { $crate::real::select! { biased; $($branches)* } };
    ($($branches:tt)*) => { $crate::real::select! { biased; $($branches)* } };
}

pub mod task {
    pub use shuttle::future::{AbortHandle, JoinHandle, yield_now};
}

pub mod runtime {
    /// There is one runtime, and all tasks run on it.
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
