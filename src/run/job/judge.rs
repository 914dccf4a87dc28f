//! The job's judge: which model it is, and its questions over the accepted samples.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::base::db::{Database, DbError};
use crate::dataset::PhotoViewer;
use crate::dataset::store::Store;
use crate::encoder::Encoder;
use crate::llm::{
    ChatModel, ChatRequest, LlmConfig, LlmError, LlmFault, Message, SamplingSettings, See,
};
use crate::measure::judged::JudgePrompts;
use crate::measure::{MeasureName, Question};
use crate::work::{Backend, Estimate, Phase, ProbePolicy, SchemaUse, Whose, Worked};

use super::super::RunError;
use super::super::judging::{Judge, JudgeSettings, Samples, Session};
use super::super::settings::Settings;
use super::{Job, OnDeadBackend};

/// What a question is about, and who is asked.
#[derive(Clone, Copy)]
struct AskedOf<'a> {
    store: &'a Store,
    samples: &'a Samples,
    backend: &'a Backend,
    /// The table of the configuration that the backend's settings are.
    section: &'static str,
    encoder: &'a Arc<dyn Encoder>,
    /// Whether the prompts and settings of today become those that the run began with, where it has
    /// none yet.
    begins: bool,
}

/// What taking the measures of one question would cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgingEstimate {
    pub question: &'static str,
    pub measures: Vec<&'static str>,
    /// The model, where it is known before it is asked.
    pub model: Option<String>,
    /// The LLM's target.
    pub backend: String,
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The most that the open calls cost by the prices that are set; none where none are.
    pub cost: Option<f64>,
}

impl fmt::Display for JudgingEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, measures, model, backend, estimate, cost } = self;
        let model = model.as_ref().map(|model| format!("{model} at ")).unwrap_or_default();
        writeln!(f, "{question}: {}\njudge           {model}{backend}", measures.join(", "))?;
        write!(f, "{estimate}")?;
        match cost {
            Some(cost) => writeln!(f, "cost            at most about {cost:.4}"),
            None => Ok(()),
        }
    }
}

impl Job {
    /// Has the judge take every enabled measure that asks it. `shared` is the run's own backend.
    /// Returns the failure that ended it early, if any; what lacks a value then is asked at the next
    /// start.
    pub(super) async fn judge(
        &self,
        store: &Store,
        shared: &Backend,
        encoder: &Arc<dyn Encoder>,
    ) -> Result<Option<LlmError>, Error> {
        let questions = self.questions();
        if questions.is_empty() {
            return Ok(None);
        }
        store.clear_judge_failures()?;
        let samples = judged_samples(store)?;
        let own = self.own_judge();
        let (mut asked, started) = (0, Instant::now());
        let mut gave_up = None;
        for (question, measures) in questions {
            let (backend, section) = of_question(question, shared, own.as_ref());
            let asked_of =
                AskedOf { store, samples: &samples, backend, section, encoder, begins: true };
            let worked = self.put(question, &measures, asked_of, asked).await?;
            asked += worked.done;
            gave_up = worked.gave_up;
            if gave_up.is_some() || self.stop.is_asked() {
                break;
            }
        }
        if asked > 0 {
            let seconds = started.elapsed().as_secs_f64();
            store.add_stage_time(Phase::Judge.name(), asked, seconds)?;
        }
        Ok(gave_up)
    }

    /// What taking the enabled measures that ask a language model would cost, for the accepted samples
    /// that lack them. Nobody is asked, and nothing is kept.
    ///
    /// # Errors
    /// The run has no answers yet, a prompt is refused, or the store failed.
    pub fn estimate_judging(&self) -> Result<Vec<JudgingEstimate>, Error> {
        let store = self.folder.store()?;
        let samples = judged_samples(&store)?;
        if samples.answer_conf.is_empty() {
            let path = self.folder.path().to_owned();
            return Err(RunError::StepMissing { path, step: "filter", needs: "run" }.into());
        }
        let questions = self.questions();
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let shared = Backend::new(self.config.llm.clone(), ProbePolicy::default());
        let (own, encoder) = (self.own_judge(), self.open_encoder()?);
        let estimate = |(question, measures): (Question, Vec<MeasureName>)| {
            let question = match store.database().meta(&kept_as(Question::LogProbabilities))? {
                Some(_) if question == Question::Blind => Question::LogProbabilities,
                _ => question,
            };
            let (backend, section) = of_question(question, &shared, own.as_ref());
            let asked_of = AskedOf {
                store: &store,
                samples: &samples,
                backend,
                section,
                encoder: &encoder,
                begins: false,
            };
            let llm = backend.config();
            let kept: Option<JudgeSettings> = store.database().meta_json(&kept_as(question))?;
            let kept = kept.filter(|kept| kept.backend == llm.target.to_string());
            let model = llm.model.clone().or(kept.map(|kept| kept.llm));
            let name = model.as_deref().unwrap_or_default();
            let judge = self.judge_of(question, &measures, asked_of, name)?;
            let estimate = judge.look(&store, &samples)?;
            let cost = llm.prices().map(|prices| estimate.cost_by(&prices, llm.batch));
            Ok(JudgingEstimate {
                question: question.name(),
                measures: measures.iter().map(|name| name.name()).collect(),
                model,
                backend: llm.target.to_string(),
                estimate,
                cost,
            })
        };
        questions.into_iter().map(estimate).collect()
    }

    /// The judge's own backend, where it has one.
    fn own_judge(&self) -> Option<Backend> {
        let own = self.config.measure.judge.llm.as_ref();
        own.map(|own| Backend::new(own.clone(), ProbePolicy::default()))
    }

    /// The questions that the enabled measures need, each with those measures.
    fn questions(&self) -> Vec<(Question, Vec<MeasureName>)> {
        let enabled = &self.config.measure.enabled;
        let of = |question: Question| {
            let measures = enabled.iter().filter(|name| name.question() == Some(question));
            (question, measures.copied().collect::<Vec<_>>())
        };
        // Blind answers give way to log-probabilities where the server tells them.
        let first = [Question::Ratings, Question::Claims, Question::Blind];
        first.into_iter().map(of).filter(|(_, measures)| !measures.is_empty()).collect()
    }

    /// Puts one question in passes, each as long as the backend lasts; more than one only where the
    /// job waits for it. `done` calls went before it in this session.
    async fn put(
        &self,
        question: Question,
        measures: &[MeasureName],
        asked_of: AskedOf<'_>,
        done: u64,
    ) -> Result<Worked, Error> {
        let AskedOf { store, samples, backend, .. } = asked_of;
        let mut all = Worked::default();
        loop {
            let model = match backend.model().await {
                Ok(model) => model,
                Err(_) if self.has_answered(question, measures, asked_of)? => {
                    return Ok(all);
                }
                Err(down) if self.resources.on_dead_backend == OnDeadBackend::GiveUp => {
                    tracing::error!("the judge cannot be asked in this session: {}", down.reason);
                    return Ok(Worked { gave_up: Some(down.reason), ..all });
                }
                Err(_) => {
                    let told = |down: &_| self.progress.paused(Some(down));
                    let model = tokio::select! {
                        model = backend.wait_telling(told) => Some(model),
                        () = self.stop.asked() => None,
                    };
                    self.progress.paused(None);
                    let Some(model) = model else { return Ok(all) };
                    model
                }
            };
            let section = (asked_of.section, "measure");
            let model = self.on_account(model, section, backend.config())?;
            let question = match question {
                Question::Blind => match self.blind_by(store, backend, &*model).await? {
                    Ok(question) => question,
                    Err(error) => return Ok(Worked { gave_up: Some(error), ..all }),
                },
                other => other,
            };
            let judge = Arc::new(self.judge_of(question, measures, asked_of, model.name())?);
            if judge.see.shows_photo()
                && let Some(blind) = self.lacks_sight(store, backend, &*model).await?
            {
                return Ok(Worked { gave_up: Some(blind), ..all });
            }
            self.remember(&judge, model.name(), backend.config(), store)?;
            let before = model.stats();
            let (stop, progress) = (&self.stop, &*self.progress);
            let session = Session { store, backend, stop, progress, done: done + all.done };
            let worked = judge.run(samples, Arc::clone(&model), session).await?;
            self.ledger()?.flush();
            let after = model.stats();
            store.add_llm_calls(after.calls - before.calls, after.retries - before.retries)?;
            all.done += worked.done;
            let waits = self.resources.on_dead_backend == OnDeadBackend::Pause;
            let server = worked.gave_up.as_ref().map(|error| Whose::fault(error) == Whose::Server);
            let again = match server {
                Some(server) => server,
                None => worked.failed > 0 && worked.done > 0,
            };
            if !waits || !again || self.stop.is_asked() {
                return Ok(Worked { gave_up: worked.gave_up, ..all });
            }
        }
    }

    /// By which question the run's LLM tells how much of an answer needs the photo. It is asked once
    /// for each server and model of a run whether it gives log-probabilities, so that all values are
    /// of one kind.
    async fn blind_by(
        &self,
        store: &Store,
        backend: &Backend,
        model: &dyn ChatModel,
    ) -> Result<Result<Question, LlmError>, Error> {
        let name = format!("log-probabilities of {} at {}", model.name(), backend.config().target);
        let known = store.database().meta(&name)?;
        let gives = match known.as_deref() {
            Some(known) => known == "yes",
            None => {
                let messages = vec![Message::user("Say hello."), Message::assistant("Hello.")];
                let settings = SamplingSettings { max_tokens: 1, ..SamplingSettings::default() };
                let mut request = ChatRequest::new(messages, settings, 0);
                request.prompt_logprobs = true;
                let gives = match model.chat(&request, &self.stop.abort_token()).await {
                    Ok(reply) => !reply.prompt_logprobs.is_empty(),
                    Err(error) => match error.fault {
                        LlmFault::BadRequest { .. } | LlmFault::Unsupported { .. } => false,
                        _ => return Ok(Err(error)),
                    },
                };
                store.database().set_meta(&name, if gives { "yes" } else { "no" })?;
                gives
            }
        };
        Ok(Ok(if gives { Question::LogProbabilities } else { Question::Blind }))
    }

    /// Whether nothing is left to ask of the model that was asked before, if it is still the same.
    fn has_answered(
        &self,
        question: Question,
        measures: &[MeasureName],
        asked_of: AskedOf<'_>,
    ) -> Result<bool, Error> {
        let AskedOf { store, samples, backend, .. } = asked_of;
        if question == Question::Blind {
            // Either way of asking may have been taken.
            let likely = Question::LogProbabilities;
            if store.database().meta(&kept_as(likely))?.is_some() {
                return self.has_answered(likely, measures, asked_of);
            }
        }
        let kept: Option<JudgeSettings> = store.database().meta_json(&kept_as(question))?;
        let named = backend.config().model.as_ref();
        let Some(model) = kept.map(|kept| kept.llm) else { return Ok(false) };
        if named.is_some_and(|named| *named != model) {
            return Ok(false);
        }
        let judge = self.judge_of(question, measures, asked_of, &model)?;
        Ok(judge.estimate(store, samples)?.calls == 0)
    }

    /// The judge with the prompts and settings as they are set; where they are not, those that this
    /// run began with.
    fn judge_of(
        &self,
        question: Question,
        measures: &[MeasureName],
        AskedOf { store, backend, encoder, begins, .. }: AskedOf<'_>,
        model: &str,
    ) -> Result<Judge, Error> {
        let config = &self.config.measure;
        let db = BeganWith { db: store.database(), begins };
        let built_in = db.read("measure prompts", JudgePrompts::built_in())?;
        let prompts = JudgePrompts::read(config.judge.prompts.as_deref(), &built_in)?;
        let settings = match &config.judge.settings {
            // As the answers are written.
            _ if !question.is_judges() => self.sampling(store)?,
            Some(settings) => settings.clone(),
            None => db.read("measure.judge.settings", config.judge.resolved_settings())?,
        };
        let see = if question.is_judges() { config.judge.see } else { See::Description };
        let seed = self.config.seed;
        let conf = question.conf_key(&prompts, model, &settings, see, seed);
        let (photos, decode) =
            (Arc::new(self.resources.access.clone()), self.config.image.decode_options());
        Ok(Judge {
            question,
            measures: measures.to_vec(),
            version: question.version(&conf, config.attempts),
            conf,
            prompts,
            settings,
            see,
            viewer: PhotoViewer::new(photos, decode, backend.config()),
            seed,
            attempts: config.attempts,
            encoder: Arc::clone(encoder),
            schema: SchemaUse::default(),
        })
    }

    fn remember(
        &self,
        judge: &Judge,
        model: &str,
        llm: &LlmConfig,
        store: &Store,
    ) -> Result<(), Error> {
        let Judge { question, prompts, .. } = judge;
        let settings = JudgeSettings {
            conf: judge.conf.clone(),
            prompt_hash: prompts.hash(*question),
            system: prompts.part(*question, "system").to_owned(),
            user: prompts.part(*question, "user").to_owned(),
            llm: model.to_owned(),
            backend: llm.target.to_string(),
            see: judge.see,
            sampling: judge.settings.clone(),
        };
        Ok(store.database().set_meta_json(&kept_as(*question), &settings)?)
    }
}

/// What a run began with.
struct BeganWith<'a> {
    db: &'a Database,
    begins: bool,
}

impl BeganWith<'_> {
    fn read<T: Serialize + DeserializeOwned>(&self, name: &str, today: T) -> Result<T, DbError> {
        if self.begins || self.db.has_begun_with(name)? {
            return self.db.began_with(name, today);
        }
        Ok(today)
    }
}

fn judged_samples(store: &Store) -> Result<Samples, Error> {
    let settings = Settings::read(store)?;
    Ok(Samples {
        match_conf: settings.match_conf().to_owned(),
        answer_conf: settings.answer_conf().to_owned(),
    })
}

/// Who is asked a question, and the table of the configuration that the settings are.
fn of_question<'a>(
    question: Question,
    shared: &'a Backend,
    own: Option<&'a Backend>,
) -> (&'a Backend, &'static str) {
    let own = own.filter(|_| question.is_judges());
    own.map_or((shared, "llm"), |own| (own, "measure.judge.llm"))
}

/// The name under which a run keeps what it last put a question with.
fn kept_as(question: Question) -> String {
    format!("settings:judge:{}", question.name())
}
