//! Generating instructions: seeds and descriptions in, a library with its lineage out. Augment,
//! embed, cluster, summarise; every stage resumes, because replies and vectors are kept under what
//! was asked and all else follows from them.

mod asking;
mod augmenting;
mod clustering;
pub mod folder;
mod importing;
mod map;
mod models;
mod old_keys;
mod reporting;
mod summarizing;
pub mod summary;
mod vectors;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::Error;
use crate::base::Stopped;
use crate::base::db::DbError;
use crate::config::Config;
use crate::dataset::names::Names;
use crate::dataset::source::{self, SourceError, SourceOptions};
use crate::dataset::{PhotoViewer, Photos};
use crate::instruction::augment::{Structured, list_schema, one_schema};
use crate::instruction::descriptions::Descriptions;
use crate::instruction::embed::TextEmbedder;
use crate::instruction::lineage::GenerationStore;
use crate::instruction::prompt::{self, AugmentPrompts, SummarizePrompts};
use crate::instruction::{GenerateError, Seeds};
use crate::llm::{
    self, Account, BuiltInSet, ChatModel, Ledger, LlmConfig, LlmError, PromptSource,
    SamplingSettings, See, SpentBefore,
};
use crate::model::ModelSource;
use crate::sandbox::FileAccess;

use self::asking::{Asker, Questioning};
use self::augmenting::AugmentStage;
use self::clustering::ClusterStage;
use self::models::{augment_llm, summarize_llm, summarize_section};
use self::summarizing::SummarizeStage;
use self::vectors::Vectors;
use crate::work::{Backend, Phase, Progress, Stop, lacks_sight};

pub use clustering::ClusterFacts;
pub use folder::GenerationFolder;
pub use importing::{Imported, import};
pub use models::Models;
pub use reporting::report_of;
pub use summary::GenerationSummary;

/// What a generation's inputs came to, kept with it before anything is asked.
const RESOLVED: &str = "resolved";

/// One generation in this process: what `pairwright instructions generate`, the first stage of
/// `pairwright run` and a job of the service all run.
pub struct Generation {
    folder: GenerationFolder,
    config: Arc<Config>,
    progress: Arc<dyn Progress>,
    stop: Stop,
    access: FileAccess,
    /// That of the run it belongs to.
    ledger: Option<Arc<Ledger>>,
}

/// Everything a generation starts from.
struct Inputs {
    seeds: Seeds,
    descriptions: Descriptions,
    augment: AugmentPrompts,
    summarize: SummarizePrompts,
    augment_settings: SamplingSettings,
    summarize_settings: SamplingSettings,
}

impl Generation {
    /// A generation in a folder this process holds.
    pub fn new(
        folder: GenerationFolder,
        config: Config,
        progress: Arc<dyn Progress>,
        stop: Stop,
    ) -> Self {
        let (config, access) = (Arc::new(config), FileAccess::default());
        Self { folder, config, progress, stop, access, ledger: None }
    }

    /// The same generation, its source read with `access` only.
    #[must_use]
    pub fn with_access(mut self, access: FileAccess) -> Self {
        self.access = access;
        self
    }

    /// The same generation, its calls counted on the ledger of what it is a part of.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Arc<Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// The whole generation, with LLMs of its own. Blocks its thread while it embeds and clusters:
    /// drive it with `block_on`. A stop ends it between two calls; what was finished is kept, and
    /// the same call goes on there.
    ///
    /// # Errors
    /// The inputs are wrong, a backend cannot be used, fewer than two instructions are left, or the
    /// user stopped. Replies that give nothing are counted instead.
    pub async fn run(&self) -> Result<GenerationSummary, Error> {
        let inputs = self.inputs()?;
        self.generate(inputs, Models::of(&self.config)).await
    }

    /// As [`Generation::run`], with LLMs that may be shared with others.
    ///
    /// # Errors
    /// As [`Generation::run`].
    pub async fn run_with(&self, models: Models) -> Result<GenerationSummary, Error> {
        let inputs = self.inputs()?;
        self.generate(inputs, models).await
    }

    fn inputs(&self) -> Result<Inputs, Error> {
        let generate = &self.config.generate;
        let seeds = Seeds::read(generate.seeds.as_deref())?;
        let found = seeds.seeds.len();
        if found < generate.seeds_per_prompt {
            let (wanted, origin) = (generate.seeds_per_prompt, seeds.origin);
            return Err(GenerateError::TooFewSeeds { wanted, found, origin }.into());
        }
        let mut descriptions = self.descriptions()?;
        descriptions.limit(generate.limit, self.config.seed);
        let (built_in, folder) = self.prompts();
        let summarize = SummarizePrompts::read(folder, &built_in)?;
        Ok(Inputs {
            seeds,
            descriptions,
            augment: AugmentPrompts::read(folder, &built_in, generate.see)?,
            augment_settings: generate.resolved_settings(&augment_llm(&self.config).target),
            summarize_settings: self.summarize_settings(&summarize),
            summarize,
        })
    }

    /// The built-in texts of a new generation, and the folder whose files come before them.
    fn prompts(&self) -> (prompt::BuiltIn, Option<&Path>) {
        let chosen = self.config.generate.prompts.as_ref();
        let (summarize, _) = PromptSource::resolve(chosen, &summarize_llm(&self.config).target);
        let (augment, folder) = PromptSource::resolve(chosen, &augment_llm(&self.config).target);
        (prompt::built_in((augment, self.config.generate.see), summarize), folder)
    }

    fn summarize_settings(&self, prompts: &SummarizePrompts) -> SamplingSettings {
        let target = &summarize_llm(&self.config).target;
        self.config.summarize.resolved_settings(target, prompts.ask_requires())
    }

    /// With what the generation in `store` began with in place of today's built-in prompts and
    /// default settings. What is set by the user stays.
    fn going_on(&self, mut inputs: Inputs, store: &GenerationStore) -> Result<Inputs, Error> {
        let (generate, store) = (&self.config.generate, store.database());
        let name = match generate.see {
            See::Description => "prompts".to_owned(),
            see => format!("prompts that see {}", see.name()),
        };
        let name = PromptSource::kept_as(generate.prompts.as_ref(), &name);
        let (today, folder) = self.prompts();
        // Release 0.1.0 kept no texts; its generations asked with the small set.
        let today = || {
            let begun = store.meta(RESOLVED)?.is_some();
            let chosen = generate.prompts.as_ref();
            let old = begun
                && !generate.see.shows_photo()
                && PromptSource::may_be_unnamed(chosen, "prompts", store)?;
            let small = BuiltInSet::Small;
            let small = || prompt::built_in((small, See::Description), small);
            Ok(if old { small() } else { today })
        };
        let built_in = store.began_with_or(&name, today)?;
        inputs.augment = AugmentPrompts::read(folder, &built_in, generate.see)?;
        inputs.summarize = SummarizePrompts::read(folder, &built_in)?;
        // Defaults follow from the backend, and the room for a reply from what is asked for.
        if generate.settings.is_none() {
            let (kind, wanted) =
                (augment_llm(&self.config).target.kind(), generate.per_description);
            let name = format!("generate.settings, {kind}, {wanted}");
            inputs.augment_settings = store.began_with(&name, inputs.augment_settings)?;
        }
        if self.config.summarize.settings.is_none() {
            let name = format!("summarize.settings, {}", summarize_llm(&self.config).target.kind());
            let today = self.summarize_settings(&inputs.summarize);
            inputs.summarize_settings = store.began_with(&name, today)?;
        }
        Ok(inputs)
    }

    fn descriptions(&self) -> Result<Descriptions, Error> {
        if let Some(path) = &self.config.generate.descriptions {
            return Ok(Descriptions::of_file(path)?);
        }
        let source = &self.config.source;
        let path = source.path.as_ref().ok_or(GenerateError::NoSource)?;
        let resolve = |path: &Path| self.access.resolve(path).map_err(SourceError::from);
        let images = source.images.as_deref().map(resolve).transpose()?;
        let options = SourceOptions {
            images,
            kind: source.kind,
            access: self.access.clone(),
            fields: source.fields.clone(),
            limit: source.limit,
        };
        let source = source::open(&resolve(path)?, &options)?;
        let mut all = Descriptions::of_source(&*source, self.config.generate.see.shows_photo())?;
        let names = Names::new(&self.access, source.image_root());
        for photo in all.found.iter_mut().filter_map(|one| one.photo.as_mut()) {
            if self.access.stamp(photo).is_empty()
                && let Some(found) = names.find(photo)
            {
                *photo = found;
            }
        }
        Ok(all)
    }

    /// What shows photos to the augmenting model, where it is to see them.
    fn viewer(&self) -> Option<Arc<PhotoViewer>> {
        let Config { generate, image, .. } = &*self.config;
        generate.see.shows_photo().then(|| {
            let photos = Arc::new(self.access.clone());
            let llm = augment_llm(&self.config);
            Arc::new(PhotoViewer::new(photos, image.decode_options(), llm))
        })
    }

    async fn generate(&self, inputs: Inputs, models: Models) -> Result<GenerationSummary, Error> {
        let (augment, summarize) = (model(&models.augment).await?, model(&models.summarize).await?);
        let store = self.folder.create_store()?;
        let ledger = match &self.ledger {
            Some(ledger) => Arc::clone(ledger),
            None => Ledger::open(self.folder.path(), || spent_before(&store))?,
        };
        // Asked at once, also where the calls go by the batch.
        if self.config.generate.see.shows_photo() {
            let cancel = self.stop.abort_token();
            let db = store.database();
            if let Some(blind) = lacks_sight(db, &models.augment, &*augment, &cancel).await? {
                return Err(GenerateError::Llm(blind).into());
            }
        }
        let augment = on_account(augment, (&ledger, "augment"), self.config.augment_llm())?;
        let section = summarize_section(&self.config);
        let summarize = on_account(summarize, (&ledger, "summarize"), section)?;
        let inputs = self.going_on(inputs, &store)?;
        let embedder = self.open_embedder()?;
        self.remember(&store, &inputs, (augment.name(), summarize.name()), &embedder)?;
        let askers = (
            self.augment_asker(&inputs, &models.augment, augment),
            self.summarize_asker(&inputs, &models.summarize, summarize),
        );
        let mut vectors = Vectors { store: &store, embedder };
        let worked = self.stages(&inputs, askers, &mut vectors).await;
        ledger.flush();
        if worked.as_ref().is_err_and(Error::is_stop) {
            return Err(Stopped.into());
        }
        // Also when nothing could be clustered: the report says what was lost and why.
        self.folder.write_library(&store)?;
        let summary = GenerationSummary::read(self.folder.path().to_owned(), &store)?;
        let prompts = [&inputs.augment.prompts, &inputs.summarize.prompts];
        reporting::write(&self.folder.report(), &summary, prompts, &mut vectors)?;
        worked.map(|()| summary)
    }

    async fn stages(
        &self,
        inputs: &Inputs,
        (augment, summarize): (Asker<'_>, Asker<'_>),
        vectors: &mut Vectors<'_>,
    ) -> Result<(), Error> {
        let store = vectors.store;
        store.clear_failures()?;
        let found = &inputs.descriptions.found;
        self.progress.expect(Phase::Augment, found.len() as u64);
        let started = Instant::now();
        self.augment_stage(inputs).run(found, &augment, vectors).await?;
        store.add_stage_time("augment", found.len() as u64, started.elapsed().as_secs_f64())?;
        let started = Instant::now();
        let facts = self.cluster_stage().run(vectors)?;
        store.add_stage_time("cluster", facts.points as u64, started.elapsed().as_secs_f64())?;
        let started = Instant::now();
        self.summarize_stage(inputs).run(&summarize, vectors).await?;
        store.add_stage_time("summarise", facts.k as u64, started.elapsed().as_secs_f64())?;
        Ok(())
    }

    fn augment_stage<'a>(&'a self, inputs: &'a Inputs) -> AugmentStage<'a> {
        let Inputs { seeds, augment: prompts, .. } = inputs;
        let (config, seed) = (&self.config.generate, self.config.seed);
        AugmentStage { config, prompts, seeds, seed, viewer: self.viewer() }
    }

    fn cluster_stage(&self) -> ClusterStage<'_> {
        let Config { cluster, seed, .. } = &*self.config;
        ClusterStage { config: cluster, seed: *seed, stop: &self.stop, progress: &*self.progress }
    }

    fn summarize_stage<'a>(&'a self, inputs: &'a Inputs) -> SummarizeStage<'a> {
        let Inputs { seeds, summarize: prompts, .. } = inputs;
        let Config { summarize: config, generate, seed, .. } = &*self.config;
        SummarizeStage {
            config,
            filters: &generate.filters,
            prompts,
            seeds,
            mode: generate.library,
            members_per_cluster: generate.members_per_cluster,
            seed: *seed,
        }
    }

    fn augment_asker(
        &self,
        inputs: &Inputs,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
    ) -> Asker<'_> {
        let (llm, generate) = (augment_llm(&self.config), &self.config.generate);
        let questioning = Questioning {
            role: "augment",
            settings: inputs.augment_settings.clone(),
            schema: list_schema(self.structured(llm), generate.per_description),
            attempts: generate.attempts,
            retry: inputs.augment.retry().map(str::to_owned),
            model: model.name().to_owned(),
        };
        let viewer = self.viewer();
        Asker { viewer, ..self.asker(backend, model, Phase::Augment, questioning) }
    }

    fn summarize_asker(
        &self,
        inputs: &Inputs,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
    ) -> Asker<'_> {
        let (llm, summarize) = (summarize_llm(&self.config), &self.config.summarize);
        let questioning = Questioning {
            role: "summarize",
            settings: inputs.summarize_settings.clone(),
            schema: one_schema(self.structured(llm), inputs.summarize.ask_requires()),
            attempts: summarize.attempts,
            retry: inputs.summarize.retry().map(str::to_owned),
            model: model.name().to_owned(),
        };
        self.asker(backend, model, Phase::Summarize, questioning)
    }

    fn structured(&self, llm: &LlmConfig) -> Structured {
        self.config.generate.resolved_structured(&llm.target)
    }

    fn asker(
        &self,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
        phase: Phase,
        questioning: Questioning,
    ) -> Asker<'_> {
        Asker {
            questioning: Arc::new(questioning),
            model,
            backend: backend.clone(),
            phase,
            stop: &self.stop,
            progress: &*self.progress,
            schema: Arc::default(),
            answered: AtomicBool::default(),
            viewer: None,
        }
    }

    fn open_embedder(&self) -> Result<TextEmbedder, Error> {
        let Config { model, generate, encoder, .. } = &*self.config;
        // Sentences are compared with sentences: a prompt meant for photos would make all alike.
        let model = ModelSource { prompt: None, ..model.source()? };
        Ok(TextEmbedder::open(model, generate.text_model.as_deref(), encoder)?)
    }

    /// Keeps the inputs, and what they came to, before anything is asked.
    fn remember(
        &self,
        store: &GenerationStore,
        inputs: &Inputs,
        (augment, summarize): (&str, &str),
        embedder: &TextEmbedder,
    ) -> Result<(), Error> {
        store.put_inputs(&inputs.seeds.seeds, &inputs.descriptions.found)?;
        store
            .database()
            .set_meta_json("refused_descriptions", &inputs.descriptions.rejected.len())?;
        for rejection in &inputs.descriptions.rejected {
            tracing::warn!(code = rejection.code, "{}: {}", rejection.subject, rejection.reason);
        }
        let resolved = [
            ("augment_prompts", inputs.augment.prompts.hash.clone()),
            ("summarize_prompts", inputs.summarize.prompts.hash.clone()),
            ("augment_model", augment.to_owned()),
            ("summarize_model", summarize.to_owned()),
            ("embedder", embedder.name.clone()),
            ("embedder_hash", embedder.hash.clone()),
            ("seeds", inputs.seeds.origin.clone()),
            ("seeds_hash", inputs.seeds.hash.clone()),
            ("descriptions", inputs.descriptions.origin.clone()),
            ("pairwright", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let resolved = resolved.map(|(name, value)| (name.to_owned(), toml::Value::String(value)));
        let resolved: toml::Table = resolved.into_iter().collect();
        store.database().set_meta_json(RESOLVED, &resolved)?;
        self.folder.write_config(&self.config, resolved)
    }
}

/// The model of a backend, or why there is none.
async fn model(backend: &Backend) -> Result<Arc<dyn ChatModel>, Error> {
    Ok(backend.model().await.map_err(|down| GenerateError::Llm(down.reason))?)
}

/// The model with its calls counted as those of `role`, by the settings of `section`.
fn on_account(
    model: Arc<dyn ChatModel>,
    (ledger, role): (&Arc<Ledger>, &str),
    (section, config): (&str, &LlmConfig),
) -> Result<Arc<dyn ChatModel>, Error> {
    let account = Account::new(ledger, (section, role), config)?;
    Ok(llm::on_account(account, model).map_err(LlmError::from)?)
}

/// What a generation of a release without a ledger has spent.
///
/// # Errors
/// SQLite's.
pub fn spent_before(store: &GenerationStore) -> Result<Vec<SpentBefore>, DbError> {
    let roles = |(role, model, spent): (String, String, _)| {
        let role = if role == "augment" { "augment" } else { "summarize" };
        ("llm", role, model, spent)
    };
    Ok(store.spent()?.into_iter().map(roles).collect())
}
