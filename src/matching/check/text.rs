//! Requirements against the nouns of the descriptions.

use std::collections::{HashMap, HashSet};

use super::requirement::{Requirement, Way};
use super::{CheckKind, Finding};
use crate::base::nouns::{Likeness, Nouns, Sense, mentions, sentences};

/// A requirement is met when more than this share of the descriptions speaks of it: one caption
/// of five that mentions a dog far behind makes no photo of a dog.
const LEAST: f64 = 0.25;

/// What a mention counts for: a thing, a part of another thing's name, a thing of which the
/// photo has a copy.
const THING: f64 = 1.0;
const MODIFIER: f64 = 0.5;
const COPIED: f64 = 0.3;

/// What a more general word counts for ("person" where a woman is required).
const GENERAL: f64 = 0.5;

/// In a text of many sentences what it begins with counts in full, each later sentence this much.
const LATER: f64 = 0.2;

/// Sentences at the beginning of a text.
const FIRST: usize = 2;

/// What a photo's descriptions speak of.
pub(super) struct Seen {
    /// One for each description, or for each sentence where there is only one.
    parts: Vec<Vec<Thing>>,
    alone: bool,
}

/// A noun, and what it can mean.
struct Thing {
    strength: f64,
    /// For each usual sense all its kinds.
    senses: Vec<(Sense, Vec<Sense>)>,
}

impl Seen {
    /// Reads descriptions of one photo.
    pub fn of(descriptions: &[String]) -> Self {
        let descriptions: Vec<&str> =
            descriptions.iter().map(|one| one.trim()).filter(|one| !one.is_empty()).collect();
        let alone = descriptions.len() == 1;
        let parts: Vec<&str> =
            if alone { sentences(descriptions[0]).collect() } else { descriptions };
        let parts: Vec<_> = parts.into_iter().map(mentions).collect();
        let all = || parts.iter().flatten();
        // "bat" is short for the "baseball bat" of another caption.
        let mut short: HashMap<&str, HashSet<&str>> = HashMap::new();
        for mention in all() {
            if let Some((_, last)) = mention.noun.rsplit_once('_') {
                short.entry(last).or_default().insert(&mention.noun);
            }
        }
        let copies: HashSet<&str> = all()
            .filter(|mention| mention.likeness == Likeness::Copy)
            .map(|mention| &*mention.noun)
            .collect();
        let nouns = Nouns::english();
        let thing = |mention: &crate::base::nouns::Mention| {
            let strength = match mention.likeness {
                Likeness::Copy => return None,
                _ if copies.contains(&*mention.noun) => COPIED,
                Likeness::Modifier => MODIFIER,
                Likeness::Thing => THING,
            };
            let mut senses: Vec<Sense> = match short.get(&*mention.noun) {
                Some(names) => names.iter().flat_map(|name| nouns.usual(name)).copied().collect(),
                None => nouns.usual(&mention.noun).to_vec(),
            };
            senses.sort_unstable();
            senses.dedup();
            let senses = senses.into_iter().map(|sense| (sense, nouns.kinds(sense))).collect();
            Some(Thing { strength, senses })
        };
        let parts = parts.iter().map(|part| part.iter().filter_map(thing).collect()).collect();
        Self { parts, alone }
    }

    /// Whether nothing was said, or nothing in words that are known.
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(Vec::is_empty)
    }

    /// How much of the descriptions speaks of what is required, in [0, 1]; `None` where no words
    /// tell.
    pub fn support(&self, requirement: &Requirement) -> Option<f64> {
        if self.is_empty() || requirement.ways.is_empty() {
            return None;
        }
        let strength = |part: &Vec<Thing>| {
            let strengths = part.iter().map(|thing| {
                requirement.ways.iter().map(|way| thing.meets(way)).fold(0.0, f64::max)
            });
            strengths.fold(0.0, f64::max)
        };
        let strengths: Vec<f64> = self.parts.iter().map(strength).collect();
        let sum: f64 = strengths.iter().sum();
        Some(if self.alone {
            let first = strengths.iter().take(FIRST).copied().fold(0.0, f64::max);
            first.max(LATER * sum).min(1.0)
        } else {
            sum / strengths.len() as f64
        })
    }

    /// What the descriptions say of all requirements of one instruction.
    pub fn finding(&self, requirements: &[Requirement]) -> Finding {
        let supports: Vec<_> = requirements.iter().map(|one| self.support(one)).collect();
        let missing = requirements
            .iter()
            .zip(&supports)
            .filter(|(_, support)| support.is_some_and(|support| support <= LEAST));
        Finding {
            kind: CheckKind::Text,
            score: supports.iter().flatten().copied().reduce(f64::min),
            missing: missing.map(|(one, _)| one.phrase.clone()).collect(),
        }
    }
}

impl Thing {
    /// How much this is what is asked for, in [0, 1]. A word of several meanings counts by the
    /// share of those that fit, though never less than half.
    fn meets(&self, way: &Way) -> f64 {
        let has = |kinds: &[Sense], wanted: &[Sense]| {
            wanted.iter().any(|kind| kinds.binary_search(kind).is_ok())
        };
        if self.senses.iter().any(|(_, kinds)| has(kinds, &way.but_not)) {
            return 0.0;
        }
        let fit = self.senses.iter().filter(|(_, kinds)| has(kinds, &way.is)).count();
        if fit > 0 {
            return self.strength * (fit as f64 / self.senses.len() as f64).max(0.5);
        }
        let general = self.senses.iter().any(|(sense, _)| way.may_be.contains(sense));
        if general { self.strength * GENERAL } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(required: &str, descriptions: &[&str]) -> Option<bool> {
        let descriptions: Vec<String> = descriptions.iter().map(|&one| one.to_owned()).collect();
        let finding = Seen::of(&descriptions).finding(&[Requirement::read(required)]);
        finding.score.map(|_| finding.missing.is_empty())
    }

    #[test]
    fn what_is_described_is_there() {
        let beach = ["A collie runs on a sandy beach.", "A dog with a frisbee by the sea."];
        for there in ["animal", "dog", "pet", "body of water", "food or dog", "landscape"] {
            assert_eq!(passes(there, &beach), Some(true), "{there}");
        }
        for missing in ["boat", "food or drink", "person", "wild animal", "building", "vehicle"] {
            assert_eq!(passes(missing, &beach), Some(false), "{missing}");
        }
    }

    #[test]
    fn nothing_said_refuses_nothing() {
        assert_eq!(passes("boat", &[]), None);
        assert_eq!(passes("boat", &["", "  "]), None);
        assert_eq!(passes("boat", &["一只狗在草地上。"]), None);
        assert_eq!(passes("qwertz", &["A dog."]), None);
        assert_eq!(passes("joie de vivre", &["A dog."]), None);
    }

    #[test]
    fn what_few_mention_or_what_is_a_copy_is_not_there() {
        let few = ["A man.", "A man and a dog.", "A man sits.", "A man waits.", "Someone waits."];
        assert_eq!(passes("dog", &few), Some(false));
        assert_eq!(passes("person", &few), Some(true));
        let toys = ["A stuffed bear on a bed.", "A teddy bear.", "The bear sits on a pillow."];
        assert_eq!(passes("animal", &toys), Some(false));
        let bat = ["A boy swings a baseball bat.", "A boy with a bat."];
        assert_eq!(passes("animal", &bat), Some(false));
    }

    #[test]
    fn a_long_description_counts_by_its_beginning() {
        let long = "A ship lies in a harbour. Its hull is white. Far behind stands a tower. \
            Gulls are in the air.";
        assert_eq!(passes("boat", &[long]), Some(true));
        assert_eq!(passes("building", &[long]), Some(false));
    }
}
