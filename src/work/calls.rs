//! The loop that has LLM calls under way: for the answers, the generation and the judging alike.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::base::failure::{Error, ErrorKind, Failure};
use crate::llm::{ChatModel, ChatReply, ChatRequest, LlmError, LlmFault};

use super::backend::Backend;
use super::breaker::Whose;
use super::refusals::Refusals;
use super::{Died, Phase, Progress, Stop, blocking};

/// How a task becomes a call, and what becomes of its reply.
pub trait Asking: Send + Sync + 'static {
    /// Something to ask for.
    type Task: Clone + Send + Sync + 'static;
    /// What is kept of a reply or a failure.
    type Row: Send + 'static;

    /// Whether [`Asking::request`] reads files, and so must not hold up the async threads.
    const READS_FILES: bool = false;

    /// The call for a task.
    ///
    /// # Errors
    /// What it is about cannot be read any more; ends the whole work, unless
    /// [`Asking::unaskable`] keeps it.
    fn request(&self, task: &Self::Task) -> Result<ChatRequest, Error>;

    /// What to keep of a reply, and whether to ask again once that is kept.
    fn reply(
        &self,
        task: Self::Task,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<Self::Task, Self::Row>;

    /// The task in another form, for a failed call that is worth making at once in that form, and so
    /// is no failure at all.
    fn otherwise(&self, _: &Self::Task, _: &ChatRequest, _: &LlmError) -> Option<Self::Task> {
        None
    }

    /// What to keep of a task for which no call could be made, where that is its own matter (a photo
    /// that cannot be shown); it is left for the next start. `None` ends the whole work.
    fn unaskable(&self, _: &Self::Task, _: &Error) -> Option<Self::Row> {
        None
    }

    /// What to keep of a failed call. A refusal is kept as [`Fate::Later`] when it comes, and once
    /// more as [`Fate::Refused`] when it has been shown to be the prompt's own fault.
    fn failure(&self, task: &Self::Task, error: &LlmError, fate: Fate) -> Self::Row;
}

/// What becomes of a task whose call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is asked again at the next start.
    Later,
    /// The server takes others and not this one: it is never asked again.
    Refused,
}

/// What a call came to.
#[derive(Debug)]
pub struct Outcome<T, R> {
    pub row: Option<R>,
    /// The task to be asked once more.
    pub again: Option<T>,
}

impl<T, R> Outcome<T, R> {
    /// The task is worked to an end.
    pub fn done(row: R) -> Self {
        Self { row: Some(row), again: None }
    }
}

/// How the work ended.
#[derive(Debug, Default)]
pub struct Worked {
    /// Tasks that were worked to an end in this session, refused prompts among them.
    pub done: u64,
    /// Tasks whose calls failed, refused prompts among them.
    pub failed: u64,
    /// Whether a call was answered, in this session or in an earlier one.
    pub answered: bool,
    /// The failure that made the work end early: the backend is gone or refuses us.
    pub gave_up: Option<LlmError>,
    /// The user stopped it.
    pub stopped: bool,
}

/// Who makes the calls.
pub struct Calls<'a, A> {
    pub asking: Arc<A>,
    pub model: Arc<dyn ChatModel>,
    /// Told how each call went; bounds how many are under way.
    pub backend: &'a Backend,
    /// Whether an earlier session with the same settings brought an answer.
    pub answered: bool,
    pub phase: Phase,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
}

/// A call that has ended, as its task tells.
enum Called<A: Asking> {
    Replied {
        /// The call's number in the session.
        call: u64,
        outcome: Outcome<A::Task, A::Row>,
    },
    Failed {
        task: A::Task,
        // Boxed, so that a reply, which is the rule, takes no more room than it needs.
        request: Box<ChatRequest>,
        error: LlmError,
    },
    /// There was nothing to ask.
    Unaskable(A::Task, Error),
}

/// What follows once a row is kept.
enum After<T> {
    Again(T),
    /// Worked to an end.
    Done,
    /// Left for the next start.
    Failed,
}

impl<A: Asking> Calls<'_, A> {
    /// Makes a call for each of `tasks`, which may grow while others are under way. A place is taken
    /// as soon as there is a task for it, and is free again when what came back is kept: `keep`
    /// commits rows in the order in which calls ended, as many at once as have come, in a thread of
    /// its own. A stop, or a backend that is gone, lets calls under way finish and be kept; an abort
    /// gives them up. Each task ends once.
    ///
    /// # Errors
    /// A row cannot be kept, a task cannot be asked, or `tasks` brought an error; what came back
    /// before is kept all the same.
    pub async fn work(
        &self,
        tasks: impl Stream<Item = Result<A::Task, Error>>,
        keep: impl FnMut(Vec<A::Row>) -> Result<(), Error> + Send + 'static,
    ) -> Result<Worked, Error> {
        let (rows, mut kept, keeper) = keep_in_thread(keep);
        let mut working = Working {
            calls: self,
            under_way: JoinSet::new(),
            rows,
            keeping: VecDeque::new(),
            refusals: Refusals::new(self.backend.config().under_way(), self.answered),
            worked: Worked::default(),
            error: None,
        };
        let mut tasks = std::pin::pin!(tasks);
        let mut state = self.backend.watch();
        let mut more = true;
        loop {
            working.look_around();
            more &= !working.is_ending();
            let free = more
                && working.busy() < self.backend.in_flight().max(1)
                && (self.model.has_room() || working.busy() == 0);
            if !more && working.busy() == 0 {
                break;
            }
            tokio::select! {
                Some(ended) = working.under_way.join_next() => working.settle(ended),
                count = kept.recv() => match count {
                    Some(count) => working.kept(count),
                    // The keeper has failed; it says why when it is joined.
                    None => break,
                },
                task = tasks.next(), if free => match task {
                    Some(Ok(task)) => working.call(task),
                    Some(Err(error)) => working.fail(error),
                    None => more = false,
                },
                () = self.stop.asked(), if more => {}
                _ = state.changed(), if more => {}
            }
        }
        let Working { rows, mut worked, error, refusals, .. } = working;
        drop(rows);
        worked.answered = refusals.answered();
        keeper.await.map_err(Died::from)??;
        worked.stopped = self.stop.is_asked();
        error.map_or(Ok(worked), Err)
    }
}

/// A thread that keeps rows in their order, as many at once as have come. The numbers it sends say
/// how many it has kept.
fn keep_in_thread<R: Send + 'static>(
    mut keep: impl FnMut(Vec<R>) -> Result<(), Error> + Send + 'static,
) -> (mpsc::UnboundedSender<R>, mpsc::UnboundedReceiver<usize>, JoinHandle<Result<(), Error>>) {
    // Neither holds more than there are places.
    let (rows, mut come) = mpsc::unbounded_channel();
    let (tell, kept) = mpsc::unbounded_channel();
    let keeper = tokio::task::spawn_blocking(move || {
        while let Some(first) = come.blocking_recv() {
            let mut batch = vec![first];
            while let Ok(row) = come.try_recv() {
                batch.push(row);
            }
            let count = batch.len();
            keep(batch)?;
            // Nobody listens any more when the work was given up.
            _ = tell.send(count);
        }
        Ok(())
    });
    (rows, kept, keeper)
}

struct Working<'a, A: Asking> {
    calls: &'a Calls<'a, A>,
    under_way: JoinSet<Called<A>>,
    rows: mpsc::UnboundedSender<A::Row>,
    /// What follows the rows that are not kept yet, in their order.
    keeping: VecDeque<After<A::Task>>,
    refusals: Refusals<(A::Task, LlmError)>,
    worked: Worked,
    error: Option<Error>,
}

impl<A: Asking> Working<'_, A> {
    /// Places taken.
    fn busy(&self) -> usize {
        self.under_way.len() + self.keeping.len()
    }

    /// Other callers may have found the backend down. Kept, so that no task is passed over when it
    /// is back before the calls under way have ended.
    fn look_around(&mut self) {
        if let Some(down) = self.calls.backend.down() {
            self.worked.gave_up.get_or_insert(down.reason);
        }
    }

    fn is_ending(&self) -> bool {
        self.calls.stop.is_asked() || self.worked.gave_up.is_some() || self.error.is_some()
    }

    fn call(&mut self, task: A::Task) {
        let (asking, model) = (Arc::clone(&self.calls.asking), Arc::clone(&self.calls.model));
        let stop = self.calls.stop;
        let cancel = if model.resumes() { stop.token() } else { stop.abort_token() };
        let call = self.refusals.begin();
        self.under_way.spawn(async move {
            let request = match request(&asking, &task).await {
                Ok(request) => request,
                Err(error) => return Called::Unaskable(task, error),
            };
            match model.chat(&request, &cancel).await {
                Ok(reply) => Called::Replied { call, outcome: asking.reply(task, &request, reply) },
                Err(error) => Called::Failed { task, request: request.into(), error },
            }
        });
    }

    fn settle(&mut self, ended: Result<Called<A>, JoinError>) {
        match ended {
            Ok(Called::Replied { call, outcome }) => {
                self.calls.backend.report_success();
                self.keep(outcome, After::Done);
                for (task, error) in self.refusals.answer(call) {
                    self.refused(&task, &error);
                }
            }
            Ok(Called::Failed { error, .. }) if error.kind() == ErrorKind::Cancelled => {}
            // The call was not made: its task is as open as those that were not begun.
            Ok(Called::Failed { error, .. }) if error.is_spending_cap() => {
                self.worked.gave_up.get_or_insert(error);
            }
            Ok(Called::Failed { task, request, error }) => self.failed(task, &request, error),
            Ok(Called::Unaskable(task, error)) => self.unaskable(&task, error),
            // Calls are not aborted, so it panicked; its task is found at the next start.
            Err(error) => {
                tracing::error!(%error, "a call's task ended unexpectedly");
                self.worked.failed += 1;
            }
        }
    }

    fn failed(&mut self, task: A::Task, request: &ChatRequest, error: LlmError) {
        let asking = &self.calls.asking;
        if let Some(other) = asking.otherwise(&task, request, &error) {
            return self.follow(After::Again(other));
        }
        tracing::warn!(code = error.code(), "{error}");
        self.worked.failed += 1;
        let whose = Whose::fault(&error);
        let gone = match whose {
            // All calls of this work share the settings.
            Whose::Caller => true,
            Whose::Server => self.calls.backend.report_failure(&error),
            Whose::Prompt | Whose::Suspect => {
                return self.settle_refusal(whose, task, error);
            }
        };
        self.left(&task, &error);
        if gone {
            self.worked.gave_up.get_or_insert(error);
        }
    }

    fn settle_refusal(&mut self, whose: Whose, task: A::Task, error: LlmError) {
        match self.refusals.refuse(whose, (task.clone(), error.clone())) {
            Some((task, error)) => self.refused(&task, &error),
            None => self.left(&task, &error),
        }
        if self.refusals.are_too_many() && self.worked.gave_up.is_none() {
            tracing::error!("nothing but refusals for a while: the calls are given up for now");
            self.worked.gave_up = Some(error);
        }
    }

    fn unaskable(&mut self, task: &A::Task, error: Error) {
        let Some(row) = self.calls.asking.unaskable(task, &error) else { return self.fail(error) };
        tracing::warn!(code = error.code(), "{error}");
        self.worked.failed += 1;
        self.keep(Outcome::done(row), After::Failed);
    }

    fn left(&mut self, task: &A::Task, error: &LlmError) {
        let row = self.calls.asking.failure(task, error, Fate::Later);
        self.keep(Outcome::done(row), After::Failed);
    }

    fn refused(&mut self, task: &A::Task, error: &LlmError) {
        let fate = match error.fault {
            // A smaller photo may pass, by a setting that no key rests on.
            LlmFault::PhotoTooLarge { .. } => Fate::Later,
            _ => Fate::Refused,
        };
        let row = self.calls.asking.failure(task, error, fate);
        self.keep(Outcome::done(row), After::Done);
    }

    fn keep(&mut self, outcome: Outcome<A::Task, A::Row>, end: After<A::Task>) {
        let after = outcome.again.map_or(end, After::Again);
        match outcome.row {
            Some(row) => {
                // A keeper that has failed is met when it tells nothing any more.
                _ = self.rows.send(row);
                self.keeping.push_back(after);
            }
            None => self.follow(after),
        }
    }

    fn kept(&mut self, count: usize) {
        if let Some(spending) = self.calls.model.spending() {
            self.calls.progress.spent(&spending);
        }
        for after in self.keeping.drain(..count).collect::<Vec<_>>() {
            self.follow(after);
        }
    }

    fn follow(&mut self, after: After<A::Task>) {
        match after {
            After::Again(task) if !self.is_ending() => self.call(task),
            After::Again(_) | After::Failed => {}
            After::Done => {
                self.worked.done += 1;
                self.calls.progress.advance(self.calls.phase, 1);
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}

async fn request<A: Asking>(asking: &Arc<A>, task: &A::Task) -> Result<ChatRequest, Error> {
    if !A::READS_FILES {
        return asking.request(task);
    }
    let (asking, task) = (Arc::clone(asking), task.clone());
    blocking(move || asking.request(&task)).await
}

#[cfg(test)]
mod tests;
