//! The answer stage: every pair gets its answer, with bounded concurrency and no loss.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{Stream, TryStreamExt, stream};

use crate::Error;
use crate::answer::filter::{Filters, SampleView, Verdict};
use crate::answer::generate::{passed, verdict};
use crate::answer::{Generator, PromptSet};
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::dataset::record::{AnswerRow, Pair, Rejection, Stage};
use crate::dataset::store::Store;
use crate::dataset::{PhotoViewer, ShowError};
use crate::llm::{ChatReply, ChatRequest, FinishReason, LlmConfig, LlmError, LlmTarget};
use crate::work::{Asking, Backend, Calls, Fate, Feed, Outcome, Phase, Progress, Stop, blocking};

use super::settings::AnswerSettings;

/// Pairs read from the store at once.
const PAGE: usize = 256;

/// Answers judged again in one transaction.
const RECHECK: usize = 500;

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
    pub backend: Backend,
    pub match_conf: String,
    pub filter_conf: String,
    /// Answers tried per pair, at least 1.
    pub attempts: u32,
    /// Shows the photos, where the model sees them.
    pub viewer: Option<Arc<PhotoViewer>>,
}

/// What a call to the LLM leaves in the store.
enum Row {
    /// With the rejection of its pair, where the LLM declined.
    Answer(Box<AnswerRow>, Option<Rejection>),
    Failed {
        pair_key: String,
        failure: Rejection,
        attempts: u32,
        fate: Fate,
    },
}

/// A pair and the attempt to make at it.
#[derive(Clone)]
struct Attempt {
    pair: Pair,
    /// From 1.
    number: u32,
    /// The attempt before it, which was refused.
    last: Option<AnswerRow>,
}

/// How pairs are asked for.
struct Asker {
    generator: Arc<Generator>,
    attempts: u32,
    viewer: Option<Arc<PhotoViewer>>,
}

/// Where the reading of pairs stands.
struct Reading<'a> {
    stage: &'a AnswerStage,
    progress: &'a dyn Progress,
    store: Arc<Mutex<Store>>,
    matched: Feed,
    after: (i64, u32),
    counted: Option<Instant>,
}

impl AnswerStage {
    /// Answers every pair that has none, while matching still brings new ones. Each answer is kept
    /// when it comes. A stop lets calls under way finish.
    ///
    /// # Errors
    /// The store failed. A backend that is gone is not an error here: see
    /// [`AnswerOutcome::gave_up`].
    pub async fn run(
        self: &Arc<Self>,
        store: &Store,
        matched: Feed,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<AnswerOutcome, Error> {
        let (stage, again) = (Arc::clone(self), store.reopen()?);
        blocking(move || {
            again.clear_failures()?;
            let Generator { prompts, filters, conf, .. } = &*stage.generator;
            Ok(Judging { prompts, filters }.again(&again, conf, &stage.filter_conf)?)
        })
        .await?;
        let reading = Reading {
            stage: self,
            progress,
            store: Arc::new(Mutex::new(store.reopen()?)),
            matched,
            after: (-1, 0),
            counted: None,
        };
        let (stage, keeper) = (Arc::clone(self), store.reopen()?);
        let keep = move |rows: Vec<Row>| Ok(stage.keep(&keeper, &rows)?);
        let generator = Arc::clone(&self.generator);
        let calls = Calls {
            model: Arc::clone(&generator.model),
            asking: Arc::new(Asker {
                generator,
                attempts: self.attempts,
                viewer: self.viewer.clone(),
            }),
            backend: &self.backend,
            answered: store.has_answers(&self.generator.conf)?,
            phase: Phase::Answer,
            stop,
            progress,
        };
        let worked = calls.work(reading.pairs(), keep).await?;
        if !worked.stopped && worked.gave_up.is_none() {
            progress.finish(Phase::Answer);
        }
        Ok(AnswerOutcome { pairs: worked.done, gave_up: worked.gave_up })
    }

    /// Keeps rows in their order: a refusal never before the answer that shows it to be final.
    fn keep(&self, store: &Store, rows: &[Row]) -> Result<(), DbError> {
        let conf = &self.generator.conf;
        let put = |row: &Row| match row {
            Row::Answer(row, declined) => {
                store.put_answer(conf, &self.filter_conf, row)?;
                let put = |declined| store.put_answer_rejection(conf, &row.pair_key, declined);
                declined.as_ref().map_or(Ok(()), put)
            }
            Row::Failed { pair_key, failure, attempts, fate: Fate::Later } => {
                store.put_failure(conf, pair_key, failure, *attempts)
            }
            Row::Failed { pair_key, failure, fate: Fate::Refused, .. } => {
                store.put_answer_rejection(conf, pair_key, failure)
            }
        };
        store.database().together(|| rows.iter().try_for_each(put))
    }

    /// What to keep with the run about this stage.
    pub fn settings(&self, llm: &LlmConfig) -> AnswerSettings {
        let Generator { prompts, filters, model, conf, .. } = &*self.generator;
        let local = matches!(llm.target, LlmTarget::Local { .. });
        AnswerSettings {
            conf: conf.clone(),
            filter_conf: self.filter_conf.clone(),
            filters: filters.names(),
            prompt_hash: prompts.hash.clone(),
            system: prompts.system.clone(),
            user: prompts.user.clone(),
            see: prompts.see,
            llm: model.name().to_owned(),
            backend: llm.target.to_string(),
            sampling: self.generator.settings.clone(),
            notice: local.then(|| LOCAL_NOTICE.to_owned()),
            adaptations: Vec::new(),
        }
    }
}

/// What judges answers that are there.
pub struct Judging<'a> {
    pub prompts: &'a PromptSet,
    pub filters: &'a Filters,
}

impl Judging<'_> {
    /// Judges answers under `conf` that other filters judged than those of `filter_conf`, without a
    /// call.
    ///
    /// # Errors
    /// SQLite's.
    pub fn again(&self, store: &Store, conf: &str, filter_conf: &str) -> Result<(), DbError> {
        let mut after = String::new();
        loop {
            let answers = store.answers_to_check(conf, filter_conf, &after, RECHECK)?;
            let Some(last) = answers.last() else { return Ok(()) };
            after.clone_from(&last.answer_key);
            let verdicts: Vec<_> = answers
                .into_iter()
                .map(|answer| {
                    let sample = SampleView {
                        text: &answer.text,
                        truncated: answer.finish == FinishReason::Length.name(),
                        instruction: &answer.instruction,
                        description: &answer.description,
                        prompt_texts: &self.prompts.texts(),
                        ..SampleView::default()
                    };
                    let verdict =
                        verdict(self.prompts, self.filters, &sample, &answer.finish, false);
                    let filters = passed(self.filters, &answer.text, &verdict);
                    (answer.answer_key, verdict, filters)
                })
                .collect();
            store.put_verdicts(filter_conf, &verdicts)?;
        }
    }
}

impl Asking for Asker {
    type Task = Attempt;
    type Row = Row;

    const READS_FILES: bool = true;

    fn request(&self, Attempt { pair, number, last }: &Attempt) -> Result<ChatRequest, Error> {
        let show = |viewer: &Arc<PhotoViewer>| viewer.show(&pair.image, Some(&pair.image_sha256));
        let photo = self.viewer.as_ref().map(show).transpose()?;
        Ok(self.generator.request(pair, *number, last.as_ref(), photo))
    }

    fn otherwise(
        &self,
        attempt: &Attempt,
        request: &ChatRequest,
        error: &LlmError,
    ) -> Option<Attempt> {
        let viewer = self.viewer.as_ref()?;
        viewer.shrinks_after(request, error).then(|| attempt.clone())
    }

    fn unaskable(&self, Attempt { pair, .. }: &Attempt, error: &Error) -> Option<Row> {
        error.get::<ShowError>()?;
        let failure = rejection(pair, error.code(), &error.to_string());
        let pair_key = pair.key.clone();
        Some(Row::Failed { pair_key, failure, attempts: 0, fate: Fate::Later })
    }

    fn reply(
        &self,
        Attempt { pair, number, .. }: Attempt,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<Attempt, Row> {
        let row = self.generator.judge(&pair, number, request, reply);
        let declined = row.verdict.code() == Verdict::INAPPLICABLE;
        let rejection =
            declined.then(|| rejection(&pair, row.verdict.code(), row.verdict.reason()));
        let again = row.verdict.asks_again() && number < self.attempts;
        let again = again.then(|| Attempt { pair, number: number + 1, last: Some(row.clone()) });
        Outcome { row: Some(Row::Answer(row.into(), rejection)), again }
    }

    fn failure(&self, Attempt { pair, .. }: &Attempt, error: &LlmError, fate: Fate) -> Row {
        let failure = rejection(pair, error.code(), &error.to_string());
        Row::Failed { pair_key: pair.key.clone(), failure, attempts: error.attempts, fate }
    }
}

fn rejection(pair: &Pair, code: &str, reason: &str) -> Rejection {
    Rejection {
        stage: Stage::Answer,
        code: code.to_owned(),
        reason: reason.to_owned(),
        subject: format!("{} / {}", pair.item_id, pair.instruction_id),
    }
}

impl<'a> Reading<'a> {
    /// The pairs to answer in their order, until matching brings no more.
    fn pairs(self) -> impl Stream<Item = Result<Attempt, Error>> + 'a {
        let pages = stream::try_unfold(self, |mut reading| async {
            let page = reading.next().await?;
            Ok::<_, Error>((!page.is_empty()).then_some((page, reading)))
        });
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
    }

    /// The next pairs, once there are some; none when no more come.
    async fn next(&mut self) -> Result<Vec<Attempt>, Error> {
        loop {
            let last_look = self.matched.begin_look();
            let pairs = self.look().await?;
            if last_look || !pairs.is_empty() {
                return Ok(pairs);
            }
            self.matched.more().await;
        }
    }

    async fn look(&mut self) -> Result<Vec<Attempt>, Error> {
        let AnswerStage { match_conf, attempts, generator, .. } = self.stage;
        let (matching, conf) = (match_conf.clone(), generator.conf.clone());
        let (attempts, after) = (*attempts, self.after);
        // Counting reads an index of the whole run: not more often than a person looks.
        let count = self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY);
        let store = Arc::clone(&self.store);
        let (pairs, total) = blocking(move || {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let pairs = store.pairs_to_answer(&matching, &conf, attempts, after, PAGE)?;
            let attempt = |(pair, number): (Pair, u32)| -> Result<Attempt, DbError> {
                let earlier = if number > 1 { store.attempts(&pair.key, &conf)? } else { vec![] };
                Ok(Attempt { pair, number, last: earlier.into_iter().next_back() })
            };
            let pairs = pairs.into_iter().map(attempt).collect::<Result<Vec<_>, _>>()?;
            let count = count && !pairs.is_empty();
            let total = count.then(|| store.count_pairs(&matching)).transpose()?;
            Ok((pairs, total))
        })
        .await?;
        if let Some(total) = total {
            self.counted = Some(Instant::now());
            self.progress.expect(Phase::Answer, total);
        }
        if let Some(Attempt { pair: last, .. }) = pairs.last() {
            self.after = (last.seq, last.rank);
        }
        Ok(pairs)
    }
}
