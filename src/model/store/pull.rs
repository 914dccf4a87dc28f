//! A whole model, from the hub into the cache.

use std::path::{Path, PathBuf};

use super::download::{self, Fetched, Transfer, Wanted};
use super::files::{Record, RecordedFile};
use super::{
    HashSource, Hub, MANIFEST_FILE, ModelStoreError, Store, files_of, has_manifest, name_manifest,
};
use crate::base::lock::{FolderLock, LockFile};
use crate::base::{durable, hash};
use crate::model::catalog::{CatalogFile, CatalogModel};
use crate::model::{ModelFolder, ModelManifest, ModelSource, Precision};

/// Digits of a commit; a revision of another form can move.
const COMMIT: usize = 40;

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The model's folder.
    pub folder: PathBuf,
    /// Files that came.
    pub fetched: usize,
    /// Files that were there already, their hashes right.
    pub kept: usize,
}

impl Store {
    /// Fetches what is missing of a model, checks what is there, and writes the manifest that it is
    /// opened by.
    ///
    /// # Errors
    /// [`ModelStoreError`] with the file and what to do. What came whole is kept, and what came
    /// half is gone on with by the next pull.
    pub async fn pull(
        &self,
        hub: &Hub,
        model: &CatalogModel,
        precision: Precision,
        transfer: &dyn Transfer,
    ) -> Result<Pulled, ModelStoreError> {
        let wanted = files_of(model, precision)?;
        let folder = self.folder(model, precision);
        let _lock = lock(&folder)?;
        let record = Record::read(&folder)?;
        let mut pull = Pull { hub, model, transfer, folder, record, fetched: 0, kept: 0 };
        for file in wanted {
            pull.file(file).await?;
        }
        let is_pinned = pull.fetched == 0 && pull.folder.join(MANIFEST_FILE).is_file();
        if has_manifest(model) && !is_pinned {
            pull.write_manifest(precision)?;
        }
        let Pull { folder, fetched, kept, .. } = pull;
        Ok(Pulled { folder, fetched, kept })
    }

    /// What a pull that may not open a socket comes to: nothing when all is there.
    ///
    /// # Errors
    /// As [`Store::resolve`]: what is missing and the command that fetches it.
    pub fn pull_offline(
        &self,
        model: &CatalogModel,
        precision: Precision,
    ) -> Result<Pulled, ModelStoreError> {
        self.require(model, precision)?;
        let kept = files_of(model, precision)?.len();
        Ok(Pulled { folder: self.folder(model, precision), fetched: 0, kept })
    }
}

/// Makes a model's folder and takes its lock, which ends with the process.
fn lock(folder: &Path) -> Result<FolderLock, ModelStoreError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::StorageFull => ModelStoreError::writing(folder, source),
        _ => ModelStoreError::CacheNotWritable { folder: folder.to_owned(), source },
    };
    let held = FolderLock::take(folder, &LOCK);
    held.map_err(|error| error.into_io().map_or_else(ModelStoreError::Lock, failed))
}

static LOCK: LockFile = LockFile {
    name: ".lock",
    held: ": another process is fetching into this folder; wait for it to end",
    held_code: "model_unusable",
    io_code: "model_unusable",
};

struct Pull<'a> {
    hub: &'a Hub,
    model: &'a CatalogModel,
    transfer: &'a dyn Transfer,
    folder: PathBuf,
    record: Record,
    fetched: usize,
    kept: usize,
}

impl Pull<'_> {
    async fn file(&mut self, file: &CatalogFile) -> Result<(), ModelStoreError> {
        let recorded = self.record.of(self.model, file).map(|known| known.sha256.clone());
        let target = self.folder.join(file.local());
        if self.is_right(file, recorded.as_deref(), &target)? {
            self.kept += 1;
            return Ok(());
        }
        let (repo, revision) = self.model.origin(file);
        let by = if file.sha256.is_some() { HashSource::Catalog } else { HashSource::FirstUse };
        let wanted = Wanted {
            repo,
            // All files of a pull, and of later ones, are of one commit.
            revision: self.record.commit(repo, revision).unwrap_or(revision),
            path: &file.path,
            target,
            bytes: file.bytes,
            sha256: file.sha256.clone().or(recorded),
            by,
        };
        let fetched = download::fetch(self.hub, &wanted, self.transfer).await?;
        self.keep(file, fetched)?;
        self.fetched += 1;
        Ok(())
    }

    /// Whether the file is here, and is the one the catalog and the record say. A file that someone
    /// put there counts only when the catalog knows its hash.
    fn is_right(
        &mut self,
        file: &CatalogFile,
        recorded: Option<&str>,
        target: &Path,
    ) -> Result<bool, ModelStoreError> {
        let Some(expected) = file.sha256.as_deref().or(recorded) else { return Ok(false) };
        if !target.is_file() {
            return Ok(false);
        }
        let io = |source| ModelStoreError::Io { path: target.to_owned(), source };
        let found = hash::sha256_file(target).map_err(io)?;
        if found != expected {
            tracing::warn!(file = %target.display(), "not what it should be: fetched again");
            return Ok(false);
        }
        if recorded != Some(expected) {
            let bytes = fs_err::metadata(target).map_err(io)?.len();
            self.keep(file, Fetched { sha256: found, bytes, commit: None })?;
        }
        Ok(true)
    }

    /// Records a file that came, or that was here already and is what the catalog wants.
    fn keep(&mut self, file: &CatalogFile, fetched: Fetched) -> Result<(), ModelStoreError> {
        let Fetched { sha256, bytes, commit } = fetched;
        let (repo, revision) = self.model.origin(file);
        let commit = commit.or_else(|| is_commit(revision).then(|| revision.to_owned()));
        let (repo, revision) = (repo.to_owned(), revision.to_owned());
        let path = file.local().to_owned();
        self.record.put(RecordedFile { path, repo, revision, commit, sha256, bytes });
        self.record.write(&self.folder)
    }

    /// Opens the folder as the export it is and pins what was found as `model.toml`. A repository
    /// that has a `model.toml` of its own keeps it.
    fn write_manifest(&self, precision: Precision) -> Result<(), ModelStoreError> {
        let path = self.folder.join(MANIFEST_FILE);
        let is_own = self.record.files().iter().any(|file| file.path == MANIFEST_FILE);
        if !is_own {
            durable::remove(&path).map_err(|source| ModelStoreError::writing(&path, source))?;
        }
        let source = ModelSource { path: self.folder.clone(), ..ModelSource::default() };
        let mut manifest = ModelFolder::open(source)?.manifest;
        self.model.check(&manifest).map_err(|problem| ModelStoreError::NotAsDescribed {
            name: format!("{} ({precision})", self.model.name),
            folder: self.folder.clone(),
            problem,
        })?;
        if is_own {
            return Ok(());
        }
        name_manifest(&mut manifest, self.model, self.commit());
        write_manifest(&path, &manifest)
    }

    /// The commit that the model's own repository was at.
    fn commit(&self) -> &str {
        let (repo, revision) =
            (self.model.repo.as_deref().unwrap_or_default(), &self.model.revision);
        self.record.commit(repo, revision).unwrap_or(revision)
    }
}

fn write_manifest(path: &Path, manifest: &ModelManifest) -> Result<(), ModelStoreError> {
    let text = toml::to_string(manifest).map_err(|error| ModelStoreError::Record {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    durable::write(path, text.as_bytes()).map_err(|source| ModelStoreError::writing(path, source))
}

fn is_commit(revision: &str) -> bool {
    revision.len() == COMMIT && revision.bytes().all(|digit| digit.is_ascii_hexdigit())
}
