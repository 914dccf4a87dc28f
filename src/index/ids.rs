//! The two-way map between the users' ids and the numbers `usearch` knows.

use std::collections::HashMap;
use std::sync::Arc;

/// Ids and their keys; a key is never used twice.
#[derive(Debug, Default)]
pub(super) struct IdMap {
    by_id: HashMap<Arc<str>, u64>,
    by_key: HashMap<u64, Arc<str>>,
    next: u64,
}

impl IdMap {
    /// Rebuilds a map from what [`Self::entries`] gave; `None` when an id or key comes twice.
    pub(super) fn restore(ids: &[String], keys: &[u64]) -> Option<Self> {
        let mut map = Self::default();
        let count = ids.len();
        if keys.len() != count {
            return None;
        }
        for (id, &key) in ids.iter().zip(keys) {
            map.insert(id.as_str().into(), key);
            map.next = map.next.max(key.checked_add(1)?);
        }
        (map.by_id.len() == count && map.by_key.len() == count).then_some(map)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn key(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    pub(super) fn id(&self, key: u64) -> Option<&str> {
        self.by_key.get(&key).map(|id| &**id)
    }

    /// The key that the next [`Self::push`] will use.
    pub(super) fn next_key(&self) -> u64 {
        self.next
    }

    pub(super) fn push(&mut self, id: &str) {
        self.insert(id.into(), self.next);
        self.next += 1;
    }

    pub(super) fn remove(&mut self, id: &str) {
        if let Some(key) = self.by_id.remove(id) {
            self.by_key.remove(&key);
        }
    }

    /// All ids and their keys, in the order of the keys.
    pub(super) fn entries(&self) -> (Vec<String>, Vec<u64>) {
        let mut entries: Vec<_> = self.by_key.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| **key);
        entries.into_iter().map(|(key, id)| (id.to_string(), *key)).unzip()
    }

    fn insert(&mut self, id: Arc<str>, key: u64) {
        self.by_id.insert(Arc::clone(&id), key);
        self.by_key.insert(key, id);
    }
}
