//! An evaluation's folder and the lock that keeps a second process out of it.

use std::path::{Path, PathBuf};

use strum::IntoStaticStr;

use super::error::EvaluationError;
use super::store::EvaluationStore;
use crate::Error;
use crate::base::lock::{FolderLock, LockFile};

const STORE: &str = "evaluation.sqlite";

static LOCK: LockFile = LockFile {
    name: "evaluation.lock",
    held: " is in use by another pairwright; wait for it, or choose another --out",
    held_code: "evaluation_busy",
    io_code: "evaluation_io",
};

/// The name in the store's `meta` of what the folder holds.
const KIND: &str = "kind";

/// What an evaluation folder holds; one folder, one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Two models judged.
    Judge,
    /// Many models judged and ranked.
    Leaderboard,
    /// One model's answers.
    Answer,
}

impl Kind {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An evaluation folder this process holds.
pub struct EvaluationFolder {
    lock: FolderLock,
}

impl EvaluationFolder {
    /// Takes the folder, making it if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made, or another process works in it.
    pub fn take(path: &Path) -> Result<Self, EvaluationError> {
        Ok(Self { lock: FolderLock::take(path, &LOCK)? })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.lock.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The store of the evaluation in `folder`, to read it while whoever holds the folder works.
    ///
    /// # Errors
    /// [`EvaluationError::NoResults`] where there is none yet, or the store's.
    pub fn read_store(folder: &Path) -> Result<EvaluationStore, Error> {
        let store = folder.join(STORE);
        if store.is_file() {
            return Ok(EvaluationStore::open_to_read(&store)?);
        }
        let path = folder.to_owned();
        Err(EvaluationError::NoResults { path, file: STORE }.into())
    }

    /// Opens the folder's store for `kind`.
    ///
    /// # Errors
    /// The store's; [`EvaluationError::OtherResults`] where the folder holds another kind.
    pub fn store(&self, kind: Kind) -> Result<EvaluationStore, Error> {
        let store = EvaluationStore::create(&self.file(STORE))?;
        match store.database().meta(KIND)? {
            Some(found) if found != kind.name() => {
                let message = format!(
                    "this folder holds an evaluation of kind `{found}`; choose another --out for \
                     `{}`",
                    kind.name()
                );
                Err(EvaluationError::OtherResults { path: self.path().to_owned(), message }.into())
            }
            Some(_) => Ok(store),
            None => {
                store.database().set_meta(KIND, kind.name())?;
                Ok(store)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn one_folder_holds_one_evaluation_of_one_kind() {
        let folder = tempfile::tempdir().expect("temp dir");
        let held = EvaluationFolder::take(folder.path()).expect("free");
        let busy = EvaluationFolder::take(folder.path()).err().expect("held");
        assert_eq!(busy.code(), "evaluation_busy");
        held.store(Kind::Judge).expect("new");
        held.store(Kind::Judge).expect("the same");
        let error = held.store(Kind::Leaderboard).err().expect("refused").to_string();
        assert!(error.contains("of kind `judge`"), "{error}");
        drop(held);
        EvaluationFolder::take(folder.path()).expect("free again");
    }
}
