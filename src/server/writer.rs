//! Answers as the service writes them: what all calls share, and the backend they go to.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use crate::Error;
use crate::answer::filter::Filters;
use crate::answer::{Generator, PromptSet};
use crate::config::Config;
use crate::dataset::PhotoViewer;
use crate::llm::{self, ChatModel, ImageAttachment, LlmError, SamplingSettings, See, probe_sight};
use crate::sandbox::{FileAccess, ImageRoots};
use crate::work::Backend;

/// Prompts, filters and settings, read once, and the backend.
#[derive(Clone)]
pub struct AnswerWriter {
    pub backend: Backend,
    /// Makes the photos of calls fit for the model.
    pub viewer: Arc<PhotoViewer>,
    prompts: Arc<PromptSet>,
    /// For calls that bring a photo, without and with a description; a folder of prompts need not
    /// hold these.
    seeing: [Result<Arc<PromptSet>, Fault>; 2],
    filters: Arc<Filters>,
    settings: SamplingSettings,
    /// The model that has shown that it sees.
    sees: Arc<Mutex<Option<String>>>,
}

impl AnswerWriter {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// Prompts, examples or filters are refused.
    pub fn new(config: &Config, backend: Backend) -> Result<Self, Error> {
        let Config { answer, llm, filters, .. } = config;
        let prompts = |see| answer.prompts_seeing(&llm.target, see).map(Arc::new);
        // Photos come with the calls, and never from files by their names.
        let nowhere = FileAccess::Below(Arc::new(ImageRoots::open(&[])?));
        let decode = config.image.decode_options();
        Ok(Self {
            backend,
            viewer: Arc::new(PhotoViewer::new(Arc::new(nowhere), decode, llm)),
            prompts: prompts(See::Description)?,
            seeing: [See::Image, See::Both].map(|see| prompts(see).map_err(Fault::from)),
            filters: Arc::new(Filters::new(filters)?),
            settings: answer.resolved_settings(&llm.target),
            sees: Arc::default(),
        })
    }

    /// What writes answers for `seed` by a model that gets to know so much of a photo.
    ///
    /// # Errors
    /// The backend is down, or the model is to see and does not, or there are no prompts for that.
    pub async fn generator(&self, seed: u64, see: See) -> Result<Generator, Fault> {
        let [image, both] = &self.seeing;
        let prompts = match see {
            See::Description => Arc::clone(&self.prompts),
            See::Image => image.clone()?,
            See::Both => both.clone()?,
        };
        let model = self.model("answer", see).await?;
        Ok(Generator {
            conf: Generator::conf_key(&prompts, model.name(), &self.settings, seed),
            model,
            prompts,
            filters: Arc::clone(&self.filters),
            settings: self.settings.clone(),
            seed,
        })
    }

    /// The model, its calls counted as those of `role`, and known to see where it is to.
    ///
    /// # Errors
    /// The backend is down, or the model does not see.
    pub async fn model(&self, role: &'static str, see: See) -> Result<Arc<dyn ChatModel>, Fault> {
        let model = self.backend.model().await?;
        if see.shows_photo() {
            self.require_sight(&*model).await?;
        }
        Ok(llm::tallied(model, role, self.backend.config().prices()))
    }

    /// Asks the model once what is on a known picture, unless the settings say not to.
    async fn require_sight(&self, model: &dyn ChatModel) -> Result<(), Fault> {
        if !self.backend.config().probe {
            return Ok(());
        }
        // The others wait for the one that asks.
        let mut sees = self.sees.lock().await;
        if sees.as_deref() == Some(model.name()) {
            return Ok(());
        }
        // Dropped with this future when the client goes away, which gives the call up.
        let cancel = CancellationToken::new();
        let _gone = cancel.clone().drop_guard();
        let probed = probe_sight(model, &cancel).await;
        self.note(&probed);
        probed?;
        *sees = Some(model.name().to_owned());
        Ok(())
    }

    /// A photo of a call as the model is shown it.
    ///
    /// # Errors
    /// It cannot be decoded.
    pub async fn attach(&self, photo: &Bytes) -> Result<ImageAttachment, Fault> {
        let (viewer, photo) = (Arc::clone(&self.viewer), photo.clone());
        let made = tokio::task::spawn_blocking(move || viewer.attach(&photo)).await;
        Ok(made.map_err(|error| Fault::internal(error.to_string()))??)
    }

    /// Tells the backend's holder how a call went.
    pub fn note<T>(&self, called: &Result<T, LlmError>) {
        match called {
            Ok(_) => self.backend.report_success(),
            Err(error) => {
                self.backend.report_failure(error);
            }
        }
    }
}
