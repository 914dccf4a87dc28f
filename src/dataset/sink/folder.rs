//! An export that is a folder: shards, photos and papers, put in place together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::manifest::{FileEntry, MANIFEST, Manifest, PHOTOS, SplitCounts};
use super::rows::Rows;
use super::{ExportFormat, PhotoPlaces, Record, SinkError, SinkOptions, SinkSummary, chat, names};
use crate::base::{durable, hash};

/// A folder that is being written under a temporary name (`.NAME.partial`). Dropped before it is
/// committed, it leaves nothing.
pub(super) struct Folder {
    path: PathBuf,
    staging: PathBuf,
    format: ExportFormat,
    options: SinkOptions,
    open: BTreeMap<String, Shard>,
    manifest: Manifest,
    /// The name of each item's photo that is here, by the item's fingerprint.
    photos: HashMap<u128, String>,
    /// Fingerprints of their names in small letters: on some disks case does not count.
    taken: HashSet<u128>,
}

struct Shard {
    rows: Box<dyn Rows>,
    /// From the folder on.
    path: String,
    count: u64,
}

impl Folder {
    pub fn create(
        path: PathBuf,
        format: ExportFormat,
        options: &SinkOptions,
    ) -> Result<Self, SinkError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let staging = path.with_file_name(format!(".{name}.partial"));
        remove(&staging)?;
        fs_err::create_dir(&staging).map_err(|error| SinkError::writing(&path, error))?;
        let splits = [super::TRAIN.to_owned()].into_iter().chain(options.splits.iter().cloned());
        let rated = format.ratings().iter().map(|name| ((*name).to_owned(), 0)).collect();
        let manifest = Manifest {
            format,
            splits: splits.map(|split| (split, SplitCounts::default())).collect(),
            left_out: 0,
            rated,
            files: Vec::new(),
        };
        let (open, photos, taken) = (BTreeMap::new(), HashMap::new(), HashSet::new());
        let options = options.clone();
        Ok(Self { path, staging, format, options, open, manifest, photos, taken })
    }

    pub fn push(&mut self, record: &Record<'_>) -> Result<(), SinkError> {
        let image = self.photo(record)?;
        let shard = match self.open.get_mut(record.split) {
            Some(shard) => shard,
            None => {
                let shard = self.open_shard(record.split)?;
                self.open.entry(record.split.to_owned()).or_insert(shard)
            }
        };
        shard.rows.push(record, &image)?;
        shard.count += 1;
        let is_full = shard.rows.bytes() >= self.options.shard_bytes;
        let counts = self.manifest.splits.entry(record.split.to_owned()).or_default();
        counts.rows += 1;
        counts.samples += record.samples.len() as u64;
        for (name, count) in &mut self.manifest.rated {
            let rated = record.samples.iter().filter(|one| one.measures.contains_key(name)).count();
            *count += rated as u64;
        }
        if is_full && self.format.is_sharded() {
            self.close_shard(record.split)?;
        }
        Ok(())
    }

    /// Counts samples whose photo cannot be had.
    pub fn leave_out(&mut self, samples: u64) {
        self.manifest.left_out += samples;
    }

    fn open_shard(&self, split: &str) -> Result<Shard, SinkError> {
        let earlier =
            self.manifest.files.iter().filter(|file| file.split.as_deref() == Some(split));
        let path = self.format.data_file(split, earlier.count());
        let full = self.staging.join(&path);
        if let Some(parent) = full.parent() {
            fs_err::create_dir_all(parent)
                .map_err(|error| SinkError::writing(&self.path, error))?;
        }
        Ok(Shard { rows: self.format.open(&full, &self.options)?, path, count: 0 })
    }

    fn close_shard(&mut self, split: &str) -> Result<(), SinkError> {
        let Some(shard) = self.open.remove(split) else { return Ok(()) };
        let SinkSummary { rows, bytes, sha256, .. } = shard.rows.finish()?.commit(shard.count)?;
        let split = Some(split.to_owned());
        self.manifest.files.push(FileEntry { path: shard.path, split, rows, bytes, sha256 });
        Ok(())
    }

    /// The name by which rows call the photo; one that is to lie here is put here.
    fn photo(&mut self, record: &Record<'_>) -> Result<String, SinkError> {
        let sample = record.first();
        let (Some(photo), Some(places)) = (record.photo, self.format.places(&self.options)) else {
            return Ok(sample.image.clone());
        };
        if places == PhotoPlaces::Name {
            return Ok(sample.image.clone());
        }
        let item = hash::fingerprint(sample.lineage.item_id.as_bytes());
        if let Some(name) = self.photos.get(&item) {
            return Ok(name.clone());
        }
        let ending = names::ending(photo.format);
        let mut stem = names::safe(&sample.lineage.item_id);
        if !self.taken.insert(hash::fingerprint(stem.to_ascii_lowercase().as_bytes())) {
            stem = names::hashed(&sample.lineage.item_id);
        }
        let name = format!("{PHOTOS}{stem}.{ending}");
        let target = self.staging.join(&name);
        let folder = self.staging.join(PHOTOS);
        let failed = |error| SinkError::writing(&self.path.join(&name), error);
        if self.photos.is_empty() {
            fs_err::create_dir_all(&folder).map_err(failed)?;
        }
        match (places, &photo.file) {
            (PhotoPlaces::Link, Some(file)) => link(file, &target).map_err(failed)?,
            (PhotoPlaces::Link, None) => {
                return Err(SinkError::NoLink {
                    id: sample.id.clone(),
                    image: sample.image.clone(),
                });
            }
            _ => durable::write(&target, &photo.bytes).map_err(failed)?,
        }
        self.manifest.files.push(FileEntry {
            path: name.clone(),
            split: None,
            rows: 0,
            bytes: photo.bytes.len() as u64,
            sha256: sample.lineage.image_sha256.clone(),
        });
        self.photos.insert(item, name.clone());
        Ok(name)
    }

    /// Closes every data file. What tells about the data may be added then.
    pub fn close(&mut self) -> Result<(), SinkError> {
        let open: Vec<String> = self.open.keys().cloned().collect();
        open.iter().try_for_each(|split| self.close_shard(split))?;
        if self.format == ExportFormat::LlamaFactory {
            let files = self.manifest.data();
            let splits = files.filter_map(|file| Some((file.split.as_deref()?, &*file.path)));
            let index = chat::factory_index(splits);
            self.put("dataset_info.json", &index)?;
        }
        Ok(())
    }

    /// Adds a file that tells about the data.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let failed = |error| SinkError::writing(&self.path.join(name), error);
        durable::write(&self.staging.join(name), bytes).map_err(failed)?;
        let (path, bytes, sha256) = (name.to_owned(), bytes.len() as u64, hash::sha256_hex(bytes));
        self.manifest.files.push(FileEntry { path, split: None, rows: 0, bytes, sha256 });
        Ok(())
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes the manifest and puts the folder in the place of an earlier one.
    pub fn commit(mut self) -> Result<SinkSummary, SinkError> {
        self.manifest.files.sort();
        let path = self.path.join(MANIFEST);
        let mut text = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| SinkError::encoding(&path, error))?;
        text.push(b'\n');
        let failed = |error| SinkError::writing(&path, error);
        durable::write(&self.staging.join(MANIFEST), &text).map_err(failed)?;
        durable::put_folder(&self.staging, &self.path).map_err(failed)?;
        let bytes: u64 = self.manifest.files.iter().map(|file| file.bytes).sum();
        Ok(SinkSummary {
            rows: self.manifest.samples(),
            bytes: bytes + text.len() as u64,
            sha256: hash::sha256_hex(&text),
            path,
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Open files first: each removes itself.
        self.open.clear();
        // The error that came before is the one to tell; a folder that stays is only untidy.
        let _ = remove(&self.staging);
    }
}

#[cfg(unix)]
fn link(file: &Path, target: &Path) -> std::io::Result<()> {
    fs_err::os::unix::fs::symlink(std::path::absolute(file)?, target)
}

/// Symbolic links want rights there that few have.
#[cfg(not(unix))]
fn link(file: &Path, target: &Path) -> std::io::Result<()> {
    fs_err::hard_link(file, target)
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove(folder: &Path) -> Result<(), SinkError> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SinkError::writing(folder, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
