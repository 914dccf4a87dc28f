//! One model of a catalog.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CatalogError;
use crate::model::manifest::Logit;
use crate::model::{ModelManifest, Precision};

/// The revision of a repository where none is pinned.
const MOVING: &str = "main";

/// What is known of a model: where its files are, and what they must turn out to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogModel {
    /// How it is called: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What it can be used for.
    #[serde(default, skip_serializing_if = "ModelKind::is_dual")]
    pub kind: ModelKind,
    /// The repository on the hub, `OWNER/NAME`; none for a model that is a folder here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// A commit, a tag or a branch; `main` where no commit is known.
    #[serde(default = "moving", skip_serializing_if = "is_moving")]
    pub revision: String,
    /// A model folder on this machine, relative to the program's own files or absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// SPDX expression.
    pub license: String,
    /// One sentence: what it is good for.
    #[serde(default)]
    pub note: String,
    /// Width of the embeddings; checked after a pull where given, as the next two are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Longest text in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<usize>,
    /// Side of the square the vision tower sees, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    /// How photos are prepared, in words; the files of the model decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<String>,
    /// Its tokenizer, in words; the files of the model decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Where the vectors come from, in words; the graphs decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<String>,
    /// Turns a cosine into the model's own score, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logit: Option<Logit>,
    /// Files of every precision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub common: Vec<CatalogFile>,
    /// The graphs of each precision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) precisions: BTreeMap<Precision, Vec<CatalogFile>>,
}

/// What a model can be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Photos and texts, in one space: an encoder.
    #[default]
    Dual,
    /// Texts alone: `--text-model`.
    Sentence,
}

impl ModelKind {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    fn is_dual(&self) -> bool {
        *self == Self::Dual
    }
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogFile {
    /// Its path in the repository.
    pub path: String,
    /// Its path in the model's folder, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Its repository, where that is not the model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The revision of its own repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Its size, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its SHA-256; where it is not known, that of the first download holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

fn moving() -> String {
    MOVING.to_owned()
}

fn is_moving(revision: &str) -> bool {
    revision == MOVING
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogText {
    #[serde(default)]
    model: Vec<CatalogModel>,
}

/// Reads a catalog; `path` is for the messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<CatalogModel>, CatalogError> {
    let read: CatalogText = toml::from_str(text).map_err(|error| CatalogError::Syntax {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    for model in &read.model {
        model.validate().map_err(|problem| CatalogError::Entry {
            path: path.to_owned(),
            name: model.name.clone(),
            problem,
        })?;
    }
    Ok(read.model)
}

impl CatalogModel {
    /// A model without files: of a repository, or a folder.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: ModelKind::Dual,
            repo: None,
            revision: moving(),
            path: None,
            license: crate::model::manifest::UNKNOWN_LICENSE.to_owned(),
            note: String::new(),
            width: None,
            context_length: None,
            image_size: None,
            preprocess: None,
            tokenizer: None,
            pooling: None,
            logit: None,
            common: Vec::new(),
            precisions: BTreeMap::new(),
        }
    }

    /// Sets the graphs of a precision.
    pub fn set(&mut self, precision: Precision, files: Vec<CatalogFile>) {
        self.precisions.insert(precision, files);
    }

    /// The precisions it can be had in, the most exact first.
    pub fn precisions(&self) -> impl Iterator<Item = Precision> {
        self.precisions.keys().copied()
    }

    /// Every file of a precision, small ones first; none where it is not to be had in it.
    pub fn files(&self, precision: Precision) -> Option<Vec<&CatalogFile>> {
        let graphs = self.precisions.get(&precision)?;
        Some(self.common.iter().chain(graphs).collect())
    }

    /// The repository and the revision that a file comes from.
    pub fn origin<'a>(&'a self, file: &'a CatalogFile) -> (&'a str, &'a str) {
        match &file.repo {
            Some(repo) => (repo, file.revision.as_deref().unwrap_or(MOVING)),
            None => (self.repo.as_deref().unwrap_or_default(), &self.revision),
        }
    }

    /// Whether what was found in the files is what this entry promises.
    ///
    /// # Errors
    /// What differs, in words.
    pub fn check(&self, manifest: &ModelManifest) -> Result<(), String> {
        let differs = |what: &str, wanted: usize, found: usize| match wanted == found {
            true => Ok(()),
            false => Err(format!("{what} is {found}, the catalog says {wanted}")),
        };
        if let Some(width) = self.width {
            differs("the embeddings' width", width, manifest.embedding_dim)?;
        }
        if let Some(context) = self.context_length {
            differs("the context length", context, manifest.text.context_length)?;
        }
        if let Some(size) = self.image_size {
            differs("the image size", size as usize, manifest.vision.preprocess.crop as usize)?;
        }
        Ok(())
    }

    /// What is wrong with the entry, in words.
    pub(super) fn validate(&self) -> Result<(), String> {
        valid_name(&self.name)?;
        match (&self.repo, &self.path) {
            (Some(_), Some(_)) => return Err("it has both `repo` and `path`".into()),
            (None, None) => return Err("it has neither `repo` nor `path`".into()),
            (None, Some(_)) => return Ok(()),
            (Some(repo), None) => valid_repo(repo)?,
        }
        let graphs = self.precisions.values().flatten();
        self.common.iter().chain(graphs).try_for_each(CatalogFile::validate)?;
        match self.precisions.is_empty() {
            true => Err("it has no files: give [model.precisions]".into()),
            false => Ok(()),
        }
    }
}

impl CatalogFile {
    /// The file of this path, nothing else known of it.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), to: None, repo: None, revision: None, bytes: None, sha256: None }
    }

    /// Its path in the model's folder.
    pub fn local(&self) -> &str {
        self.to.as_deref().unwrap_or(&self.path)
    }

    fn validate(&self) -> Result<(), String> {
        for path in std::iter::once(&self.path).chain(&self.to) {
            valid_path(path)?;
        }
        self.repo.as_deref().map_or(Ok(()), valid_repo)?;
        match &self.sha256 {
            Some(hash) if !is_sha256(hash) => Err(format!(
                "sha256 of {} is {hash:?}, must be 64 lower-case hexadecimal digits",
                self.path
            )),
            _ => Ok(()),
        }
    }
}

/// Whether `text` is a SHA-256 as it is written here.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name becomes a folder's, and must be told from a path.
fn valid_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && name.len() <= 100 && name.bytes().all(fits) {
        return Ok(());
    }
    Err("its name must be 1 to 100 letters, digits, `.`, `_` or `-`, the first a letter or digit"
        .into())
}

/// A name of the hub: `OWNER/NAME`.
pub(crate) fn valid_repo(repo: &str) -> Result<(), String> {
    let parts: Vec<&str> = repo.split('/').collect();
    if parts.len() == 2 && parts.iter().all(|part| valid_name(part).is_ok()) {
        return Ok(());
    }
    Err(format!("the repository {repo:?} must be OWNER/NAME"))
}

/// A catalog must not write outside a model's folder.
fn valid_path(path: &str) -> Result<(), String> {
    let mut parts = Path::new(path).components().peekable();
    let inside = parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
    if inside && !path.contains(['\\', '?', '#', '%']) {
        return Ok(());
    }
    Err(format!("the file {path:?} must be a plain path inside the model's folder"))
}
