//! The answer stage: every pair gets its answer, with bounded concurrency and no loss.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{Stream, TryStreamExt, stream};

use crate::Error;
use crate::answer::Generator;
use crate::answer::filter::{SampleView, Verdict};
use crate::answer::generate::{finish_name, no_answer, passed};
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::dataset::record::{AnswerRow, Pair, Rejection, Stage};
use crate::dataset::store::Store;
use crate::llm::{ChatReply, ChatRequest, FinishReason, LlmConfig, LlmError, LlmTarget};
use crate::work::{Asking, Backend, Calls, Feed, Outcome, Phase, Progress, Stop, Whose, blocking};

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
}

/// What a call to the LLM leaves in the store.
enum Row {
    Answer(AnswerRow),
    /// The server refused this one prompt: asking again is no use.
    Refused {
        pair_key: String,
        rejection: Rejection,
    },
    /// To be tried again at the next start.
    Failed {
        pair_key: String,
        failure: Rejection,
        attempts: u32,
    },
}

/// How pairs are asked for.
struct Asker {
    generator: Arc<Generator>,
    attempts: u32,
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
            Ok(stage.judge_again(&again)?)
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
        let (stage, store) = (Arc::clone(self), store.reopen()?);
        let keep = move |rows: Vec<Row>| Ok(stage.keep(&store, rows)?);
        let generator = Arc::clone(&self.generator);
        let calls = Calls {
            model: Arc::clone(&generator.model),
            asking: Arc::new(Asker { generator, attempts: self.attempts }),
            backend: &self.backend,
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

    fn keep(&self, store: &Store, rows: Vec<Row>) -> Result<(), DbError> {
        let conf = &self.generator.conf;
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Row::Answer(row) => answers.push(row),
                Row::Refused { pair_key, rejection } => {
                    store.put_answer_rejection(conf, &pair_key, &rejection)?;
                }
                Row::Failed { pair_key, failure, attempts } => {
                    store.put_failure(conf, &pair_key, &failure, attempts)?;
                }
            }
        }
        store.put_answers(conf, &self.filter_conf, &answers)
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
                    let verdict = match no_answer(&answer.text, &answer.finish, false) {
                        Some(refused) => Verdict::Reject(refused),
                        None => self.generator.filters.check(&SampleView {
                            text: &answer.text,
                            truncated: answer.finish == finish_name(FinishReason::Length),
                            instruction: &answer.instruction,
                            description: &answer.description,
                            prompt_texts: &self.generator.prompts.texts(),
                            ..SampleView::default()
                        }),
                    };
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
            adaptations: Vec::new(),
        }
    }
}

impl Asking for Asker {
    /// A pair, and the number of the attempt from 1.
    type Task = (Pair, u32);
    type Row = Row;

    fn request(&self, (pair, attempt): &(Pair, u32)) -> Result<ChatRequest, Error> {
        Ok(self.generator.request(pair, *attempt))
    }

    fn reply(
        &self,
        (pair, attempt): (Pair, u32),
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<(Pair, u32), Row> {
        let row = self.generator.judge(&pair, attempt, request, reply);
        let again = matches!(row.verdict, Verdict::Reject(_)) && attempt < self.attempts;
        Outcome { row: Some(Row::Answer(row)), again: again.then_some((pair, attempt + 1)) }
    }

    fn failure(
        &self,
        (pair, _): (Pair, u32),
        _: &ChatRequest,
        error: &LlmError,
        whose: Whose,
    ) -> Outcome<(Pair, u32), Row> {
        let failure = Rejection {
            stage: Stage::Answer,
            code: error.code().to_owned(),
            reason: error.to_string(),
            subject: format!("{} / {}", pair.item_id, pair.instruction_id),
        };
        let pair_key = pair.key;
        Outcome::done(match whose {
            Whose::Prompt => Row::Refused { pair_key, rejection: failure },
            Whose::Caller | Whose::Server => {
                Row::Failed { pair_key, failure, attempts: error.attempts }
            }
        })
    }
}

impl<'a> Reading<'a> {
    /// The pairs to answer in their order, until matching brings no more.
    fn pairs(self) -> impl Stream<Item = Result<(Pair, u32), Error>> + 'a {
        let pages = stream::try_unfold(self, |mut reading| async {
            let page = reading.next().await?;
            Ok::<_, Error>((!page.is_empty()).then_some((page, reading)))
        });
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
    }

    /// The next pairs, once there are some; none when no more come.
    async fn next(&mut self) -> Result<Vec<(Pair, u32)>, Error> {
        loop {
            let last_look = self.matched.begin_look();
            let pairs = self.look().await?;
            if last_look || !pairs.is_empty() {
                return Ok(pairs);
            }
            self.matched.more().await;
        }
    }

    async fn look(&mut self) -> Result<Vec<(Pair, u32)>, Error> {
        let AnswerStage { match_conf, attempts, generator, .. } = self.stage;
        let (matching, conf) = (match_conf.clone(), generator.conf.clone());
        let (attempts, after) = (*attempts, self.after);
        // Counting reads an index of the whole run: not more often than a person looks.
        let count = self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY);
        let store = Arc::clone(&self.store);
        let (pairs, total) = blocking(move || {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let pairs = store.pairs_to_answer(&matching, &conf, attempts, after, PAGE)?;
            let count = count && !pairs.is_empty();
            let total = count.then(|| store.count_pairs(&matching)).transpose()?;
            Ok((pairs, total))
        })
        .await?;
        if let Some(total) = total {
            self.counted = Some(Instant::now());
            self.progress.expect(Phase::Answer, total);
        }
        if let Some((last, _)) = pairs.last() {
            self.after = (last.seq, last.rank);
        }
        Ok(pairs)
    }
}
