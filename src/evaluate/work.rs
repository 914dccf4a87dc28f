//! Makes many calls with bounded concurrency, keeping each reply when it comes.

use crate::base::failure::Failure;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::llm::{ChatModel, ChatReply, ChatRequest, LlmError, LlmFault};
use crate::work::{Phase, Progress, Stop};
use crate::{Error, ErrorKind};

/// Turns a task into a call. Called off the async threads, since it may read an image.
pub(super) trait Ask: Send + Sync + 'static {
    type Task: Clone + Send + Sync + 'static;

    /// # Errors
    /// The task's image cannot be read any more.
    fn request(&self, task: &Self::Task) -> Result<ChatRequest, Error>;
}

/// Keeps what became of a task.
pub(super) trait Keep<T>: Send {
    /// Keeps a reply; returns the task to ask again, if the reply is of no use.
    fn keep(
        &mut self,
        task: T,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Result<Option<T>, Error>;

    /// Keeps a failure.
    fn fail(&mut self, task: &T, error: &LlmError) -> Result<(), Error>;
}

/// How the work ended.
#[derive(Debug, Default)]
pub struct Worked {
    /// Tasks that were worked to an end in this session.
    pub done: u64,
    /// Tasks whose calls failed.
    pub failed: u64,
    /// The failure that made the work end early: the backend is gone or refuses us.
    pub gave_up: Option<LlmError>,
    /// The user stopped it.
    pub stopped: bool,
}

impl Worked {
    /// Whether something is left for the next start.
    pub fn is_partial(&self) -> bool {
        self.failed > 0 || self.stopped || self.gave_up.is_some()
    }
}

/// Who makes the calls.
pub(super) struct Crew<A> {
    pub ask: Arc<A>,
    pub model: Arc<dyn ChatModel>,
    /// Calls under way at once, at least 1.
    pub in_flight: usize,
    pub phase: Phase,
}

type Called<T> = (T, Result<(ChatRequest, Result<ChatReply, LlmError>), Error>);

struct Working<'a, A: Ask, K> {
    crew: &'a Crew<A>,
    keep: &'a mut K,
    stop: &'a Stop,
    progress: &'a dyn Progress,
    waiting: VecDeque<A::Task>,
    calls: JoinSet<Called<A::Task>>,
    failed_in_a_row: usize,
    worked: Worked,
}

impl<A: Ask> Crew<A> {
    /// Works every task. A stop lets calls under way finish; a backend that is gone ends the work.
    ///
    /// # Errors
    /// A reply cannot be kept, or a task's image cannot be read.
    pub async fn work<K: Keep<A::Task>>(
        &self,
        tasks: Vec<A::Task>,
        keep: &mut K,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<Worked, Error> {
        let mut working = Working {
            crew: self,
            keep,
            stop,
            progress,
            waiting: tasks.into(),
            calls: JoinSet::new(),
            failed_in_a_row: 0,
            worked: Worked::default(),
        };
        working.fill();
        while let Some(called) = working.calls.join_next().await {
            match called {
                Ok((task, result)) => working.settle(task, result?)?,
                // Calls are neither aborted nor do they panic; a lost one is found at resume.
                Err(error) => working.lost(&error),
            }
            working.fill();
        }
        let mut worked = working.worked;
        worked.stopped = stop.is_asked();
        if !worked.stopped && worked.gave_up.is_none() {
            progress.finish(self.phase);
        }
        Ok(worked)
    }
}

impl<A: Ask, K: Keep<A::Task>> Working<'_, A, K> {
    fn stopping(&self) -> bool {
        self.stop.is_asked() || self.worked.gave_up.is_some()
    }

    fn fill(&mut self) {
        while !self.stopping() && self.calls.len() < self.crew.in_flight.max(1) {
            let Some(task) = self.waiting.pop_front() else { return };
            self.call(task);
        }
    }

    fn call(&mut self, task: A::Task) {
        let (ask, model) = (Arc::clone(&self.crew.ask), Arc::clone(&self.crew.model));
        let abort = self.stop.abort_token();
        self.calls.spawn(async move {
            let asked = task.clone();
            let request = tokio::task::spawn_blocking(move || ask.request(&asked)).await;
            let request = match request.map_err(died).and_then(|request| request) {
                Ok(request) => request,
                Err(error) => return (task, Err(error)),
            };
            let reply = model.chat(&request, &abort).await;
            (task, Ok((request, reply)))
        });
    }

    fn settle(
        &mut self,
        task: A::Task,
        (request, reply): (ChatRequest, Result<ChatReply, LlmError>),
    ) -> Result<(), Error> {
        match reply {
            Ok(reply) => {
                self.failed_in_a_row = 0;
                match self.keep.keep(task, &request, reply)? {
                    Some(again) if !self.stopping() => self.call(again),
                    Some(_) => {}
                    None => self.done(),
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
            Err(error) => self.fail(&task, error),
        }
    }

    fn done(&mut self) {
        self.worked.done += 1;
        self.progress.advance(self.crew.phase, 1);
    }

    fn fail(&mut self, task: &A::Task, error: LlmError) -> Result<(), Error> {
        tracing::warn!(code = error.code(), "{error}");
        self.keep.fail(task, &error)?;
        self.worked.failed += 1;
        if concerns_one_task(&error) {
            return Ok(());
        }
        self.failed_in_a_row += 1;
        // Every place failed twice without one success: the backend is gone, not one call unlucky.
        if !error.is_retryable() || self.failed_in_a_row >= 2 * self.crew.in_flight.max(2) {
            self.worked.gave_up.get_or_insert(error);
        }
        Ok(())
    }

    fn lost(&mut self, error: &tokio::task::JoinError) {
        tracing::error!(%error, "a call's task ended unexpectedly");
        self.worked.failed += 1;
    }
}

/// Whether the server refused this one prompt: others may pass.
fn concerns_one_task(error: &LlmError) -> bool {
    matches!(error.fault, LlmFault::ContextTooLong { .. } | LlmFault::BadRequest { .. })
}

fn died(error: tokio::task::JoinError) -> Error {
    crate::run::PipelineError::StageDied { what: error.to_string() }.into()
}
