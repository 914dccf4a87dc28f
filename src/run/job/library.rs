//! The instructions a run draws from: its library's, or those it generates first.

use std::path::PathBuf;

use crate::Error;
use crate::instruction::{GenerateError, Library};

use super::super::RunError;
use super::Job;
use crate::generate::folder::{INSIDE_RUN, LIBRARY};
use crate::generate::{Generation, GenerationFolder, Models};
use crate::work::Backend;

impl Job {
    /// The optional first stage: generates the run's instructions in its own folder. What ended
    /// it for want of instructions or of an LLM ends the run only where no library is to be had.
    pub(super) async fn generate(&self, backend: &Backend) -> Result<(), Error> {
        if !self.config.generate.enabled {
            return Ok(());
        }
        let source = self.config.source.path.as_ref().ok_or(RunError::NoSource)?;
        self.open_source(source)?;
        self.folder.write_run_file(&self.config, None)?;
        let folder = GenerationFolder::take(&self.generation_folder())?;
        let config = (*self.config).clone();
        let generation = Generation::new(folder, config, self.progress.clone(), self.stop.clone())
            .with_access(self.resources.access.clone())
            .with_ledger(self.ledger()?);
        if let Err(down) = backend.model().await {
            if !self.generation_folder().join(LIBRARY).is_file() {
                return Err(GenerateError::Llm(down.reason).into());
            }
            let reason = down.reason;
            tracing::warn!("no LLM, so the instructions of an earlier start are used: {reason}");
            return Ok(());
        }
        let models = Models::around(&self.config, backend);
        match generation.run_with(models).await {
            Ok(summary) => tracing::info!(instructions = summary.library, "instructions generated"),
            Err(error) if matches!(error.get(), Some(GenerateError::Cluster { .. })) => {
                tracing::warn!(code = error.code(), "no instructions were generated: {error}");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn generation_folder(&self) -> PathBuf {
        self.folder.path().join(INSIDE_RUN)
    }

    /// The library: as configured, or the generated one, with the configured one beside it when
    /// too few were generated.
    pub(super) fn library(&self) -> Result<Library, Error> {
        let generate = &self.config.generate;
        let base = || Library::read(self.config.library.instructions.as_deref());
        if !generate.enabled {
            return Ok(base()?);
        }
        let text = fs_err::read_to_string(self.generation_folder().join(LIBRARY));
        let generated = text.unwrap_or_default().lines().count();
        if generated >= generate.min_library.max(1) {
            return Ok(Library::read(Some(&self.generation_folder().join(LIBRARY)))?);
        }
        let base = base()?;
        tracing::warn!(
            "{generated} instructions were generated, fewer than generate.min_library = {}; those \
             of {} join them",
            generate.min_library,
            base.origin
        );
        if generated == 0 {
            return Ok(base);
        }
        Ok(Library::read(Some(&self.generation_folder().join(LIBRARY)))?.joined(base))
    }
}
