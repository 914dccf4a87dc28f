//! The photo against each sentence of the answer, by the encoder.

use std::sync::Arc;

use super::Measure;
use crate::Error;
use crate::base::hash;
use crate::dataset::record::{Measured, SampleView};
use crate::encoder::{Encoder, cosine};

/// How the sentences' cosines become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    Min,
    Mean,
}

/// Cosine of the photo with each sentence of the answer: an image-text encoder reads only some
/// dozen words, so that a whole answer would be cut.
pub(super) struct SentenceSimilarity {
    encoder: Arc<dyn Encoder>,
    take: Take,
}

impl SentenceSimilarity {
    pub fn min(encoder: Arc<dyn Encoder>) -> Self {
        Self { encoder, take: Take::Min }
    }

    pub fn mean(encoder: Arc<dyn Encoder>) -> Self {
        Self { encoder, take: Take::Mean }
    }

    fn value(&self, photo: &[f32], sentences: &[Vec<f32>]) -> Option<f64> {
        let cosines = || sentences.iter().map(|sentence| cosine(photo, sentence));
        match self.take {
            Take::Min => cosines().min_by(f64::total_cmp),
            Take::Mean if sentences.is_empty() => None,
            Take::Mean => Some(cosines().sum::<f64>() / sentences.len() as f64),
        }
    }
}

impl Measure for SentenceSimilarity {
    fn version(&self) -> String {
        hash::key(&["sentence_similarity", "1", self.encoder.hash()])
    }

    fn values(&self, samples: &[SampleView<'_>]) -> Result<Vec<Measured>, Error> {
        let sentences: Vec<Vec<&str>> = samples.iter().map(|one| sentences(one.text)).collect();
        let texts: Vec<&str> = sentences.iter().flatten().copied().collect();
        let embedded =
            if texts.is_empty() { Vec::new() } else { self.encoder.embed_texts(&texts)? };
        let mut vectors = embedded.into_iter().map(|text| text.vector);
        let value = |(sample, sentences): (&SampleView<'_>, &Vec<&str>)| {
            let vectors: Vec<_> = vectors.by_ref().take(sentences.len()).collect();
            Measured::number(sample.photo.and_then(|photo| self.value(photo, &vectors)))
        };
        Ok(samples.iter().zip(&sentences).map(value).collect())
    }
}

/// The sentences of a text: a line ends one, and so does a mark followed by white space. Parts
/// without a letter or digit are none.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        let mut ended = false;
        for (place, character) in line.char_indices() {
            if ended && character.is_whitespace() {
                found.push(&line[start..place]);
                start = place;
            }
            ended = match character {
                '.' | '!' | '?' | '…' => true,
                '"' | '\'' | ')' | '”' | '’' => ended,
                '。' | '！' | '？' => {
                    let end = place + character.len_utf8();
                    found.push(&line[start..end]);
                    start = end;
                    false
                }
                _ => false,
            };
        }
        found.push(&line[start..]);
    }
    let said = |part: &&str| part.chars().any(char::is_alphanumeric);
    found.into_iter().map(str::trim).filter(said).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dataset::record::MeasureValue;
    use crate::encoder::{EncoderOptions, OnnxEncoder};
    use crate::image::DecodeOptions;

    #[test]
    fn a_text_falls_into_its_sentences() {
        let text =
            "A cat sits. \"It sleeps!\" he said... Version 2.5 is out\n- a list\n\n***\n猫。犬！";
        let expected = [
            "A cat sits.",
            "\"It sleeps!\"",
            "he said...",
            "Version 2.5 is out",
            "- a list",
            "猫。",
            "犬！",
        ];
        assert_eq!(sentences(text), expected);
        assert!(sentences(" \n... ").is_empty());
    }

    #[test]
    fn each_sentence_is_compared_with_the_photo() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini");
        let encoder =
            OnnxEncoder::open(&model, &EncoderOptions::default(), DecodeOptions::default());
        let encoder: Arc<dyn Encoder> = Arc::new(encoder.expect("the bundled model"));
        let texts = ["A cat sits.", "Rockets fly to the moon."];
        let vectors = encoder.embed_texts(&texts).expect("embedded");
        // A photo that says exactly the first sentence.
        let (photo, other) = (&vectors[0].vector, &vectors[1].vector);
        let apart = cosine(photo, other);
        let view = |text| SampleView { text, photo: Some(photo), ..SampleView::default() };
        let samples =
            [view("A cat sits. Rockets fly to the moon."), view("A cat sits."), view("...")];
        let unseen = SampleView { photo: None, ..samples[0] };
        let samples = [samples[0], samples[1], samples[2], unseen];
        let near = |measured: &Measured, expected: f64| {
            let Some(MeasureValue::Number(value)) = measured.value else { panic!("a number") };
            assert!((value - expected).abs() < 1e-4, "{value}");
        };
        let min = SentenceSimilarity::min(Arc::clone(&encoder));
        let values = min.values(&samples).expect("measured");
        near(&values[0], apart);
        near(&values[1], 1.0);
        assert_eq!(values[2..], [Measured::default(), Measured::default()]);
        let mean = SentenceSimilarity::mean(encoder);
        near(&mean.values(&samples).expect("measured")[0], (1.0 + apart) / 2.0);
    }
}
