//! Why a model cannot be fetched or is not in the cache as it should be.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use reqwest::StatusCode;

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::base::lock::LockError;
use crate::model::catalog::CatalogError;
use crate::model::{ModelError, Precision};

/// Why a model cannot be fetched, or not be used from the cache.
#[derive(Debug, thiserror::Error)]
pub enum ModelStoreError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("model {name} is not to be had as {wanted}; it exists as {}", listed(has))]
    UnknownPrecision { name: String, wanted: Precision, has: Vec<Precision> },
    #[error("model {name} is a folder ({path}): there is nothing to pull")]
    NothingToPull { name: String, path: PathBuf },
    #[error(
        "model {name} ({precision}) is not in the cache {folder}: missing {}; fetch it with \
         `{command}`",
        list(missing)
    )]
    NotPulled {
        name: String,
        precision: Precision,
        folder: PathBuf,
        missing: Vec<MissingFile>,
        command: String,
    },
    #[error(
        "{path} is the model's file of an earlier catalog (SHA-256 {recorded}, the catalog now \
         says {pinned}); bring it up to date with `{command}`"
    )]
    Outdated { path: PathBuf, recorded: String, pinned: String, command: String },
    #[error("{path} {problem}; fetch it again with `{command}`")]
    Damaged { path: PathBuf, problem: String, command: String },
    #[error("model {name} in {folder} is not what the catalog says: {problem}; the files are kept")]
    NotAsDescribed { name: String, folder: PathBuf, problem: String },
    #[error(transparent)]
    Lock(LockError),
    #[error(
        "the cache folder {folder} cannot be written: {source}; set PAIRWRIGHT_MODELS to another"
    )]
    CacheNotWritable {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no place for the cache is known: set PAIRWRIGHT_MODELS to a folder, or HOME")]
    NoPlace,
    #[error(
        "no space for {file}: {} more are needed in {folder}, {} are free; make room, or set \
         PAIRWRIGHT_MODELS to a folder on another disk", HumanBytes(*needed), HumanBytes(*free)
    )]
    NoSpace { file: String, folder: PathBuf, needed: u64, free: u64 },
    #[error("{path}: the disk is full: {source}; make room and pull again: what came is kept")]
    DiskFull {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: not a record of a pull: {message}; remove the folder and pull again")]
    Record { path: PathBuf, message: String },
    #[error("HF_ENDPOINT={value}: {problem}; it must be a web address such as https://hub.example")]
    Endpoint { value: String, problem: String },
    #[error("the web client cannot start: {message}")]
    Client { message: String },
    #[error(
        "{file}: {url} answered {status}: {}",
        if *with_token {
            "the token was refused: it must be valid and its owner must have accepted the \
             repository's terms"
        } else {
            "this repository is private, gated or does not exist: set HF_TOKEN to a token that may \
             read it, or check its name"
        }
    )]
    Refused { file: String, url: String, status: u16, with_token: bool },
    #[error(
        "{file}: {url} answered 404: {what}; check repository, file and revision in the catalog"
    )]
    NotFound { file: String, url: String, what: &'static str },
    #[error(
        "{file}: {url} answered {status} {tries} times; try again later, or another HF_ENDPOINT"
    )]
    Server { file: String, url: String, status: u16, tries: u32 },
    #[error(
        "{file}: {url} gave a web page in its place: a proxy or a login page stands between; check \
         HTTPS_PROXY, NO_PROXY and HF_ENDPOINT, or log in to the network"
    )]
    Html { file: String, url: String },
    #[error("{file}: {url} has {found} bytes of it, {expected} were expected: {meaning}")]
    WrongSize { file: String, url: String, expected: u64, found: u64, meaning: &'static str },
    #[error(
        "{file}: SHA-256 of what came from {url} is {found}, {} says {expected}: it was removed and \
         is not used; {}", by.words(), by.remedy()
    )]
    WrongHash { file: String, url: String, expected: String, found: String, by: HashSource },
    #[error(
        "{file}: {tries} tries at {url} failed, {} came ({cause}); pull again to go on from there",
        HumanBytes(*received)
    )]
    Cut { file: String, url: String, tries: u32, received: u64, cause: String },
    #[error(
        "--offline (or HF_HUB_OFFLINE) is on, so nothing is fetched: {what} would have to be asked \
         for at a hub; leave it out to allow that"
    )]
    Offline { what: String },
    #[error("the repository {repo} holds no export that is known: {problem}")]
    NoExport { repo: String, problem: String },
    #[error("{url}: not what a hub answers: {message}; check HF_ENDPOINT")]
    Answer { url: String, message: String },
}

/// Who says what a file's hash must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashSource {
    /// The catalog pins it.
    Catalog,
    /// It is that of the first download, as the cache recorded it.
    FirstUse,
    /// The hub says so with each answer.
    Hub,
}

impl HashSource {
    fn words(self) -> &'static str {
        match self {
            Self::Catalog => "the catalog",
            Self::FirstUse => "the record of the first download",
            Self::Hub => "the hub",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Catalog => {
                "the mirror or the repository gives another file; try another \
                HF_ENDPOINT, or pin the new file in your own catalog"
            }
            Self::FirstUse => {
                "the repository changed; to accept the new file, remove the model's \
                folder from the cache and pull again"
            }
            Self::Hub => "it was damaged on the way; pull again",
        }
    }
}

/// A file that a model lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFile {
    /// Its path in the model's folder.
    pub path: String,
    /// Its size, where it is known.
    pub bytes: Option<u64>,
}

impl ModelStoreError {
    /// The error of writing `path`: a full disk has its own.
    pub(super) fn writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    /// The error of an answer that will stay as it is. The hub says 401 of a repository that does not
    /// exist, too, so that nobody learns which private ones do.
    pub(super) fn answered(
        file: &str,
        url: &str,
        status: StatusCode,
        code: Option<&str>,
        with_token: bool,
    ) -> Self {
        let (file, url) = (file.to_owned(), url.to_owned());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Self::Refused { file, url, status: status.as_u16(), with_token }
            }
            StatusCode::NOT_FOUND => {
                let what = match code {
                    Some("RepoNotFound") => "there is no such repository",
                    Some("RevisionNotFound") => "the repository has no such revision",
                    Some("EntryNotFound") => "the repository has no such file at this revision",
                    _ => "the hub has no such repository, revision or file",
                };
                Self::NotFound { file, url, what }
            }
            _ => Self::Server { file, url, status: status.as_u16(), tries: 1 },
        }
    }
}

impl Failure for ModelStoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::UnknownPrecision { .. }
            | Self::NothingToPull { .. }
            | Self::NoPlace
            | Self::Endpoint { .. }
            | Self::NoExport { .. } => ErrorKind::InvalidInput,
            Self::NotPulled { .. } | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Outdated { .. }
            | Self::NotAsDescribed { .. }
            | Self::Damaged { .. }
            | Self::Lock(_)
            | Self::Record { .. }
            | Self::CacheNotWritable { .. }
            | Self::Offline { .. }
            | Self::WrongSize { .. }
            | Self::WrongHash { .. } => ErrorKind::FailedPrecondition,
            Self::NoSpace { .. } | Self::DiskFull { .. } => ErrorKind::ResourceExhausted,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Client { .. } => ErrorKind::Internal,
            Self::Refused { .. } => ErrorKind::PermissionDenied,
            Self::Server { .. } | Self::Html { .. } | Self::Cut { .. } | Self::Answer { .. } => {
                ErrorKind::Unavailable
            }
        }
    }

    fn code(&self) -> &'static str {
        "model_unusable"
    }
}

fn listed(precisions: &[Precision]) -> String {
    let names: Vec<String> = precisions.iter().map(Precision::to_string).collect();
    names.join(", ")
}

fn list(missing: &[MissingFile]) -> String {
    let name = |file: &MissingFile| match file.bytes {
        Some(bytes) => format!("{} ({})", file.path, HumanBytes(bytes)),
        None => file.path.clone(),
    };
    missing.iter().map(name).collect::<Vec<_>>().join(", ")
}
