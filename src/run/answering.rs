//! The answer stage: every pair gets its answer, with bounded concurrency and no loss.

use crate::base::failure::Failure;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::answer::backend::concerns_one_call;
use crate::answer::filter::{SampleView, Verdict};
use crate::answer::generate::{finish_name, passed};
use crate::answer::{AnswerBackend, Generator};
use crate::base::db::DbError;
use crate::dataset::record::{AnswerRow, Pair, Rejection, Stage};
use crate::dataset::store::Store;
use crate::llm::{FinishReason, LlmConfig, LlmError, LlmTarget};
use crate::{Error, ErrorKind};

use super::settings::AnswerSettings;
use crate::work::{Phase, Progress, Stop};

/// Pairs read from the store at once.
const PAGE: usize = 256;

/// Answers judged again in one transaction.
const RECHECK: usize = 500;

/// How long to wait before looking for pairs again while matching goes on.
const IDLE: Duration = Duration::from_millis(50);

/// How often the total of pairs is counted again for the progress.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What readers of local answers must know.
const LOCAL_NOTICE: &str = "The answers come from a small language model on this machine and are \
    poor; a real server is one option away: --llm openai:http://HOST:8000/v1";

/// What the answer stage did in this session.
#[derive(Debug, Default)]
pub struct AnswerOutcome {
    /// Pairs that were worked to an end.
    pub pairs: u64,
    /// The failure that ended the stage early, if any: the backend is gone or refuses us.
    pub gave_up: Option<LlmError>,
}

/// What the answer stage works with.
pub struct AnswerStage {
    pub generator: Arc<Generator>,
    /// Told how each call went; bounds how many are under way.
    pub backend: AnswerBackend,
    pub match_conf: String,
    pub filter_conf: String,
    /// Answers tried per pair, at least 1.
    pub attempts: u32,
}

/// A pair, the number of the attempt, and what came of it.
type Attempt = (Pair, u32, Result<AnswerRow, LlmError>);

/// The stage while it works.
struct Working<'a> {
    stage: &'a AnswerStage,
    store: &'a Store,
    stop: &'a Stop,
    progress: &'a dyn Progress,
    calls: JoinSet<Attempt>,
    waiting: VecDeque<(Pair, u32)>,
    after: (i64, u32),
    counted: Option<Instant>,
    outcome: AnswerOutcome,
}

impl AnswerStage {
    /// Answers every pair that has none, while `matching` still brings new ones. Each answer is
    /// committed when it comes. A stop lets calls under way finish.
    ///
    /// # Errors
    /// The store failed. A backend that is gone is not an error here: see
    /// [`AnswerOutcome::gave_up`].
    pub async fn run(
        &self,
        store: &Store,
        matching_done: &AtomicBool,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<AnswerOutcome, Error> {
        store.clear_failures()?;
        self.judge_again(store)?;
        let mut working = Working {
            stage: self,
            store,
            stop,
            progress,
            calls: JoinSet::new(),
            waiting: VecDeque::new(),
            after: (-1, 0),
            counted: None,
            outcome: AnswerOutcome::default(),
        };
        loop {
            // Read before the look into the store, so that the last pairs are not missed.
            let last_look = matching_done.load(Ordering::Acquire);
            working.fill()?;
            match working.calls.join_next().await {
                Some(Ok((pair, attempt, result))) => working.settle(pair, attempt, result)?,
                // Calls are neither aborted nor do they panic; a lost one is found at resume.
                Some(Err(error)) => tracing::error!(%error, "an answer task ended unexpectedly"),
                None if working.is_over(last_look) => break,
                None => tokio::time::sleep(IDLE).await,
            }
        }
        if !stop.is_asked() && working.outcome.gave_up.is_none() {
            progress.finish(Phase::Answer);
        }
        Ok(working.outcome)
    }

    /// Filters changed since an answer was judged: judges it again, without another call.
    fn judge_again(&self, store: &Store) -> Result<(), DbError> {
        let (conf, filter_conf) = (&self.generator.conf, &self.filter_conf);
        let mut after = String::new();
        loop {
            let answers = store.answers_to_check(conf, filter_conf, &after, RECHECK)?;
            let Some(last) = answers.last() else { return Ok(()) };
            after.clone_from(&last.answer_key);
            let verdicts: Vec<_> = answers
                .into_iter()
                .map(|answer| {
                    let verdict = self.generator.filters.check(&SampleView {
                        text: &answer.text,
                        truncated: answer.finish == finish_name(FinishReason::Length),
                        instruction: &answer.instruction,
                        description: &answer.description,
                        prompt_texts: &self.generator.prompts.texts(),
                        ..SampleView::default()
                    });
                    let filters = passed(&self.generator.filters, &verdict);
                    (answer.answer_key, verdict, filters)
                })
                .collect();
            store.put_verdicts(filter_conf, &verdicts)?;
        }
    }

    /// What to keep with the run about this stage.
    pub fn settings(&self, llm: &LlmConfig) -> AnswerSettings {
        let Generator { prompts, model, conf, .. } = &*self.generator;
        let local = matches!(llm.target, LlmTarget::Local { .. });
        AnswerSettings {
            conf: conf.clone(),
            filter_conf: self.filter_conf.clone(),
            prompt_hash: prompts.hash.clone(),
            system: prompts.system.clone(),
            user: prompts.user.clone(),
            llm: model.name().to_owned(),
            backend: llm.target.to_string(),
            sampling: self.generator.settings.clone(),
            notice: local.then(|| LOCAL_NOTICE.to_owned()),
        }
    }
}

impl Working<'_> {
    fn stopping(&self) -> bool {
        self.stop.is_asked() || self.outcome.gave_up.is_some()
    }

    fn is_over(&self, last_look: bool) -> bool {
        self.stopping() || (last_look && self.waiting.is_empty())
    }

    /// Starts calls until as many are under way as may be.
    fn fill(&mut self) -> Result<(), DbError> {
        // Other callers may have found it down. Kept, so that no pair is passed over when it is
        // back before the calls under way have ended.
        if let Some(down) = self.stage.backend.down() {
            self.outcome.gave_up.get_or_insert(down.reason);
        }
        while !self.stopping() && self.calls.len() < self.stage.backend.in_flight() {
            if self.waiting.is_empty() {
                self.read_page()?;
            }
            let Some((pair, attempt)) = self.waiting.pop_front() else { return Ok(()) };
            self.call(pair, attempt);
        }
        Ok(())
    }

    fn read_page(&mut self) -> Result<(), DbError> {
        let AnswerStage { match_conf, attempts, generator, .. } = self.stage;
        let page =
            self.store.pairs_to_answer(match_conf, &generator.conf, *attempts, self.after, PAGE)?;
        if let Some((last, _)) = page.last() {
            self.after = (last.seq, last.rank);
            self.tell_total()?;
        }
        self.waiting.extend(page);
        Ok(())
    }

    /// Counting reads an index of the whole run: not more often than a person looks.
    fn tell_total(&mut self) -> Result<(), DbError> {
        if self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY) {
            self.counted = Some(Instant::now());
            let total = self.store.count_pairs(&self.stage.match_conf)?;
            self.progress.expect(Phase::Answer, total);
        }
        Ok(())
    }

    fn call(&mut self, pair: Pair, attempt: u32) {
        let generator = Arc::clone(&self.stage.generator);
        let abort = self.stop.abort_token();
        self.calls.spawn(async move {
            let result = generator.attempt(&pair, attempt, &abort).await;
            (pair, attempt, result)
        });
    }

    fn settle(
        &mut self,
        pair: Pair,
        attempt: u32,
        result: Result<AnswerRow, LlmError>,
    ) -> Result<(), DbError> {
        match result {
            Ok(row) => {
                self.stage.backend.report_success();
                let conf = &self.stage.generator.conf;
                self.store.put_answer(conf, &self.stage.filter_conf, &row)?;
                let again =
                    matches!(row.verdict, Verdict::Reject(_)) && attempt < self.stage.attempts;
                if again && !self.stopping() {
                    self.call(pair, attempt + 1);
                } else if !again {
                    self.done();
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
            Err(error) => self.fail(&pair, error),
        }
    }

    fn done(&mut self) {
        self.outcome.pairs += 1;
        self.progress.advance(Phase::Answer, 1);
    }

    fn fail(&mut self, pair: &Pair, error: LlmError) -> Result<(), DbError> {
        let rejection = Rejection {
            stage: Stage::Answer,
            code: error.code().to_owned(),
            reason: error.to_string(),
            subject: format!("{} / {}", pair.item_id, pair.instruction_id),
        };
        let conf = &self.stage.generator.conf;
        // The server refused this one prompt: asking again is no use, and others may pass.
        if concerns_one_call(&error) {
            self.store.put_answer_rejection(conf, &pair.key, &rejection)?;
            self.done();
            return Ok(());
        }
        tracing::warn!(pair = rejection.subject, code = rejection.code, "{}", rejection.reason);
        self.store.put_failure(conf, &pair.key, &rejection, error.attempts)?;
        if self.stage.backend.report_failure(&error) {
            self.outcome.gave_up.get_or_insert(error);
        }
        Ok(())
    }
}
