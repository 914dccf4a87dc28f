//! How fast a tower works, for a hint when to come back.

use std::time::{Duration, Instant};

/// Weight of the newest batch in the running mean.
const NEWEST: f64 = 0.2;

/// Bounds of the hint.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(30);

/// The running mean of the time that a tower takes for an item while it has work.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    seconds_per_item: Option<f64>,
    last: Option<Instant>,
}

impl Throughput {
    /// Notes a batch that ran from `started` to `now`. Batches of several sessions overlap: only
    /// the time since the last end counts, or their items would be too slow by as many.
    pub(super) fn finished(&mut self, items: usize, started: Instant, now: Instant) {
        let since = self.last.map_or(started, |last| last.max(started));
        let seconds = now.saturating_duration_since(since).as_secs_f64() / items.max(1) as f64;
        let mean = self.seconds_per_item.unwrap_or(seconds);
        self.seconds_per_item = Some(mean + NEWEST * (seconds - mean));
        self.last = Some(now);
    }

    /// When a queue of `items` should be empty: 100 ms to 30 s.
    pub(super) fn retry_after(&self, items: usize) -> Duration {
        let seconds = self.seconds_per_item.unwrap_or(0.0) * items as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(LATEST).clamp(SOONEST, LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_follows_the_pace_within_its_bounds() {
        let (mut throughput, start) = (Throughput::default(), Instant::now());
        assert_eq!(throughput.retry_after(1000), SOONEST);
        let at = |ms| start + Duration::from_millis(ms);
        // Two sessions, 4 items each in 80 ms, half overlapped: 10 ms an item.
        for step in 1..100 {
            throughput.finished(4, at(step * 40 - 40), at(step * 40 + 40));
        }
        let hint = throughput.retry_after(100).as_secs_f64();
        assert!((hint - 1.0).abs() < 0.01, "{hint}");
        assert_eq!(throughput.retry_after(1_000_000), LATEST);
        assert_eq!(throughput.retry_after(1), SOONEST);
    }
}
