//! Whether exports and report still say what the run holds, so that a session that finds nothing new
//! leaves them as they are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::base::db::DbError;
use crate::base::hash;
use crate::config::Config;
use crate::dataset::sink::{self, Manifest, SinkSummary};
use crate::dataset::store::{DERIVED, Store};
use crate::dataset::{ImageRef, Photos};
use crate::llm::Ledger;
use crate::measure::keep::KeepCounts;
use crate::sandbox::FileAccess;

use super::RunFolder;
use super::exporting::{Exported, LeftOut};

/// What was written at the end of a session, and of what.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// Key over all that the files are made of.
    of: String,
    exported: Vec<SinkSummary>,
    keep: KeepCounts,
    /// Each file with its size and time of change.
    stamps: Vec<(PathBuf, String)>,
}

/// The exports of an earlier session, where nothing they or the report are made of has changed since
/// and the files are as they were written, by their sizes and times of change.
///
/// # Errors
/// The store's, or a damaged ledger.
pub fn still_there(
    folder: &RunFolder,
    store: &Store,
    config: &Config,
) -> Result<Option<Exported>, Error> {
    // A generation is kept in files of its own, and the report tells of it.
    if config.generate.enabled {
        return Ok(None);
    }
    let Some(written) = read(store)? else { return Ok(None) };
    let unchanged = |(path, then): &(PathBuf, String)| !then.is_empty() && stamp(path) == *then;
    if !written.stamps.iter().all(unchanged) || written.of != key(folder, store, config)? {
        return Ok(None);
    }
    let Written { exported, keep, .. } = written;
    Ok(Some(Exported {
        written: exported,
        keep,
        untaken: Vec::new(),
        left_out: LeftOut::default(),
    }))
}

/// Keeps what was written now.
///
/// # Errors
/// As [`still_there`].
pub fn remember(
    folder: &RunFolder,
    store: &Store,
    config: &Config,
    exported: &Exported,
) -> Result<(), Error> {
    // What waits for a measure or a photo, or was withdrawn, is looked at again.
    let whole = exported.untaken.is_empty() && exported.left_out.samples == 0;
    if exported.written.is_empty() || !whole || config.generate.enabled {
        return Ok(());
    }
    let mut files = vec![folder.report()];
    for SinkSummary { path, .. } in &exported.written {
        if sink::is_folder(path) {
            // Photos and papers can be changed or lost as rows can.
            let manifest = Manifest::read(path)?;
            files.extend(manifest.files.iter().map(|file| path.with_file_name(&file.path)));
        }
        files.push(path.clone());
    }
    let stamps = files.into_iter().map(|path| (path.clone(), stamp(&path))).collect();
    let (exported, keep) = (exported.written.clone(), exported.keep.clone());
    let written = Written { of: key(folder, store, config)?, exported, keep, stamps };
    Ok(store.database().set_meta_json(DERIVED, &written)?)
}

/// None where it was kept in another form.
fn read(store: &Store) -> Result<Option<Written>, DbError> {
    let kept = store.database().meta(DERIVED)?;
    Ok(kept.and_then(|text| serde_json::from_str(&text).ok()))
}

fn key(folder: &RunFolder, store: &Store, config: &Config) -> Result<String, Error> {
    let path = folder.path().to_string_lossy();
    let config = serde_json::to_string(config).unwrap_or_default();
    let spent = Ledger::read(folder.path())?.to_string();
    let (rows, program) = (store.digest()?, env!("CARGO_PKG_VERSION"));
    Ok(hash::key(&["derived", "1", program, &path, &config, &spent, &rows]))
}

fn stamp(path: &Path) -> String {
    FileAccess::Anywhere.stamp(&ImageRef::file(path))
}
