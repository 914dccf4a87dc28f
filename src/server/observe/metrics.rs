//! The metrics as typed handles: no name or label is spelt anywhere else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, Label as Pair, Level, Metadata, NoopRecorder, Recorder,
};
use tonic::Code;

use super::catalog as names;
use super::labels::{FAILURES, Label};
use crate::encoder::queue::{DropReason, Lane, TowerKind};
use crate::llm::{CODES, StatsSnapshot};
use crate::pipeline::manager::JobState;
use crate::server::Methods;
use crate::server::methods::OTHER;

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

struct Handles {
    calls: HashMap<&'static str, CallHandles>,
    other: CallHandles,
    decode: Histogram,
    tokenization: Histogram,
    towers: Vec<TowerHandles>,
    wasted_share: Histogram,
    dropped: Vec<Counter>,
    overloaded: Counter,
    library_size: Gauge,
    jobs: Vec<Gauge>,
    llm: LlmHandles,
    answer_backend_up: Gauge,
    streams_open: Gauge,
    connections_open: Gauge,
    connections_refused: Counter,
    memory: Gauge,
}

struct CallHandles {
    begun: Counter,
    succeeded: Counter,
    failed: Vec<Counter>,
    duration: Histogram,
}

struct TowerHandles {
    queue: Histogram,
    inference: Histogram,
    batch: Histogram,
    lanes: Vec<Gauge>,
}

struct LlmHandles {
    calls: Counter,
    retries: Counter,
    failures: Vec<(&'static str, Counter)>,
    prompt_tokens: Counter,
    completion_tokens: Counter,
    duration: Histogram,
}

impl Metrics {
    /// Registers every series with `recorder`.
    pub fn new(recorder: &dyn Recorder, methods: &Methods, build: &BuildInfo) -> Self {
        names::describe(recorder);
        let register = Register(recorder);
        let labels = [
            Pair::new("version", build.version.clone()),
            Pair::new("model", build.model.clone()),
            Pair::new("device", build.device.clone()),
        ];
        register.gauge(names::BUILD_INFO, labels.to_vec()).set(1.0);
        Self(Arc::new(register.all(methods)))
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

/// Makes handles that are at zero.
struct Register<'a>(&'a dyn Recorder);

const ORIGIN: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Register<'_> {
    fn all(&self, methods: &Methods) -> Handles {
        Handles {
            calls: methods.all().map(|method| (method, self.call(method))).collect(),
            other: self.call(OTHER),
            decode: self.histogram(names::DECODE_DURATION, vec![]),
            tokenization: self.histogram(names::TOKENIZATION_DURATION, vec![]),
            towers: <TowerKind as Label>::ALL.iter().map(|tower| self.tower(*tower)).collect(),
            wasted_share: self.histogram(names::BATCH_WASTED_SHARE, vec![]),
            dropped: each::<DropReason, _>(|reason| {
                self.counter(names::QUEUE_DROPPED, vec![pair("reason", reason)])
            }),
            overloaded: self.counter(names::QUEUE_OVERLOADED, vec![]),
            library_size: self.gauge(names::LIBRARY_SIZE, vec![]),
            jobs: each::<JobState, _>(|state| self.gauge(names::JOBS, vec![pair("state", state)])),
            llm: self.llm(),
            answer_backend_up: self.gauge(names::ANSWER_BACKEND_UP, vec![]),
            streams_open: self.gauge(names::STREAMS_OPEN, vec![]),
            connections_open: self.gauge(names::CONNECTIONS_OPEN, vec![]),
            connections_refused: self.counter(names::CONNECTIONS_REFUSED, vec![]),
            memory: self.gauge(names::MEMORY, vec![]),
        }
    }

    fn call(&self, method: &'static str) -> CallHandles {
        let method = Pair::from_static_parts("method", method);
        let failed = |code| vec![method.clone(), Pair::from_static_parts("err", code)];
        CallHandles {
            begun: self.counter(names::REQUEST_COUNT, vec![method.clone()]),
            succeeded: self.counter(names::REQUEST_SUCCESS, vec![method.clone()]),
            failed: FAILURES
                .iter()
                .map(|code| self.counter(names::REQUEST_FAILURE, failed(code)))
                .collect(),
            duration: self.histogram(names::REQUEST_DURATION, vec![method.clone()]),
        }
    }

    fn tower(&self, tower: TowerKind) -> TowerHandles {
        let tower = pair("tower", tower);
        TowerHandles {
            queue: self.histogram(names::QUEUE_DURATION, vec![tower.clone()]),
            inference: self.histogram(names::INFERENCE_DURATION, vec![tower.clone()]),
            batch: self.histogram(names::BATCH_NEXT_SIZE, vec![tower.clone()]),
            lanes: each::<Lane, _>(|lane| {
                self.gauge(names::QUEUE_SIZE, vec![tower.clone(), pair("lane", lane)])
            }),
        }
    }

    fn llm(&self) -> LlmHandles {
        let failure = |code: &'static str| {
            let labels = vec![Pair::from_static_parts("code", code)];
            (code, self.counter(names::LLM_FAILURES, labels))
        };
        LlmHandles {
            calls: self.counter(names::LLM_CALLS, vec![]),
            retries: self.counter(names::LLM_RETRIES, vec![]),
            failures: CODES.into_iter().map(failure).collect(),
            prompt_tokens: self.counter(names::LLM_PROMPT_TOKENS, vec![]),
            completion_tokens: self.counter(names::LLM_COMPLETION_TOKENS, vec![]),
            duration: self.histogram(names::LLM_CALL_DURATION, vec![]),
        }
    }

    fn counter(&self, name: &'static str, labels: Vec<Pair>) -> Counter {
        self.0.register_counter(&Key::from_parts(name, labels), &ORIGIN)
    }

    fn gauge(&self, name: &'static str, labels: Vec<Pair>) -> Gauge {
        self.0.register_gauge(&Key::from_parts(name, labels), &ORIGIN)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Pair>) -> Histogram {
        self.0.register_histogram(&Key::from_parts(name, labels), &ORIGIN)
    }
}

fn pair<L: Label>(name: &'static str, value: L) -> Pair {
    Pair::from_static_parts(name, value.name())
}

fn each<L: Label, T>(make: impl Fn(L) -> T) -> Vec<T> {
    L::ALL.iter().map(|value| make(*value)).collect()
}
