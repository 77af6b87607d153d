//! The part of `tokio::sync` that the crate uses: tokio's own types. Each use of them is a step of
//! the schedule.

pub use ::tokio::sync::futures::{self, Notified, OwnedNotified};
pub use ::tokio::sync::oneshot;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

fn let_others() {
    thread::sleep(Duration::ZERO);
}

#[derive(Debug, Default)]
pub struct Notify(Arc<::tokio::sync::Notify>);

impl Notify {
    pub fn new() -> Notify {
        Notify::default()
    }

    pub fn notified(&self) -> Notified<'_> {
        let_others();
        self.0.notified()
    }

    pub fn notified_owned(&self) -> OwnedNotified {
        let_others();
        self.0.clone().notified_owned()
    }

    pub fn notify_one(&self) {
        let_others();
        self.0.notify_one();
    }

    pub fn notify_waiters(&self) {
        let_others();
        self.0.notify_waiters();
    }
}

pub mod watch {
    pub use ::tokio::sync::watch::{Receiver, Ref};

    use super::let_others;

    #[derive(Debug)]
    pub struct Sender<T>(::tokio::sync::watch::Sender<T>);

    impl<T> Sender<T> {
        pub fn new(value: T) -> Sender<T> {
            Sender(::tokio::sync::watch::Sender::new(value))
        }

        pub fn subscribe(&self) -> Receiver<T> {
            let_others();
            self.0.subscribe()
        }

        pub fn borrow(&self) -> Ref<'_, T> {
            let_others();
            self.0.borrow()
        }

        pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
            let_others();
            self.0.send_if_modified(modify)
        }
    }
}
