//! The jobs of a service: queued, watched, cancelled, killed and resumed, with the real encoder.

mod confine;
mod kill;
mod pause;
mod queue;
mod retention;
mod runs;
mod server;
