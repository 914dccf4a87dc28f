//! The measure stage: numbers about the accepted samples, where the configuration asks for any.

use std::sync::Arc;

use crate::Error;
use crate::dataset::record::{AnswerRow, Measured, Pair, SampleView};
use crate::dataset::store::{SampleContext, Store};
use crate::encoder::Encoder;
use crate::measure::{Measure, MeasureConfig};
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
        let Some(measure) = name.build(Arc::clone(encoder)) else { continue };
        let version = measure.version();
        while !stop.is_asked() {
            let samples = store.samples_to_measure(context, name.name(), &version, PHOTOS)?;
            if samples.is_empty() {
                break;
            }
            let values = values(store, context, &*measure, &samples)?;
            store.put_measures(name.name(), &version, &values)?;
            taken += values.len() as u64;
        }
    }
    Ok(taken)
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
