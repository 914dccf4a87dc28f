//! `pairwright serve`: the contract, the services, the layers around them, jobs.

#[path = "../support/mod.rs"]
mod support;

mod agree;
mod callers;
mod checks;
mod clients;
mod contract;
mod inputs;
mod jobs;
mod kill;
mod layers;
mod llm_jobs;
mod ops;
mod page;
mod strangers;
