/// The maximum rate of a peer's pings: a burst, and a rate after the burst.
///
/// A ping costs its sender only six bytes, but the server answers each ping automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRate {
    /// Maximum number of pings at once.
    pub burst: u32,
    /// Maximum number of pings per second after the burst.
    pub per_second: u32,
}

impl Default for ControlRate {
    /// 200 pings at once, then 100 per second.
    fn default() -> ControlRate {
        ControlRate { burst: 200, per_second: 100 }
    }
}

/// A bucket that holds `burst` tokens and gets `per_second` new ones each second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Thousandths of a token that are taken.
    taken: u64,
    /// The time of the last change, in milliseconds.
    since: u64,
}

impl Bucket {
    /// Returns a full bucket. `now` is in milliseconds of any monotonic clock.
    pub(crate) const fn full(now: u64) -> Bucket {
        Bucket { taken: 0, since: now }
    }

    /// Takes a token. `Err` is the time until there will be one, in milliseconds.
    ///
    /// With `per_second` 0 no token ever returns.
    pub(crate) fn take(&mut self, now: u64, burst: u32, per_second: u32) -> Result<(), u64> {
        let back = now.saturating_sub(self.since).saturating_mul(u64::from(per_second));
        self.taken = self.taken.saturating_sub(back);
        self.since = now;
        let taken = self.taken.saturating_add(1000);
        let over = taken.saturating_sub(u64::from(burst).saturating_mul(1000));
        if over == 0 {
            self.taken = taken;
            return Ok(());
        }
        Err(over.div_ceil(u64::from(per_second.max(1))))
    }

    /// Takes a token, or borrows one from the future. Returns the time until the next one, in milliseconds.
    pub(crate) fn spend(&mut self, now: u64, burst: u32, per_second: u32) -> u64 {
        if self.take(now, burst, per_second).is_err() {
            self.taken = self.taken.saturating_add(1000);
        }
        let over = self.taken.saturating_add(1000).saturating_sub(u64::from(burst).saturating_mul(1000));
        over.div_ceil(u64::from(per_second.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spends_is_told_when_there_will_be_more() {
        let mut bucket = Bucket::full(0);
        assert_eq!([0, 0, 0].map(|now| bucket.spend(now, 2, 2)), [0, 500, 1000]);
        assert_eq!(bucket.spend(1_000, 2, 2), 500);
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::full(1_000);
        for _ in 0..200 {
            assert_eq!(bucket.take(1_000, 200, 100), Ok(()));
        }
        assert_eq!(bucket.take(1_000, 200, 100), Err(10));
        assert_eq!(bucket.take(1_009, 200, 100), Err(1));
        assert_eq!(bucket.take(1_010, 200, 100), Ok(()));
        assert_eq!(bucket.take(1_010, 200, 100), Err(10));
        for _ in 0..200 {
            assert_eq!(bucket.take(60_000, 200, 100), Ok(()));
        }
        assert_eq!(bucket.take(60_000, 200, 100), Err(10));
    }
}
