//! The two-way map between the users' ids and the numbers `usearch` knows.

use std::collections::HashMap;
use std::sync::Arc;

/// Ids and their keys. Keys count up from 0; one whose id was removed stands for no other vector.
#[derive(Debug, Default)]
pub(super) struct IdMap {
    by_id: HashMap<Arc<str>, u64>,
    /// The id of each key given so far; none where it was removed.
    by_key: Vec<Option<Arc<str>>>,
}

impl IdMap {
    /// Rebuilds a map from what [`Self::entries`] and [`Self::next_key`] gave; `None` when an id or
    /// key comes twice, a key was not given yet, or so many keys have no room.
    pub(super) fn restore(ids: &[String], keys: &[u64], next_key: u64) -> Option<Self> {
        if keys.len() != ids.len() {
            return None;
        }
        let mut map = Self::default();
        let count = usize::try_from(next_key).ok()?;
        map.by_key.try_reserve_exact(count).ok()?;
        map.by_key.resize(count, None);
        for (id, &key) in ids.iter().zip(keys) {
            let place = map.by_key.get_mut(usize::try_from(key).ok()?)?;
            let id: Arc<str> = id.as_str().into();
            let taken = place.replace(Arc::clone(&id)).is_some();
            if taken || map.by_id.insert(id, key).is_some() {
                return None;
            }
        }
        Some(map)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn key(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// The id of a key, unless it was removed.
    pub(super) fn id(&self, key: u64) -> Option<&str> {
        self.by_key.get(usize::try_from(key).ok()?)?.as_deref()
    }

    /// Whether the key was given and its id removed.
    pub(super) fn is_removed(&self, key: u64) -> bool {
        usize::try_from(key).is_ok_and(|key| matches!(self.by_key.get(key), Some(None)))
    }

    /// The key that the next [`Self::push`] will use.
    pub(super) fn next_key(&self) -> u64 {
        self.by_key.len() as u64
    }

    pub(super) fn push(&mut self, id: &str) {
        self.skip(1);
        self.put(id, self.next_key() - 1);
    }

    /// Leaves out the next keys for good.
    pub(super) fn skip(&mut self, count: usize) {
        self.by_key.resize(self.by_key.len() + count, None);
    }

    /// Gives a key again whose id [`Self::is_removed`].
    pub(super) fn put(&mut self, id: &str, key: u64) {
        let id: Arc<str> = id.into();
        self.by_key[key as usize] = Some(Arc::clone(&id));
        self.by_id.insert(id, key);
    }

    /// Whether the id was there.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(key) = self.by_id.remove(id) else {
            return false;
        };
        self.by_key[key as usize] = None;
        true
    }

    /// All ids and their keys, in the order of the keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_key.iter().zip(0..).filter_map(|(id, key)| Some((id.as_deref()?, key)))
    }
}
