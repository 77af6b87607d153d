//! Time that stands still until a model calls [`pass`].

use std::ops::Add;
use std::pin::{Pin, pin};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

shuttle::lazy_static! {
    // A lock of `std`, so that reading the time is no step of the schedule.
    static ref TIME: Mutex<Time> = Mutex::default();
}

#[derive(Default)]
struct Time {
    now: Duration,
    next: u64,
    sleepers: Vec<(u64, Waker)>,
}

fn time() -> MutexGuard<'static, Time> {
    TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Advances time, and wakes all sleepers. Each of them checks whether its moment has come.
pub fn pass(span: Duration) {
    let sleepers = {
        let mut time = time();
        time.now += span;
        std::mem::take(&mut time.sleepers)
    };
    sleepers.into_iter().for_each(|(_, waker)| waker.wake());
}

/// A moment: the time since the execution began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Instant {
        Instant(time().now)
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }

    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns a time in the past, like tokio while its time is paused.
    pub fn into_std(self) -> std::time::Instant {
        static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
        *START
    }

    pub fn checked_add(&self, span: Duration) -> Option<Instant> {
        self.0.checked_add(span).map(Instant)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(span))
    }
}

#[derive(Debug)]
pub struct Sleep {
    until: Instant,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut time = time();
        time.sleepers.retain(|(number, _)| *number != self.number);
        if self.until.0 <= time.now {
            return Poll::Ready(());
        }
        time.sleepers.push((self.number, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        time().sleepers.retain(|(number, _)| *number != self.number);
    }
}

pub fn sleep(span: Duration) -> Sleep {
    sleep_until(Instant::now() + span)
}

pub fn sleep_until(until: Instant) -> Sleep {
    let mut time = time();
    time.next += 1;
    Sleep { until, number: time.next }
}

#[derive(Debug)]
pub struct Elapsed;

pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(Instant::now() + limit, future).await
}

pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut sleep) = (pin!(future), sleep_until(deadline));
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}
