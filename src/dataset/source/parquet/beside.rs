//! Parquet that img2dataset wrote beside its photos: rows name them by their keys.

use std::collections::HashMap;
use std::path::PathBuf;

use arrow_schema::Schema;

use super::super::SourceError;
use super::super::endings::stem;
use super::super::error::could_pass;
use super::super::manifest::File;
use super::super::refusal::Refusal;
use crate::dataset::photos::tar::{MemberKind, Members, TarFault};
use crate::dataset::{ImageRef, Place};
use crate::image::Format;
use crate::sandbox::{ConfineError, FileKind, OpenFile};

/// Columns that tell such a file: a row's key, what became of its download, and why.
pub(super) const COLUMNS: [&str; 3] = ["key", "status", "error_message"];

/// The photos in the tar or folder of the file's name, by their names without ending.
pub(super) struct Beside {
    photos: HashMap<String, ImageRef>,
    /// Where they lie.
    place: PathBuf,
}

impl Beside {
    /// `None` where the file is no such one.
    ///
    /// # Errors
    /// The photos cannot be looked for, for a reason that could pass.
    pub fn of(file: &File<'_>, schema: &Schema) -> Result<Option<Self>, SourceError> {
        if !COLUMNS[..2].iter().all(|name| schema.field_with_name(name).is_ok()) {
            return Ok(None);
        }
        let tar = file.path.with_extension("tar");
        let mut beside = Self { photos: HashMap::new(), place: tar };
        match file.access.open(&beside.place) {
            Ok(opened) => {
                return match beside.tar(opened) {
                    Err(TarFault::Io(error)) if could_pass(&error) => Err(error.into()),
                    // What is wrong with the tar is told of the rows whose photos are not found.
                    _ => Ok(Some(beside)),
                };
            }
            Err(ConfineError::Io(error)) if could_pass(&error) => return Err(error.into()),
            Err(_) => {}
        }
        beside.place = file.path.with_extension("");
        let entries = match file.access.list(&beside.place) {
            Ok(entries) => entries,
            Err(ConfineError::Io(error)) if could_pass(&error) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        for entry in entries {
            let Some(name) = entry.name.to_str() else { continue };
            if matches!(entry.kind, Ok(FileKind::File)) && has_photos_ending(name) {
                let photo = ImageRef::file(beside.place.join(name));
                beside.photos.insert(stem(name).to_owned(), photo);
            }
        }
        Ok(Some(beside))
    }

    fn tar(&mut self, opened: OpenFile) -> Result<(), TarFault> {
        let mut members = Members::new(opened)?;
        loop {
            match members.next_member() {
                Ok(None) => return Ok(()),
                Ok(Some(member)) if member.kind == MemberKind::File && member.sound => {
                    if has_photos_ending(&member.name) {
                        members.pass_data()?;
                        let place = Place::Tar { start: member.start, len: member.len };
                        let key = stem(&member.name).to_owned();
                        let photo = ImageRef::member(&self.place, member.name).at(place);
                        self.photos.insert(key, photo);
                    }
                }
                Ok(Some(_)) | Err(TarFault::Damaged { .. } | TarFault::LongName { .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    /// The photo of a row, by what it says in [`COLUMNS`].
    pub fn photo(
        &self,
        [key, status, error]: [Option<String>; 3],
    ) -> Result<(String, ImageRef), Refusal> {
        let key = key.ok_or_else(|| Refusal::new("missing_image", "the row has no key"))?;
        if let Some(photo) = self.photos.get(&key) {
            return Ok((key, photo.clone()));
        }
        let failed = status.filter(|status| status != "success");
        let reason = match (failed, error) {
            (Some(status), Some(error)) => {
                let error: String = error.chars().take(200).collect();
                format!("its photo was not downloaded: {status}, {error}")
            }
            (Some(status), None) => format!("its photo was not downloaded: {status}"),
            (None, _) => format!("no photo of the key {key} lies in {}", self.place.display()),
        };
        Err(Refusal::new("missing_image", reason))
    }
}

fn has_photos_ending(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| Format::is_ending(ending))
}
