//! The job's answers: the backend, and the stage over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Error;
use crate::answer::filter::Filters;
use crate::answer::{Generator, PromptSet};
use crate::config::Config;
use crate::dataset::store::Store;
use crate::llm::{self, ChatModel, LlmError};

use super::super::Phase;
use super::super::answering::{AnswerOutcome, AnswerStage, filter_conf};
use super::super::settings::Settings;
use super::{Job, died};

impl Job {
    /// Opens the LLM backend and asks whether it answers.
    pub(super) async fn connect(self) -> Result<Arc<dyn ChatModel>, LlmError> {
        let model = llm::connect(&self.config.llm).await?;
        model.check().await?;
        Ok(model)
    }

    /// Answers every pair once the backend is there; without one, says so and gives up.
    pub(super) async fn answer_when_connected(
        &self,
        connecting: tokio::task::JoinHandle<Result<Arc<dyn ChatModel>, LlmError>>,
        matched: &AtomicBool,
    ) -> Result<AnswerOutcome, Error> {
        let connected = connecting.await.map_err(|error| died(&error))?;
        let model = match connected {
            Ok(model) => model,
            Err(error) if self.nothing_left(matched).await? => {
                tracing::warn!(
                    "the LLM backend cannot be used, and nothing is left to ask: {error}"
                );
                return Ok(AnswerOutcome::default());
            }
            Err(error) => {
                tracing::error!(code = error.code(), "no answers in this session: {error}");
                return Ok(AnswerOutcome { gave_up: Some(error), ..AnswerOutcome::default() });
            }
        };
        let outcome = self.answer(model, matched).await;
        if outcome.is_err() {
            self.stop.ask();
        }
        outcome
    }

    /// Whether every pair has its answer under the settings of the last session; waits for the
    /// matching to end.
    async fn nothing_left(&self, matched: &AtomicBool) -> Result<bool, Error> {
        while !matched.load(Ordering::Acquire) && !self.stop.is_asked() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let store = self.folder.store()?;
        let settings = Settings::read(&store)?;
        if settings.answering.is_none() || !store.failure_counts()?.is_empty() {
            return Ok(false);
        }
        let (matching, answering) = (settings.match_conf(), settings.answer_conf());
        let attempts = self.config.answer.attempts;
        Ok(store.pairs_to_answer(matching, answering, attempts, (-1, 0), 1)?.is_empty())
    }

    async fn answer(
        &self,
        model: Arc<dyn ChatModel>,
        matched: &AtomicBool,
    ) -> Result<AnswerOutcome, Error> {
        let store = self.folder.store()?;
        let stage = self.answer_stage(&store, Arc::clone(&model))?;
        stage.settings(&self.config.llm).write(&store)?;
        let started = Instant::now();
        let outcome = stage.run(&store, matched, &self.stop, &*self.progress).await?;
        let seconds = started.elapsed().as_secs_f64();
        store.add_stage_time(Phase::Answer.name(), outcome.pairs, seconds)?;
        let stats = model.stats();
        store.add_llm_calls(stats.calls, stats.retries)?;
        Ok(outcome)
    }

    fn answer_stage(&self, store: &Store, model: Arc<dyn ChatModel>) -> Result<AnswerStage, Error> {
        let Config { answer, seed, filters, llm, .. } = &*self.config;
        let prompts = PromptSet::read(
            answer.prompts.as_deref(),
            answer.examples.as_deref(),
            answer.resolved_examples(&llm.target),
        )?;
        let settings = answer.resolved_settings(&llm.target);
        let conf = Generator::conf_key(&prompts, model.name(), &settings, *seed);
        Ok(AnswerStage {
            match_conf: Settings::read(store)?.match_conf().to_owned(),
            filter_conf: filter_conf(filters),
            attempts: answer.attempts,
            in_flight: llm.in_flight(),
            generator: Arc::new(Generator {
                model,
                prompts,
                filters: Filters::new(filters)?,
                settings,
                seed: *seed,
                conf,
            }),
        })
    }
}
