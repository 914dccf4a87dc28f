use std::collections::HashSet;

use super::text::{IMAGE_TOKEN, find_garbage};
use super::{Sample, SinkError};
use crate::base::hash::fingerprint;
use crate::base::tokens;

/// Refuses samples that would make rows no trainer takes.
///
/// Remembers every id by its fingerprint: about 30 bytes a sample, whatever the id's length.
#[derive(Default)]
pub(super) struct Guard {
    ids: HashSet<u128>,
}

impl Guard {
    /// Checks a sample and takes its id. Call once for each sample.
    pub fn admit(&mut self, sample: &Sample) -> Result<(), SinkError> {
        check_text(sample, "id", &sample.id)?;
        check_text(sample, "image", &sample.image)?;
        check_text(sample, "instruction", &sample.instruction)?;
        check_text(sample, "answer", &sample.answer)?;
        let lineage = &sample.lineage;
        check_number(sample, "similarity", lineage.similarity)?;
        check_number(sample, "score", lineage.score)?;
        check_number(sample, "probability", lineage.probability.unwrap_or_default())?;
        for candidate in &lineage.candidates {
            check_number(sample, "candidate's similarity", candidate.similarity)?;
            check_number(sample, "candidate's score", candidate.score)?;
        }
        for value in sample.measures.values() {
            check_number(sample, "value of a measure", value.number().unwrap_or_default())?;
        }
        match self.ids.insert(fingerprint(sample.id.as_bytes())) {
            true => Ok(()),
            false => Err(SinkError::DuplicateId { id: sample.id.clone() }),
        }
    }
}

fn check_text(sample: &Sample, field: &'static str, text: &str) -> Result<(), SinkError> {
    let id = || sample.id.clone();
    if text.trim().is_empty() {
        return Err(SinkError::EmptyField { id: id(), field });
    }
    // Names of files and items stand outside the conversation: only the sink's own word matters.
    let token = match field {
        "instruction" | "answer" => tokens::placeholder(text),
        _ => text.contains(IMAGE_TOKEN).then_some(IMAGE_TOKEN),
    };
    if let Some(token) = token {
        return Err(SinkError::ImageToken { id: id(), field, token: token.to_owned() });
    }
    match find_garbage(text) {
        Some(character) => Err(SinkError::ControlCharacter { id: id(), field, character }),
        None => Ok(()),
    }
}

/// JSON has no way to write NaN or an infinity: it would silently become null.
fn check_number(sample: &Sample, field: &'static str, number: f64) -> Result<(), SinkError> {
    if number.is_finite() {
        return Ok(());
    }
    Err(SinkError::NotFinite { id: sample.id.clone(), field })
}
