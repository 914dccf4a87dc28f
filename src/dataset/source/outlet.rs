//! What a source says to its caller.

use std::ops::ControlFlow;
use std::path::Path;

use super::refusal::Refusal;
use super::text::Captions;
use super::{Emit, SourceError, SourceEvent};
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;

/// A photo that is there.
pub(super) struct There<'a> {
    pub id: &'a str,
    pub image: ImageRef,
    /// Where the record came from.
    pub origin: &'a str,
    pub license: Option<String>,
}

impl There<'_> {
    fn saying(self, Captions { description, apart: descriptions }: Captions) -> SourceRecord {
        let (id, origin) = (self.id.to_owned(), self.origin.to_owned());
        let Self { image, license, .. } = self;
        SourceRecord { id, image, description, descriptions, origin, license }
    }
}

/// Counts what goes to the caller, so that a source can tell at its end whether it was of use.
pub(super) struct Outlet<'a, 'b> {
    emit: &'a mut Emit<'b>,
    /// Items accepted so far.
    pub records: u64,
    /// Items refused so far, and photos of which nothing is said.
    pub rejected: u64,
    /// The caller asked to stop.
    pub stopped: bool,
    /// The reason of the first refusal.
    first: Option<String>,
}

impl<'a, 'b> Outlet<'a, 'b> {
    pub fn new(emit: &'a mut Emit<'b>) -> Self {
        Self { emit, records: 0, rejected: 0, stopped: false, first: None }
    }

    pub fn record(&mut self, record: SourceRecord) -> ControlFlow<()> {
        self.records += 1;
        self.send(SourceEvent::Record(record))
    }

    pub fn refuse(&mut self, subject: &str, refusal: Refusal) -> ControlFlow<()> {
        self.first.get_or_insert_with(|| refusal.reason.clone());
        self.rejected += 1;
        self.send(SourceEvent::Rejected(refusal.into_rejection(subject)))
    }

    /// What is said of a photo that is there, read at `from`, or why it was refused.
    pub fn told(
        &mut self,
        photo: There<'_>,
        captions: Result<Captions, Refusal>,
        from: &str,
    ) -> ControlFlow<()> {
        match captions {
            Ok(captions) => self.record(photo.saying(captions)),
            Err(refusal) => self.refuse_text(photo, refusal.at(from)),
        }
    }

    /// A record whose photo is there and whose text was refused.
    pub fn refuse_text(&mut self, photo: There<'_>, refusal: Refusal) -> ControlFlow<()> {
        if !refusal.is_for_want_of_text() {
            return self.refuse(photo.id, refusal);
        }
        self.first.get_or_insert_with(|| refusal.reason.clone());
        self.rejected += 1;
        let rejection = refusal.into_rejection(photo.id);
        let record = photo.saying(Captions { description: String::new(), apart: Vec::new() });
        self.send(SourceEvent::Undescribed(record, rejection))
    }

    /// The end of a source that was read to its end: an error when nothing was of use.
    pub fn conclude(&self, path: &Path, expected: &str) -> Result<(), SourceError> {
        let (path, expected) = (path.to_owned(), expected.to_owned());
        match (self.records, self.rejected) {
            (0, 0) => Err(SourceError::Empty { path, expected }),
            (0, rejected) => {
                let first = self.first.clone().unwrap_or_default();
                Err(SourceError::NoUsableItem { path, rejected, first, expected })
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, event: SourceEvent) -> ControlFlow<()> {
        let flow = (self.emit)(event);
        self.stopped |= flow.is_break();
        flow
    }
}
