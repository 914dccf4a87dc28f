//! Which model is meant: its folder or folders, and what is chosen among what they hold.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ModelError;

/// How a graph's weights are stored.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers.
    Int8,
    /// 4 bits.
    Q4,
}

impl Precision {
    /// All of them, the most exact first: the order in which one is chosen.
    pub const ALL: [Self; 4] = [Self::Fp32, Self::Fp16, Self::Int8, Self::Q4];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
        })
    }
}

/// A model on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelSource {
    /// A folder with `model.toml`, or an export's.
    pub path: PathBuf,
    /// The folder of the text graph and the tokenizer, where that is another one.
    pub text_path: Option<PathBuf>,
    /// Which graphs of an export to take; the most exact when absent.
    pub precision: Option<Precision>,
    /// What is put around each text, in the place of what the model's manifest says.
    pub prompt: Option<String>,
}

impl ModelSource {
    /// Checks what can be wrong before any file is looked at.
    pub(super) fn validate(&self) -> Result<(), ModelError> {
        self.prompt.as_deref().map_or(Ok(()), check_prompt)
    }
}

/// Whether a prompt says once where the text goes.
pub(super) fn check_prompt(prompt: &str) -> Result<(), ModelError> {
    match prompt.matches("{}").count() {
        1 => Ok(()),
        _ => Err(ModelError::Prompt { prompt: prompt.to_owned() }),
    }
}

impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }
}

impl From<&PathBuf> for ModelSource {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_says_once_where_the_text_goes() {
        check_prompt("a photo of {}.").expect("once");
        for wrong in ["a photo", "{} and {}"] {
            assert!(matches!(check_prompt(wrong), Err(ModelError::Prompt { .. })));
        }
    }

    #[test]
    fn precisions_are_written_as_they_are_read() {
        for precision in Precision::ALL {
            let written = serde_json::to_string(&precision).expect("writes");
            assert_eq!(written, format!("\"{precision}\""));
        }
    }
}
