//! From the engine's own observers to metrics.

use std::sync::Arc;
use std::time::Duration;

use super::app::App;
use super::layers::Shutdown;
use super::observe::Metrics;
use crate::answer::BackendState;
use crate::encoder::queue::{BatchReport, DropReason, Lane, QueueObserver, Timings, TowerKind};

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
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            _ = ticks.tick() => {}
        }
        for lane in app.queue.snapshot() {
            metrics.queue_size(lane.tower, lane.lane, lane.waiting + lane.ready);
        }
        metrics.library_size(app.library.len() as u64);
        if let Ok(counts) = app.jobs.counts().await {
            counts.into_iter().for_each(|(state, count)| metrics.jobs(state, count));
        }
        metrics.answer_backend_up(matches!(app.answers.backend.state(), BackendState::Up));
        if let Some(totals) = app.answers.backend.stats() {
            metrics.llm_totals(&totals);
        }
    }
}
