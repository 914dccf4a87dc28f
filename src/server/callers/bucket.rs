//! A token bucket.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets through `rate` a second and as much at once. More than that at once passes when the bucket
/// is full, and is owed.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Below zero: what is owed.
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket; none for a rate of 0, which sets no bound.
    pub fn new(rate: u64, now: Instant) -> Option<Self> {
        let rate = rate as f64;
        (rate > 0.0).then(|| Self { rate, state: Mutex::new(State { level: rate, at: now }) })
    }

    /// Takes `count`, or tells in how long that may pass.
    ///
    /// # Errors
    /// What has been taken already leaves no room for it.
    pub fn take(&self, count: u64, now: Instant) -> Result<(), Duration> {
        let count = count as f64;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(self.rate, now);
        let needed = count.min(self.rate);
        if state.level >= needed {
            state.level -= count;
            return Ok(());
        }
        Err(Duration::from_secs_f64((needed - state.level) / self.rate))
    }

    /// How long until nothing is owed any more.
    pub fn owed(&self, now: Instant) -> Duration {
        self.owe(0, now)
    }

    /// Takes `count` whatever is left: what has come already can only be owed. Tells how long until
    /// nothing is owed any more.
    pub fn owe(&self, count: u64, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(self.rate, now);
        state.level -= count as f64;
        Duration::from_secs_f64((-state.level).max(0.0) / self.rate)
    }

    /// Whether nothing was taken that is not made up for.
    pub fn is_full(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(self.rate, now);
        state.level >= self.rate
    }
}

impl State {
    fn refill(&mut self, rate: f64, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + seconds * rate).min(rate);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_passes_at_once_and_the_rest_later() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let bucket = Bucket::new(10, start).expect("a rate");
        assert_eq!(bucket.take(10, start), Ok(()));
        let wait = bucket.take(1, start).expect_err("empty");
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-9, "{wait:?}");
        assert_eq!(bucket.take(1, at(100)), Ok(()));
        // More than a second's worth waits for a full bucket and is owed.
        assert!(bucket.take(30, at(600)).is_err());
        assert_eq!(bucket.take(30, at(1100)), Ok(()));
        assert!((bucket.owed(at(1100)).as_secs_f64() - 2.0).abs() < 1e-9);
        assert!(bucket.take(1, at(3100)).is_err() && bucket.take(1, at(3200)).is_ok());
        assert!(Bucket::new(0, start).is_none());
    }

    proptest! {
        /// Whatever is asked for and when, no more passes than the rate, a second's worth and the
        /// largest that was let through; and who waits as long as told passes.
        #[test]
        fn the_rate_holds(
            asks in prop::collection::vec((1u64..40, 0u64..500), 1..100), rate in 1u64..50,
        ) {
            let start = Instant::now();
            let bucket = Bucket::new(rate, start).expect("a rate");
            let (mut passed, mut largest, mut now) = (0, 0, start);
            for (count, after) in asks {
                now += Duration::from_millis(after);
                match bucket.take(count, now) {
                    Ok(()) => {
                        passed += count;
                        largest = largest.max(count);
                    }
                    Err(wait) => {
                        now += wait + Duration::from_micros(1);
                        prop_assert_eq!(bucket.take(count, now), Ok(()));
                        passed += count;
                        largest = largest.max(count);
                    }
                }
                let most = rate as f64 * (1.0 + (now - start).as_secs_f64()) + largest as f64;
                prop_assert!(passed as f64 <= most + 1e-6, "{passed} {most}");
            }
        }
    }
}
