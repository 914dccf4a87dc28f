//! Near-duplicates of held-out photos: found by embedding, held out with them.

use std::collections::BTreeSet;

use crate::base::db::DbError;
use crate::dataset::store::{NearDuplicate, Store};
use crate::encoder::cosine;

/// Holds out every photo that is nearly the same as one of the benchmark's, those included that
/// came after it was built. Does nothing in a run without a benchmark. Returns how many are new.
///
/// # Errors
/// The store's.
pub fn hold_near_duplicates(store: &Store, encoder: &str) -> Result<usize, DbError> {
    let Some(benchmark) = store.held_benchmark()? else { return Ok(0) };
    let held = store.held_out()?;
    let mut found = near_duplicates(store, encoder, &held.images, benchmark.near)?;
    found.retain(|one| !held.near.contains_key(&one.image_sha256));
    if !found.is_empty() {
        store.hold_out_near(&found)?;
    }
    Ok(found.len())
}

/// Photos that are not in `images` and whose cosine similarity to one of them is `near` or more.
/// Compares with every one, so nothing is missed; photos pass one at a time.
pub(super) fn near_duplicates(
    store: &Store,
    encoder: &str,
    images: &BTreeSet<String>,
    near: f64,
) -> Result<Vec<NearDuplicate>, DbError> {
    let mut held: Vec<(String, Vec<f32>)> = Vec::new();
    store.each_image_vector(encoder, |key, vector| {
        if images.contains(key) {
            held.push((key.to_owned(), vector));
        }
    })?;
    let mut found = Vec::new();
    store.each_image_vector(encoder, |key, vector| {
        if images.contains(key) {
            return;
        }
        let scored = held.iter().map(|(other, held)| (cosine(held, &vector), other));
        if let Some((similarity, other)) = scored.max_by(|a, b| a.0.total_cmp(&b.0))
            && similarity >= near
        {
            let (image_sha256, near) = (key.to_owned(), other.clone());
            found.push(NearDuplicate { image_sha256, near, similarity });
        }
    })?;
    Ok(found)
}
