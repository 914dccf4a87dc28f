//! The metrics as typed handles: no name or label is spelt anywhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Gauge, Label as Pair, NoopRecorder, Recorder};
use tonic::Code;

use super::catalog as names;
use super::labels::{Label, Quota};
use super::register::{CallHandles, Handles, Register};
use crate::encoder::queue::{DropReason, Lane, TowerKind};
use crate::index::{Modality, SearchFacts};
use crate::jobs::{DataPart, JobState};
use crate::llm::{RoleTally, StatsSnapshot};
use crate::server::Methods;

/// What is running: the labels of `pw_build_info`.
#[derive(Debug, Clone, Default)]
pub struct BuildInfo {
    pub version: String,
    pub model: String,
    pub device: String,
}

/// The service's metrics. Clones share them; every series is there, at zero, from the start.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

impl Metrics {
    /// Registers every series with `recorder`, but what [`Metrics::running`] tells.
    pub fn new(recorder: &dyn Recorder, methods: &Methods) -> Self {
        names::describe(recorder);
        Self(Arc::new(Register(recorder).all(methods)))
    }

    /// Tells what is running, once that is known.
    pub fn running(recorder: &dyn Recorder, build: BuildInfo) {
        let BuildInfo { version, model, device } = build;
        let labels = [("version", version), ("model", model), ("device", device)];
        let labels = labels.into_iter().map(|(name, value)| Pair::new(name, value)).collect();
        Register(recorder).gauge(names::BUILD_INFO, labels).set(1.0);
    }

    /// Metrics that go nowhere.
    pub fn off() -> Self {
        Self(Arc::new(Register(&NoopRecorder).all(&Methods { unary: &[], streaming: &[] })))
    }

    /// A call has begun.
    pub fn call_begun(&self, path: &str) {
        self.call(path).begun.increment(1);
    }

    /// A call has ended with `code`, `duration` after it began.
    pub fn call_ended(&self, path: &str, code: Code, duration: Duration) {
        let call = self.call(path);
        call.duration.record(duration);
        match code {
            Code::Ok => call.succeeded.increment(1),
            failed => call.failed[failed as usize - 1].increment(1),
        }
    }

    fn call(&self, path: &str) -> &CallHandles {
        self.0.calls.get(path).unwrap_or(&self.0.other)
    }

    /// The photos of a call took this long to decode and resize.
    pub fn decoded(&self, duration: Duration) {
        self.0.decode.record(duration);
    }

    /// The texts of a call took this long to tokenise.
    pub fn tokenized(&self, duration: Duration) {
        self.0.tokenization.record(duration);
    }

    /// An item waited this long for its batch.
    pub fn queued(&self, tower: TowerKind, duration: Duration) {
        self.0.towers[tower.place()].queue.record(duration);
    }

    /// A batch of `items` took this long in the encoder.
    pub fn inferred(&self, tower: TowerKind, items: usize, duration: Duration) {
        let tower = &self.0.towers[tower.place()];
        tower.batch.record(items as f64);
        tower.inference.record(duration);
    }

    /// The share of a text batch's tokens that were padding, 0 to 1.
    pub fn wasted(&self, share: f64) {
        self.0.wasted_share.record(share);
    }

    /// `items` wait now.
    pub fn queue_size(&self, tower: TowerKind, lane: Lane, items: usize) {
        self.0.towers[tower.place()].lanes[lane.place()].set(items as f64);
    }

    /// An item left a queue unworked.
    pub fn dropped(&self, reason: DropReason) {
        self.0.dropped[reason.place()].increment(1);
    }

    /// A call was refused because a queue was full.
    pub fn overloaded(&self) {
        self.0.overloaded.increment(1);
    }

    /// Instructions in the library now.
    pub fn library_size(&self, instructions: u64) {
        self.0.library_size.set(instructions as f64);
    }

    /// How the library's index searches now.
    pub fn searches(&self, facts: &SearchFacts) {
        for (of, handles) in Modality::ALL.iter().zip(&self.0.searches) {
            let measured = facts.recall.iter().find(|recall| recall.of == *of);
            handles.recall.set(measured.map_or(0.0, |one| one.recall));
            handles.width.set(measured.map_or(0.0, |one| one.width as f64));
        }
    }

    /// Jobs in `state` now.
    pub fn jobs(&self, state: JobState, jobs: u64) {
        self.0.jobs[state.place()].set(jobs as f64);
    }

    /// An LLM call with its retries took this long.
    pub fn llm_call(&self, duration: Duration) {
        self.0.llm.duration.record(duration);
    }

    /// The LLM backend's own counters, as they stand now.
    pub fn llm_totals(&self, totals: &StatsSnapshot) {
        let llm = &self.0.llm;
        llm.calls.absolute(totals.calls);
        llm.retries.absolute(totals.retries);
        llm.prompt_tokens.absolute(totals.prompt_tokens);
        llm.completion_tokens.absolute(totals.completion_tokens);
        for (code, counter) in &llm.failures {
            counter.absolute(totals.faults.get(*code).copied().unwrap_or_default());
        }
    }

    /// What language models have spent since the process began, by role.
    pub fn llm_spent(&self, tallies: &BTreeMap<String, RoleTally>) {
        for (role, handles) in &self.0.llm.roles {
            let RoleTally { spent, cost } = tallies.get(*role).copied().unwrap_or_default();
            handles.calls.absolute(spent.calls);
            handles.prompt_tokens.absolute(spent.prompt_tokens);
            handles.completion_tokens.absolute(spent.completion_tokens);
            handles.cost.set(cost);
        }
    }

    /// Whether the LLM backend can be used now.
    pub fn answer_backend_up(&self, up: bool) {
        self.0.answer_backend_up.set(f64::from(u8::from(up)));
    }

    /// A connection is open until the guard is dropped.
    pub fn connection_opened(&self) -> OpenConnection {
        OpenConnection(Open::new(&self.0.connections_open))
    }

    /// A connection was closed because too many were open.
    pub fn connection_refused(&self) {
        self.0.connections_refused.increment(1);
    }

    /// A call was refused because its caller has had what it may take.
    pub fn quota_refused(&self, quota: Quota) {
        self.0.quota_refused[quota.place()].increment(1);
    }

    /// Bytes on the disk below the data folder now.
    pub fn disk(&self, part: DataPart, bytes: u64) {
        self.0.disk[part.place()].set(bytes as f64);
    }

    /// A streaming call is under way until the guard is dropped.
    pub(super) fn stream_opened(&self) -> Open {
        Open::new(&self.0.streams_open)
    }

    /// The process's resident memory now.
    pub fn resident_memory(&self, bytes: u64) {
        self.0.memory.set(bytes as f64);
    }
}

/// Counts as one open connection until dropped.
pub struct OpenConnection(#[expect(dead_code, reason = "held for its drop")] Open);

/// Counts as one in a gauge until dropped.
pub(super) struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
