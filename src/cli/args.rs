//! Flags that several commands share.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{ConfigError, Layers, ModelConfig};
use crate::model::{Device, Precision};

/// The configuration below a command's flags: defaults < file < environment. `earlier` is the file
/// that an earlier start of the same work left, used where the command line names none.
pub fn layers(config: Option<&Path>, earlier: Option<&Path>) -> Result<Layers, ConfigError> {
    let layers = Layers::default();
    let layers = match config.or(earlier.filter(|file| file.is_file())) {
        Some(file) => layers.file(file)?,
        None => layers,
    };
    Ok(layers.environment())
}

/// Options of commands that only need a run folder.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The run folder.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
}

/// The LLM that a command asks.
#[derive(Debug, Clone, Default, Args)]
pub struct LlmArgs {
    /// The LLM: local, local:FILE.gguf, or openai:http://HOST:PORT/v1.
    #[arg(long, value_name = "BACKEND")]
    pub llm: Option<String>,

    /// Model name to ask the LLM server for; default: the server's only one.
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,

    /// LLM calls under way at once.
    #[arg(long, value_name = "N")]
    pub llm_in_flight: Option<u64>,
}

impl LlmArgs {
    /// Adds the flags that were given.
    pub fn layers(&self, layers: Layers) -> Result<Layers, ConfigError> {
        layers
            .flag("llm.target", self.llm.clone())?
            .flag("llm.model", self.llm_model.clone())?
            .flag("llm.max_in_flight", self.llm_in_flight)
    }
}

/// Which samples are exported.
#[derive(Debug, Clone, Default, Args)]
pub struct KeepArgs {
    /// Export only samples that pass this, such as "sentence_similarity_min >= 0.2"; may be given
    /// several times, and all must hold. Empty: export all.
    #[arg(long = "keep", value_name = "EXPR")]
    keep: Option<Vec<String>>,
}

impl KeepArgs {
    /// The expressions that were given; none of them is empty.
    pub fn expressions(&self) -> Option<Vec<String>> {
        let given = |text: &&String| !text.trim().is_empty();
        Some(self.keep.as_ref()?.iter().filter(given).cloned().collect())
    }
}

/// How the path of a source is read.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// Kind of the source when its path does not tell: auto, folder, jsonl, csv, coco, webdataset,
    /// parquet, arrow.
    #[arg(
        long,
        value_name = "KIND",
        value_parser = [
            "auto", "folder", "jsonl", "csv", "coco", "webdataset", "parquet", "arrow",
        ]
    )]
    pub source_kind: Option<String>,

    /// Field or column of the source that holds the description, where it is no usual one.
    #[arg(long, value_name = "NAME")]
    pub caption_field: Option<String>,

    /// Folder that image names in a manifest or COCO file are relative to.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
}

impl SourceArgs {
    /// Adds the flags that were given, `path` among them.
    pub fn layers(&self, layers: Layers, path: Option<&PathBuf>) -> Result<Layers, ConfigError> {
        layers
            .path_flag("source.path", path)?
            .flag("source.kind", self.source_kind.clone())?
            .flag("source.fields.caption", self.caption_field.clone())?
            .path_flag("source.images", self.images.as_ref())
    }
}

/// What is chosen among what a model folder and the machine offer.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelArgs {
    /// Folder of the text graph and the tokenizer, where the export has one for each tower.
    #[arg(long = "model-text", value_name = "DIR", requires = "model")]
    pub text: Option<PathBuf>,

    /// Which graphs of an export to take; default: the most exact that are there.
    #[arg(long = "model-precision", value_name = "PRECISION")]
    pub precision: Option<Precision>,

    /// What to put around each text before it is embedded: {} stands for the text.
    #[arg(long = "model-prompt", value_name = "TEMPLATE")]
    pub prompt: Option<String>,

    /// What to run the encoder on: auto, cpu, cuda[:N], tensorrt[:N], coreml, openvino.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<Device>,
}

impl ModelArgs {
    /// Adds the flags that were given.
    pub fn layers(&self, layers: Layers) -> Result<Layers, ConfigError> {
        layers
            .path_flag("model.text_path", self.text.as_ref())?
            .flag("model.precision", self.precision.map(|precision| precision.to_string()))?
            .flag("model.prompt", self.prompt.clone())?
            .flag("encoder.device", self.device.map(|device| device.to_string()))
    }

    /// The model in `path` with what was chosen.
    pub fn model(&self, path: Option<PathBuf>) -> ModelConfig {
        ModelConfig {
            path,
            text_path: self.text.clone(),
            precision: self.precision,
            prompt: self.prompt.clone(),
        }
    }
}
