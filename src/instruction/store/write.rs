//! Creating and deleting instructions, and what is checked before.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Transaction;

use super::error::{CreateError, LibraryStoreError, NoInstruction};
use super::live::StoredInstruction;
use super::rows::{self, NewRow, Rows};
use super::{EmbedTexts, InstructionStore, locked, open};
use crate::base::hash;
use crate::index::{IndexError, unit};
use crate::instruction::{Instruction, Library, check_requires, check_tags, library};

/// Longest id in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Longest category in bytes.
pub const MAX_CATEGORY_BYTES: usize = 128;

/// An instruction to be created.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewInstruction {
    /// 1 to [`MAX_ID_BYTES`] of `A-Z a-z 0-9 . _ ~ -`, with a letter or digit among them and no `.`
    /// or `-` at the start, so that it is no path and no flag wherever it is used; `None` makes one from the text, always the
    /// same for the same text.
    pub id: Option<String>,
    /// White space around it is not kept.
    pub text: String,
    /// 1 to [`MAX_CATEGORY_BYTES`] bytes without control characters.
    pub category: Option<String>,
    /// What it requires of a photo, as [`check_requires`] takes it; `None`: not known.
    pub requires: Option<Vec<String>>,
    /// As [`check_tags`] takes them.
    pub tags: Vec<String>,
    /// The text's embedding by the library's model, of any length but zero.
    pub vector: Vec<f32>,
    /// Whether the caller supplied `vector`, so that it need not be what the text would give.
    pub given: bool,
}

/// A [`NewInstruction`] that may be stored if its id and text are free.
#[derive(Debug)]
pub(super) struct Checked {
    pub id: String,
    pub text: String,
    pub category: Option<String>,
    pub requires: Option<Vec<String>>,
    pub tags: Vec<String>,
    /// Length 1.
    pub vector: Vec<f32>,
    pub given: bool,
}

impl Checked {
    pub fn new(new: NewInstruction, dim: usize) -> Result<Self, CreateError> {
        let text = library::check_text(&new.text)?.to_owned();
        let id = new.id.unwrap_or_else(|| generated_id(&text));
        if !is_id(&id) {
            return Err(CreateError::BadId { id });
        }
        if !new.category.as_deref().is_none_or(is_category) {
            return Err(CreateError::BadCategory);
        }
        let requires = new.requires.as_deref().map(check_requires).transpose()?;
        let tags = check_tags(&new.tags)?;
        let (vector, _) = unit(&new.vector, dim, || "the vector".to_owned())?;
        let (category, given) = (new.category, new.given);
        Ok(Self { id, text, category, requires, tags, vector, given })
    }
}

fn generated_id(text: &str) -> String {
    let key = hash::key(&["instruction", text]);
    format!("i-{}", &key[..16])
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let named = id.bytes().any(|byte| byte.is_ascii_alphanumeric()) && !id.starts_with(['.', '-']);
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(allowed) && named
}

fn is_category(category: &str) -> bool {
    (1..=MAX_CATEGORY_BYTES).contains(&category.len()) && !category.chars().any(char::is_control)
}

type Outcome = Result<(StoredInstruction, Vec<f32>), CreateError>;

impl InstructionStore {
    /// Creates instructions in one transaction, each with its own outcome, in the order given.
    /// When this returns, those created are on disk and found by searches. An earlier item of the
    /// call counts as there for a later one.
    ///
    /// # Errors
    /// The disk or SQLite failed; nothing was created.
    pub fn create(
        &self,
        new: Vec<NewInstruction>,
    ) -> Result<Vec<Result<StoredInstruction, CreateError>>, LibraryStoreError> {
        let checked = new.into_iter().map(|one| Checked::new(one, self.dim)).collect();
        self.store(&locked(&self.writer), checked)
    }

    /// Fills an empty library, with all of `library` or nothing of it. How many were created: 0
    /// when the library was not empty.
    ///
    /// # Errors
    /// An instruction's id or category is not one that this library takes, embedding failed, or
    /// the disk or SQLite failed.
    pub fn seed_if_empty(
        &self,
        library: &Library,
        embed: EmbedTexts<'_>,
    ) -> Result<usize, LibraryStoreError> {
        let writer = locked(&self.writer);
        if !self.is_empty() {
            return Ok(0);
        }
        let texts: Vec<&str> = library.instructions.iter().map(|one| one.text.as_str()).collect();
        let vectors = open::embed_all(&texts, self.dim, embed)?;
        let new = library.instructions.iter().zip(vectors).map(|(one, vector)| {
            let Instruction { id, text, category, requires, tags } = one.clone();
            let id = Some(id);
            let new = NewInstruction { id, text, category, requires, tags, vector, given: false };
            let refused = |source| LibraryStoreError::Seed { id: one.id.clone(), source };
            Checked::new(new, self.dim).map_err(refused)
        });
        let checked = new.collect::<Result<Vec<_>, _>>()?;
        // Ids and texts of a library are unique, so each one is stored.
        Ok(self.store(&writer, checked.into_iter().map(Ok).collect())?.len())
    }

    fn store(
        &self,
        writer: &Rows,
        checked: Vec<Result<Checked, CreateError>>,
    ) -> Result<Vec<Result<StoredInstruction, CreateError>>, LibraryStoreError> {
        let (model, create_time) = (self.model, now());
        let (outcomes, revision) = writer.write(|transaction| {
            let store = |one: Result<Checked, CreateError>| match one {
                Ok(checked) => insert(transaction, checked, model, create_time),
                Err(refused) => Ok(Err(refused)),
            };
            let outcomes: Vec<Outcome> =
                checked.into_iter().map(store).collect::<Result<_, _>>()?;
            let revision = raise_if(transaction, outcomes.iter().any(Result::is_ok))?;
            Ok((outcomes, revision))
        })?;
        let mut created = Vec::with_capacity(outcomes.len());
        self.live.write_each(outcomes, |live, outcome| {
            created.push(outcome.map(|(new, vector)| {
                self.note(live.insert(new.clone(), &vector));
                new
            }));
        });
        self.publish(revision, created.iter().filter(|outcome| outcome.is_ok()).count());
        Ok(created)
    }

    /// Deletes instructions in one transaction, each with its own outcome, in the order given.
    /// When this returns, those deleted are gone from the disk and from searches.
    ///
    /// # Errors
    /// The disk or SQLite failed; nothing was deleted.
    pub fn delete(
        &self,
        ids: &[impl AsRef<str>],
    ) -> Result<Vec<Result<(), NoInstruction>>, LibraryStoreError> {
        let writer = locked(&self.writer);
        let (outcomes, rows) = self.find(ids);
        let revision = writer.write(|transaction| {
            rows.iter().try_for_each(|&row| rows::remove(transaction, row))?;
            raise_if(transaction, !rows.is_empty())
        })?;
        let count = rows.len();
        self.live.write_each(rows, |live, row| self.note(live.remove(row)));
        self.publish(revision, count);
        Ok(outcomes)
    }

    /// Whether each id is there, and the rows of those that are. An id given twice is gone the
    /// second time.
    fn find(&self, ids: &[impl AsRef<str>]) -> (Vec<Result<(), NoInstruction>>, Vec<u64>) {
        let live = self.live.read();
        let (mut rows, mut seen) = (Vec::new(), HashSet::new());
        let find = |id: &str| match live.catalog.id(id) {
            Some(found) if seen.insert(found.row) => {
                rows.push(found.row);
                Ok(())
            }
            _ => Err(NoInstruction { id: id.to_owned() }),
        };
        let outcomes = ids.iter().map(AsRef::as_ref).map(find).collect();
        (outcomes, rows)
    }

    /// The library is stored and listed either way; `maintain` mends the index.
    fn note(&self, changed: Result<(), IndexError>) {
        if let Err(error) = changed {
            tracing::error!(%error, "the instruction index fell behind the library");
            self.behind.store(true, Ordering::Release);
        }
    }

    fn publish(&self, revision: Option<u64>, changes: usize) {
        if let Some(revision) = revision {
            self.revision.store(revision, Ordering::Release);
        }
        self.changes.fetch_add(changes, Ordering::AcqRel);
    }
}

fn insert(
    transaction: &Transaction<'_>,
    checked: Checked,
    model: i64,
    create_time: i64,
) -> rusqlite::Result<Outcome> {
    let Checked { id, text, category, requires, tags, vector, given } = checked;
    if rows::has_id(transaction, &id)? {
        return Ok(Err(CreateError::IdExists { id }));
    }
    if let Some(id) = rows::id_of_text(transaction, &text)? {
        return Ok(Err(CreateError::TextExists { id }));
    }
    let new = NewRow {
        id: &id,
        text: &text,
        category: category.as_deref(),
        requires: requires.as_ref(),
        tags: &tags,
        create_time,
        model,
        vector: &vector,
        given,
    };
    let row = rows::insert(transaction, &new)?;
    let stored = StoredInstruction {
        row,
        id: id.into(),
        text: text.into(),
        category: category.map(Into::into),
        create_time,
        requires: requires.map(Into::into),
        tags: tags.into(),
    };
    Ok(Ok((stored, vector)))
}

/// The new revision, if something changed.
fn raise_if(transaction: &Transaction<'_>, changed: bool) -> rusqlite::Result<Option<u64>> {
    changed.then(|| rows::raise_revision(transaction)).transpose()
}

/// Microseconds since 1970; 0 on a clock set before.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    fn new(id: Option<&str>, text: &str, category: Option<&str>) -> NewInstruction {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let vector = vec![3.0, 4.0];
        let (id, text, category) = (owned(id), text.to_owned(), owned(category));
        NewInstruction { id, text, category, vector, ..NewInstruction::default() }
    }

    fn code(new: NewInstruction) -> &'static str {
        Checked::new(new, 2).expect_err("refused").code()
    }

    #[test]
    fn a_sound_instruction_is_trimmed_scaled_and_named() {
        let checked = Checked::new(new(None, " Tell it. \n", Some("a b")), 2).expect("sound");
        assert_eq!((checked.text.as_str(), checked.vector), ("Tell it.", vec![0.6, 0.8]));
        let again = Checked::new(new(None, "Tell it.", None), 2).expect("sound");
        assert_eq!(checked.id, again.id);
        assert!(checked.id.starts_with("i-") && checked.id.len() == 18, "{}", checked.id);
        let longest = "x".repeat(MAX_ID_BYTES);
        assert_eq!(Checked::new(new(Some(&longest), "t", None), 2).expect("sound").id, longest);
    }

    #[test]
    fn unsound_instructions_are_refused_with_their_reason() {
        for id in [
            "",
            "a b",
            "a/b",
            "ä",
            "a\0",
            ".",
            "..",
            "-",
            "_~",
            ".a",
            "-rf",
            &"x".repeat(MAX_ID_BYTES + 1),
        ] {
            assert_eq!(code(new(Some(id), "t", None)), "bad_instruction_id", "{id:?}");
        }
        for category in ["", "a\nb", &"x".repeat(MAX_CATEGORY_BYTES + 1)] {
            assert_eq!(code(new(None, "t", Some(category))), "bad_instruction_category");
        }
        let nothing = NewInstruction { requires: Some(vec!["it".into()]), ..new(None, "t", None) };
        assert_eq!(code(nothing), "instruction_requires_names_nothing");
        let blank = NewInstruction { tags: vec![" ".into()], ..new(None, "t", None) };
        assert_eq!(code(blank), "bad_instruction_tags");
        assert_eq!(code(new(None, " \n", None)), "instruction_text_empty");
        assert_eq!(code(new(None, &"x".repeat(5000), None)), "instruction_text_too_long");
        assert_eq!(code(new(None, "see <image>", None)), "instruction_text_image_token");
        for (vector, reason) in [
            (vec![1.0], "vector_wrong_width"),
            (vec![1.0, f32::NAN], "vector_not_finite"),
            (vec![0.0, 0.0], "vector_zero"),
        ] {
            assert_eq!(code(NewInstruction { vector, ..new(None, "t", None) }), reason);
        }
    }
}
