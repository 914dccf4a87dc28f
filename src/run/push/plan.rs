//! What a push sends: the files of one export, as its manifest lists them.

use std::path::{Path, PathBuf};

use super::PushError;
use crate::base::hash;
use crate::dataset::sink::{self, ExportFormat, FileEntry, MANIFEST, Manifest};
use crate::dataset::store::ExportRow;

/// A file to push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// From the dataset's root on, with slashes.
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: String,
}

/// An export that is a folder.
#[derive(Debug)]
pub(super) struct Plan {
    pub format: ExportFormat,
    pub manifest: Manifest,
    /// The manifest itself among them.
    pub files: Vec<File>,
}

impl Plan {
    /// Finds the export and checks every file against its manifest, and that against the run.
    pub fn read(exports: &[ExportRow], format: Option<ExportFormat>) -> Result<Self, PushError> {
        let row = choose(exports, format)?;
        let path = Path::new(&row.path);
        let bytes =
            fs_err::read(path).map_err(|source| PushError::Io { path: path.to_owned(), source })?;
        let changed = |problem: String| PushError::Changed { path: path.to_owned(), problem };
        let sha256 = hash::sha256_hex(&bytes);
        if sha256 != row.sha256 {
            return Err(changed("it is not as it was written".into()));
        }
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| changed(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut files = Vec::with_capacity(manifest.files.len() + 1);
        for entry in &manifest.files {
            files.push(file(folder, entry)?);
        }
        let name = MANIFEST.to_owned();
        files.push(File { name, path: path.to_owned(), bytes: bytes.len() as u64, sha256 });
        Ok(Self { format: manifest.format, manifest, files })
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Files of an earlier push that this one has no more. Whatever else lies in the dataset is
    /// somebody's own.
    pub fn gone(&self, earlier: Option<&Manifest>) -> Vec<String> {
        let here: std::collections::BTreeSet<&str> =
            self.files.iter().map(|file| &*file.name).collect();
        let earlier = earlier.into_iter().flat_map(|manifest| &manifest.files);
        earlier.map(|file| file.path.clone()).filter(|path| !here.contains(&**path)).collect()
    }
}

fn file(folder: &Path, entry: &FileEntry) -> Result<File, PushError> {
    let path = folder.join(&entry.path);
    let sha256 =
        hash::sha256_file(&path).map_err(|source| PushError::Io { path: path.clone(), source })?;
    if sha256 != entry.sha256 {
        return Err(PushError::Changed { path, problem: "it is not as it was written".into() });
    }
    Ok(File { name: entry.path.clone(), path, bytes: entry.bytes, sha256 })
}

fn choose(exports: &[ExportRow], format: Option<ExportFormat>) -> Result<&ExportRow, PushError> {
    let is_folder = |row: &&ExportRow| sink::is_folder(Path::new(&row.path));
    let no_export = |what: String| PushError::NoExport { what };
    if let Some(format) = format {
        let row = exports.iter().find(|row| row.name == format.name());
        let row = row.ok_or_else(|| {
            let name = format.name();
            no_export(format!(
                "the run has no export `{name}`: `pairwright export --format {name}`"
            ))
        })?;
        return Some(row).filter(is_folder).ok_or_else(|| {
            no_export(format!(
                "the export `{}` is a single file that names photos: set export.photos to `copy`, or push \
                 `parquet_images`",
                format.name()
            ))
        });
    }
    let folders: Vec<&ExportRow> = exports.iter().filter(is_folder).collect();
    match folders[..] {
        [row] => Ok(row),
        [] => Err(no_export(
            "the run has no export that carries its photos: `pairwright export --format \
             parquet_images`"
                .into(),
        )),
        _ => {
            let names: Vec<&str> = folders.iter().map(|row| &*row.name).collect();
            Err(no_export(format!("which export is to be pushed? --format {}", names.join("|"))))
        }
    }
}
