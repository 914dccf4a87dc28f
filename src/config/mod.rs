//! One typed configuration tree: defaults < file < environment < flags, checked once, refused if
//! wrong (design 2).

mod load;
mod serve;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ErrorKind;
use crate::answer::filter::FilterConfig;
use crate::answer::generate::AnswerConfig;
use crate::base::failure::Failure;
use crate::base::paths;
use crate::dataset::sink::ExportFormat;
use crate::dataset::source::SourceKind;
use crate::encoder::EncoderOptions;
use crate::image::{DecodeOptions, ImageLimits};
use crate::index::IndexConfig;
use crate::instruction::augment::GenerateConfig;
use crate::instruction::cluster::ClusterConfig;
use crate::instruction::summarize::SummarizeConfig;
use crate::llm::{LlmConfig, SamplingSettings};
use crate::matching::MatchingConfig;
use crate::measure::MeasureConfig;
use crate::model::catalog::{self, Catalog};
use crate::model::store::{ModelStoreError, Store};
use crate::model::{ModelSource, Precision};

/// The bundled encoder's folder.
const BUNDLED_MODEL: &str = "models/mini";

pub use load::{Layers, RESOLVED, RUN_FILE};
pub use serve::{
    AuthConfig, JobsConfig, LibrarySeed, MetricsConfig, MetricsListen, OtelConfig, ProberConfig,
    ServeConfig, ServeLibraryConfig, ServeLimits, TlsConfig, UrlsConfig, WarmupConfig,
    check_exposure,
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
    pub llm: LlmConfig,
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
    /// A folder of photos with sidecars, a JSONL manifest, or a COCO captions JSON.
    pub path: Option<PathBuf>,
    /// `auto` decides by what `path` is.
    pub kind: SourceKind,
    /// The folder image names are relative to; the folder of `path` when absent.
    pub images: Option<PathBuf>,
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

/// Which exports to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    pub formats: Vec<ExportFormat>,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self { formats: ExportFormat::ALL.into() }
    }
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
    #[error("configuration refused:\n  {}", problems.join("\n  "))]
    Refused { problems: Vec<String> },
}

impl Failure for ConfigError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Syntax { .. } | Self::Value { .. } | Self::Refused { .. } => {
                ErrorKind::InvalidInput
            }
        }
    }

    fn code(&self) -> &'static str {
        "config_invalid"
    }
}

impl Config {
    /// Checks every range at once.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] with each wrong value's name, value and range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut range = |name: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                problems.push(format!("{name} is {value}, must be {low} to {high}"));
            }
        };
        range("encoder.sessions", self.encoder.sessions as u64, 1, 64);
        range("encoder.batch_size", self.encoder.batch_size as u64, 1, 256);
        range("encoder.intra_threads", self.encoder.intra_threads as u64, 0, 1024);
        range("encoder.decode_threads", self.encoder.decode_threads as u64, 0, 1024);
        let examples = self.answer.examples_per_prompt.unwrap_or_default();
        range("answer.examples_per_prompt", examples as u64, 0, 8);
        range("answer.attempts", u64::from(self.answer.attempts), 1, 10);
        range("report.samples", self.report.samples, 0, 2000);
        range("report.thumbnail", u64::from(self.report.thumbnail), 64, 1024);
        range("export.formats (count)", self.export.formats.len() as u64, 1, 3);
        let sections = [
            self.matching.validate(),
            self.index.validate(),
            self.serve.validate(),
            self.generate.validate(),
            self.cluster.validate(),
            self.summarize.validate(),
            role_problems("generate", self.generate.llm.as_ref(), self.generate.settings.as_ref()),
            role_problems(
                "summarize",
                self.summarize.llm.as_ref(),
                self.summarize.settings.as_ref(),
            ),
            one_problem("filters", self.filters.validate()),
            one_problem("measure", self.measure.validate()),
            one_problem("llm", self.llm.validate()),
            one_problem(
                "answer.settings",
                self.answer.settings.iter().try_for_each(SamplingSettings::validate),
            ),
        ];
        problems.extend(sections.into_iter().flatten());
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Refused { problems }) }
    }
}

/// Problems of one LLM role's own backend and sampling settings.
fn role_problems(
    section: &str,
    llm: Option<&LlmConfig>,
    settings: Option<&SamplingSettings>,
) -> Vec<String> {
    let llm = one_problem(&format!("{section}.llm"), llm.map_or(Ok(()), LlmConfig::validate));
    let settings = settings.map_or(Ok(()), SamplingSettings::validate);
    llm.into_iter().chain(one_problem(section, settings)).collect()
}

fn one_problem<E: std::fmt::Display>(section: &str, result: Result<(), E>) -> Vec<String> {
    result.err().map(|error| format!("{section}.{error}")).into_iter().collect()
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
        let text = config.validate().expect_err("two problems").to_string();
        assert!(text.contains("encoder.batch_size is 0, must be 1 to 256"), "{text}");
        assert!(text.contains("answer.attempts is 11, must be 1 to 10"), "{text}");
    }
}
