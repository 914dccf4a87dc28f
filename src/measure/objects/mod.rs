//! Things that an answer names and no description has, after ALOHa (Petryk and others, 2024).
//!
//! An answer names many things that no caption does, and most of them it does not claim to be
//! there: what a recipe adds, what a hiker should carry, what something is like. So each is scored
//! twice: by the net of nouns against all things described, and by how the sentence speaks of it.
//! Similarity of embeddings, by which ALOHa scores, is left out: the bundled encoder's told nothing.

mod claims;
mod support;

use serde_json::{Value, json};

use super::Measure;
use crate::Error;
use crate::base::hash;
use crate::base::nouns::Nouns;
use crate::dataset::record::{Measured, SampleView};
use crate::measure::language;
use claims::{Claim, claims};
use support::{Described, Relation};

/// From this score on a thing counts as unsupported.
const UNSUPPORTED: f64 = 0.5;

/// Things below it are not shown.
const SHOWN: f64 = 0.2;

// Log-odds, as those of the wording; the sum is compared with the bound.
const PART: f64 = -0.5;
const SPECIAL: f64 = -0.5;
/// Another thing near by, or all things of the sentence, are described: it speaks of the photo.
const BESIDE: f64 = 0.7;
const GROUNDED: f64 = 1.0;
/// Times the logarithm of how many senses the noun has: common words ("line", "head") have many.
const COMMON: f64 = -0.5;
const BOUND: f64 = 1.0;

/// Bytes between two things that stand near each other.
const NEAR: usize = 60;

/// How many things an answer takes for there that neither a description nor the instruction names.
pub(super) struct ObjectsUnsupported;

impl Measure for ObjectsUnsupported {
    fn version(&self) -> String {
        hash::key(&["objects_unsupported", "1"])
    }

    fn values(&self, samples: &[SampleView<'_>]) -> Result<Vec<Measured>, Error> {
        Ok(samples.iter().map(measured).collect())
    }
}

/// Nothing where there is no description, or where one of the texts is not English.
fn measured(sample: &SampleView<'_>) -> Measured {
    let captions = sample.pair.iter().flat_map(|pair| &pair.captions).map(String::as_str);
    let described = Described::of(captions.chain([sample.description]));
    let foreign = [sample.text, sample.description].into_iter().any(language::is_surely_foreign);
    if described.is_empty() || foreign {
        return Measured::default();
    }
    let asked = Described::of([sample.instruction].into_iter());
    let claims = claims(sample.text);
    let mut scored = scored(&claims, &described, &asked);
    scored.retain(|(_, score, _)| *score >= SHOWN);
    let unsupported = scored.iter().filter(|(_, score, _)| *score >= UNSUPPORTED).count();
    scored.sort_by(|one, other| other.1.total_cmp(&one.1));
    let shown: Vec<Value> = scored
        .iter()
        .map(|(claim, score, nearest)| {
            let (span, phrase) = (&claim.mention.span, &claim.mention.phrase);
            json!({
                "phrase": sample.text[phrase.clone()],
                "score": (score * 1000.0).round() / 1000.0,
                "nearest": nearest.noun.replace('_', " "),
                "relation": nearest.relation.name(),
                "begin": span.start,
                "end": span.end,
            })
        })
        .collect();
    let detail = (!shown.is_empty()).then_some(Value::Array(shown));
    Measured { detail, ..Measured::number(Some(unsupported as f64)) }
}

type Scored<'a> = (&'a Claim, f64, support::Nearest<'a>);

/// The things that are not described, with the probability-like score that this is a fault.
fn scored<'a>(claims: &'a [Claim], described: &'a Described, asked: &Described) -> Vec<Scored<'a>> {
    let nearest: Vec<_> = claims.iter().map(|one| described.nearest(&one.mention.noun)).collect();
    let is_described: Vec<bool> =
        nearest.iter().map(|one| one.relation == Relation::Same).collect();
    let mut scored = Vec::new();
    for (at, (claim, nearest)) in claims.iter().zip(nearest).enumerate() {
        let noun = &claim.mention.noun;
        if is_described[at] || asked.nearest(noun).relation == Relation::Same {
            continue;
        }
        let others = || {
            let others = claims.iter().zip(&is_described).enumerate();
            others.filter(|(other, (one, _))| *other != at && one.sentence == claim.sentence)
        };
        let start = claim.mention.span.start;
        let beside = others().any(|(_, (other, described))| {
            *described && start.abs_diff(other.mention.span.start) < NEAR
        });
        let (known, all) = others().fold((0.0, 0.0), |(known, all), (_, (_, described))| {
            (known + f64::from(*described), all + 1.0)
        });
        let relation = match nearest.relation {
            Relation::Part => PART,
            Relation::Special => SPECIAL,
            Relation::Apart | Relation::Same => 0.0,
        };
        let odds = claim.commitment
            + relation
            + if beside { BESIDE } else { 0.0 }
            + if all > 0.0 { GROUNDED * known / all } else { 0.0 }
            + COMMON * (Nouns::english().senses(noun).len().max(1) as f64).ln()
            - BOUND;
        scored.push((claim, 1.0 / (1.0 + (-odds).exp()), nearest));
    }
    scored
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::record::MeasureValue;

    fn of(text: &str, instruction: &str, description: &str) -> Measured {
        measured(&SampleView { text, instruction, description, ..SampleView::default() })
    }

    fn number(measured: &Measured) -> f64 {
        match measured.value {
            Some(MeasureValue::Number(value)) => value,
            _ => panic!("no number: {measured:?}"),
        }
    }

    #[test]
    fn a_thing_that_nobody_described_is_found_with_its_place() {
        let description = "A bed with a mirror behind it.\nA bed in a carpeted bedroom.";
        let text = "The bed stands below the mirror, and the clock hangs over the bed.";
        let found = of(text, "Describe the room.", description);
        assert_eq!(number(&found), 1.0, "{found:?}");
        let detail = found.detail.expect("shown");
        let first = &detail[0];
        let place = |name: &str| first[name].as_u64().expect("a place") as usize;
        assert_eq!(&text[place("begin")..place("end")], "clock");
        assert_eq!(first["phrase"], "the clock");
    }

    #[test]
    fn a_phrase_that_begins_before_its_sentence_is_looked_at() {
        let found = of("The night is calm… stars gleam over the sea.", "Write.", "A calm sea.");
        assert!(number(&found) <= 2.0, "{found:?}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z …。！.,’\\n]{0,60}( (the|a) (dog|sea|clock)[…. ]){0,4}") {
            of(&text, &text, "A dog by the sea.");
        }
    }

    #[test]
    fn what_is_described_asked_for_wished_or_felt_is_no_fault() {
        let description = "A man rides a bicycle down a street.";
        for text in [
            "The man is on the bicycle in the road.",
            "The joy of the ride grows on the street.",
            "Bring sunscreen, water and a map on your ride.",
            "If you fell, you could use a bandage on the knee.",
            "He is as free as a bird, like a gull.",
        ] {
            let found = of(text, "Give advice about a ride with a map.", description);
            assert_eq!(number(&found), 0.0, "{text} {found:?}");
        }
    }

    #[test]
    fn nothing_is_said_without_a_description_or_in_another_language() {
        let text = "The man rides down the street in the sun, with the wind in his hair.";
        assert_eq!(of(text, "", ""), Measured::default());
        assert_eq!(of(text, "", "一个男人骑自行车。"), Measured::default());
        let german =
            "Der Mann fährt mit dem Fahrrad durch die Straße und freut sich über die Sonne.";
        assert_eq!(of(german, "", "A man rides a bicycle."), Measured::default());
    }
}
