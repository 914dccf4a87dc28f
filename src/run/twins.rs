//! Photos that are nearly the same as one that the run has: found by their looks, confirmed by their
//! embeddings, before anything is paid for.

use crate::base::db::DbError;
use crate::dataset::store::{DecodedItem, ImageOutcome, Look, NewItem, Store};
use crate::encoder::cosine;
use crate::image::look_distance;

/// Most bits of 64 in which the looks of twins differ.
const LOOKS: u32 = 16;

/// Least cosine of the embeddings of twins.
const NEAR: f64 = 0.8;

/// Photos of like looks whose embeddings are compared, those of the likest looks first: in sources
/// of like layout (scans, products on white) most looks are alike.
const COMPARED: usize = 64;

/// The photos of a run so far: 16 bytes each.
pub(super) struct Twins {
    known: Vec<Look>,
}

impl Twins {
    /// Those that are embedded.
    ///
    /// # Errors
    /// The store's.
    pub fn read(store: &Store, pass: i64) -> Result<Self, DbError> {
        Ok(Self { known: store.looks(pass)? })
    }

    /// The first photo of the source among those known that this one is a twin of, by its id, and
    /// the cosine of the two. `batch` holds what the store does not have yet.
    ///
    /// # Errors
    /// The store's.
    pub fn find(
        &self,
        store: &Store,
        encoder: &str,
        (id, decoded): (&str, &DecodedItem),
        batch: &[(NewItem, ImageOutcome)],
    ) -> Result<Option<(String, f64)>, DbError> {
        let mut alike: Vec<(u32, i64)> = self
            .known
            .iter()
            .map(|one| (look_distance(one.look, decoded.look), one.seq))
            .filter(|(bits, _)| *bits <= LOOKS)
            .collect();
        alike.sort_unstable();
        alike.truncate(COMPARED);
        alike.sort_unstable_by_key(|(_, seq)| *seq);
        for (_, seq) in alike {
            let pending = batch.iter().find(|(item, _)| item.seq == seq);
            let known = match pending {
                // As in the store.
                Some((item, ImageOutcome::Ready(other))) if !other.is_twin_of(id) => {
                    Some((item.id.clone(), other.vector.clone()))
                }
                Some(_) => None,
                None => store.ready_item(seq, encoder, id)?,
            };
            if let Some((id, vector)) = known {
                let similarity = cosine(&vector, &decoded.vector);
                if similarity >= NEAR {
                    return Ok(Some((id, similarity)));
                }
            }
        }
        Ok(None)
    }

    /// Remembers a photo.
    pub fn add(&mut self, seq: i64, look: u64) {
        self.known.push(Look { seq, look });
    }
}
