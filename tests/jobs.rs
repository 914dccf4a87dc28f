//! The jobs of a service: queued, watched, cancelled, killed and resumed, with the real encoder.

#[path = "jobs/confine.rs"]
mod confine;
#[path = "jobs/kill.rs"]
mod kill;
#[path = "jobs/pause.rs"]
mod pause;
#[path = "jobs/queue.rs"]
mod queue;
#[path = "jobs/runs.rs"]
mod runs;
#[path = "jobs/server.rs"]
mod server;
#[path = "support/run.rs"]
mod support;
