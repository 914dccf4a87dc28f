//! Requirements against the photo itself, by the encoder.
//!
//! A photo's cosines with "a photo of a dog", "a photo of a kitchen" and so on for some hundred
//! common things are brought to mean 0 and deviation 1, so that the scale of the encoder and the
//! gap between photos and texts play no part. A requirement's share is what the things that it
//! covers (by the senses of nouns), and its own words, have of the sum of exp(z) over all things.
//! The share's logarithm is compared with what texts about other things get, the things' own
//! prompts in the place of photos: the score is in deviations over those. No photo takes part in
//! the calibration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::requirement::{Requirement, Way};
use super::{CheckKind, Finding};
use crate::base::nouns::{Nouns, Sense};
use crate::encoder::{Embedding, Encoder, EncoderError, cosine};

const VOCABULARY: &str = include_str!("vocabulary.txt");

/// The least score where nothing else speaks for the requirement.
const ALONE: f64 = 2.5;

/// The least score where the descriptions have what is required, so that only what looks
/// altogether different is doubted.
const DESCRIBED: f64 = 1.0;

/// A smaller deviation means that the encoder tells none of the things apart.
const MIN_DEVIATION: f64 = 1e-6;

/// The check by an encoder. Things are embedded at the first use, requirements when first asked.
pub(super) struct Sight {
    encoder: Arc<dyn Encoder>,
    things: OnceLock<Things>,
    /// Held while the things are embedded: some hundred texts, which only one caller should pay for.
    embedding: Mutex<()>,
    asked: Mutex<HashMap<String, Arc<Asked>>>,
}

/// The common things.
struct Things {
    vectors: Vec<Embedding>,
    /// The kinds of each usual sense of each thing.
    kinds: Vec<Vec<Vec<Sense>>>,
    /// The things' own prompts as if they were photos.
    texts: Vec<Glance>,
}

/// A vector against all things.
struct Glance {
    mean: f64,
    deviation: f64,
    /// exp(z) of each thing.
    weights: Vec<f64>,
    sum: f64,
}

/// A requirement, calibrated.
struct Asked {
    /// "a photo of" its words.
    vector: Embedding,
    /// Places of the things that it covers.
    covered: Vec<usize>,
    mean: f64,
    deviation: f64,
}

impl Sight {
    pub fn new(encoder: Arc<dyn Encoder>) -> Self {
        let (embedding, asked) = (Mutex::new(()), Mutex::new(HashMap::new()));
        Self { encoder, things: OnceLock::new(), embedding, asked }
    }

    /// What the photo shows of all requirements of each instruction; `described` says of which the
    /// descriptions have them.
    pub fn findings(
        &self,
        photo: &[f32],
        instructions: &[(Arc<[Requirement]>, bool)],
    ) -> Result<Vec<Finding>, EncoderError> {
        let all: Vec<&Requirement> = instructions.iter().flat_map(|(one, _)| one.iter()).collect();
        if all.is_empty() {
            return Ok(vec![Finding::abstained(CheckKind::Encoder); instructions.len()]);
        }
        let things = self.things()?;
        let asked = self.asked(things, &all)?;
        let mut asked = asked.iter();
        let glance = things.glance(photo);
        let finding = |(requirements, described): &(Arc<[Requirement]>, bool)| {
            let least = if *described { DESCRIBED } else { ALONE };
            let mut lowest: Option<f64> = None;
            let mut missing = Vec::new();
            for (one, asked) in requirements.iter().zip(&mut asked) {
                let score = asked.score(&glance, photo);
                lowest = Some(lowest.map_or(score, |lowest| lowest.min(score)));
                if score < least {
                    missing.push(one.phrase.clone());
                }
            }
            Finding { kind: CheckKind::Encoder, score: lowest, missing }
        };
        Ok(instructions.iter().map(finding).collect())
    }

    fn things(&self) -> Result<&Things, EncoderError> {
        if let Some(things) = self.things.get() {
            return Ok(things);
        }
        let _one = self.embedding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(things) = self.things.get() {
            return Ok(things);
        }
        let things = Things::embed(&*self.encoder)?;
        Ok(self.things.get_or_init(|| things))
    }

    /// The requirements, calibrated, in their order; those never met are embedded together.
    fn asked(
        &self,
        things: &Things,
        requirements: &[&Requirement],
    ) -> Result<Vec<Arc<Asked>>, EncoderError> {
        let known = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let look = |known: &HashMap<String, Arc<Asked>>| -> Vec<Option<Arc<Asked>>> {
            requirements.iter().map(|one| known.get(&one.phrase).cloned()).collect()
        };
        let found = look(&known());
        let mut new: Vec<&Requirement> = Vec::new();
        for (one, found) in requirements.iter().zip(&found) {
            if found.is_none() && new.iter().all(|other| other.phrase != one.phrase) {
                new.push(one);
            }
        }
        if new.is_empty() {
            return Ok(found.into_iter().flatten().collect());
        }
        let prompts: Vec<String> =
            new.iter().map(|one| format!("a photo of {}", one.phrase.trim())).collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let vectors = self.encoder.embed_texts(&prompts)?;
        let calibrated = new.into_iter().zip(vectors).map(|(one, embedded)| {
            (one.phrase.clone(), Arc::new(things.calibrate(one, embedded.vector)))
        });
        let calibrated: Vec<_> = calibrated.collect();
        let mut known = known();
        known.extend(calibrated);
        Ok(look(&known).into_iter().flatten().collect())
    }
}

impl Things {
    fn embed(encoder: &dyn Encoder) -> Result<Self, EncoderError> {
        let names: Vec<&str> = VOCABULARY.lines().filter(|name| !name.is_empty()).collect();
        let prompts: Vec<String> = names.iter().map(|name| prompt(name)).collect();
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let embedded = encoder.embed_texts(&prompts)?;
        let nouns = Nouns::english();
        let kinds = |name: &&str| {
            let noun = nouns.singular(&name.replace(' ', "_")).unwrap_or_default();
            nouns.usual(noun).iter().map(|sense| nouns.kinds(*sense)).collect()
        };
        let kinds = names.iter().map(kinds).collect();
        let vectors: Vec<Embedding> = embedded.into_iter().map(|text| text.vector).collect();
        let mut things = Self { vectors, kinds, texts: Vec::new() };
        things.texts = things.vectors.iter().map(|vector| things.glance(vector)).collect();
        Ok(things)
    }

    fn glance(&self, vector: &[f32]) -> Glance {
        let cosines: Vec<f64> = self.vectors.iter().map(|thing| cosine(vector, thing)).collect();
        let (mean, deviation) = spread(&cosines);
        let weights: Vec<f64> =
            cosines.iter().map(|cosine| ((cosine - mean) / deviation).exp()).collect();
        let sum = weights.iter().sum();
        Glance { mean, deviation, weights, sum }
    }

    fn calibrate(&self, requirement: &Requirement, vector: Embedding) -> Asked {
        let covers = |kinds: &Vec<Vec<Sense>>| requirement.ways.iter().any(|way| is(kinds, way));
        let (covered, others): (Vec<usize>, Vec<usize>) =
            (0..self.kinds.len()).partition(|&at| covers(&self.kinds[at]));
        let plain = Asked { vector, covered, mean: 0.0, deviation: 1.0 };
        let score = |&at: &usize| plain.score(&self.texts[at], &self.vectors[at]);
        let scores: Vec<f64> = others.iter().map(score).collect();
        let (mean, deviation) = spread(&scores);
        Asked { mean, deviation, ..plain }
    }
}

impl Asked {
    fn score(&self, glance: &Glance, vector: &[f32]) -> f64 {
        let own = (cosine(vector, &self.vector) - glance.mean) / glance.deviation;
        // A requirement in the very words of a thing may be the photo's nearest by far.
        let own = own.min(MOST).exp();
        let covered: f64 = self.covered.iter().map(|&at| glance.weights[at]).sum();
        let share = ((covered + own) / (glance.sum + own)).ln();
        (share - self.mean) / self.deviation
    }
}

/// Deviations beyond which a cosine is no better evidence; keeps exp finite.
const MOST: f64 = 50.0;

/// "a photo of an apple".
fn prompt(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("a photo of {article} {name}")
}

fn is(kinds: &[Vec<Sense>], way: &Way) -> bool {
    let any = |wanted: &[Sense]| kinds.iter().flatten().any(|kind| wanted.contains(kind));
    any(&way.is) && !any(&way.but_not)
}

/// Mean and deviation; 0 and 1 of nothing.
fn spread(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 1.0);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / count).sqrt().max(MIN_DEVIATION))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::encoder::{EncoderOptions, OnnxEncoder};
    use crate::image::DecodeOptions;

    #[test]
    fn texts_in_the_place_of_photos_are_told_apart() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
        let encoder =
            OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
        let encoder: Arc<dyn Encoder> = Arc::new(encoder.expect("the bundled model"));
        let photo = &encoder.embed_texts(&["a golden retriever in a meadow"]).expect("embedded")[0];
        let sight = Sight::new(encoder.clone());
        let asked: Vec<_> = ["animal", "dog", "food or drink", "rocket", "einen Hund"]
            .map(|phrase| (Arc::from([Requirement::read(phrase)]), false))
            .into();
        let found = sight.findings(&photo.vector, &asked).expect("found");
        let passed: Vec<bool> = found.iter().map(|one| one.missing.is_empty()).collect();
        assert_eq!(passed[..4], [true, true, false, false], "{found:?}");
        assert!(found.iter().all(|one| one.score.is_some_and(f64::is_finite)));
        // Again, from what is kept.
        assert_eq!(sight.findings(&photo.vector, &asked).expect("found"), found);
        assert_eq!(
            sight.findings(&photo.vector, &[(Arc::from([]), true)]).expect("found")[0].score,
            None
        );
    }

    #[test]
    fn spread_of_equal_values_is_not_zero() {
        assert_eq!(spread(&[]), (0.0, 1.0));
        assert_eq!(spread(&[2.0, 2.0]), (2.0, MIN_DEVIATION));
    }
}
