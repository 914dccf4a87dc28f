//! What instructions are written for: descriptions from any source of photos, with their photos
//! where these are shown, or from a plain list of texts.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use super::GenerateError;
use crate::Error;
use crate::base::hash;
use crate::dataset::ImageRef;
use crate::dataset::record::{Rejection, SourceRecord, Stage};
use crate::dataset::source::{Source, SourceError, SourceEvent};

/// Longest description in bytes; a longer one would not fit any prompt.
const MAX_BYTES: usize = 64 * 1024;

/// One description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The user's own id, unique in its source.
    pub id: String,
    /// Empty only of a photo of which nothing is said.
    pub text: String,
    /// The captions that the text joins, apart; none where it is one.
    pub captions: Vec<String>,
    /// The photo, where the model is shown it.
    pub photo: Option<ImageRef>,
}

impl Description {
    /// The key made of the text alone.
    pub fn key(&self) -> String {
        hash::key(&["description", &self.text])
    }

    /// What is said of the photo, for whoever compares with it.
    pub fn said(&self) -> Vec<&str> {
        Some(&*self.text).into_iter().filter(|text| !text.is_empty()).collect()
    }
}

/// The descriptions of a source, in its order, and what was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptions {
    pub found: Vec<Description>,
    pub rejected: Vec<Rejection>,
    /// The source in words.
    pub origin: String,
}

impl Descriptions {
    /// Reads the descriptions of a source of photos. The photos are not looked at; where they are to
    /// be `shown`, those of which nothing is said count, too.
    ///
    /// # Errors
    /// The source as a whole cannot be read.
    pub fn of_source(source: &dyn Source, shown: bool) -> Result<Self, Error> {
        let mut all = Self { origin: source.describe(), ..Self::default() };
        let read = source.read(&mut |event| {
            match event {
                SourceEvent::Record(record) => all.push_record(record, shown),
                SourceEvent::Undescribed(record, _) if shown => all.push_record(record, shown),
                SourceEvent::Undescribed(_, rejection) | SourceEvent::Rejected(rejection) => {
                    all.rejected.push(rejection)
                }
            }
            ControlFlow::Continue(())
        });
        match read {
            // Photos without a text are enough where they are shown.
            Err(SourceError::NoUsableItem { .. }) if !all.found.is_empty() => Ok(all),
            read => Ok(read.map(|()| all)?),
        }
    }

    fn push_record(&mut self, record: SourceRecord, shown: bool) {
        let SourceRecord { id, image, description: text, descriptions: captions, origin, .. } =
            record;
        self.push(Description { id, text, captions, photo: shown.then_some(image) }, &origin);
    }

    /// Reads a list: `.txt` with one description per line (ids `line-N`), else JSON lines with
    /// `description`, `caption` or `text` and an optional `id`. A line that is none is refused and
    /// counted.
    ///
    /// # Errors
    /// The file cannot be read or holds no description.
    pub fn of_file(path: &Path) -> Result<Self, GenerateError> {
        let text = fs_err::read_to_string(path)
            .map_err(|source| GenerateError::Io { path: path.to_owned(), source })?;
        let plain = path.extension().is_some_and(|extension| extension == "txt");
        let mut all =
            Self { origin: format!("descriptions {}", path.display()), ..Self::default() };
        let mut ids = HashSet::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let place = format!("{}:{}", path.display(), index + 1);
            match (line.trim(), plain) {
                ("", _) => {}
                (line, true) => all.push(text_alone(format!("line-{}", index + 1), line), &place),
                (line, false) => all.push_row(line, index + 1, &place, &mut ids),
            }
        }
        if all.found.is_empty() {
            return Err(GenerateError::NoDescriptions { path: path.to_owned() });
        }
        Ok(all)
    }

    fn push_row(&mut self, line: &str, number: usize, place: &str, ids: &mut HashSet<String>) {
        let row: Row = match serde_json::from_str(line) {
            Ok(row) => row,
            Err(error) => return self.reject(place, "invalid_json", error.to_string()),
        };
        let id = row.id.as_ref().map_or_else(|| format!("line-{number}"), id_text);
        if !ids.insert(id.clone()) {
            return self.reject(place, "duplicate_id", format!("the id {id:?} is there already"));
        }
        match row.description.or(row.caption).or(row.text) {
            Some(text) => self.push(text_alone(id, &text), place),
            None => {
                self.reject(place, "missing_description", "no description, caption or text".into())
            }
        }
    }

    fn push(&mut self, mut one: Description, place: &str) {
        one.text = one.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !one.text.chars().any(char::is_alphabetic) {
            if one.photo.is_none() {
                return self.reject(place, "empty_description", "no letter in it".into());
            }
            (one.text, one.captions) = (String::new(), Vec::new());
        }
        if one.text.len() > MAX_BYTES {
            let reason = format!("{} bytes, the limit is {MAX_BYTES}", one.text.len());
            return self.reject(place, "description_too_long", reason);
        }
        self.found.push(one);
    }

    fn reject(&mut self, place: &str, code: &str, reason: String) {
        let subject = place.to_owned();
        self.rejected.push(Rejection { stage: Stage::Source, code: code.into(), reason, subject });
    }

    /// At most `limit` of them, those whose seeded hashes are smallest, in the source's order: a
    /// draw that stays nearly the same while the source grows.
    pub fn limit(&mut self, limit: Option<u64>, seed: u64) {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
        if self.found.len() <= limit {
            return;
        }
        let draw = |one: &Description| hash::seed(seed, &["description", &one.id]);
        let mut draws: Vec<(u64, usize)> =
            self.found.iter().enumerate().map(|(place, one)| (draw(one), place)).collect();
        draws.sort_unstable();
        let kept: HashSet<usize> = draws.into_iter().take(limit).map(|(_, place)| place).collect();
        let mut place = 0;
        self.found.retain(|_| {
            place += 1;
            kept.contains(&(place - 1))
        });
    }
}

#[derive(Deserialize)]
struct Row {
    id: Option<serde_json::Value>,
    description: Option<String>,
    caption: Option<String>,
    text: Option<String>,
}

fn text_alone(id: String, text: &str) -> Description {
    Description { id, text: text.to_owned(), captions: Vec::new(), photo: None }
}

fn id_text(id: &serde_json::Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    fn read(name: &str, text: &str) -> Result<Descriptions, GenerateError> {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join(name);
        fs_err::write(&path, text).expect("write");
        Descriptions::of_file(&path)
    }

    #[test]
    fn lists_are_read_and_wrong_lines_counted() {
        let plain = read("d.txt", "A cat.\n\n  A dog\truns. \n!!\n").expect("two");
        let texts: Vec<_> = plain.found.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["A cat.", "A dog runs."]);
        assert_eq!(plain.rejected[0].code, "empty_description");
        let rows = concat!(
            "{\"id\": 7, \"caption\": \"A cat.\"}\n{\"description\": \"A dog.\"}\n",
            "{\"id\": \"7\", \"text\": \"A cow.\"}\n{\"id\": \"x\"}\n{\"id\":",
        );
        let read = read("d.jsonl", rows).expect("two");
        let ids: Vec<_> = read.found.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["7", "line-2"]);
        let codes: Vec<_> = read.rejected.iter().map(|one| one.code.as_str()).collect();
        assert_eq!(codes, ["duplicate_id", "missing_description", "invalid_json"]);
    }

    #[test]
    fn a_list_without_a_description_is_refused() {
        let error = read("d.txt", "\n").expect_err("nothing in it");
        assert_eq!(error.code(), "no_descriptions");
        let missing = Descriptions::of_file(Path::new("/nowhere/d.txt")).expect_err("no file");
        assert_eq!(missing.kind(), crate::ErrorKind::NotFound);
    }

    #[test]
    fn a_limit_draws_by_seed_and_keeps_the_order() {
        let one = |n: usize| Description {
            id: n.to_string(),
            text: format!("Photo {n}."),
            captions: Vec::new(),
            photo: None,
        };
        let drawn = |seed| {
            let mut all = Descriptions { found: (0..40).map(one).collect(), ..Default::default() };
            all.limit(Some(10), seed);
            all.found.iter().map(|one| one.id.parse().expect("a number")).collect::<Vec<usize>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!(drawn(1).is_sorted() && drawn(1).len() == 10);
    }
}
