use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::super::fields::{FieldNames, Fields};
use super::super::outlet::Outlet;
use super::super::refusal::Refusal;
use super::super::text::Texts;
use super::super::{jsonl, table};
use crate::base::failure::Failure;
use crate::dataset::names::{composed, tidied};
use crate::sandbox::FileAccess;

/// The files that Hugging Face's ImageFolder reads, the one that holds first.
pub(super) const FILES: [&str; 2] = ["metadata.jsonl", "metadata.csv"];

/// What the metadata files of the folders read so far say, by the photos' names below the root.
#[derive(Default)]
pub(super) struct Metadata {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// What is said of one photo.
pub(super) struct Entry {
    /// Where it is said, such as `train/metadata.jsonl:3`.
    pub place: String,
    pub id: Option<String>,
    /// Of each row that names the photo.
    pub texts: Vec<Texts>,
    /// That of the first row which tells one.
    pub license: Option<String>,
    image: String,
    used: bool,
}

impl Metadata {
    /// Reads the file called `file` in the folder at `path`, whose name below the root is `below`
    /// (with a `/` at its end, or empty).
    pub fn read(
        &mut self,
        (path, below, file): (&Path, &str, &str),
        access: &FileAccess,
        names: &FieldNames,
        out: &mut Outlet<'_, '_>,
    ) -> ControlFlow<()> {
        let layout = if file.ends_with("csv") { &table::LAYOUT } else { &jsonl::LAYOUT };
        let read = layout.read(&path.join(file), access, names, &mut |line, row| {
            let place = format!("{below}{file}:{line}");
            match row.and_then(|fields| self.add(below, &place, &fields)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(refusal) => out.refuse(&place, refusal.at(&place)),
            }
        });
        match read {
            _ if out.stopped => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                let refusal = Refusal::new(error.code(), error.to_string());
                out.refuse(&format!("{below}{file}"), refusal)
            }
        }
    }

    fn add(&mut self, below: &str, place: &str, fields: &Fields<'_>) -> Result<(), Refusal> {
        let image = fields.image()?;
        let (id, texts) = (fields.id()?, fields.captions()?);
        let name = key(&format!("{below}{image}"));
        if let Some(entry) = self.by_name.get(&name).map(|at| &mut self.entries[*at]) {
            entry.texts.push(texts);
            entry.license = entry.license.take().or_else(|| fields.license());
            return Ok(());
        }
        self.by_name.insert(name, self.entries.len());
        let (image, place) = (image.to_owned(), place.to_owned());
        let (texts, license) = (vec![texts], fields.license());
        self.entries.push(Entry { place, id, texts, license, image, used: false });
        Ok(())
    }

    /// What is said of the photo called `photo` below the root.
    pub fn of(&mut self, photo: &str) -> Option<&Entry> {
        if self.entries.is_empty() {
            return None;
        }
        let entry = &mut self.entries[*self.by_name.get(&key(photo))?];
        entry.used = true;
        Some(entry)
    }

    /// Refuses what is said of photos that are not there.
    pub fn refuse_unused(&self, out: &mut Outlet<'_, '_>) -> ControlFlow<()> {
        for Entry { place, image, .. } in self.entries.iter().filter(|entry| !entry.used) {
            let reason = format!("no photo `{image}` that can be read lies beside this file");
            out.refuse(place, Refusal::new("missing_image", reason).at(place))?;
        }
        ControlFlow::Continue(())
    }
}

/// A name as other systems may write it, too: composed, with `/` between its parts.
pub(super) fn key(name: &str) -> String {
    tidied(&composed(&name.replace('\\', "/")))
}
