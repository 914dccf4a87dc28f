//! The measure stage: numbers about the accepted samples, where the configuration asks for any.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::Error;
use crate::base::db::DbError;
use crate::base::hash;
use crate::dataset::record::{AnswerRow, Measured, Pair, SampleView};
use crate::dataset::store::{SampleContext, Store};
use crate::encoder::{Encoder, cosine};
use crate::measure::duplicates::{self, Signatures};
use crate::measure::{Measure, MeasureConfig, MeasureName};
use crate::work::Stop;

/// Photos measured in one transaction.
const PHOTOS: usize = 32;

/// Takes every enabled measure of every accepted sample that lacks it. Returns how many values
/// were taken.
///
/// # Errors
/// The store or a measure's model failed; values taken before are kept. A stop ends early without
/// an error.
pub fn measure(
    store: &Store,
    context: &SampleContext<'_>,
    config: &MeasureConfig,
    encoder: &Arc<dyn Encoder>,
    stop: &Stop,
) -> Result<u64, Error> {
    let mut taken = 0;
    for name in &config.enabled {
        taken += match (name, name.build(Arc::clone(encoder))) {
            (_, Some(measure)) => {
                let each = |samples: &[_]| values(store, context, &*measure, samples);
                page_by_page(store, context, name.name(), &measure.version(), each, stop)?
            }
            (MeasureName::ImageTwinOf, None) => {
                // Taken anew when photos come or go, for what a photo is a twin of may be gone.
                let mut twins_now = hash::Sequence::default();
                store.each_twin(|pair| twins_now.add(pair))?;
                let now = twins_now.done();
                let version = hash::key(&["image_twin_of", "2", context.encoder_hash, &now]);
                let each = |samples: &[_]| Ok(twins(store, context, samples)?);
                page_by_page(store, context, name.name(), &version, each, stop)?
            }
            (MeasureName::NearDuplicateOf, None) => near_duplicates(store, context, *name)?,
            // A language model takes the others.
            (_, None) => 0,
        };
    }
    Ok(taken)
}

/// Takes a measure of all samples that lack it, some photos at a time.
fn page_by_page(
    store: &Store,
    context: &SampleContext<'_>,
    name: &str,
    version: &str,
    each: impl Fn(&[(Pair, AnswerRow)]) -> Result<Vec<(String, Measured)>, Error>,
    stop: &Stop,
) -> Result<u64, Error> {
    let (mut taken, mut after) = (0, -1);
    while !stop.is_asked() {
        let samples = store.samples_to_measure(context, name, version, (after, PHOTOS))?;
        let Some((last, _)) = samples.last() else { break };
        after = last.seq;
        let values = each(&samples)?;
        store.put_measures(name, version, &values)?;
        taken += values.len() as u64;
    }
    Ok(taken)
}

/// [`MeasureName::ImageTwinOf`] of each sample: what the run found when it embedded the photos.
pub(super) fn twins(
    store: &Store,
    context: &SampleContext<'_>,
    samples: &[(Pair, AnswerRow)],
) -> Result<Vec<(String, Measured)>, DbError> {
    let mut found = Vec::with_capacity(samples.len());
    for (pair, answer) in samples {
        let vector = |sha256: &str| store.image_vector(sha256, context.encoder_hash);
        let mut value = Measured::number(Some(0.0));
        if let Some((id, sha256)) = store.twin_of(pair.seq)?
            && let (Some(own), Some(other)) = (vector(&pair.image_sha256)?, vector(&sha256)?)
        {
            value = Measured::number(Some(cosine(&own, &other)));
            value.detail = Some(json!({ "of": id }));
        }
        found.push((answer.answer_key.clone(), value));
    }
    Ok(found)
}

/// Values written in one transaction.
const VALUES: usize = 4096;

/// Takes [`MeasureName::NearDuplicateOf`] of all samples, in the order of the exports, unless they
/// are those of the last time. A value is the share that the answer has in common with the earlier
/// one most like it, which is the original; the order in which the work was done plays no part.
/// Returns how many values were taken.
pub(super) fn near_duplicates(
    store: &Store,
    context: &SampleContext<'_>,
    name: MeasureName,
) -> Result<u64, DbError> {
    let mut set = hash::Sequence::default();
    store.each_answer(context, |key, _, _| set.add(key))?;
    let version = duplicates::version(&set.done());
    if !store.lacks_measure(context, name.name(), &version)? {
        return Ok(0);
    }
    let mut signatures = Signatures::default();
    store.each_answer(context, |_, _, text| signatures.push(text))?;
    let candidates = signatures.candidates();
    drop(signatures);
    // The texts of those alone that resemble another are held.
    let wanted = candidates.iter().flat_map(|(later, earlier)| [later].into_iter().chain(earlier));
    let mut texts: BTreeMap<usize, (String, String)> =
        wanted.map(|place| (*place, Default::default())).collect();
    let mut place = 0;
    store.each_answer(context, |_, id, text| {
        if let Some(kept) = texts.get_mut(&place) {
            *kept = (id.to_owned(), text.to_owned());
        }
        place += 1;
    })?;
    let mut likes = BTreeMap::new();
    for (later, earlier) in candidates {
        let alike = earlier
            .into_iter()
            .map(|at| (duplicates::jaccard(&texts[&later].1, &texts[&at].1), at));
        // Of equals the earliest.
        if let Some((share, at)) = alike.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
            && share > 0.0
        {
            likes.insert(later, (share, texts[&at].0.clone()));
        }
    }
    drop(texts);
    let mut place = 0;
    let mut keys = Vec::new();
    store.each_answer(context, |key, _, _| keys.push(key.to_owned()))?;
    for chunk in keys.chunks(VALUES) {
        let values: Vec<(String, Measured)> = chunk
            .iter()
            .map(|key| {
                let like = likes.get(&place);
                place += 1;
                let value = Measured::number(Some(like.map_or(0.0, |(share, _)| *share)));
                let detail = like.map(|(_, id)| json!({ "of": id }));
                (key.clone(), Measured { detail, ..value })
            })
            .collect();
        store.put_measures(name.name(), &version, &values)?;
    }
    Ok(keys.len() as u64)
}

/// What the measure says of each sample by its answer's key, photo by photo.
pub(super) fn values(
    store: &Store,
    context: &SampleContext<'_>,
    measure: &dyn Measure,
    samples: &[(Pair, AnswerRow)],
) -> Result<Vec<(String, Measured)>, Error> {
    let mut found = Vec::with_capacity(samples.len());
    for siblings in samples.chunk_by(|(one, _), (next, _)| one.seq == next.seq) {
        let (first, _) = &siblings[0];
        let photo = store.image_vector(&first.image_sha256, context.encoder_hash)?;
        let views: Vec<_> = siblings
            .iter()
            .map(|(pair, answer)| SampleView {
                text: &answer.text,
                instruction: &pair.instruction,
                description: &pair.description,
                pair: Some(pair),
                photo: photo.as_deref(),
                siblings,
                ..SampleView::default()
            })
            .collect();
        let keys = siblings.iter().map(|(_, answer)| answer.answer_key.clone());
        found.extend(keys.zip(measure.values(&views)?));
    }
    Ok(found)
}
