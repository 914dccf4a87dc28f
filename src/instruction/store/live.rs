//! What is searched: every instruction in memory, without its vector, and the index of their
//! vectors, always changed together, behind a lock whose writer does not keep readers waiting.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::InstructionFilter;
use crate::index::{
    Ask, Hit, IndexError, LEAST, LocalIndex, Modality, SAMPLE, SearchFacts, VectorSearch, unit,
};

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
    /// What it requires of a photo; `None` where that is not known.
    pub requires: Option<Arc<[String]>>,
    /// Sorted, each once.
    pub tags: Arc<[String]>,
}

/// Rows by what they share.
type Groups = BTreeMap<Arc<str>, BTreeSet<u64>>;

/// Instructions by row, id, category and tag.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    by_row: BTreeMap<u64, StoredInstruction>,
    by_id: HashMap<Arc<str>, u64>,
    categories: Groups,
    tags: Groups,
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
        for tag in instruction.tags.iter() {
            self.tags.entry(tag.as_str().into()).or_default().insert(instruction.row);
        }
        self.by_id.insert(Arc::clone(&instruction.id), instruction.row);
        self.by_row.insert(instruction.row, instruction);
    }

    pub fn remove(&mut self, row: u64) -> Option<StoredInstruction> {
        let removed = self.by_row.remove(&row)?;
        self.by_id.remove(&removed.id);
        if let Some(category) = &removed.category {
            leave(&mut self.categories, category, row);
        }
        removed.tags.iter().for_each(|tag| leave(&mut self.tags, tag, row));
        Some(removed)
    }

    /// The rows that a filter lets through, in order.
    pub fn filtered(&self, filter: &InstructionFilter) -> Vec<u64> {
        let (groups, names) = match filter.categories.as_slice() {
            [] => (&self.tags, filter.tags.as_slice()),
            names => (&self.categories, names),
        };
        let rows = names.iter().filter_map(|name| groups.get(name.as_str())).flatten();
        let rows: BTreeSet<u64> = rows.copied().collect();
        let meant = |row: &u64| self.row(*row).is_some_and(|one| filter.lets_through(one));
        rows.into_iter().filter(meant).collect()
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

fn leave(groups: &mut Groups, name: &str, row: u64) {
    if groups.get_mut(name).is_some_and(|rows| rows.remove(&row) && rows.is_empty()) {
        groups.remove(name);
    }
}

/// How long a writer works before it lets readers in.
const SLICE: Duration = Duration::from_millis(5);

/// How long it then waits for them to come in. They only need to be woken.
const PATIENCE: Duration = Duration::from_millis(5);

/// `std`'s lock may give itself back to the writer that has just left it; this one counts who
/// waits to read.
#[derive(Debug)]
pub(super) struct SharedLock<T> {
    inner: RwLock<T>,
    waiting: AtomicUsize,
}

impl<T> SharedLock<T> {
    pub fn new(value: T) -> Self {
        Self { inner: RwLock::new(value), waiting: AtomicUsize::new(0) }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let held = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        held
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` for each item, letting readers in between.
    pub fn write_each<I>(
        &self,
        items: impl IntoIterator<Item = I>,
        mut work: impl FnMut(&mut T, I),
    ) {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let (mut held, begun) = (self.write(), Instant::now());
            while let Some(item) = items.next_if(|_| begun.elapsed() < SLICE) {
                work(&mut held, item);
            }
            drop(held);
            self.let_readers_in();
        }
    }

    fn let_readers_in(&self) {
        let begun = Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(50));
        }
    }
}

/// Deleted instructions remembered. A match that found one just before it was deleted can then
/// still compare and name it.
const REMEMBERED: usize = 1000;

/// Queries answered in one holding of the lock: bounds how long a writer waits, and behind it new
/// readers.
pub(super) const QUERIES: usize = 32;

/// Instructions and their index. Ids in the index are row numbers.
pub(super) struct Live {
    pub catalog: Catalog,
    pub index: Box<dyn LocalIndex>,
    departed: VecDeque<(StoredInstruction, Vec<f32>)>,
    /// Photos asked about, each once, to measure the index with: vectors of length 1, [`SAMPLE`] at
    /// most.
    asked: Mutex<Vec<Vec<f32>>>,
}

impl Live {
    pub fn new(catalog: Catalog, index: Box<dyn LocalIndex>) -> Self {
        Self { catalog, index, departed: VecDeque::new(), asked: Mutex::default() }
    }

    /// Adds an instruction. It is listed even when the index fails.
    pub fn insert(&mut self, new: StoredInstruction, vector: &[f32]) -> Result<(), IndexError> {
        let added = self.index.add(&new.row.to_string(), vector);
        self.catalog.insert(new);
        added
    }

    /// Removes an instruction. It is no longer listed even when the index fails.
    pub fn remove(&mut self, row: u64) -> Result<(), IndexError> {
        let key = row.to_string();
        if let (Some(removed), Some(vector)) = (self.catalog.remove(row), self.index.vector(&key)) {
            self.departed.truncate(REMEMBERED - 1);
            self.departed.push_front((removed, vector));
        }
        self.index.remove(&key).map(drop)
    }

    /// The instruction of a hit, also when it was deleted a moment ago.
    pub fn instruction(&self, key: &str) -> Option<&StoredInstruction> {
        let row = key.parse().ok()?;
        self.catalog.row(row).or_else(|| self.departed(row).map(|(one, _)| one))
    }

    /// The vector of a row, also when it was deleted a moment ago.
    pub fn vector(&self, key: &str) -> Option<Vec<f32>> {
        let departed = |row| self.departed(row).map(|(_, vector)| vector.clone());
        self.index.vector(key).or_else(|| key.parse().ok().and_then(departed))
    }

    /// Keeps some photos' queries until the index has been measured with them.
    fn remember(&self, photos: &[Vec<f32>]) {
        // Whoever finds it locked need not wait: others will be remembered.
        if self.index.graph().is_some()
            && let Ok(mut asked) = self.asked.try_lock()
        {
            for photo in photos {
                if asked.len() == SAMPLE {
                    break;
                }
                // A photo that is asked about again and again would decide for all the others.
                if !asked.contains(photo) {
                    asked.push(photo.clone());
                }
            }
        }
    }

    /// Photos asked about that the index is to be measured with, where they are enough and it was
    /// not measured with photos as large as it is.
    pub fn photos_to_measure(&self) -> Option<Vec<Vec<f32>>> {
        let recall = self.index.graph()?.recall(Modality::Image);
        if recall.is_some_and(|recall| !recall.is_stale(self.index.len())) {
            return None;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        (asked.len() >= LEAST).then(|| mem::take(&mut *asked))
    }

    pub fn facts(&self) -> SearchFacts {
        self.index.facts()
    }

    fn departed(&self, row: u64) -> Option<&(StoredInstruction, Vec<f32>)> {
        self.departed.iter().find(|(one, _)| one.row == row)
    }
}

/// The index of a library that goes on changing, for a [`Matcher`](crate::matching::Matcher). The
/// ids are row numbers: [`InstructionStore::by_key`](super::InstructionStore::by_key) names the
/// instruction.
pub(super) struct LiveIndex(pub Arc<SharedLock<Live>>);

impl VectorSearch for LiveIndex {
    fn dim(&self) -> usize {
        self.0.read().index.dim()
    }

    fn count(&self) -> Result<usize, IndexError> {
        self.0.read().index.count()
    }

    fn search_many(&self, queries: &[&[f32]], ask: Ask<'_>) -> Result<Vec<Vec<Hit>>, IndexError> {
        let dim = self.dim();
        // Here, because the index would count positions anew in each part.
        let checked = |(position, query): (usize, &&[f32])| {
            unit(query, dim, || format!("query {position}")).map(|(query, _)| query)
        };
        let units = queries.iter().enumerate().map(checked).collect::<Result<Vec<_>, _>>()?;
        if ask.of == Modality::Image {
            self.0.read().remember(&units);
        }
        let mut found = Vec::with_capacity(queries.len());
        for part in queries.chunks(QUERIES) {
            found.extend(self.0.read().index.search_many(part, ask)?);
        }
        Ok(found)
    }

    fn vectors(&self, ids: &[&str]) -> Result<Vec<Option<Vec<f32>>>, IndexError> {
        let live = self.0.read();
        Ok(ids.iter().map(|id| live.vector(id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_come_in_between_the_slices_of_a_long_write() {
        let lock = SharedLock::new(0u32);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                lock.write_each(0..400, |value, _| {
                    thread::sleep(Duration::from_millis(1));
                    *value += 1;
                });
            });
            let mut seen = Vec::new();
            while !writer.is_finished() {
                seen.push(*lock.read());
                thread::sleep(Duration::from_micros(200));
            }
            let between = seen.iter().filter(|&&value| value > 0 && value < 400).count();
            assert!(between > 5, "{between} reads came in while it wrote");
        });
        assert_eq!(*lock.read(), 400);
    }
}
