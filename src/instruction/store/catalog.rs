//! Every instruction in memory, without its vector.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// An instruction of the library. Cloning copies no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInstruction {
    /// Grows with each instruction created and is never used again: the order of lists, and the
    /// name of the vector in the index.
    pub row: u64,
    /// The user's id, or one made from the text.
    pub id: Arc<str>,
    pub text: Arc<str>,
    pub category: Option<Arc<str>>,
    /// Microseconds since 1970-01-01 UTC.
    pub create_time: i64,
}

/// Instructions by row, id and category.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    by_row: BTreeMap<u64, StoredInstruction>,
    by_id: HashMap<Arc<str>, u64>,
    categories: BTreeMap<Arc<str>, BTreeSet<u64>>,
}

impl Catalog {
    /// Adds an instruction whose row and id are not there yet.
    pub fn insert(&mut self, mut instruction: StoredInstruction) {
        if let Some(category) = &mut instruction.category {
            // One string for all instructions of the category.
            if let Some((known, _)) = self.categories.get_key_value(category) {
                *category = Arc::clone(known);
            }
            self.categories.entry(Arc::clone(category)).or_default().insert(instruction.row);
        }
        self.by_id.insert(Arc::clone(&instruction.id), instruction.row);
        self.by_row.insert(instruction.row, instruction);
    }

    pub fn remove(&mut self, row: u64) -> Option<StoredInstruction> {
        let removed = self.by_row.remove(&row)?;
        self.by_id.remove(&removed.id);
        if let Some(category) = &removed.category {
            let left = self.categories.get_mut(category);
            if left.is_some_and(|rows| rows.remove(&row) && rows.is_empty()) {
                self.categories.remove(category);
            }
        }
        Some(removed)
    }

    pub fn row(&self, row: u64) -> Option<&StoredInstruction> {
        self.by_row.get(&row)
    }

    pub fn id(&self, id: &str) -> Option<&StoredInstruction> {
        self.row(*self.by_id.get(id)?)
    }

    /// Number of instructions, of one category if it is given.
    pub fn len(&self, category: Option<&str>) -> usize {
        match category {
            None => self.by_row.len(),
            Some(category) => self.categories.get(category).map_or(0, BTreeSet::len),
        }
    }

    /// The instructions whose row is above `row`, in order, of one category if it is given.
    pub fn after<'a>(
        &'a self,
        row: u64,
        category: Option<&str>,
    ) -> Box<dyn Iterator<Item = &'a StoredInstruction> + 'a> {
        let above = (Excluded(row), Unbounded);
        match category.map(|category| self.categories.get(category)) {
            None => Box::new(self.by_row.range(above).map(|(_, one)| one)),
            Some(None) => Box::new(std::iter::empty()),
            Some(Some(rows)) => Box::new(rows.range(above).filter_map(|row| self.row(*row))),
        }
    }

    /// All rows, of one category if it is given, in order.
    pub fn rows(&self, category: Option<&str>) -> Vec<u64> {
        match category {
            None => self.by_row.keys().copied().collect(),
            Some(category) => {
                self.categories.get(category).into_iter().flatten().copied().collect()
            }
        }
    }

    /// Each category and how many instructions it has, by name.
    pub fn categories(&self) -> Vec<(Arc<str>, usize)> {
        self.categories.iter().map(|(name, rows)| (Arc::clone(name), rows.len())).collect()
    }
}
