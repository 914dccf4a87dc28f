//! `grpc.health.v1`: the state of each service and of the whole server, kept up to date by a
//! prober that sees failures pass, too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::app::App;
use super::layers::Shutdown;
use crate::work::BackendState;

/// The whole server.
const SERVER: &str = "";

/// Services that need the encoder.
const ENCODER_SERVICES: [&str; 3] = [
    "pairwright.v1.EmbeddingService",
    "pairwright.v1.InstructionService",
    "pairwright.v1.MatchingService",
];

const ANSWER_SERVICE: &str = "pairwright.v1.AnswerService";

/// Services that are there as long as the process is.
const OTHER_SERVICES: [&str; 3] =
    ["pairwright.v1.EvaluationService", "pairwright.v1.InfoService", "pairwright.v1.JobService"];

/// Probes in a row that must fail before the encoder counts as broken: one may be bad luck.
const PATIENCE: u32 = 2;

/// The longest a probe may wait in the queue and run.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Says that nothing answers: not yet, or no more.
pub async fn not_serving(reporter: &HealthReporter) {
    for service in all() {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    [SERVER, ANSWER_SERVICE].into_iter().chain(ENCODER_SERVICES).chain(OTHER_SERVICES)
}

/// Probes the parts every `every` until the server shuts down.
pub async fn probe(app: Arc<App>, reporter: HealthReporter, shutdown: Shutdown, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answers = app.answers.backend.watch();
    let mut failures = 0;
    loop {
        tokio::select! {
            () = shutdown.leaving() => return,
            _ = ticks.tick() => failures = probe_encoder(&app, failures).await,
            // The other end lives as long as the app.
            _ = answers.changed() => {}
        }
        // A stop in the meantime has said its own.
        if shutdown.is_leaving() {
            return;
        }
        let answering = !matches!(*answers.borrow_and_update(), BackendState::Down { .. });
        report(&reporter, failures < PATIENCE, answering).await;
    }
}

async fn probe_encoder(app: &App, failures: u32) -> u32 {
    match timeout(PROBE_TIMEOUT, app.queue.probe()).await {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            tracing::error!(failures = failures + 1, "the encoder failed its probe: {error}");
            failures.saturating_add(1)
        }
        Err(_) => {
            tracing::error!(
                failures = failures + 1,
                "the encoder did not answer its probe within {} s",
                PROBE_TIMEOUT.as_secs()
            );
            failures.saturating_add(1)
        }
    }
}

async fn report(reporter: &HealthReporter, encoder: bool, answers: bool) {
    let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ENCODER_SERVICES.into_iter().chain([SERVER]) {
        reporter.set_service_status(service, status(encoder)).await;
    }
    for service in OTHER_SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    reporter.set_service_status(ANSWER_SERVICE, status(answers)).await;
}
