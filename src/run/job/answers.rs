//! The job's answers: the backend, and the stage over it.

use std::sync::Arc;
use std::time::Instant;

use crate::Error;
use crate::answer::filter::Filters;
use crate::answer::prompt::BuiltIn;
use crate::answer::{Generator, PromptSet};
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::config::Config;
use crate::dataset::PhotoViewer;
use crate::dataset::store::Store;
use crate::llm::{BuiltInSet, ChatModel, LlmConfig, LlmError, PromptSource, SamplingSettings, See};

use super::super::answering::{AnswerOutcome, AnswerStage, Judging};
use super::super::describing::DescribeStage;
use super::super::old_keys;
use super::super::settings::{AnswerSettings, Settings};
use super::{Job, OnDeadBackend};
use crate::work::{Backend, BackendDown, Died, Feed, Phase, ProbePolicy, Whose, lacks_sight};

/// A backend that is being connected while the source is read.
pub(super) struct Connecting {
    backend: Backend,
    model: tokio::task::JoinHandle<Result<Arc<dyn ChatModel>, BackendDown>>,
}

impl Connecting {
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    pub fn abort(&self) {
        self.model.abort();
    }
}

impl Job {
    /// Begins to open the LLM backend and to ask whether it answers.
    pub(super) fn connect(&self) -> Connecting {
        let own = || Backend::new(self.config.llm.clone(), ProbePolicy::default());
        let backend = self.resources.backend.clone().unwrap_or_else(own);
        let asked = backend.clone();
        let model = tokio::spawn(async move { asked.model().await });
        Connecting { backend, model }
    }

    /// Answers every pair; what happens without a backend is [`OnDeadBackend`]'s to say.
    pub(super) async fn answer_when_connected(
        &self,
        connecting: Connecting,
        matched: Feed,
    ) -> Result<AnswerOutcome, Error> {
        let outcome = match self.resources.on_dead_backend {
            OnDeadBackend::GiveUp => self.answer_or_give_up(connecting, matched).await,
            OnDeadBackend::Pause => self.answer_with_pauses(&connecting.backend, matched).await,
        };
        if outcome.is_err() {
            self.stop.ask();
        }
        outcome
    }

    async fn answer_or_give_up(
        &self,
        connecting: Connecting,
        matched: Feed,
    ) -> Result<AnswerOutcome, Error> {
        let Connecting { backend, model } = connecting;
        let error = match model.await.map_err(Died::from)? {
            Ok(model) => return self.answer(&backend, model, matched).await,
            Err(down) => down.reason,
        };
        if self.nothing_left(matched).await? {
            tracing::warn!("the LLM backend cannot be used, and nothing is left to ask: {error}");
            return Ok(AnswerOutcome::default());
        }
        tracing::error!(code = error.code(), "no answers in this session: {error}");
        Ok(AnswerOutcome { gave_up: Some(error), ..AnswerOutcome::default() })
    }

    /// Answers in passes, each as long as the backend lasts. Calls that failed are made again in the
    /// next pass, as long as a pass brings at least one answer or the backend is down.
    async fn answer_with_pauses(
        &self,
        backend: &Backend,
        matched: Feed,
    ) -> Result<AnswerOutcome, Error> {
        let (mut pairs, mut gave_up) = (0, None);
        while let Some(model) = self.model_or_end(backend, matched.clone()).await? {
            let pass = self.answer(backend, model, matched.clone()).await?;
            pairs += pass.pairs;
            let complete =
                pass.gave_up.is_none() && self.folder.store()?.count_failed_pairs()? == 0;
            let hopeless =
                pass.gave_up.is_none() && pass.pairs == 0 && backend.verify().await.is_ok();
            // What waiting does not mend: wrong settings, or nothing but refusals.
            gave_up = pass.gave_up.filter(|error| Whose::fault(error) != Whose::Server);
            if complete || hopeless || gave_up.is_some() || self.stop.is_asked() {
                break;
            }
        }
        // Refusals are told by the failures that are kept; a cap leaves none.
        gave_up.take_if(|error| !error.is_spending_cap());
        Ok(AnswerOutcome { pairs, gave_up })
    }

    /// The model once it is there; `None` when the job is stopped or nothing is left to ask.
    async fn model_or_end(
        &self,
        backend: &Backend,
        matched: Feed,
    ) -> Result<Option<Arc<dyn ChatModel>>, Error> {
        let nothing_left = async {
            match self.nothing_left(matched).await {
                Ok(false) => std::future::pending().await,
                Ok(true) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let end = tokio::select! {
            // What is left is only worth a look while there is no model.
            biased;
            model = backend.wait_telling(|down| self.progress.paused(Some(down))) => Ok(Some(model)),
            () = self.stop.asked() => Ok(None),
            end = nothing_left => end,
        };
        self.progress.paused(None);
        end
    }

    /// Whether every pair has its answer, as far as can be told without the model; waits for the
    /// matching to end.
    async fn nothing_left(&self, mut matched: Feed) -> Result<bool, Error> {
        tokio::select! {
            () = matched.ended() => {}
            () = self.stop.asked() => {}
        }
        let store = self.folder.store()?;
        let mut settings = Settings::read(&store)?;
        if let Some(last) = &settings.answering {
            self.bring_up_to_date(&store, &last.llm)?;
            settings = Settings::read(&store)?;
        }
        if store.count_failed_pairs()? > 0 {
            return Ok(false);
        }
        let (matching, attempts) = (settings.match_conf(), self.config.answer.attempts);
        // Under no key there is no answer, so that any pair is left.
        let answering = match &settings.answering {
            Some(last) if self.answers_as(&store, last)? => {
                self.judge_again(&store, last)?;
                last.conf.as_str()
            }
            _ => "",
        };
        Ok(store.pairs_to_answer(matching, answering, attempts, (-1, 0), 1)?.is_empty())
    }

    /// Judges the answers of an earlier session by today's filters, which needs no model.
    fn judge_again(&self, store: &Store, last: &AnswerSettings) -> Result<(), Error> {
        let filters = Filters::new(&self.config.filters)?;
        let filter_conf = self.config.filters.key();
        let prompts = self.prompts(store)?;
        Judging { prompts: &prompts, filters: &filters }.again(store, &last.conf, &filter_conf)?;
        Ok(AnswerSettings { filter_conf, filters: filters.names(), ..last.clone() }.write(store)?)
    }

    /// Whether this job's answers are those of an earlier session, if its model is still the same.
    fn answers_as(&self, store: &Store, last: &AnswerSettings) -> Result<bool, Error> {
        let Config { seed, llm, .. } = &*self.config;
        let (prompts, settings) = (self.prompts(store)?, self.sampling(store)?);
        let conf = Generator::conf_key(&prompts, &last.llm, &settings, *seed);
        let same_model = llm.model.as_ref().is_none_or(|name| *name == last.llm);
        Ok(same_model && conf == last.conf)
    }

    /// Gives answers that release 0.1.0 kept under these settings today's keys, and forgets what it
    /// refused without proof.
    fn bring_up_to_date(&self, store: &Store, model: &str) -> Result<(), Error> {
        let seed = self.config.seed;
        let (prompts, settings) = (self.prompts(store)?, self.sampling(store)?);
        let old = old_keys::answers(&prompts.hash, model, &settings, seed);
        let new = Generator::conf_key(&prompts, model, &settings, seed);
        let rekeyed = store.rekey_answers([&old, &new])?;
        rekeyed.report("answers");
        let reopened = store.reopen_unproven_refusals()?;
        if reopened > 0 {
            tracing::warn!(
                "{reopened} pairs that were refused with no answer after are asked again"
            );
        }
        Ok(())
    }

    /// The prompts as they are set; where they are not, those that this run began with.
    fn prompts(&self, store: &Store) -> Result<PromptSet, Error> {
        let Config { answer, llm, .. } = &*self.config;
        let (set, folder) = PromptSource::resolve(answer.prompts.as_ref(), &llm.target);
        let see = answer.see;
        let base = match see {
            See::Description => "answer prompts".to_owned(),
            See::Image | See::Both => format!("answer prompts that see {}", see.name()),
        };
        let name = PromptSource::kept_as(answer.prompts.as_ref(), &base);
        // Release 0.1.0 kept no texts; its runs that have asked something asked with the small set.
        let today = || {
            let begun = Settings::read(store)?.answering.is_some();
            let chosen = answer.prompts.as_ref();
            let old =
                begun && PromptSource::may_be_unnamed(chosen, "answer prompts", store.database())?;
            let old = old && see == See::Description;
            Ok::<_, DbError>(BuiltIn::seeing(if old { BuiltInSet::Small } else { set }, see))
        };
        let built_in = store.database().began_with_or(&name, today)?;
        let shown = match answer.examples_per_prompt {
            Some(shown) => shown,
            None => {
                let name = format!("answer.examples_per_prompt, {}", llm.target.kind());
                store.database().began_with(&name, answer.resolved_examples(&llm.target))?
            }
        };
        let prompts = PromptSet::read(&built_in, folder, answer.examples.as_deref(), shown)?;
        let described = self.describe_stage(store)?.map(|stage| stage.key());
        Ok(PromptSet { described, ..prompts })
    }

    /// The sampling settings as they are set; where they are not, those that this run began with.
    pub(super) fn sampling(&self, store: &Store) -> Result<SamplingSettings, Error> {
        let Config { answer, llm, .. } = &*self.config;
        if let Some(settings) = &answer.settings {
            return Ok(settings.clone());
        }
        let name = format!("answer.settings, {}", llm.target.kind());
        Ok(store.database().began_with(&name, answer.resolved_settings(&llm.target))?)
    }

    async fn answer(
        &self,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
        matched: Feed,
    ) -> Result<AnswerOutcome, Error> {
        let store = self.folder.store()?;
        if self.config.answer.see.shows_photo()
            && let Some(error) = self.lacks_sight(&store, backend, &*model).await?
        {
            return Ok(AnswerOutcome { gave_up: Some(error), ..AnswerOutcome::default() });
        }
        let model = self.on_account(model, ("llm", "answer"), &self.config.llm)?;
        let before = model.stats();
        let stage = Arc::new(self.answer_stage(&store, backend, Arc::clone(&model))?);
        let mut settings = stage.settings(&self.config.llm);
        let earlier = Settings::read(&store)?.answering;
        settings.adaptations = earlier.map(|earlier| earlier.adaptations).unwrap_or_default();
        settings.write(&store)?;
        let started = Instant::now();
        let outcome = stage.run(&store, matched, &self.stop, &*self.progress).await?;
        let seconds = started.elapsed().as_secs_f64();
        self.ledger()?.flush();
        store.add_stage_time(Phase::Answer.name(), outcome.pairs, seconds)?;
        let learnt = model.adaptations().into_iter().map(|learnt| learnt.to_string());
        settings.adaptations.extend(learnt);
        settings.adaptations.sort();
        settings.adaptations.dedup();
        settings.write(&store)?;
        let after = model.stats();
        store.add_llm_calls(after.calls - before.calls, after.retries - before.retries)?;
        Ok(outcome)
    }

    /// What shows photos to a model of this job, as large as `llm` says.
    pub(super) fn viewer(&self, llm: &LlmConfig) -> Arc<PhotoViewer> {
        let photos = Arc::new(self.resources.access.clone());
        Arc::new(PhotoViewer::new(photos, self.config.image.decode_options(), llm))
    }

    /// What describes photos, where that is asked for.
    pub(super) fn describe_stage(&self, store: &Store) -> Result<Option<DescribeStage>, Error> {
        let viewer = self.viewer(self.config.describe_llm().1);
        DescribeStage::prepare(&self.config, store, viewer)
    }

    /// Why the model is not to be shown photos: asked before anything else, once for each server and
    /// model of a run.
    pub(super) async fn lacks_sight(
        &self,
        store: &Store,
        backend: &Backend,
        model: &dyn ChatModel,
    ) -> Result<Option<LlmError>, Error> {
        let cancel = self.stop.abort_token();
        Ok(lacks_sight(store.database(), backend, model, &cancel).await?)
    }

    fn answer_stage(
        &self,
        store: &Store,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
    ) -> Result<AnswerStage, Error> {
        let Config { answer, seed, filters, .. } = &*self.config;
        self.bring_up_to_date(store, model.name())?;
        let (prompts, settings) = (self.prompts(store)?, self.sampling(store)?);
        let conf = Generator::conf_key(&prompts, model.name(), &settings, *seed);
        Ok(AnswerStage {
            backend: backend.clone(),
            match_conf: Settings::read(store)?.match_conf().to_owned(),
            filter_conf: filters.key(),
            attempts: answer.attempts,
            viewer: answer.see.shows_photo().then(|| self.viewer(&self.config.llm)),
            generator: Arc::new(Generator {
                model,
                prompts: Arc::new(prompts),
                filters: Arc::new(Filters::new(filters)?),
                settings,
                seed: *seed,
                conf,
            }),
        })
    }
}
