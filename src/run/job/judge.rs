//! The job's judge: which model it is, and its questions over the accepted samples.

use std::sync::Arc;
use std::time::Instant;

use crate::Error;
use crate::dataset::store::Store;
use crate::llm::{LlmConfig, LlmError};
use crate::measure::judged::JudgePrompts;
use crate::measure::{MeasureName, Question};
use crate::work::{Backend, Phase, ProbePolicy, Whose, Worked};

use super::super::judging::{Judge, JudgeSettings, Samples, Session};
use super::super::settings::Settings;
use super::{Job, OnDeadBackend};

impl Job {
    /// Has the judge take every enabled measure that asks it. `shared` is the run's own backend.
    /// Returns the failure that ended it early, if any; what lacks a value then is asked at the next
    /// start.
    pub(super) async fn judge(
        &self,
        store: &Store,
        shared: &Backend,
    ) -> Result<Option<LlmError>, Error> {
        let questions = self.questions();
        if questions.is_empty() {
            return Ok(None);
        }
        store.clear_judge_failures()?;
        let settings = Settings::read(store)?;
        let samples = Samples {
            match_conf: settings.match_conf().to_owned(),
            answer_conf: settings.answer_conf().to_owned(),
        };
        let backend = match &self.config.measure.judge.llm {
            Some(own) => &Backend::new(own.clone(), ProbePolicy::default()),
            None => shared,
        };
        let (mut asked, started) = (0, Instant::now());
        let mut gave_up = None;
        for (question, measures) in questions {
            let worked = self.put(question, measures, store, &samples, backend).await?;
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

    /// The questions that the enabled measures need, each with those measures.
    fn questions(&self) -> Vec<(Question, Vec<MeasureName>)> {
        let enabled = &self.config.measure.enabled;
        let of = |question: Question| {
            let measures = enabled.iter().filter(|name| name.question() == Some(question));
            (question, measures.copied().collect::<Vec<_>>())
        };
        Question::ALL.into_iter().map(of).filter(|(_, measures)| !measures.is_empty()).collect()
    }

    /// Puts one question in passes, each as long as the backend lasts; more than one only where the
    /// job waits for it.
    async fn put(
        &self,
        question: Question,
        measures: Vec<MeasureName>,
        store: &Store,
        samples: &Samples,
        backend: &Backend,
    ) -> Result<Worked, Error> {
        let mut all = Worked::default();
        loop {
            let model = match backend.model().await {
                Ok(model) => model,
                Err(_) if self.has_answered(question, &measures, store, samples, backend)? => {
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
            let judge = Arc::new(self.judge_of(question, &measures, store, model.name())?);
            self.remember(&judge, model.name(), backend.config(), store)?;
            let before = model.stats();
            let session = Session { store, backend, stop: &self.stop, progress: &*self.progress };
            let worked = judge.run(samples, Arc::clone(&model), session).await?;
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

    /// Whether nothing is left to ask of the model that was asked before, if it is still the same.
    fn has_answered(
        &self,
        question: Question,
        measures: &[MeasureName],
        store: &Store,
        samples: &Samples,
        backend: &Backend,
    ) -> Result<bool, Error> {
        let kept: Option<JudgeSettings> = store.database().meta_json(&kept_as(question))?;
        let named = backend.config().model.as_ref();
        let Some(model) = kept.map(|kept| kept.llm) else { return Ok(false) };
        if named.is_some_and(|named| *named != model) {
            return Ok(false);
        }
        let judge = self.judge_of(question, measures, store, &model)?;
        Ok(judge.estimate(store, samples)?.calls == 0)
    }

    /// The judge with the prompts and settings as they are set; where they are not, those that this
    /// run began with.
    fn judge_of(
        &self,
        question: Question,
        measures: &[MeasureName],
        store: &Store,
        model: &str,
    ) -> Result<Judge, Error> {
        let (config, db) = (&self.config.measure, store.database());
        let built_in = db.began_with("measure prompts", JudgePrompts::built_in())?;
        let prompts = JudgePrompts::read(config.judge.prompts.as_deref(), &built_in)?;
        let settings = match &config.judge.settings {
            Some(settings) => settings.clone(),
            None => db.began_with("measure.judge.settings", config.judge.resolved_settings())?,
        };
        let seed = self.config.seed;
        let conf = question.conf_key(&prompts, model, &settings, seed);
        Ok(Judge {
            question,
            measures: measures.to_vec(),
            version: question.version(&conf),
            conf,
            prompts,
            settings,
            seed,
            attempts: config.attempts,
            schema: Default::default(),
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
            sampling: judge.settings.clone(),
        };
        Ok(store.database().set_meta_json(&kept_as(*question), &settings)?)
    }
}

/// The name under which a run keeps what it last put a question with.
fn kept_as(question: Question) -> String {
    format!("settings:judge:{}", question.name())
}
