//! Sentence embeddings, kept: each text is embedded once.

use std::collections::HashMap;

use crate::Error;
use crate::base::hash;
use crate::encoder::Embedding;
use crate::instruction::embed::TextEmbedder;
use crate::instruction::lineage::GenerationStore;

/// Texts embedded between two commits.
const BATCH: usize = 256;

/// The embedder with what it embedded before.
pub struct Vectors<'a> {
    pub store: &'a GenerationStore,
    pub embedder: TextEmbedder,
}

impl Vectors<'_> {
    /// Unit vectors of the texts, in order.
    ///
    /// # Errors
    /// Store or embedder failed.
    pub fn of(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, Error> {
        let keys: Vec<String> = texts.iter().map(|text| hash::key(&["text", text])).collect();
        let mut found = self.store.vectors(&self.embedder.hash, &keys)?;
        let mut missing: HashMap<&String, &str> = HashMap::new();
        for (key, text) in keys.iter().zip(texts) {
            if !found.contains_key(key) {
                missing.insert(key, text);
            }
        }
        let mut missing: Vec<(&String, &str)> = missing.into_iter().collect();
        missing.sort_unstable();
        for batch in missing.chunks(BATCH) {
            let texts: Vec<&str> = batch.iter().map(|(_, text)| *text).collect();
            let keys = batch.iter().map(|(key, _)| (*key).clone());
            let rows: Vec<_> = keys.zip(self.embedder.embed(&texts)?).collect();
            self.store.put_vectors(&self.embedder.hash, &rows)?;
            found.extend(rows);
        }
        // Every key was found or embedded.
        Ok(keys.iter().filter_map(|key| found.get(key).cloned()).collect())
    }
}
