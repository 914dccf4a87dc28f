//! Registers every series, so that each is there before anything has happened.

use std::collections::HashMap;

use metrics::{Counter, Gauge, Histogram, Key, Label as Pair, Level, Metadata, Recorder};

use super::catalog as names;
use super::labels::{FAILURES, Label, Quota};
use crate::encoder::queue::{DropReason, Lane, TowerKind};
use crate::index::Modality;
use crate::jobs::{DataPart, JobState};
use crate::llm::{CODES, ROLES};
use crate::server::Methods;
use crate::server::methods::OTHER;

/// A handle for each series.
pub(super) struct Handles {
    pub(super) calls: HashMap<&'static str, CallHandles>,
    pub(super) other: CallHandles,
    pub(super) decode: Histogram,
    pub(super) tokenization: Histogram,
    pub(super) towers: Vec<TowerHandles>,
    pub(super) wasted_share: Histogram,
    pub(super) dropped: Vec<Counter>,
    pub(super) overloaded: Counter,
    pub(super) library_size: Gauge,
    /// By the places of [`Modality::ALL`].
    pub(super) searches: Vec<SearchHandles>,
    pub(super) jobs: Vec<Gauge>,
    pub(super) llm: LlmHandles,
    pub(super) answer_backend_up: Gauge,
    pub(super) streams_open: Gauge,
    pub(super) connections_open: Gauge,
    pub(super) connections_refused: Counter,
    pub(super) quota_refused: Vec<Counter>,
    pub(super) disk: Vec<Gauge>,
    pub(super) memory: Gauge,
}

pub(super) struct CallHandles {
    pub(super) begun: Counter,
    pub(super) succeeded: Counter,
    pub(super) failed: Vec<Counter>,
    pub(super) duration: Histogram,
}

pub(super) struct TowerHandles {
    pub(super) queue: Histogram,
    pub(super) inference: Histogram,
    pub(super) batch: Histogram,
    pub(super) lanes: Vec<Gauge>,
}

pub(super) struct SearchHandles {
    pub(super) recall: Gauge,
    pub(super) width: Gauge,
}

pub(super) struct LlmHandles {
    pub(super) calls: Counter,
    pub(super) retries: Counter,
    pub(super) failures: Vec<(&'static str, Counter)>,
    pub(super) prompt_tokens: Counter,
    pub(super) completion_tokens: Counter,
    pub(super) duration: Histogram,
    pub(super) roles: Vec<(&'static str, RoleHandles)>,
}

pub(super) struct RoleHandles {
    pub(super) calls: Counter,
    pub(super) prompt_tokens: Counter,
    pub(super) completion_tokens: Counter,
    pub(super) cost: Gauge,
}

/// Makes handles that are at zero.
pub struct Register<'a>(pub &'a dyn Recorder);

const ORIGIN: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Register<'_> {
    /// Every series but `pw_build_info`.
    pub(super) fn all(&self, methods: &Methods) -> Handles {
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
            searches: Modality::ALL.map(|of| self.search(of)).into(),
            jobs: each::<JobState, _>(|state| self.gauge(names::JOBS, vec![pair("state", state)])),
            llm: self.llm(),
            answer_backend_up: self.gauge(names::ANSWER_BACKEND_UP, vec![]),
            streams_open: self.gauge(names::STREAMS_OPEN, vec![]),
            connections_open: self.gauge(names::CONNECTIONS_OPEN, vec![]),
            connections_refused: self.counter(names::CONNECTIONS_REFUSED, vec![]),
            quota_refused: each::<Quota, _>(|quota| {
                self.counter(names::QUOTA_REFUSED, vec![pair("quota", quota)])
            }),
            disk: each::<DataPart, _>(|part| {
                self.gauge(names::DATA_BYTES, vec![pair("part", part)])
            }),
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

    fn search(&self, of: Modality) -> SearchHandles {
        let of = || vec![Pair::from_static_parts("modality", of.name())];
        SearchHandles {
            recall: self.gauge(names::INDEX_RECALL, of()),
            width: self.gauge(names::INDEX_WIDTH, of()),
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
            roles: ROLES.into_iter().map(|role| (role, self.role(role))).collect(),
        }
    }

    fn role(&self, role: &'static str) -> RoleHandles {
        let role = Pair::from_static_parts("role", role);
        let tokens = |kind| {
            let labels = vec![role.clone(), Pair::from_static_parts("kind", kind)];
            self.counter(names::LLM_ROLE_TOKENS, labels)
        };
        RoleHandles {
            calls: self.counter(names::LLM_ROLE_CALLS, vec![role.clone()]),
            prompt_tokens: tokens("prompt"),
            completion_tokens: tokens("completion"),
            cost: self.gauge(names::LLM_ROLE_COST, vec![role.clone()]),
        }
    }

    fn counter(&self, name: &'static str, labels: Vec<Pair>) -> Counter {
        self.0.register_counter(&Key::from_parts(name, labels), &ORIGIN)
    }

    pub(super) fn gauge(&self, name: &'static str, labels: Vec<Pair>) -> Gauge {
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
