use tokio::time::{Instant, sleep_until};

/// The timer of the clock's task.
///
/// While any timer of tokio is set, tokio reads the time twice whenever a thread becomes idle. On a
/// quiet server that is after each message, and costs a quarter of all time per message. So on
/// Linux the clock has a timer of the system, which is one more descriptor for the runtime.
pub(super) struct Sleeper {
    #[cfg(target_os = "linux")]
    timer: Option<timer::Timer>,
}

impl Sleeper {
    /// `has_io`: the runtime can wait for descriptors.
    pub(super) fn new(has_io: bool) -> Sleeper {
        #[cfg(target_os = "linux")]
        return Sleeper { timer: has_io.then(timer::Timer::new).and_then(Result::ok) };
        #[cfg(not(target_os = "linux"))]
        return {
            let _ = has_io;
            Sleeper {}
        };
    }

    pub(super) async fn sleep_until(&self, wake: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && is_real_time()
            && timer.sleep(wake.saturating_duration_since(Instant::now())).await.is_ok()
        {
            return;
        }
        sleep_until(wake).await;
    }
}

/// Returns whether tokio's time is the system's. In a test it may be paused.
#[cfg(target_os = "linux")]
fn is_real_time() -> bool {
    let before = std::time::Instant::now();
    let now = Instant::now().into_std();
    (before..=std::time::Instant::now()).contains(&now)
}

#[cfg(target_os = "linux")]
mod timer {
    use std::io;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// A descriptor that becomes readable, with eight bytes, when a time has passed. For the
    /// runtime it is the end of a pipe.
    ///
    /// `AsyncFd` would be the proper type, but only unsafe or deprecated functions create it.
    pub(super) struct Timer(Receiver);

    impl Timer {
        pub(super) fn new() -> io::Result<Timer> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            Receiver::from_owned_fd_unchecked(timer).map(Timer)
        }

        pub(super) async fn sleep(&self, duration: Duration) -> io::Result<()> {
            // A duration of zero would switch the timer off.
            let duration = duration.max(Duration::from_nanos(1));
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let seconds = duration.as_secs().try_into().unwrap_or(i64::MAX);
            let value = Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() };
            let once = Itimerspec { it_interval: zero, it_value: value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            loop {
                self.0.readable().await?;
                match self.0.try_read(&mut [0; 8]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read.map(drop),
                }
            }
        }
    }
}
