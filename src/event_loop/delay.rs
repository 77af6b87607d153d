use std::time::Duration;

/// A delay of a timer: a number of seconds, as in ReactPHP, or a [`Duration`].
///
/// Negative numbers and NaN count as zero. A number that is too large becomes [`Duration::MAX`], a
/// delay that never ends.
///
/// ```
/// use react_websocket::options::Delay;
/// use std::time::Duration;
///
/// assert_eq!(Delay::from(0.25), Delay::from(Duration::from_millis(250)));
/// assert_eq!(Delay::from(2), Delay::from(Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delay(pub(super) Duration);

impl From<Duration> for Delay {
    fn from(duration: Duration) -> Delay {
        Delay(duration)
    }
}

impl From<f64> for Delay {
    fn from(seconds: f64) -> Delay {
        let longest = if seconds > 0.0 { Duration::MAX } else { Duration::ZERO };
        Delay(Duration::try_from_secs_f64(seconds).unwrap_or(longest))
    }
}

impl From<f32> for Delay {
    fn from(seconds: f32) -> Delay {
        f64::from(seconds).into()
    }
}

macro_rules! whole_seconds {
    ($($number:ty),*) => {$(
        impl From<$number> for Delay {
            fn from(seconds: $number) -> Delay {
                Delay(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
            }
        }
    )*};
}
whole_seconds!(i32, i64, u32, u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_that_no_duration_can_be_are_none_or_the_longest() {
        let duration = |delay: Delay| delay.0;
        assert_eq!(duration(0.5.into()), Duration::from_millis(500));
        assert_eq!(duration((-1.0).into()), Duration::ZERO);
        assert_eq!(duration(f64::NAN.into()), Duration::ZERO);
        assert_eq!(duration(f64::INFINITY.into()), Duration::MAX);
        assert_eq!(duration(0.5_f32.into()), Duration::from_millis(500));
        assert_eq!((duration((-3).into()), duration((-3_i64).into())), (Duration::ZERO, Duration::ZERO));
        assert_eq!(
            (duration(3_u32.into()), duration(u64::MAX.into())),
            (Duration::from_secs(3), Duration::from_secs(u64::MAX))
        );
    }
}
