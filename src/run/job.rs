//! A job: the stages of one run, side by side.

mod answers;
mod describing;
mod judge;
mod library;
mod money;
mod resources;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::Error;
use crate::base::Stopped;
use crate::config::Config;
use crate::dataset::names::Names;
use crate::dataset::source::{self, Source, SourceError, SourceOptions};
use crate::dataset::store::{IngestSummary, Store};
use crate::encoder::{Encoder, LazyEncoder, OnnxEncoder};
use crate::llm::{Ledger, LlmError};
use crate::measure::keep::KeepError;

use super::answering::AnswerOutcome;
use super::describing::DescribeStage;
use super::embedding::EmbedStage;
use super::exporting::Exported;
use super::holding::hold_near_duplicates;
use super::matching::MatchStage;
use super::settings::Settings;
use super::summary::Summary;
use super::{RunError, RunFolder, derived, exporting, ingest, measuring, reporting};
use crate::work::{Backend, Feed, Feeder, Phase, Progress, Stop, blocking, feed};

pub use judge::JudgingEstimate;
pub use resources::{OnDeadBackend, Resources};

/// One run in this process.
#[derive(Clone)]
pub struct Job {
    folder: Arc<RunFolder>,
    config: Arc<Config>,
    progress: Arc<dyn Progress>,
    stop: Stop,
    resources: Resources,
    ledger: Arc<Mutex<Option<Arc<Ledger>>>>,
}

impl Job {
    /// A job over a folder this process holds.
    pub fn new(folder: RunFolder, config: Config, progress: Arc<dyn Progress>, stop: Stop) -> Self {
        let (folder, config) = (Arc::new(folder), Arc::new(config));
        let (resources, ledger) = (Resources::default(), Arc::default());
        Self { folder, config, progress, stop, resources, ledger }
    }

    /// The same job over what a caller shares with it.
    #[must_use]
    pub fn with(mut self, resources: Resources) -> Self {
        if let Some(backend) = &resources.backend {
            Arc::make_mut(&mut self.config).llm = backend.config().clone();
        }
        self.resources = resources;
        self
    }

    /// The whole job: source, embed, match, answer, export, report. The stages after the source
    /// overlap. An LLM that is gone ends the answers only: the rest is finished, and the summary
    /// says what is missing.
    ///
    /// # Errors
    /// Whatever ends the run as a whole. Finished work is kept.
    pub async fn run(&self) -> Result<Summary, Error> {
        let connecting = self.connect();
        let prepared = match self.generate_and_prepare(connecting.backend()).await {
            Ok(prepared) => prepared,
            Err(error) => {
                connecting.abort();
                return Err(error);
            }
        };
        let (ingest, encoder) = (prepared.ingest, Arc::clone(&prepared.encoder));
        let backend = connecting.backend().clone();
        let (feeder, matched) = feed();
        let matching = self.clone().match_all(prepared, feeder, Some(backend.clone()));
        let answering = self.answer_when_connected(connecting, matched);
        let (matching, answering) = tokio::join!(matching, answering);
        let described = matching?;
        let mut answered = answering?;
        answered.gave_up = answered.gave_up.or(described);
        self.finish(ingest, answered, &encoder, &backend).await
    }

    /// Source, embed and match only; an LLM is asked only where `matching.check` names it: which
    /// candidates apply, and before that for descriptions, if there are to be any. Instructions are not
    /// generated.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub async fn match_only(&self) -> Result<Summary, Error> {
        let prepared = self.prepare_matching().await?;
        let ingest = prepared.ingest;
        let own = self.config.describe.llm.is_some();
        let asks = prepared.stage.asks_llm() || (prepared.describe.is_some() && !own);
        let backend = asks.then(|| self.connect().backend().clone());
        let gave_up = self.clone().match_all(prepared, feed().0, backend).await?;
        let outcome = AnswerOutcome { gave_up, ..AnswerOutcome::default() };
        let store = self.folder.store()?;
        self.summary(&store, Some(ingest), outcome, Exported::default())
    }

    /// Answers for the pairs that are there.
    ///
    /// # Errors
    /// As [`Job::run`]; the run must have been matched.
    pub async fn answer_only(&self) -> Result<Summary, Error> {
        let store = self.folder.store()?;
        self.require_matches(&store, "answer")?;
        self.folder.write_run_file(&self.config, None)?;
        self.progress.expect(Phase::Answer, 0);
        let connecting = self.connect();
        let answered = self.answer_when_connected(connecting, Feed::over()).await?;
        self.summary(&store, None, answered, Exported::default())
    }

    /// Writes the exports again.
    ///
    /// # Errors
    /// As [`exporting::export`].
    pub fn export_only(&self) -> Result<Summary, Error> {
        let store = self.folder.store()?;
        let exported = self.export(&store)?;
        self.summary(&store, None, AnswerOutcome::default(), exported)
    }

    fn export(&self, store: &Store) -> Result<Exported, Error> {
        let access = &self.resources.access;
        exporting::export(&self.folder, store, &self.config, access, &*self.progress)
    }

    /// Writes the report again and returns its path.
    ///
    /// # Errors
    /// The run has no store, or the file cannot be written.
    pub fn report_only(&self) -> Result<PathBuf, Error> {
        let store = self.folder.store()?;
        self.require_matches(&store, "report")?;
        reporting::write(&self.folder, &store, &self.config, &self.resources.access)
    }

    fn require_matches(&self, store: &Store, step: &'static str) -> Result<(), Error> {
        if Settings::read(store)?.matching.is_some() {
            return Ok(());
        }
        let path = self.folder.path().to_owned();
        Err(RunError::StepMissing { path, step, needs: "match" }.into())
    }

    async fn finish(
        &self,
        ingest: IngestSummary,
        mut answered: AnswerOutcome,
        encoder: &Arc<dyn Encoder>,
        backend: &Backend,
    ) -> Result<Summary, Error> {
        if self.stop.is_asked() {
            return Err(Stopped.into());
        }
        let store = self.folder.store()?;
        let mut exported = Ok(Exported::default());
        if let Some(context) = Settings::read(&store)?.sample_context() {
            // What is held out is neither measured nor judged.
            hold_near_duplicates(&store, context.encoder_hash)?;
            let started = Instant::now();
            let config = &self.config.measure;
            let taken = measuring::measure(&store, &context, config, encoder, &self.stop)?;
            if taken > 0 {
                store.add_stage_time("measure", taken, started.elapsed().as_secs_f64())?;
            }
            let gave_up = self.judge(&store, backend, encoder).await?;
            answered.gave_up = answered.gave_up.or(gave_up);
            if self.stop.is_asked() {
                return Err(Stopped.into());
            }
            if let Some(exported) = derived::still_there(&self.folder, &store, &self.config)? {
                tracing::info!("nothing changed: the exports and the report are left as they are");
                return self.summary(&store, Some(ingest), answered, exported);
            }
            let started = Instant::now();
            exported = match self.export(&store) {
                Err(error) if waits_for_a_measure(&error) => Err(error),
                written => Ok(written?),
            };
            let written = exported.as_ref().ok().and_then(|one| one.written.first());
            let rows = written.map_or(0, |summary| summary.rows);
            store.add_stage_time(Phase::Export.name(), rows, started.elapsed().as_secs_f64())?;
        }
        reporting::write(&self.folder, &store, &self.config, &self.resources.access)?;
        if let Ok(exported) = &exported {
            derived::remember(&self.folder, &store, &self.config, exported)?;
        }
        match exported {
            Ok(exported) => self.summary(&store, Some(ingest), answered, exported),
            Err(error) => self.without_exports(&store, ingest, answered, error),
        }
    }

    /// The summary where a threshold waits for a measure that could not be taken in this session: it
    /// says why, and the next start goes on.
    fn without_exports(
        &self,
        store: &Store,
        ingest: IngestSummary,
        answered: AnswerOutcome,
        error: Error,
    ) -> Result<Summary, Error> {
        let summary = self.summary(store, Some(ingest), answered, Exported::default())?;
        if !summary.is_partial() {
            return Err(error);
        }
        tracing::warn!(code = error.code(), "the exports are left as they were: {error}");
        Ok(summary)
    }

    fn summary(
        &self,
        store: &Store,
        ingest: Option<IngestSummary>,
        answered: AnswerOutcome,
        exported: Exported,
    ) -> Result<Summary, Error> {
        if self.stop.is_asked() {
            return Err(Stopped.into());
        }
        Summary::read(&self.folder, store, ingest, answered, exported, &self.config)
    }

    async fn generate_and_prepare(&self, backend: &Backend) -> Result<Prepared, Error> {
        self.generate(backend).await?;
        self.prepare_matching().await
    }

    /// Loads the encoder and lists the source, both before any stage starts.
    async fn prepare_matching(&self) -> Result<Prepared, Error> {
        let job = self.clone();
        blocking(move || job.prepare_blocking()).await
    }

    fn prepare_blocking(&self) -> Result<Prepared, Error> {
        let path = self.config.source.path.as_ref().ok_or(RunError::NoSource)?;
        let source = self.open_source(path)?;
        // As soon as the source is known to be there, so that `--out` alone resumes.
        self.folder.write_run_file(&self.config, None)?;
        let library = self.library()?;
        let encoder = self.open_encoder()?;
        let store = self.folder.create_store()?;
        let started = Instant::now();
        let access = &self.resources.access;
        let without_text = self.config.takes_photos_without_text();
        let ingest =
            ingest::ingest(&*source, access, &store, without_text, &self.stop, &*self.progress)?;
        store.add_stage_time(
            Phase::Source.name(),
            ingest.records,
            started.elapsed().as_secs_f64(),
        )?;
        let describe = self.describe_stage(&store)?;
        let stage = MatchStage::prepare(
            &self.config,
            encoder.clone(),
            library,
            &store,
            self.folder.path(),
            describe.as_ref().map(DescribeStage::key),
        )?;
        stage.settings(&*source).write(&store)?;
        self.write_run_file(&stage)?;
        Ok(Prepared { encoder, describe, stage, store, ingest })
    }

    fn open_source(&self, path: &Path) -> Result<Box<dyn Source>, Error> {
        let access = &self.resources.access;
        let resolve = |path: &Path| access.resolve(path).map_err(SourceError::from);
        let images = self.config.source.images.as_deref().map(resolve).transpose()?;
        let (kind, fields) = (self.config.source.kind, self.config.source.fields.clone());
        let limit = self.config.source.limit;
        let options = SourceOptions { images, kind, access: access.clone(), fields, limit };
        Ok(source::open(&resolve(path)?, &options)?)
    }

    fn open_encoder(&self) -> Result<Arc<dyn Encoder>, Error> {
        if let Some(encoder) = &self.resources.encoder {
            return Ok(Arc::clone(encoder));
        }
        let decode = self.config.image.decode_options();
        let (source, options) = (self.config.model.source()?, &self.config.encoder);
        // What is begun with an encoder has been embedded with it before.
        if self.folder.has_store() {
            return Ok(Arc::new(LazyEncoder::open(source, options, decode)?));
        }
        Ok(Arc::new(OnnxEncoder::open(source, options, decode)?))
    }

    fn write_run_file(&self, stage: &MatchStage) -> Result<(), Error> {
        let mut resolved = toml::Table::new();
        for (name, value) in stage.resolved() {
            resolved.insert(name.to_owned(), toml::Value::String(value));
        }
        resolved.insert("pairwright".into(), env!("CARGO_PKG_VERSION").into());
        Ok(self.folder.write_run_file(&self.config, Some(resolved))?)
    }

    /// Embeds and matches, each in its own thread; drops `matched` when no pair can come any more.
    /// Where photos are described, they are so as they are embedded, by the model behind `backend`,
    /// and matched after. Returns why describing ended early, if it did.
    async fn match_all(
        self,
        prepared: Prepared,
        matched: Feeder,
        backend: Option<Backend>,
    ) -> Result<Option<LlmError>, Error> {
        let Prepared { encoder, describe, stage, store, .. } = prepared;
        let (embedded, mut photos) = feed();
        let embed_store = store.reopen()?;
        let job = self.clone();
        let captions = stage.uses_captions();
        let embedding = blocking(move || {
            let result = job.embed(&*encoder, &embed_store, captions, &embedded);
            if result.is_err() {
                job.stop.ask();
            }
            result
        });
        let job = self.clone();
        let described_store = store.reopen()?;
        let describing = job.describe(describe, &described_store, backend.clone(), photos.clone());
        let job = self.clone();
        let describing_and_matching = async {
            let described = describing.await?;
            let (asker, sightless) = job.check_asker(&stage, &described_store, backend).await?;
            let asks = stage.asks_llm();
            // Without the model, nothing more can be matched.
            if asks && asker.is_none() {
                return Ok(described.or(sightless));
            }
            let matching = blocking(move || {
                let started = Instant::now();
                let feeds = (&mut photos, &matched);
                let result = stage.run(&store, feeds, asker.as_ref(), &job.stop, &*job.progress);
                if result.is_err() {
                    job.stop.ask();
                }
                drop(matched);
                let (count, gave_up) = result?;
                store.add_stage_time(
                    Phase::Match.name(),
                    count,
                    started.elapsed().as_secs_f64(),
                )?;
                Ok(gave_up)
            });
            let gave_up = matching.await?;
            if asks {
                self.ledger()?.flush();
            }
            Ok(described.or(gave_up))
        };
        let (embedding, matching) = tokio::join!(embedding, describing_and_matching);
        embedding?;
        matching
    }

    fn embed(
        &self,
        encoder: &dyn Encoder,
        store: &Store,
        captions: bool,
        embedded: &Feeder,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let root = Settings::read(store)?.matching.and_then(|settings| settings.image_root);
        let stage = EmbedStage {
            encoder,
            options: self.config.encoder,
            captions,
            pass: store.pass()?,
            twins: self.config.source.twins,
            photos: &self.resources.access,
            names: Names::new(&self.resources.access, root.as_deref()),
            throttle: self.resources.throttle.clone(),
        };
        let worked = stage.run(store, embedded, &self.stop, &*self.progress)?;
        store.add_stage_time(Phase::Embed.name(), worked, started.elapsed().as_secs_f64())?;
        Ok(())
    }
}

/// Whether nothing was exported because a threshold has no value of any sample to go by.
fn waits_for_a_measure(error: &Error) -> bool {
    matches!(error.get(), Some(KeepError::NotTaken { .. }))
}

/// What the stages before the answers need.
struct Prepared {
    encoder: Arc<dyn Encoder>,
    describe: Option<DescribeStage>,
    stage: MatchStage,
    store: Store,
    ingest: IngestSummary,
}
