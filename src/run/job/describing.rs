//! The job's calls about photos before the answers: descriptions, and which instructions apply, over
//! the backend as it comes and goes.

use std::sync::Arc;

use crate::Error;
use crate::dataset::store::Store;
use crate::llm::{ChatModel, LlmError};
use crate::work::{Backend, BackendDown, Feed, ProbePolicy, Whose};

use super::super::checking::CheckAsker;
use super::super::describing::DescribeStage;
use super::super::matching::MatchStage;
use super::{Job, OnDeadBackend};

impl Job {
    /// Describes the photos as they are embedded, and waits for all of them to be embedded. A model
    /// of its own goes before `backend`. Without a stage or a backend nothing is asked. Returns why
    /// the work ended early, if it did.
    pub(super) async fn describe(
        &self,
        stage: Option<DescribeStage>,
        store: &Store,
        backend: Option<Backend>,
        embedded: Feed,
    ) -> Result<Option<LlmError>, Error> {
        let own = self.config.describe.llm.clone();
        let own = own.map(|own| Backend::new(own, ProbePolicy::default()));
        let (Some(stage), Some(backend)) = (stage, own.or(backend)) else { return Ok(None) };
        let result = self.describe_by(&stage, store, &backend, embedded).await;
        if result.is_err() {
            self.stop.ask();
        }
        result
    }

    async fn describe_by(
        &self,
        stage: &DescribeStage,
        store: &Store,
        backend: &Backend,
        mut embedded: Feed,
    ) -> Result<Option<LlmError>, Error> {
        let asked = (self.config.describe_llm().0, "describe");
        loop {
            let gave_up = match self.model_for(asked, stage.shows_photos(), store, backend).await? {
                Err(error) => error,
                Ok(model) => {
                    let (feed, progress) = (embedded.clone(), &*self.progress);
                    let run = stage.run(store, (backend, model), feed, &self.stop, progress);
                    let gave_up = run.await?;
                    self.ledger()?.flush();
                    gave_up
                }
            };
            let passes = gave_up.as_ref().is_some_and(|error| Whose::fault(error) == Whose::Server);
            let pauses = self.resources.on_dead_backend == OnDeadBackend::Pause;
            if !(passes && pauses) || self.stop.is_asked() {
                embedded.ended().await;
                return Ok(gave_up);
            }
        }
    }

    /// The model, once it is there, and seen to see where it has to; else why not, or (`None`) that
    /// the job is stopped.
    async fn model_for(
        &self,
        section_and_role: (&str, &str),
        shows_photos: bool,
        store: &Store,
        backend: &Backend,
    ) -> Result<Result<Arc<dyn ChatModel>, Option<LlmError>>, Error> {
        let model = match self.resources.on_dead_backend {
            OnDeadBackend::GiveUp => match backend.model().await {
                Ok(model) => model,
                Err(down) => return Ok(Err(Some(down.reason))),
            },
            OnDeadBackend::Pause => {
                let told = |down: &BackendDown| self.progress.paused(Some(down));
                let model = tokio::select! {
                    model = backend.wait_telling(told) => model,
                    () = self.stop.asked() => return Ok(Err(None)),
                };
                self.progress.paused(None);
                model
            }
        };
        // Asked at once, also where the role's own calls go by the batch.
        if shows_photos && let Some(blind) = self.lacks_sight(store, backend, &*model).await? {
            return Ok(Err(Some(blind)));
        }
        Ok(Ok(self.on_account(model, section_and_role, backend.config())?))
    }

    /// What asks the language model which candidates apply, where the matching is to; else why not.
    pub(super) async fn check_asker(
        &self,
        stage: &MatchStage,
        store: &Store,
        backend: Option<Backend>,
    ) -> Result<(Option<CheckAsker>, Option<LlmError>), Error> {
        let Some(backend) = backend.filter(|_| stage.asks_llm()) else { return Ok((None, None)) };
        let sees = self.config.check.see.shows_photo();
        Ok(match self.model_for(("llm", "check"), sees, store, &backend).await? {
            Ok(model) => (
                Some(CheckAsker::new(&self.config, backend, model, self.viewer(&self.config.llm))),
                None,
            ),
            Err(error) => (None, error),
        })
    }
}
