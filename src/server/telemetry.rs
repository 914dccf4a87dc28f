//! From the engine's own observers to metrics.

use std::sync::Arc;
use std::time::Duration;

use super::app::App;
use super::layers::Shutdown;
use super::observe::Metrics;
use crate::encoder::queue::{BatchReport, DropReason, Lane, QueueObserver, Timings, TowerKind};
use crate::llm;
use crate::work::BackendState;

/// How often sizes are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Tells the metrics what happens in the queue.
pub struct QueueMetrics(pub Metrics);

impl QueueObserver for QueueMetrics {
    fn batch(&self, report: &BatchReport) {
        self.0.inferred(report.tower, report.items, report.inference);
        self.0.wasted(report.padded);
    }

    fn item(&self, tower: TowerKind, _lane: Lane, timings: &Timings) {
        match tower {
            TowerKind::Vision => self.0.decoded(timings.decode),
            TowerKind::Text => self.0.tokenized(timings.decode),
        }
        self.0.queued(tower, timings.queue);
    }

    fn dropped(&self, _tower: TowerKind, _lane: Lane, reason: DropReason, items: usize) {
        for _ in 0..items {
            self.0.dropped(reason);
        }
    }

    fn overloaded(&self, _tower: TowerKind, _lane: Lane, _items: usize) {
        self.0.overloaded();
    }
}

/// Keeps the gauges up to date until the server shuts down.
pub async fn sample(app: Arc<App>, metrics: Metrics, shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(EVERY);
    let mut quiet = Quiet::default();
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            _ = ticks.tick() => {}
        }
        let lanes = app.queue.snapshot();
        for lane in &lanes {
            metrics.queue_size(lane.tower, lane.lane, lane.waiting + lane.ready);
        }
        if quiet.begins(lanes.iter().map(|lane| lane.held_items).sum()) {
            // May take some milliseconds with every allocation waiting, so not while calls do.
            tokio::task::spawn_blocking(give_memory_back);
        }
        metrics.library_size(app.library.len() as u64);
        metrics.searches(&app.library.search_facts());
        if let Ok(counts) = app.jobs.counts().await {
            counts.into_iter().for_each(|(state, count)| metrics.jobs(state, count));
        }
        metrics.answer_backend_up(matches!(app.answers.backend.state(), BackendState::Up));
        if let Some(totals) = app.answers.backend.stats() {
            metrics.llm_totals(&totals);
        }
        metrics.llm_spent(&llm::tallies());
    }
}

/// Looks after which the server counts as quiet.
const QUIET_AFTER: u32 = 2;

/// Notices the end of a burst of work.
#[derive(Default)]
struct Quiet {
    worked: bool,
    empty: u32,
}

impl Quiet {
    /// Whether a burst has just been over for [`QUIET_AFTER`] looks; once for each burst.
    fn begins(&mut self, held: usize) -> bool {
        if held > 0 {
            *self = Self { worked: true, empty: 0 };
            return false;
        }
        self.empty = self.empty.saturating_add(1);
        let begins = self.worked && self.empty == QUIET_AFTER;
        self.worked &= !begins;
        begins
    }
}

/// Returns free memory to the system: glibc keeps what a burst took in each thread's arena, and a
/// server that was busy once would look large for ever.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    #[expect(unsafe_code, reason = "a call of the C library without arguments that could be wrong")]
    // SAFETY: `malloc_trim` may be called at any time, from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_burst_ends_once() {
        let mut quiet = Quiet::default();
        let looks = [0, 0, 0, 5, 0, 9, 0, 0, 0, 0, 1, 0, 0];
        let begins: Vec<bool> = looks.into_iter().map(|held| quiet.begins(held)).collect();
        let at: Vec<usize> = (0..looks.len()).filter(|at| begins[*at]).collect();
        assert_eq!(at, [7, 12]);
    }
}
