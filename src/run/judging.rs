//! The judge's part of the measure stage: every accepted sample gets its questions answered, with
//! bounded concurrency and no loss.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::base::hash;
use crate::base::tokens::break_up;
use crate::dataset::record::{AnswerRow, Measured, Pair};
use crate::dataset::store::{JudgeReply, Judged, JudgedUnder, MeasureTotals, Store};
use crate::dataset::{PhotoViewer, ShowError};
use crate::encoder::Encoder;
use crate::llm::{ChatModel, ChatReply, ChatRequest, LlmError, Message, SamplingSettings, See};
use crate::measure::judged::{JudgePrompts, Shown, blind};
use crate::measure::{MeasureName, Question};
use crate::work::{
    Asking, Backend, Calls, Estimate, Fate, Outcome, Phase, Progress, SchemaUse, Stop, Worked,
    blocking,
};

/// Where a sample stands in its source: the number of its photo, and its rank.
type Place = (i64, u32);

/// Samples read from the store at once.
const PAGE: usize = 256;

/// Samples of which a judge must say something else at least once.
const SAME: u64 = 20;

/// One question, as it is put to one judge about the accepted samples of a run.
pub struct Judge {
    pub question: Question,
    /// Those of the question's measures that are kept.
    pub measures: Vec<MeasureName>,
    pub prompts: JudgePrompts,
    pub settings: SamplingSettings,
    pub see: See,
    /// Shows the photos, where `see` does.
    pub viewer: PhotoViewer,
    /// Seed of the run.
    pub seed: u64,
    /// Askings until a reply can be read, at least 1. Not part of the key.
    pub attempts: u32,
    /// Key over the question, the prompts, the model, the settings, what it sees and the seed.
    pub conf: String,
    /// Of the values: the key, the reader and the attempts.
    pub version: String,
    /// Compares an answer with a blind one.
    pub encoder: Arc<dyn Encoder>,
    pub schema: SchemaUse,
}

/// What to keep with the run about a judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeSettings {
    /// Key over the question, the prompts, the model, the settings and the seed.
    pub conf: String,
    pub prompt_hash: String,
    pub system: String,
    pub user: String,
    pub llm: String,
    pub backend: String,
    #[serde(default)]
    pub see: See,
    /// As sent with each call.
    pub sampling: SamplingSettings,
}

/// Which samples are judged: the keys of what matched them and of what answered them.
#[derive(Debug, Clone)]
pub struct Samples {
    pub match_conf: String,
    pub answer_conf: String,
}

/// A sample that lacks a value, and what the judge has replied about it.
#[derive(Clone)]
pub struct Task {
    sample: Arc<(Pair, AnswerRow)>,
    /// Text and finish of each reply.
    replies: Vec<(String, String)>,
}

/// What a call leaves to be kept.
enum Row {
    /// With its task where nothing more is asked about that.
    Reply(JudgeReply, Option<Task>),
    Ended(Judged),
}

/// Who is asked, and who is told.
pub struct Session<'a> {
    pub store: &'a Store,
    pub backend: &'a Backend,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
    /// Calls that went before.
    pub done: u64,
}

/// Where the reading of samples stands.
struct Reading {
    judge: Arc<Judge>,
    samples: Samples,
    store: Arc<Mutex<Store>>,
    /// Place and rank of the last sample that was read.
    after: Place,
}

impl Judge {
    /// Takes every value that stored replies give, and tells what the others would take.
    ///
    /// # Errors
    /// SQLite's, or the encoder's.
    pub fn estimate(&self, store: &Store, samples: &Samples) -> Result<Estimate, Error> {
        let mut estimate = Estimate::default();
        let mut after = (-1, 0);
        while let Some((tasks, last)) = self.page(store, samples, after)? {
            tasks.iter().for_each(|task| self.add(&mut estimate, task));
            after = last;
        }
        Ok(estimate)
    }

    /// Tells what asking would take, and keeps nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn look(&self, store: &Store, samples: &Samples) -> Result<Estimate, Error> {
        let mut estimate = Estimate::default();
        let mut after = (-1, 0);
        while let Some((tasks, last)) = self.found(store, samples, after)? {
            for task in &tasks {
                let (_, answer) = &*task.sample;
                match self.question.settle(&answer.text, &task.replies, self.attempts) {
                    Some(_) => {
                        (estimate.calls, estimate.kept) = (estimate.calls + 1, estimate.kept + 1)
                    }
                    None => self.add(&mut estimate, task),
                }
            }
            after = last;
        }
        Ok(estimate)
    }

    fn add(&self, estimate: &mut Estimate, task: &Task) {
        estimate.calls += 1;
        let request = self.ask(task);
        let characters = request.messages.iter().map(|one| one.text.chars().count());
        let reply_tokens = request.settings.max_tokens;
        estimate.add(characters.sum(), self.see.shows_photo(), reply_tokens);
    }

    /// Asks about every sample that lacks a value. Each reply is kept when it comes. A stop lets
    /// calls under way finish.
    ///
    /// # Errors
    /// The store failed. A backend that is gone is not an error here: see [`Worked::gave_up`].
    pub async fn run(
        self: &Arc<Self>,
        samples: &Samples,
        model: Arc<dyn ChatModel>,
        session: Session<'_>,
    ) -> Result<Worked, Error> {
        let Session { store, backend, stop, progress, done } = session;
        let (judge, again, all) = (Arc::clone(self), store.reopen()?, samples.clone());
        let estimate = blocking(move || judge.estimate(&again, &all)).await?;
        if estimate.calls == 0 {
            return Ok(Worked::default());
        }
        tracing::info!(
            question = self.question.name(),
            judge = model.name(),
            "asking the judge: {} calls, about {} prompt tokens and {} photos, at most {} reply \
             tokens",
            estimate.calls,
            estimate.prompt_tokens,
            estimate.images,
            estimate.reply_tokens
        );
        progress.expect(Phase::Judge, done + estimate.calls);
        let reading = Reading {
            judge: Arc::clone(self),
            samples: samples.clone(),
            store: Arc::new(Mutex::new(store.reopen()?)),
            after: (-1, 0),
        };
        let (judge, keeper) = (Arc::clone(self), store.reopen()?);
        let keep = move |rows: Vec<Row>| {
            let rows = judge.judged(rows)?;
            Ok(keeper.put_judged(judge.under(), &rows)?)
        };
        let calls = Calls {
            asking: Arc::new(Bench(Arc::clone(self))),
            model,
            backend,
            answered: store.has_judge_replies(&self.conf)?,
            phase: Phase::Judge,
            stop,
            progress,
        };
        let worked = calls.work(reading.tasks(), keep).await?;
        if !worked.stopped && worked.gave_up.is_none() {
            progress.finish(Phase::Judge);
        }
        Ok(worked)
    }

    fn under(&self) -> JudgedUnder<'_> {
        JudgedUnder { conf: &self.conf, version: &self.version }
    }

    /// The samples after `after` to be asked about, and the place of the last one that was looked
    /// at; `None` behind the last. Values that stored replies give are kept on the way.
    fn page(
        &self,
        store: &Store,
        samples: &Samples,
        after: Place,
    ) -> Result<Option<(Vec<Task>, Place)>, Error> {
        let Some((found, last)) = self.found(store, samples, after)? else { return Ok(None) };
        let (mut tasks, mut known) = (Vec::new(), Vec::new());
        for task in found {
            match self.settled(&task)? {
                Some(values) => known.push(values),
                None => tasks.push(task),
            }
        }
        if !known.is_empty() {
            store.put_judged(self.under(), &known)?;
        }
        Ok(Some((tasks, last)))
    }

    /// The samples after `after` that lack a value, with the replies that are kept, and the place of
    /// the last one; `None` behind the last.
    fn found(
        &self,
        store: &Store,
        samples: &Samples,
        after: Place,
    ) -> Result<Option<(Vec<Task>, Place)>, DbError> {
        let names: Vec<&str> = self.measures.iter().map(|name| name.name()).collect();
        let Samples { match_conf, answer_conf } = samples;
        let confs = [match_conf.as_str(), answer_conf];
        let found = store.samples_to_judge(confs, &names, &self.version, after, PAGE)?;
        let Some((last, _)) = found.last() else { return Ok(None) };
        let last = (last.seq, last.rank);
        let task = |(pair, answer): (Pair, AnswerRow)| {
            let replies = store.judge_replies(&answer.answer_key, &self.conf)?;
            Ok(Task { sample: Arc::new((pair, answer)), replies })
        };
        Ok(Some((found.into_iter().map(task).collect::<Result<_, DbError>>()?, last)))
    }

    /// What calls leave, as it is kept.
    fn judged(&self, rows: Vec<Row>) -> Result<Vec<Judged>, Error> {
        let mut judged = Vec::with_capacity(2 * rows.len());
        for row in rows {
            match row {
                Row::Reply(reply, task) => {
                    judged.push(Judged::Reply(reply));
                    if let Some(task) = task {
                        judged.extend(self.settled(&task)?);
                    }
                }
                Row::Ended(row) => judged.push(row),
            }
        }
        Ok(judged)
    }

    /// The values of a sample; `None` where one more reply is to be had.
    fn settled(&self, Task { sample, replies }: &Task) -> Result<Option<Judged>, Error> {
        let (_, answer) = &**sample;
        let settled = self.question.settle(&answer.text, replies, self.attempts);
        let Some(mut values) = settled else { return Ok(None) };
        if self.question == Question::Blind {
            for (_, measured) in &mut values {
                *measured = blind::gap(&*self.encoder, &answer.text, std::mem::take(measured))?;
            }
        }
        Ok(Some(self.values(answer, values)))
    }

    fn values(&self, answer: &AnswerRow, values: Vec<(MeasureName, Measured)>) -> Judged {
        let kept = values.into_iter().filter(|(name, _)| self.measures.contains(name));
        let kept = kept.map(|(name, measured)| (name.name(), measured)).collect();
        Judged::Values(answer.answer_key.clone(), kept)
    }

    /// The call for a task, its photo not attached.
    fn ask(&self, task: &Task) -> ChatRequest {
        let (pair, answer) = &*task.sample;
        let shown = Shown {
            instruction: &pair.instruction,
            answer: &answer.text,
            description: &pair.description,
            captions: &pair.captions,
        };
        if self.question == Question::LogProbabilities {
            return self.ask_likelihood(task, shown);
        }
        let mut messages = self.prompts.build(self.question, shown, self.see);
        // The words of a retry speak of the form that a schema gives.
        let told = task.replies.last().filter(|_| self.question.schema().is_some());
        if let Some(last) = told {
            let why = self.question.why_again(&answer.text, last);
            let reason = why.map(|why| why.to_string()).unwrap_or_default();
            messages.extend(self.prompts.after_refusal(&last.0, &reason));
        }
        let attempt = (task.replies.len() + 1).to_string();
        let parts = ["judged", self.question.name(), &answer.answer_key, &attempt];
        let seed = hash::call_seed(self.seed, &parts);
        let mut request = ChatRequest::new(messages, self.settings.clone(), seed);
        if !self.schema.is_refused() {
            request.json_schema = self.question.schema();
        }
        request
    }

    /// How likely the answer is: first with what is known of the photo, then without.
    fn ask_likelihood(&self, task: &Task, shown: Shown<'_>) -> ChatRequest {
        let mut messages = match task.replies.len() {
            0 => self.prompts.build(self.question, shown, self.see),
            _ => self.prompts.build_unseen(self.question, shown),
        };
        messages.push(Message::assistant(break_up(shown.answer.trim())));
        let settings =
            SamplingSettings { max_tokens: 1, temperature: 0.0, ..self.settings.clone() };
        let mut request = ChatRequest::new(messages, settings, 0);
        request.prompt_logprobs = true;
        request
    }
}

/// The judge as the calls see it.
struct Bench(Arc<Judge>);

impl Asking for Bench {
    type Task = Task;
    type Row = Row;

    const READS_FILES: bool = true;

    fn request(&self, task: &Task) -> Result<ChatRequest, Error> {
        let mut request = self.0.ask(task);
        if self.0.see.shows_photo() {
            let (Pair { image, image_sha256, .. }, _) = &*task.sample;
            let photo = self.0.viewer.show(image, Some(image_sha256))?;
            // Behind the system prompt, where a retry's turns come after it.
            request.messages[1].images.push(photo);
        }
        Ok(request)
    }

    fn reply(&self, mut task: Task, request: &ChatRequest, reply: ChatReply) -> Outcome<Task, Row> {
        let judge = &self.0;
        judge.schema.answered(request);
        let (_, answer) = &*task.sample;
        let finish = reply.finish.name().to_owned();
        let text = match judge.question {
            Question::LogProbabilities => blind::likelihood(&answer.text, &reply.prompt_logprobs),
            _ => reply.text,
        };
        task.replies.push((text.clone(), finish.clone()));
        let kept = JudgeReply {
            answer_key: answer.answer_key.clone(),
            attempt: task.replies.len() as u32,
            question: judge.question.name(),
            text,
            finish,
            llm: reply.model,
            seed: request.seed,
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
        };
        let settled = judge.question.settle(&answer.text, &task.replies, judge.attempts);
        match settled {
            Some(_) => Outcome { row: Some(Row::Reply(kept, Some(task))), again: None },
            None => Outcome { row: Some(Row::Reply(kept, None)), again: Some(task) },
        }
    }

    fn otherwise(&self, task: &Task, request: &ChatRequest, error: &LlmError) -> Option<Task> {
        let (schema, viewer) = (&self.0.schema, &self.0.viewer);
        let again = viewer.shrinks_after(request, error) || schema.goes_without(request, error);
        again.then(|| task.clone())
    }

    fn unaskable(&self, task: &Task, error: &Error) -> Option<Row> {
        error.get::<ShowError>()?;
        Some(Row::Ended(failure(task, error.code(), error.to_string())))
    }

    fn failure(&self, task: &Task, error: &LlmError, fate: Fate) -> Row {
        let (_, answer) = &*task.sample;
        Row::Ended(match fate {
            Fate::Later => failure(task, error.code(), error.to_string()),
            Fate::Refused => self.0.values(answer, self.0.question.refused(error.code())),
        })
    }
}

fn failure(task: &Task, code: &str, reason: String) -> Judged {
    let (_, answer) = &*task.sample;
    Judged::Failure { answer_key: answer.answer_key.clone(), code: code.to_owned(), reason }
}

/// What readers must know of the judge's values: that it says the same of every sample, or could not
/// be read.
///
/// # Errors
/// SQLite's.
pub fn notices(store: &Store, match_conf: &str, answer_conf: &str) -> Result<Vec<String>, DbError> {
    let is_told_apart = |name: &str| {
        let told = Question::ALL.iter().flat_map(|question| question.told_apart());
        told.into_iter().any(|measure| measure.name() == name)
    };
    let same = store.measure_totals(match_conf, answer_conf)?.into_iter().filter(|totals| {
        let MeasureTotals { count, min, max, .. } = *totals;
        count >= SAME && (max - min).abs() < f64::EPSILON && is_told_apart(&totals.measure)
    });
    let same = same.map(|MeasureTotals { measure, count, min, .. }| {
        format!(
            "all {count} samples have the same {measure}, {min}: a judge that says the same of \
             everything tells nothing apart; do not keep samples by it"
        )
    });
    let refused = store.refused_measures(match_conf, answer_conf)?.into_iter();
    let refused = refused.map(|(measure, code, count)| {
        format!("{count} samples have no {measure}: the judge's replies are refused as {code}")
    });
    Ok(same.chain(refused).collect())
}

impl Reading {
    /// The samples to ask about, in their order.
    fn tasks(self) -> impl Stream<Item = Result<Task, Error>> {
        let pages = stream::try_unfold(self, |mut reading| async {
            let found = reading.page().await?;
            Ok::<_, Error>(found.map(|tasks| (tasks, reading)))
        });
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
    }

    async fn page(&mut self) -> Result<Option<Vec<Task>>, Error> {
        let (judge, store) = (Arc::clone(&self.judge), Arc::clone(&self.store));
        let (samples, after) = (self.samples.clone(), self.after);
        let found = blocking(move || {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            judge.page(&store, &samples, after)
        });
        Ok(found.await?.map(|(tasks, last)| {
            self.after = last;
            tasks
        }))
    }
}
