//! The JSON files beside an export's graphs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::ModelError;

/// The family of a model, by `model_type` of its `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// CLIP and those built like it: the class token or the end marker is projected.
    Clip,
    /// SigLIP and SigLIP 2 of a fixed resolution.
    Siglip,
    Unknown,
}

/// Parts of the names of text models that keep RoBERTa's table of places.
const AFTER_PADDING: [&str; 4] = ["roberta", "camembert", "altclip", "mpnet"];

/// `config.json` of an export: facts the graphs do not show.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    value: Value,
}

impl Config {
    /// The first `config.json` of these folders; an empty one where there is none.
    pub fn read(folders: &[PathBuf]) -> Result<Self, ModelError> {
        let found = read_first(folders, "config.json")?;
        Ok(Self { value: found.map(|(_, value)| value).unwrap_or_default() })
    }

    pub fn family(&self) -> Family {
        match self.value["model_type"].as_str() {
            Some(kind) if kind.contains("siglip") => Family::Siglip,
            Some(kind) if kind.contains("clip") => Family::Clip,
            _ => Family::Unknown,
        }
    }

    /// The name that the export's makers gave the model, without its owner.
    pub fn name(&self) -> Option<&str> {
        let name = self.value["_name_or_path"].as_str().filter(|name| !name.is_empty())?;
        name.rsplit('/').next()
    }

    /// Width of the shared space.
    pub fn projection_dim(&self) -> Option<usize> {
        self.number(&[], "projection_dim").or_else(|| match self.family() {
            Family::Siglip => self.number(&["text_config"], "hidden_size"),
            Family::Clip | Family::Unknown => None,
        })
    }

    /// Longest text in tokens.
    pub fn context_length(&self) -> Option<usize> {
        let key = "max_position_embeddings";
        let said = self.number(&["text_config"], key).or_else(|| self.number(&[], key));
        // Values that equal the default are often left out.
        said.or(match self.family() {
            Family::Clip => Some(77),
            Family::Siglip => Some(64),
            Family::Unknown => None,
        })
    }

    /// Longest text in tokens of a tower with BERT's frame, `max_length` being what its tokenizer
    /// says.
    pub fn bert_context_length(&self, max_length: Option<usize>, pad_id: u32) -> Option<usize> {
        let both = |key| self.number(&["text_config"], key).or_else(|| self.number(&[], key));
        let text = self.value["text_config"]["model_type"].as_str();
        let kind = text.or_else(|| self.value["model_type"].as_str()).unwrap_or_default();
        // RoBERTa counts places from one behind the padding's id on.
        let begin =
            if AFTER_PADDING.iter().any(|name| kind.contains(name)) { pad_id + 1 } else { 0 };
        let positions = both("max_position_embeddings");
        let positions = positions.map(|number| number.saturating_sub(begin as usize).max(1));
        let trained = match kind.contains("chinese_clip") {
            // Its table of places is BERT's; of those behind it, none was trained with photos.
            true => Some(52),
            false => None,
        };
        let said = both("context_length").or(max_length).or(trained);
        said.into_iter().chain(positions).min()
    }

    /// The id that fills the padding.
    pub fn pad_token(&self) -> Option<u32> {
        self.token("pad_token_id")
    }

    /// Side of the photos in pixels.
    pub fn image_size(&self) -> Option<usize> {
        let said = self.number(&["vision_config"], "image_size");
        said.or_else(|| self.number(&[], "image_size"))
    }

    /// Id of the token that ends a text.
    pub fn end_token(&self) -> Option<u32> {
        self.token("eos_token_id")
    }

    fn token(&self, key: &str) -> Option<u32> {
        let said = self.number(&["text_config"], key).or_else(|| self.number(&[], key));
        said.and_then(|id| u32::try_from(id).ok())
    }

    fn number(&self, path: &[&str], key: &str) -> Option<usize> {
        let table = path.iter().fold(&self.value, |value, part| &value[*part]);
        table[key].as_u64().and_then(|number| usize::try_from(number).ok())
    }
}

/// The first of `folders` that has this JSON file: its path and its content.
pub(super) fn read_first(
    folders: &[PathBuf],
    name: &str,
) -> Result<Option<(PathBuf, Value)>, ModelError> {
    let Some(path) = find(folders, name) else { return Ok(None) };
    let text = fs_err::read_to_string(&path)
        .map_err(|source| ModelError::Io { path: path.clone(), source })?;
    let json = |error: serde_json::Error| ModelError::Json {
        path: path.clone(),
        message: error.to_string(),
    };
    let value: Value = serde_json::from_str(&text).map_err(json)?;
    Ok(Some((path, value)))
}

/// The first of `folders` that has this file.
pub(super) fn find(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Where a graph's configuration may lie: beside it, then in each folder up to `root`.
pub(super) fn folders(graph: &Path, root: &Path) -> Vec<PathBuf> {
    let above = graph.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    above.map(Path::to_owned).collect()
}
