//! What a job does in its thread, by kind.

use crate::base::Stopped;
use crate::base::failure::Failure;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::progress::Meter;
use super::{JobSummary, JobTask};
use crate::Error;
use crate::config::{Config, ConfigError};
use crate::evaluate::{self, EvaluationFolder, JudgeRequest, Shared};
use crate::generate::{Generation, GenerationFolder, Models};
use crate::instruction::store::{CreateError, InstructionStore, NewInstruction};
use crate::instruction::{GenerateError, Instruction, Library};
use crate::llm::LlmError;
use crate::run::{Job, LostAt, Resources, RunFolder};
use crate::work::{Backend, Progress, Stop, Whose};

/// Instructions embedded and added at once.
const CHUNK: usize = 256;

/// What the thread of a job needs.
pub(super) struct JobWork {
    pub folder: PathBuf,
    /// [`JobTask`] as JSON.
    pub task: String,
    pub meter: Arc<Meter>,
    pub stop: Stop,
    pub resources: Resources,
}

/// Why work with a language model ended early.
enum Ended {
    /// The backend failed; the work goes on when it is back.
    Down(LlmError),
    /// Nothing that waiting would mend.
    Failed(Error),
}

impl JobWork {
    /// Works until the end. The summary is of a run of pairs.
    pub fn run(self) -> Result<Option<Box<JobSummary>>, Error> {
        let task: JobTask = serde_json::from_str(&self.task)
            .map_err(|error| ConfigError::Value { message: format!("as it was kept: {error}") })?;
        Handle::current().block_on(async {
            match task {
                JobTask::Match { config, answers } => self.pairs(*config, answers).await.map(Some),
                JobTask::Generate { config, into_library } => {
                    self.instructions(*config, into_library).await.map(|()| None)
                }
                JobTask::Judge(request) => self.verdicts(*request).await.map(|()| None),
            }
        })
    }

    async fn pairs(self, config: Config, answers: bool) -> Result<Box<JobSummary>, Error> {
        let folder = RunFolder::take(&self.folder)?;
        let job = Job::new(folder, config, self.meter, self.stop).with(self.resources);
        let summary = if answers { job.run().await? } else { job.match_only().await? };
        // What the run has made is there; what it lacks needs another cap first.
        if let Some(cap) = summary.gave_up.as_ref().filter(|error| error.is_spending_cap()) {
            return Err(cap.clone().into());
        }
        let nothing = summary.nothing.as_ref();
        let nothing = nothing.filter(|nothing| answers || nothing.lost_at != LostAt::Answers);
        let said = nothing.map(|nothing| format!("nothing was made: {nothing}"));
        let mut summary = JobSummary::from(summary);
        summary.notices.extend(said);
        Ok(Box::new(summary))
    }

    async fn instructions(&self, mut config: Config, into_library: bool) -> Result<(), Error> {
        let own = config.generate.llm.is_some() || config.summarize.llm.is_some();
        let shared = self.resources.backend.as_ref().filter(|_| !own);
        if let Some(backend) = shared {
            config.llm = backend.config().clone();
        }
        let folder = GenerationFolder::take(&self.folder)?;
        let file = folder.library();
        let progress = Arc::clone(&self.meter) as Arc<dyn Progress>;
        let generation = Generation::new(folder, config.clone(), progress, self.stop.clone())
            .with_access(self.resources.access.clone());
        self.with_backend(shared, async || {
            let models = match shared {
                Some(backend) => Models::around(&config, backend),
                None => Models::of(&config),
            };
            match generation.run_with(models).await {
                Ok(_) => Ok(()),
                Err(error) => match error.downcast() {
                    Ok(GenerateError::Llm(error)) => Err(Ended::Down(error)),
                    Ok(error) => Err(Ended::Failed(error.into())),
                    Err(error) => Err(Ended::Failed(error)),
                },
            }
        })
        .await?;
        if !into_library {
            return Ok(());
        }
        let library = Library::read(Some(&file))?;
        self.join(&library.instructions)
    }

    /// Adds instructions to the shared library. What is there already stays as it is, so a job that
    /// was killed on the way may do it again.
    fn join(&self, instructions: &[Instruction]) -> Result<(), Error> {
        let Resources { library: Some(library), encoder: Some(encoder), .. } = &self.resources
        else {
            return Ok(());
        };
        for chunk in instructions.chunks(CHUNK) {
            let texts: Vec<&str> = chunk.iter().map(|one| one.text.as_str()).collect();
            let vectors = encoder.embed_texts(&texts)?;
            let new = chunk.iter().zip(vectors).map(|(one, text)| NewInstruction {
                id: Some(one.id.clone()),
                text: one.text.clone(),
                category: one.category.clone(),
                requires: one.requires.clone(),
                tags: one.tags.clone(),
                vector: text.vector,
                ..NewInstruction::default()
            });
            add(library, new.collect())?;
        }
        Ok(())
    }

    async fn verdicts(&self, mut request: JudgeRequest) -> Result<(), Error> {
        let folder = EvaluationFolder::take(&self.folder)?;
        let backend = self.resources.backend.as_ref();
        if let Some(backend) = backend {
            request.options.llm = backend.config().clone();
        }
        self.with_backend(backend, async || {
            let backend = backend.cloned();
            let shared = Shared { access: self.resources.access.clone(), backend };
            let (stop, progress) = (&self.stop, &*self.meter);
            let judged = evaluate::judge_with(&request, &folder, &shared, stop, progress).await;
            let worked = judged.map_err(Ended::Failed)?.worked;
            match worked.gave_up {
                Some(error) => Err(Ended::Down(error)),
                None if worked.stopped => Err(Ended::Failed(Stopped.into())),
                None => Ok(()),
            }
        })
        .await
    }

    /// Does `work`, which calls the shared backend if there is one. While that is down the job
    /// waits, and what is left is done when it is back.
    async fn with_backend(
        &self,
        shared: Option<&Backend>,
        work: impl AsyncFn() -> Result<(), Ended>,
    ) -> Result<(), Error> {
        loop {
            self.meter.restart();
            if let Some(backend) = shared {
                self.wait_for(backend).await?;
            }
            match work().await {
                Ok(()) => return Ok(()),
                Err(Ended::Failed(error)) => return Err(error),
                // The loop that met it has told the backend, which is down now.
                Err(Ended::Down(error))
                    if shared.is_none() || Whose::fault(&error) != Whose::Server =>
                {
                    return Err(error.into());
                }
                Err(Ended::Down(_)) => {}
            }
        }
    }

    async fn wait_for(&self, backend: &Backend) -> Result<(), Error> {
        let waited = tokio::select! {
            biased;
            _ = backend.wait_telling(|down| self.meter.paused(Some(down))) => Ok(()),
            () = self.stop.asked() => Err(Stopped.into()),
        };
        self.meter.paused(None);
        waited
    }
}

fn add(library: &InstructionStore, new: Vec<NewInstruction>) -> Result<(), Error> {
    for outcome in library.create(new)? {
        match outcome {
            Ok(_) | Err(CreateError::IdExists { .. } | CreateError::TextExists { .. }) => {}
            Err(error) => tracing::warn!(code = error.code(), "not added to the library: {error}"),
        }
    }
    Ok(())
}
