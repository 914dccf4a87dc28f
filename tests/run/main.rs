//! `pairwright run`, `instructions generate` and `evaluate`: the real program, stub language models.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod checks;
mod containers;
mod durable;
mod evaluate;
mod exports;
mod faults;
mod generate_local;
mod generate_stub;
mod hub;
mod incremental;
mod judged;
mod kill;
mod money;
mod old_folders;
mod prompts;
mod push;
mod remote;
mod seeing;
mod source;
mod thresholds;
