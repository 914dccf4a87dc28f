//! Flags that say which graphs of a model to take and what to run them on.

use std::path::PathBuf;

use clap::Args;

use crate::config::{ConfigError, Layers, ModelConfig};
use crate::model::{Device, Precision};

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
