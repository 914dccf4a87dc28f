//! The source stage: lists the source into the store. It runs at every start, which is how a run
//! over grown input finds what is new.

use std::ops::ControlFlow;

use crate::Error;
use crate::base::Stopped;
use crate::base::db::DbError;
use crate::dataset::Photos;
use crate::dataset::names::Names;
use crate::dataset::record::Rejection;
use crate::dataset::source::{Source, SourceError, SourceEvent};
use crate::dataset::store::{IngestSummary, StampedRecord, Store};

use super::RunError;
use super::nothing::{LostAt, Nothing};
use crate::work::{Phase, Progress, Stop};

/// Records kept in one transaction.
const BATCH: usize = 500;

/// What is said of a photo that is refused for want of a text.
const WITHOUT_TEXT: &str = "photos without a text are taken with describe.mode = missing, or with \
    answer.see = image, and a model that sees";

/// Reads the whole source into the store; `without_text` takes photos of which nothing is said.
///
/// # Errors
/// The source as a whole cannot be read, the store cannot be written, or the user stopped it.
pub fn ingest(
    source: &dyn Source,
    photos: &dyn Photos,
    store: &Store,
    without_text: bool,
    stop: &Stop,
    progress: &dyn Progress,
) -> Result<IngestSummary, Error> {
    let pass = store.begin_pass()?;
    let names = Names::new(photos, source.image_root());
    let mut batches = Batches { without_text, ..Batches::new(store, photos, &names, pass) };
    let read = source.read(&mut |event| match batches.take(event, progress) {
        Ok(()) if !stop.is_asked() => ControlFlow::Continue(()),
        Ok(()) => ControlFlow::Break(()),
        Err(error) => {
            batches.failed = Some(error);
            ControlFlow::Break(())
        }
    });
    let taken = batches.undescribed;
    let changed = batches.close(progress)?;
    if stop.is_asked() {
        return Err(Stopped.into());
    }
    progress.finish(Phase::Source);
    match read {
        Ok(()) => {}
        // Photos without a text were enough.
        Err(SourceError::NoUsableItem { .. }) if taken > 0 => {}
        Err(source) => return Err(unusable(source, store)?),
    }
    Ok(store.pass_summary(pass, changed)?)
}

/// The error, with the most frequent cause where each entry was refused for its own.
fn unusable(source: SourceError, store: &Store) -> Result<Error, DbError> {
    if !matches!(source, SourceError::NoUsableItem { .. }) {
        return Ok(source.into());
    }
    let refused = store.rejection_counts("", "")?;
    let nothing = Nothing::read(store, LostAt::Photos, &refused, &[])?.into();
    Ok(RunError::NothingUsable { source, nothing }.into())
}

struct Batches<'a> {
    store: &'a Store,
    photos: &'a dyn Photos,
    names: &'a Names<'a>,
    pass: i64,
    without_text: bool,
    /// Photos taken of which nothing is said.
    undescribed: u64,
    records: Vec<StampedRecord>,
    rejections: Vec<Rejection>,
    changed: u64,
    failed: Option<DbError>,
}

impl<'a> Batches<'a> {
    fn new(store: &'a Store, photos: &'a dyn Photos, names: &'a Names<'a>, pass: i64) -> Self {
        let (records, rejections) = (Vec::with_capacity(BATCH), Vec::new());
        Self {
            store,
            photos,
            names,
            pass,
            without_text: false,
            undescribed: 0,
            records,
            rejections,
            changed: 0,
            failed: None,
        }
    }

    fn take(&mut self, event: SourceEvent, progress: &dyn Progress) -> Result<(), DbError> {
        match event {
            SourceEvent::Undescribed(record, _) if self.without_text => {
                self.undescribed += 1;
                return self.take(SourceEvent::Record(record), progress);
            }
            SourceEvent::Undescribed(_, rejection) => {
                let reason = format!("{}; {WITHOUT_TEXT}", rejection.reason);
                self.rejections.push(Rejection { reason, ..rejection });
            }
            SourceEvent::Record(mut record) => {
                let mut stamp = self.photos.stamp(&record.image);
                if stamp.is_empty()
                    && let Some(found) = self.names.find(&record.image)
                {
                    stamp = self.photos.stamp(&found);
                    record.image = found;
                }
                self.records.push((record, stamp));
            }
            SourceEvent::Rejected(rejection) => self.rejections.push(rejection),
        }
        if self.records.len() + self.rejections.len() < BATCH {
            return Ok(());
        }
        self.flush(progress)
    }

    fn flush(&mut self, progress: &dyn Progress) -> Result<(), DbError> {
        progress.advance(Phase::Source, (self.records.len() + self.rejections.len()) as u64);
        self.changed += self.store.put_records(self.pass, &self.records)?;
        self.store.put_source_rejections(&self.rejections)?;
        self.records.clear();
        self.rejections.clear();
        Ok(())
    }

    fn close(mut self, progress: &dyn Progress) -> Result<u64, DbError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.flush(progress)?;
        Ok(self.changed)
    }
}
