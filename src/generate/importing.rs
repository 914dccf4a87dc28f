//! Bringing instructions from elsewhere into a generation's library.

use std::collections::HashSet;

use crate::Error;
use crate::instruction::wording::normal_form;
use crate::instruction::{GenerateError, Instruction, Library};

use super::GenerationFolder;

/// What an import came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    pub added: usize,
    /// Left out, because the library holds them already but for case, spacing and punctuation.
    pub duplicates: usize,
    /// Instructions in the library now.
    pub library: usize,
}

/// Adds `library` to the generation in `folder` and writes its files anew. Imported instructions
/// stay when the others are generated anew.
///
/// # Errors
/// An id is taken by another text, or the store or a file cannot be written.
pub fn import(folder: &GenerationFolder, library: &Library) -> Result<Imported, Error> {
    let store = folder.create_store()?;
    let there = store.library()?;
    let mut forms: HashSet<String> = there.iter().map(|one| normal_form(&one.text)).collect();
    let ids: HashSet<&str> = there.iter().map(|one| one.id.as_str()).collect();
    let mut new: Vec<Instruction> = Vec::new();
    for one in &library.instructions {
        if !forms.insert(normal_form(&one.text)) {
            continue;
        }
        if ids.contains(one.id.as_str()) {
            return Err(GenerateError::IdTaken { id: one.id.clone() }.into());
        }
        new.push(one.clone());
    }
    store.import(&new)?;
    let (added, duplicates) = (new.len(), library.instructions.len() - new.len());
    Ok(Imported { added, duplicates, library: folder.write_library(&store)? })
}
