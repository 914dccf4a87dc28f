//! Vectors that callers supplied, and what becomes of them when the model has changed.

use serde::{Deserialize, Serialize};

use super::EmbedTexts;
use super::error::LibraryStoreError;
use super::rows::{self, Rows};
use crate::base::Stopped;

/// What becomes of vectors that callers supplied when another model is used from now on. Those that
/// were made from the text are made anew whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenVectors {
    /// Nothing is opened: nobody but the operator knows what they are worth now.
    #[default]
    Refuse,
    /// They are replaced by the text's own.
    Embed,
    /// They stay as they are: the caller made them with the new model, or one that agrees with it.
    Keep,
}

/// What opening a library needs besides its settings.
pub struct Opening<'a> {
    /// For vectors of another model.
    pub given: GivenVectors,
    /// Makes vectors from texts.
    pub embed: EmbedTexts<'a>,
    /// Asked between steps; true gives up. What was embedded by then is kept.
    pub stop: &'a dyn Fn() -> bool,
}

impl Opening<'_> {
    /// Gives up if that is asked for.
    pub(super) fn go_on(&self) -> Result<(), LibraryStoreError> {
        if (self.stop)() { Err(Stopped.into()) } else { Ok(()) }
    }

    /// Decides about supplied vectors of another model than `model`: those that are kept are of
    /// `model` from then on, those that are left are to be embedded anew.
    pub(super) fn settle(
        &self,
        rows: &Rows,
        model: i64,
        dim: usize,
    ) -> Result<(), LibraryStoreError> {
        let (given, unknown) = rows.count_given(model)?;
        match self.given {
            GivenVectors::Refuse if given + unknown > 0 => {
                return Err(LibraryStoreError::GivenVectors { given, unknown });
            }
            GivenVectors::Keep if given > 0 => {
                if let Some((id, width)) = rows.given_of_another_width(model, dim)? {
                    return Err(LibraryStoreError::GivenWidth { id, width, dim });
                }
                rows.write(|transaction| {
                    rows::keep_given(transaction, model)?;
                    rows::raise_revision(transaction)
                })?;
                tracing::warn!(given, "vectors that callers supplied are kept for the new model");
            }
            GivenVectors::Embed if given + unknown > 0 => {
                tracing::warn!(given, unknown, "vectors that callers supplied are replaced");
            }
            _ => {}
        }
        Ok(())
    }
}

/// As [`super::InstructionStore::open`] opens.
pub(super) fn refusing(embed: EmbedTexts<'_>) -> Opening<'_> {
    Opening { given: GivenVectors::Refuse, embed, stop: &|| false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;
    use crate::index::IndexConfig;
    use crate::instruction::store::{InstructionStore, NewInstruction};
    use std::path::Path;

    fn open(
        folder: &Path,
        model: &str,
        dim: usize,
        given: GivenVectors,
        stop: bool,
    ) -> Result<InstructionStore, LibraryStoreError> {
        let embed = |texts: &[&str]| {
            Ok(texts.iter().map(|_| (0..dim).map(|at| f32::from(at == 0)).collect()).collect())
        };
        let opening = Opening { given, embed: &embed, stop: &|| stop };
        InstructionStore::open_with(folder, model, dim, &IndexConfig::default(), &opening)
    }

    /// A library of one supplied vector and one made from its text.
    fn library(folder: &Path) {
        let store = open(folder, "a", 2, GivenVectors::Refuse, false).expect("made");
        let new = |id: &str, given| NewInstruction {
            id: Some(id.into()),
            text: format!("Do {id}."),
            vector: vec![0.0, 1.0],
            given,
            ..NewInstruction::default()
        };
        let created = store.create(vec![new("given", true), new("made", false)]).expect("stored");
        assert!(created.iter().all(Result::is_ok));
    }

    #[test]
    fn supplied_vectors_are_not_replaced_unless_that_is_asked_for() {
        let folder = tempfile::tempdir().expect("temp dir");
        library(folder.path());
        open(folder.path(), "a", 2, GivenVectors::Refuse, false).expect("the same model");
        let refused =
            open(folder.path(), "b", 2, GivenVectors::Refuse, false).err().expect("refused");
        assert_eq!(refused.code(), "library_given_vectors");
        let text = refused.to_string();
        assert!(text.contains("1 instruction") && text.contains("--on-changed-model"), "{text}");
        let wide =
            open(folder.path(), "wide", 3, GivenVectors::Keep, false).err().expect("refused");
        assert_eq!(wide.code(), "library_given_width");
        assert!(wide.to_string().contains("\"given\""), "{wide}");

        let kept = open(folder.path(), "b", 2, GivenVectors::Keep, false).expect("kept");
        assert_eq!(kept.vector("given").expect("there"), [0.0, 1.0]);
        assert_eq!(kept.vector("made").expect("there"), [1.0, 0.0]);
        drop(kept);
        open(folder.path(), "b", 2, GivenVectors::Refuse, false).expect("of this model now");
        let made = open(folder.path(), "c", 2, GivenVectors::Embed, false).expect("replaced");
        assert_eq!(made.vector("given").expect("there"), [1.0, 0.0]);
        drop(made);
        open(folder.path(), "d", 2, GivenVectors::Refuse, false).expect("no supplied one is left");
    }

    #[test]
    fn rows_from_before_this_was_kept_may_be_supplied_ones() {
        let folder = tempfile::tempdir().expect("temp dir");
        library(folder.path());
        let connection = rusqlite::Connection::open(folder.path().join("library.sqlite"));
        let connection = connection.expect("opens");
        connection.execute_batch("UPDATE instructions SET given = NULL").expect("done");
        drop(connection);
        let refused =
            open(folder.path(), "b", 2, GivenVectors::Refuse, false).err().expect("refused");
        assert!(refused.to_string().contains("2 from before"), "{refused}");
        let kept = open(folder.path(), "b", 2, GivenVectors::Keep, false).expect("opens");
        assert_eq!(kept.vector("given").expect("there"), [1.0, 0.0], "not known to be supplied");
    }

    #[test]
    fn a_stop_while_opening_is_one() {
        let folder = tempfile::tempdir().expect("temp dir");
        library(folder.path());
        let stopped =
            open(folder.path(), "b", 2, GivenVectors::Embed, true).err().expect("stopped");
        assert_eq!(stopped.code(), "stopped");
        let stopped =
            open(folder.path(), "a", 2, GivenVectors::Refuse, true).err().expect("stopped");
        assert_eq!(stopped.code(), "stopped", "while the index is built");
        open(folder.path(), "b", 2, GivenVectors::Embed, false).expect("goes on");
    }
}
