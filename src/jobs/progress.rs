//! How far a job is: counted as it works, and read from its run's store now and then.

use crate::base::failure::Failure;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::JobKind;
use crate::Error;
use crate::dataset::store::{RejectionCount, Store};
use crate::evaluate::EvaluationFolder;
use crate::generate::folder;
use crate::instruction::lineage::{ACCEPTED, count, losses};
use crate::llm::{Ledger, RoleSpent};
use crate::run::{Settings, store_path};
use crate::work::{BackendDown, Phase, Progress};

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobProgress {
    /// The phases begun, in order.
    pub phases: Vec<PhaseProgress>,
    /// Refusals of the whole run by stage and code, most frequent first.
    pub rejected: Vec<Rejected>,
    /// Pairs of the whole run.
    #[serde(default)]
    pub pairs: u64,
    /// Pairs of the whole run that have an accepted answer.
    pub answers_accepted: u64,
    /// Pairs whose last call failed; they are asked again.
    pub answers_failed: u64,
    /// Final instructions of the whole run.
    pub instructions: u64,
    /// What the language models of the whole run have spent, by role.
    pub spending: Vec<RoleSpent>,
    /// Set while the answers wait for the LLM backend.
    pub paused: Option<AnswersPaused>,
}

/// One phase since the job's latest start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseProgress {
    pub phase: Phase,
    /// Items worked.
    pub done: u64,
    /// Items in all, what earlier starts did included, where that is known.
    pub total: Option<u64>,
    /// From its first sign of life to its end, or until now.
    pub seconds: f64,
    /// Items per second over that time.
    pub rate: f64,
    pub finished: bool,
}

/// How often one code refused something in one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    pub stage: String,
    pub code: String,
    pub count: u64,
}

/// Why the answers wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswersPaused {
    /// The LLM fault's stable code.
    pub code: String,
    /// One sentence for a person.
    pub message: String,
    pub since: SystemTime,
}

impl From<RejectionCount> for Rejected {
    fn from(one: RejectionCount) -> Self {
        let RejectionCount { stage, code, count } = one;
        Self { stage, code, count }
    }
}

impl From<&BackendDown> for AnswersPaused {
    fn from(down: &BackendDown) -> Self {
        Self { code: down.code().to_owned(), message: down.reason.to_string(), since: down.since }
    }
}

/// Counts a running job's progress.
#[derive(Default)]
pub(super) struct Meter {
    phases: Mutex<BTreeMap<Phase, Counter>>,
    paused: Mutex<Option<AnswersPaused>>,
    worked: AtomicBool,
}

struct Counter {
    done: u64,
    total: Option<u64>,
    begun: Instant,
    finished: Option<Instant>,
}

impl Meter {
    /// Whether anything was kept that an earlier start had not: the source is listed at every start.
    pub fn has_worked(&self) -> bool {
        self.worked.load(Ordering::Acquire)
    }

    /// The counts now, over `figures` read from the store.
    pub fn snapshot(&self, figures: &JobProgress) -> JobProgress {
        let phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let phases = phases.iter().map(|(phase, counter)| counter.shown(*phase)).collect();
        JobProgress { phases, paused, ..figures.clone() }
    }

    /// Forgets the counts: the work begins anew over what is kept.
    pub fn restart(&self) {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn change(&self, phase: Phase, change: impl FnOnce(&mut Counter)) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        change(phases.entry(phase).or_insert(Counter {
            done: 0,
            total: None,
            begun,
            finished: None,
        }));
    }
}

impl Counter {
    fn shown(&self, phase: Phase) -> PhaseProgress {
        let until = self.finished.unwrap_or_else(Instant::now);
        let seconds = until.saturating_duration_since(self.begun).as_secs_f64();
        let rate = if seconds > 0.0 { self.done as f64 / seconds } else { 0.0 };
        let (done, total, finished) = (self.done, self.total, self.finished.is_some());
        PhaseProgress { phase, done, total, seconds, rate, finished }
    }
}

impl Progress for Meter {
    fn expect(&self, phase: Phase, total: u64) {
        self.change(phase, |counter| counter.total = Some(total));
    }

    fn advance(&self, phase: Phase, items: u64) {
        if items > 0 && phase != Phase::Source {
            self.worked.store(true, Ordering::Release);
        }
        self.change(phase, |counter| counter.done += items);
    }

    fn finish(&self, phase: Phase) {
        self.change(phase, |counter| counter.finished = Some(Instant::now()));
    }

    fn paused(&self, down: Option<&BackendDown>) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = down.map(Into::into);
    }
}

/// What the store in a run's folder tells; all else is left empty.
pub(super) fn figures(kind: JobKind, folder: &Path) -> Result<JobProgress, Error> {
    let figures = match kind {
        JobKind::Match => of_pairs(folder),
        JobKind::Generate => of_instructions(folder),
        JobKind::Judge => of_verdicts(folder),
    }?;
    Ok(JobProgress { spending: Ledger::read(folder)?.roles, ..figures })
}

fn of_instructions(folder: &Path) -> Result<JobProgress, Error> {
    let counts = folder::open(folder)?.counts()?;
    let stages = [("reply", "augment"), ("raw", "augment"), ("final", "summarise")];
    let rejected = stages.into_iter().flat_map(|(of, stage)| {
        losses(&counts, of).map(move |lost| Rejected {
            stage: stage.to_owned(),
            code: lost.code.clone(),
            count: lost.count,
        })
    });
    Ok(JobProgress {
        rejected: rejected.collect(),
        instructions: count(&counts, "final", Some(ACCEPTED)),
        ..JobProgress::default()
    })
}

fn of_verdicts(folder: &Path) -> Result<JobProgress, Error> {
    let store = EvaluationFolder::read_store(folder)?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for failure in store.failures()?.into_values() {
        *counts.entry(failure.code).or_default() += 1;
    }
    let rejected = |(code, count)| Rejected { stage: Phase::Judge.name().into(), code, count };
    Ok(JobProgress {
        rejected: counts.into_iter().map(rejected).collect(),
        ..JobProgress::default()
    })
}

fn of_pairs(folder: &Path) -> Result<JobProgress, Error> {
    let store = Store::open_to_read(&store_path(folder))?;
    let settings = Settings::read(&store)?;
    let (matching, answering) = (settings.match_conf(), settings.answer_conf());
    let rejected = store.rejection_counts(matching, answering)?;
    Ok(JobProgress {
        rejected: rejected.into_iter().map(Into::into).collect(),
        pairs: store.count_pairs(matching)?,
        answers_accepted: store.token_totals(matching, answering)?.accepted,
        answers_failed: store.count_failed_pairs()?,
        ..JobProgress::default()
    })
}
