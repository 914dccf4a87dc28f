//! The cache of models that were fetched: `pairwright models`.
//!
//! Below the cache folder each model has a folder per precision, laid out as its repository is, with
//! `model.toml`, which pins every file for [`ModelFolder::open`](crate::model::ModelFolder::open),
//! and `pulled.toml`, which records where each file came from. A file that is there is whole: it
//! got its name after its hash was found right and its bytes were on the disk.
//!
//! Only [`Store::pull`] and [`list_repository`] open a socket.

mod download;
mod error;
mod files;
mod hub;
mod listing;
mod pull;

use std::path::{Path, PathBuf};

use super::catalog::{Catalog, CatalogFile, CatalogModel, ModelKind};
use super::{ModelManifest, Precision};
use crate::base::{hash, paths};

pub use download::Transfer;
pub use error::{HashSource, MissingFile, ModelStoreError};
pub use files::{Record, RecordedFile};
pub use hub::Hub;
pub use listing::list_repository;
pub use pull::Pulled;

/// Names the cache folder; an empty value is as good as none.
const VARIABLE: &str = "PAIRWRIGHT_MODELS";

/// The manifest in a model's folder.
const MANIFEST_FILE: &str = "model.toml";

/// The cache.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// What [`Store::verify`] found of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its path in the model's folder.
    pub path: String,
    /// What is wrong with it, if anything is.
    pub problem: Option<String>,
}

impl Store {
    /// The cache in `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache that the environment names: `PAIRWRIGHT_MODELS`, or `pairwright/models` in the
    /// user's cache folder.
    ///
    /// # Errors
    /// [`ModelStoreError::NoPlace`] where no home folder is known.
    pub fn from_environment() -> Result<Self, ModelStoreError> {
        let named = paths::from_variable(VARIABLE);
        let root = named.or_else(|| Some(paths::user_cache()?.join("pairwright/models")));
        root.map(Self::at).ok_or(ModelStoreError::NoPlace)
    }

    /// The cache folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a model at a precision, whether it is there or not.
    pub fn folder(&self, model: &CatalogModel, precision: Precision) -> PathBuf {
        self.root.join(&model.name).join(precision.to_string())
    }

    /// The folder that the model called `name` can be opened from, at the precision asked for, or
    /// at the most exact that was fetched.
    ///
    /// # Errors
    /// The name or the precision is unknown; the model was not fetched, or not wholly: the message
    /// lists what is missing and the command that fetches it.
    pub fn resolve(
        &self,
        catalog: &Catalog,
        name: &str,
        precision: Option<Precision>,
    ) -> Result<PathBuf, ModelStoreError> {
        let model = catalog.find(name)?;
        if let Some(path) = &model.path {
            return Ok(local_folder(path));
        }
        let wanted = match precision {
            Some(precision) => precision,
            None => self.pulled(model).next().unwrap_or(default_precision(model)?),
        };
        self.require(model, wanted)?;
        Ok(self.folder(model, wanted))
    }

    /// The precisions of a model that were fetched wholly.
    pub fn pulled(&self, model: &CatalogModel) -> impl Iterator<Item = Precision> {
        let all: Vec<Precision> = model.precisions().collect();
        all.into_iter().filter(|one| self.missing(model, *one).is_ok_and(|files| files.is_empty()))
    }

    /// The files that a model still lacks at a precision. Names and sizes are looked at, hashes
    /// are not: opening the model does that, and so does [`Store::verify`].
    ///
    /// # Errors
    /// The model is not to be had at this precision, or the record cannot be read.
    pub fn missing(
        &self,
        model: &CatalogModel,
        precision: Precision,
    ) -> Result<Vec<MissingFile>, ModelStoreError> {
        let folder = self.folder(model, precision);
        let record = Record::read(&folder)?;
        let wanted = files_of(model, precision)?;
        let mut missing: Vec<MissingFile> = wanted
            .into_iter()
            .filter(|file| !is_there(&folder, record.of(model, file)))
            .map(|file| MissingFile { path: file.local().to_owned(), bytes: file.bytes })
            .collect();
        if missing.is_empty() && has_manifest(model) && !folder.join(MANIFEST_FILE).is_file() {
            missing.push(MissingFile { path: MANIFEST_FILE.into(), bytes: None });
        }
        Ok(missing)
    }

    /// Checks the SHA-256 of every file of a model against the catalog and the record.
    ///
    /// # Errors
    /// The model was never fetched at this precision, or a file cannot be read.
    pub fn verify(
        &self,
        model: &CatalogModel,
        precision: Precision,
    ) -> Result<Vec<Checked>, ModelStoreError> {
        let folder = self.folder(model, precision);
        let record = Record::read(&folder)?;
        if record.files().is_empty() {
            return Err(self.not_pulled(model, precision)?);
        }
        let wanted = files_of(model, precision)?;
        wanted.into_iter().map(|file| check(&folder, file, record.of(model, file))).collect()
    }

    /// Refuses a model of which [`Store::verify`] finds a file wrong.
    ///
    /// # Errors
    /// As [`Store::verify`], and `Damaged` with the first such file.
    pub fn check(&self, model: &CatalogModel, precision: Precision) -> Result<(), ModelStoreError> {
        let wrong = |one: Checked| Some((one.path, one.problem?));
        match self.verify(model, precision)?.into_iter().find_map(wrong) {
            None => Ok(()),
            Some((path, problem)) => Err(ModelStoreError::Damaged {
                path: self.folder(model, precision).join(path),
                problem,
                command: command(model, precision),
            }),
        }
    }

    /// What is recorded of a model at a precision.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn record(
        &self,
        model: &CatalogModel,
        precision: Precision,
    ) -> Result<Record, ModelStoreError> {
        Record::read(&self.folder(model, precision))
    }

    fn require(&self, model: &CatalogModel, precision: Precision) -> Result<(), ModelStoreError> {
        if !self.missing(model, precision)?.is_empty() {
            return Err(self.not_pulled(model, precision)?);
        }
        let folder = self.folder(model, precision);
        let record = Record::read(&folder)?;
        for file in files_of(model, precision)? {
            let recorded = record.of(model, file).map(|known| &known.sha256);
            if let (Some(pinned), Some(recorded)) = (&file.sha256, recorded)
                && pinned != recorded
            {
                let (pinned, recorded) = (pinned.clone(), recorded.clone());
                let (path, command) = (folder.join(file.local()), command(model, precision));
                return Err(ModelStoreError::Outdated { path, recorded, pinned, command });
            }
        }
        Ok(())
    }

    fn not_pulled(
        &self,
        model: &CatalogModel,
        precision: Precision,
    ) -> Result<ModelStoreError, ModelStoreError> {
        Ok(ModelStoreError::NotPulled {
            name: model.name.clone(),
            precision,
            folder: self.folder(model, precision),
            missing: self.missing(model, precision)?,
            command: command(model, precision),
        })
    }
}

/// Whether a model's folder is opened by a manifest: a sentence embedder's files have their names
/// from `fastembed`.
fn has_manifest(model: &CatalogModel) -> bool {
    model.kind == ModelKind::Dual
}

/// The folder of a model that is not fetched: where it is, or where the program's own files are.
pub fn local_folder(path: &Path) -> PathBuf {
    let own = (!path.is_absolute()).then(|| paths::find(&path.to_string_lossy())).flatten();
    own.unwrap_or_else(|| path.to_owned())
}

/// The precision that is fetched unless another is asked for: the most exact.
///
/// # Errors
/// The model is a folder.
pub fn default_precision(model: &CatalogModel) -> Result<Precision, ModelStoreError> {
    model.precisions().next().ok_or_else(|| ModelStoreError::NothingToPull {
        name: model.name.clone(),
        path: model.path.as_deref().map(local_folder).unwrap_or_default(),
    })
}

/// The command that fetches a model.
pub fn command(model: &CatalogModel, precision: Precision) -> String {
    let most_exact = model.precisions().next() == Some(precision);
    let flag = if most_exact { String::new() } else { format!(" --precision {precision}") };
    format!("pairwright models pull {}{flag}", model.name)
}

fn files_of(
    model: &CatalogModel,
    precision: Precision,
) -> Result<Vec<&CatalogFile>, ModelStoreError> {
    default_precision(model)?;
    model.files(precision).ok_or_else(|| ModelStoreError::UnknownPrecision {
        name: model.name.clone(),
        wanted: precision,
        has: model.precisions().collect(),
    })
}

fn is_there(folder: &Path, recorded: Option<&RecordedFile>) -> bool {
    recorded.is_some_and(|known| {
        let found = fs_err::metadata(folder.join(&known.path));
        found.is_ok_and(|found| found.is_file() && found.len() == known.bytes)
    })
}

fn check(
    folder: &Path,
    file: &CatalogFile,
    recorded: Option<&RecordedFile>,
) -> Result<Checked, ModelStoreError> {
    let path = folder.join(file.local());
    let wanted = file.sha256.as_ref().or(recorded.map(|known| &known.sha256));
    let problem = match (path.is_file(), wanted) {
        (false, _) => Some("is missing".to_owned()),
        (true, None) => Some("was put there by hand: no hash of it is known".to_owned()),
        (true, Some(wanted)) => {
            let found = hash::sha256_file(&path)
                .map_err(|source| ModelStoreError::Io { path: path.clone(), source })?;
            (found != *wanted).then(|| format!("has SHA-256 {found}, {wanted} is right"))
        }
    };
    Ok(Checked { path: file.local().to_owned(), problem })
}

/// What a manifest must say of itself when it is written for a model of the catalog.
fn name_manifest(manifest: &mut ModelManifest, model: &CatalogModel, revision: &str) {
    manifest.name.clone_from(&model.name);
    manifest.license.clone_from(&model.license);
    manifest.logit = model.logit.or(manifest.logit);
    revision.clone_into(&mut manifest.revision);
}
