use std::path::Path;

use super::folder::{self, Folder};
use super::guard::Guard;
use super::rows::Rows;
use super::staged::StagedFile;
use super::{Conversations, ExportFormat, Manifest, Record, SinkError, SinkOptions, SinkSummary};
use super::{Photo, Sample};
use crate::base::durable;

/// An export that is being written. Dropped unfinished, it removes what it wrote.
pub struct Sink {
    format: ExportFormat,
    options: SinkOptions,
    guard: Guard,
    out: Out,
    samples: u64,
}

enum Out {
    File(Box<dyn Rows>),
    Folder(Box<Folder>),
}

impl Sink {
    /// Starts writing a format into `dataset`, which must exist.
    ///
    /// # Errors
    /// The temporary file or folder cannot be made.
    pub fn create(
        format: ExportFormat,
        dataset: &Path,
        options: &SinkOptions,
    ) -> Result<Self, SinkError> {
        let out = match format.as_file(options) {
            Some(name) => Out::File(format.open(&dataset.join(name), options)?),
            None => {
                let path = dataset.join(format.name());
                Out::Folder(Box::new(Folder::create(path, format, options)?))
            }
        };
        Ok(Self { format, options: options.clone(), guard: Guard::default(), out, samples: 0 })
    }

    /// The format that is written.
    pub fn format(&self) -> ExportFormat {
        self.format
    }

    /// Whether records must come with their photos.
    pub fn wants_photos(&self) -> bool {
        self.format.wants_photos(&self.options)
    }

    /// Samples added so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds the samples of one photo, in the order of their ranks: one row each, or one together.
    ///
    /// # Errors
    /// A sample would make a row that trainers reject (see [`SinkError`]), or writing failed.
    /// After an error of writing the sink can only be dropped.
    pub fn push_all(
        &mut self,
        samples: &[Sample],
        photo: Option<&Photo>,
        split: &str,
    ) -> Result<(), SinkError> {
        let together =
            self.options.conversations == Conversations::Multi && self.format.is_conversations();
        let size = if together { samples.len() } else { 1 };
        for samples in samples.chunks(size.max(1)) {
            samples.iter().try_for_each(|sample| self.guard.admit(sample))?;
            let record = Record { samples, photo, split };
            match &mut self.out {
                Out::File(rows) => rows.push(&record, &record.first().image)?,
                Out::Folder(folder) => folder.push(&record)?,
            }
            self.samples += samples.len() as u64;
        }
        Ok(())
    }

    /// Counts samples that are not here because their photo cannot be had.
    pub fn leave_out(&mut self, samples: u64) {
        if let Out::Folder(folder) = &mut self.out {
            folder.leave_out(samples);
        }
    }

    /// Writes what is left. Nothing is in its place yet.
    ///
    /// # Errors
    /// Writing failed.
    pub fn close(self) -> Result<Closed, SinkError> {
        let out = match self.out {
            Out::File(rows) => Whole::File(Box::new(rows.finish()?)),
            Out::Folder(mut folder) => {
                folder.close()?;
                Whole::Folder(folder)
            }
        };
        Ok(Closed { format: self.format, out, samples: self.samples })
    }

    /// Completes the export and puts it in the place of an earlier one.
    ///
    /// # Errors
    /// Writing, syncing or renaming failed; an earlier export is left as it was.
    pub fn finish(self) -> Result<SinkSummary, SinkError> {
        self.close()?.commit()
    }
}

/// An export whose rows are written. Dropped uncommitted, it removes what it wrote.
pub struct Closed {
    format: ExportFormat,
    out: Whole,
    samples: u64,
}

enum Whole {
    File(Box<StagedFile>),
    Folder(Box<Folder>),
}

impl Closed {
    /// The format that was written.
    pub fn format(&self) -> ExportFormat {
        self.format
    }

    /// What a folder holds by now; none of an export that is a file.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.out {
            Whole::File(_) => None,
            Whole::Folder(folder) => Some(folder.manifest()),
        }
    }

    /// Adds a file that tells about the data to a folder.
    ///
    /// # Errors
    /// Writing failed.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        match &mut self.out {
            Whole::File(_) => Ok(()),
            Whole::Folder(folder) => folder.put(name, bytes),
        }
    }

    /// Puts the export in the place of an earlier one.
    ///
    /// # Errors
    /// Syncing or renaming failed; an earlier export is left as it was.
    pub fn commit(self) -> Result<SinkSummary, SinkError> {
        match self.out {
            Whole::File(file) => file.commit(self.samples),
            Whole::Folder(folder) => folder.commit(),
        }
    }
}

/// Removes an export that was written to `path`: the file, or the folder that the manifest is in.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), SinkError> {
    if super::is_folder(path) {
        return path.parent().map_or(Ok(()), folder::remove);
    }
    durable::remove(path).map_err(|source| SinkError::Io { path: path.to_owned(), source })
}
