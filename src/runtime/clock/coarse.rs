use std::time::Duration;

/// A moment of real time with a precision of a few milliseconds. It is cheap enough for every turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coarse {
    nanos: u64,
}

impl Coarse {
    #[cfg(unix)]
    #[inline(always)]
    pub(crate) fn now() -> Coarse {
        use rustix::time::{ClockId, clock_gettime};
        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::MonotonicCoarse;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::Monotonic;
        let now = clock_gettime(CLOCK);
        // Since the machine's start: neither is negative, nor is there an overflow within 500 years.
        Coarse { nanos: (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64) }
    }

    #[cfg(not(unix))]
    pub(crate) fn now() -> Coarse {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Coarse { nanos: now.map_or(0, nanos) }
    }

    /// Returns nanoseconds since an unspecified moment.
    #[inline(always)]
    pub(crate) fn nanos(self) -> u64 {
        self.nanos
    }

    /// Returns whole seconds since an unspecified moment.
    pub(crate) fn seconds(self) -> u64 {
        self.nanos / 1_000_000_000
    }

    /// Returns whether this many nanoseconds have passed since.
    #[inline(always)]
    pub(crate) fn is_over(self, nanos: u64) -> bool {
        // Where the clock can be set back, nothing has.
        Coarse::now().nanos.saturating_sub(self.nanos) >= nanos
    }
}

/// Returns a duration in the form of [`Coarse::is_over`].
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
