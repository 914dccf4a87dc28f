//! One typed configuration tree: defaults < file < environment < flags, checked once, refused if
//! wrong.

mod export;
mod keys;
mod load;
mod serve;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ErrorKind;
use crate::answer::describe::DescribeConfig;
use crate::answer::filter::FilterConfig;
use crate::answer::generate::AnswerConfig;
use crate::base::check::{Checks, Problems, Settings};
use crate::base::failure::Failure;
use crate::base::paths;
use crate::dataset::source::{FieldNames, SourceKind, TwinPhotos};
use crate::encoder::EncoderOptions;
use crate::image::{DecodeOptions, ImageLimits};
use crate::index::IndexConfig;
use crate::instruction::augment::GenerateConfig;
use crate::instruction::cluster::ClusterConfig;
use crate::instruction::summarize::SummarizeConfig;
use crate::llm::{BuiltInSet, LlmConfig, LlmTarget, PromptSource, See};
use crate::matching::MatchingConfig;
use crate::matching::check::llm::CheckConfig;
use crate::measure::MeasureConfig;
use crate::model::catalog::{self, Catalog};
use crate::model::store::{ModelStoreError, Store};
use crate::model::{ModelSource, Precision};

/// The bundled encoder's folder.
const BUNDLED_MODEL: &str = "models/mini";

pub use export::{Draws, ExportConfig};
pub use keys::{Key, keys, settings};
pub use load::{Layers, RESOLVED, RUN_FILE};
pub use serve::{
    AuthConfig, CallersConfig, ConnectionsConfig, JobsConfig, LibrarySeed, MetricsConfig,
    MetricsListen, Network, OtelConfig, ProberConfig, QuotaConfig, ServeConfig, ServeLibraryConfig,
    ServeLimits, TlsConfig, UrlsConfig, WarmupConfig, check_exposure,
};

/// Everything a run depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seed of every draw in the run.
    pub seed: u64,
    pub source: SourceConfig,
    pub model: ModelConfig,
    pub encoder: EncoderOptions,
    pub image: ImageConfig,
    pub library: LibraryConfig,
    pub generate: GenerateConfig,
    pub cluster: ClusterConfig,
    pub summarize: SummarizeConfig,
    pub index: IndexConfig,
    pub matching: MatchingConfig,
    pub check: CheckConfig,
    pub llm: LlmConfig,
    pub describe: DescribeConfig,
    pub answer: AnswerConfig,
    pub filters: FilterConfig,
    pub measure: MeasureConfig,
    pub export: ExportConfig,
    pub report: ReportConfig,
    /// The service's own settings; no run depends on them.
    #[serde(skip_serializing)]
    pub serve: ServeConfig,
}

/// Where the captioned photos are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// A folder of photos with sidecars, a manifest, a COCO captions JSON, tars, Parquet, a dataset on
    /// disk; or a pattern that names several files.
    pub path: Option<PathBuf>,
    /// `auto` decides by what `path` is.
    pub kind: SourceKind,
    /// The folder image names are relative to; the folder of `path` when absent.
    pub images: Option<PathBuf>,
    /// How the fields of manifests and sidecars are called, where not as usual.
    pub fields: FieldNames,
    /// What becomes of photos that are nearly the same as one that the run has.
    pub twins: TwinPhotos,
    /// Read only so many records, the first ones: a preview, whose rows count later. None or 0:
    /// all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Which encoder to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// A model folder, or a name of the catalog; the bundled stand-in when absent.
    pub path: Option<PathBuf>,
    /// The folder of the text graph and the tokenizer, where an export has two.
    pub text_path: Option<PathBuf>,
    /// Which graphs of an export to take; the most exact when absent.
    pub precision: Option<Precision>,
    /// What is put around each text: `{}` stands for the text.
    pub prompt: Option<String>,
}

impl ModelConfig {
    /// The model as it was asked for: its folder, or its name in the catalog.
    pub fn asked_for(&self) -> PathBuf {
        let found = self.path.clone().or_else(|| paths::find(BUNDLED_MODEL));
        found.unwrap_or_else(|| BUNDLED_MODEL.into())
    }

    /// The model that is meant: the folder that is set, that of the name that is set, else where
    /// the bundled one is. Nothing is fetched.
    ///
    /// # Errors
    /// The name is not known, or its model was not fetched; the message names the command.
    pub fn source(&self) -> Result<ModelSource, ModelStoreError> {
        let (text_path, prompt) = (self.text_path.clone(), self.prompt.clone());
        let asked = self.asked_for();
        let Some(name) = catalog::name_in(&asked) else {
            return Ok(ModelSource { path: asked, text_path, precision: self.precision, prompt });
        };
        let store = Store::from_environment()?;
        let path = store.resolve(&Catalog::load()?, name, self.precision)?;
        // The folder is that of one precision already.
        Ok(ModelSource { path, text_path, precision: None, prompt })
    }
}

/// How photos are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Turn photos as their EXIF orientation says.
    pub exif_orientation: bool,
    pub limits: ImageLimits,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self { exif_orientation: true, limits: ImageLimits::default() }
    }
}

impl ImageConfig {
    /// The decoder's options.
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions { limits: self.limits, exif_orientation: self.exif_orientation }
    }
}

/// Which instructions to draw from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct LibraryConfig {
    /// `.jsonl` or `.txt`; the built-in library when absent.
    pub instructions: Option<PathBuf>,
}

/// What the report shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// Samples shown in full, spread over the run, 0 to 2000.
    pub samples: u64,
    /// Longer side of the photos in the report in pixels, 64 to 1024.
    pub thumbnail: u32,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self { samples: 120, thumbnail: 320 }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("configuration: {message}")]
    Value { message: String },
    #[error("configuration refused:\n  {}", listed(.0))]
    Refused(#[from] Problems),
}

fn listed(problems: &Problems) -> String {
    problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl Failure for ConfigError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Syntax { .. } | Self::Value { .. } | Self::Refused(_) => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        "config_invalid"
    }
}

impl Config {
    /// Whether a photo of which nothing is said can be worked on: it is shown to a model, which
    /// describes it or answers from what it sees.
    pub fn takes_photos_without_text(&self) -> bool {
        let described = self.describe.is_on() && self.describe.see.shows_photo();
        described || self.answer.see == See::Image
    }

    /// Checks every range at once.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] with each wrong value's name, value and range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(self.validate_as("")?)
    }

    /// The table that the describing LLM's settings are in, and these.
    pub fn describe_llm(&self) -> (&'static str, &LlmConfig) {
        self.describe.llm.as_ref().map_or(("llm", &self.llm), |own| ("describe.llm", own))
    }

    /// The table that the augmenting LLM's settings are in, and these.
    pub fn augment_llm(&self) -> (&'static str, &LlmConfig) {
        self.generate.llm.as_ref().map_or(("llm", &self.llm), |own| ("generate.llm", own))
    }
}

impl Settings for Config {
    fn check(&self, checks: &mut Checks) {
        checks.range("seed", self.seed, 0, i64::MAX as u64);
        let EncoderOptions { sessions, intra_threads, batch_size, decode_threads, .. } =
            self.encoder;
        checks.range("encoder.sessions", sessions, 1, 64);
        checks.range("encoder.intra_threads", intra_threads, 0, 1024);
        checks.range("encoder.batch_size", batch_size, 1, 256);
        checks.range("encoder.decode_threads", decode_threads, 0, 1024);
        checks.range("answer.examples_per_prompt", self.answer.examples_per_prompt, 0, 8);
        sees(checks, ("answer.see", self.answer.see), ("llm", &self.llm));
        if self.describe.is_on() {
            sees(checks, ("describe.see", self.describe.see), self.describe_llm());
        }
        sees(checks, ("generate.see", self.generate.see), self.augment_llm());
        checks.section("describe", &self.describe);
        let small = self.answer.prompts == Some(PromptSource::Set(BuiltInSet::Small));
        let fits = !small || !self.answer.see.shows_photo();
        let expected = "description with answer.prompts = small, which speaks of captions";
        checks.require(fits, "answer.see", self.answer.see.name(), expected);
        checks.range("answer.attempts", self.answer.attempts, 1, 10);
        checks.range("report.samples", self.report.samples, 0, 2000);
        checks.range("report.thumbnail", self.report.thumbnail, 64, 1024);
        self.export.check(&self.measure.enabled, checks);
        checks.range("source.limit", self.source.limit, 0, i64::MAX as u64);
        checks.section("source.fields", &self.source.fields);
        checks.section("generate", &self.generate);
        checks.section("cluster", &self.cluster);
        checks.section("summarize", &self.summarize);
        checks.section("index", &self.index);
        checks.section("matching", &self.matching);
        sees(checks, ("check.see", self.check.see), ("llm", &self.llm));
        checks.section("check", &self.check);
        checks.section("llm", &self.llm);
        checks.section("answer.settings", &self.answer.settings);
        checks.section("filters", &self.filters);
        checks.section("measure", &self.measure);
        checks.section("serve", &self.serve);
    }
}

/// The server that this program runs itself has no eyes.
fn sees(checks: &mut Checks, (setting, see): (&str, See), (section, llm): (&str, &LlmConfig)) {
    let local = matches!(llm.target, LlmTarget::Local { .. });
    let expected =
        format!("description with {section}.target = local, which sees no photos: name a server");
    checks.require(!(local && see.shows_photo()), setting, see.name(), expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Config::default().validate().expect("defaults");
    }

    #[test]
    fn every_wrong_value_is_named_with_its_range() {
        let mut config = Config::default();
        config.encoder.batch_size = 0;
        config.answer.attempts = 11;
        config.check.attempts = 0;
        let text = config.validate().expect_err("three problems").to_string();
        assert!(text.contains("encoder.batch_size is 0, must be 1 to 256"), "{text}");
        assert!(text.contains("answer.attempts is 11, must be 1 to 10"), "{text}");
        assert!(text.contains("check.attempts is 0, must be 1 to 10"), "{text}");
    }
}
