//! The things that a text names, and how much it takes each for there.

use std::ops::Range;
use std::sync::LazyLock;

use crate::base::nouns::{Mention, Nouns, Sense, Word, is_verbal, mentions, parts};
use crate::matching::check::is_any;
use crate::measure::similarity::sentences;

/// A visible thing that a text names for the first time.
pub(super) struct Claim {
    pub mention: Mention,
    /// Its sentence's place in the text, from 0.
    pub sentence: usize,
    /// The log-odds by which the wording alone takes it for there rather than for wished,
    /// compared or general.
    pub commitment: f64,
}

/// "The clock": whoever has not been told of it must see it.
const DEFINITE: &[&str] = &["the", "this", "that", "these", "those", "his", "her", "its", "their"];

/// "Your bag", "any boat": not one that is there.
const UNBOUND: &[&str] = &["your", "our", "my", "each", "every", "any", "no", "other"];

const HYPOTHETICAL: &[&str] = &[
    "if", "would", "could", "should", "might", "may", "can", "must", "imagine", "perhaps", "maybe",
    "unless", "whether", "will", "ll",
];

/// Words that place a thing when a known one follows: "the clock over the desk".
const PLACES: &[&str] = &[
    "on",
    "in",
    "at",
    "over",
    "beside",
    "beneath",
    "behind",
    "above",
    "near",
    "along",
    "round",
    "around",
    "under",
    "next",
    "against",
    "across",
    "up",
    "between",
    "by",
    "below",
    "inside",
    "beyond",
    "down",
    "opposite",
    "underneath",
];

const KNOWN: &[&str] = &["him", "them", "me", "one", "here"];

/// Words back from a noun in which "like" compares it.
const NEAR: usize = 6;

/// Words after a noun within which its place is told, and then what it is placed by.
const AFTER: usize = 4;

// Log-odds, in round figures; chosen on answers for one half of the photos that docs/quality.md
// names.
const DEFINITELY: f64 = 1.0;
const BARELY: f64 = -1.0;
const PLACED: f64 = 1.0;
const WISHED: f64 = -0.7;
const TOLD: f64 = -0.7;
const COMPARED: f64 = -1.0;

/// The things of a text that a photo can show, each at its first mention.
pub(super) fn claims(text: &str) -> Vec<Claim> {
    let places: Vec<Range<usize>> = sentences(text)
        .into_iter()
        .map(|part| {
            let start = part.as_ptr() as usize - text.as_ptr() as usize;
            start..start + part.len()
        })
        .collect();
    let words: Vec<Word> = parts(text).into_iter().flatten().collect();
    let mut found: Vec<Claim> = Vec::new();
    for mention in mentions(text) {
        let start = mention.span.start;
        let told = found.iter().any(|one| one.mention.noun == mention.noun);
        if told || is_any(&mention.noun) || !is_visible(&mention.noun) {
            continue;
        }
        if let Some(sentence) = places.iter().position(|place| place.contains(&start)) {
            let commitment = commitment(&mention, text, &words, &places[sentence]);
            found.push(Claim { mention, sentence, commitment });
        }
    }
    found
}

fn commitment(mention: &Mention, text: &str, words: &[Word], sentence: &Range<usize>) -> f64 {
    let begin = words.partition_point(|word| word.span.start < sentence.start);
    // A phrase may begin before its sentence: "…" ends a sentence and parts no phrase.
    let at = words.partition_point(|word| word.span.start < mention.phrase.start).max(begin);
    let before: Vec<&str> = words[begin..at].iter().map(|word| word.text.as_str()).collect();
    let near = &before[before.len().saturating_sub(NEAR)..];
    let determiner = mention.determiner.as_deref();
    let definite = determiner.is_some_and(|word| DEFINITE.contains(&word));
    let mut odds = match determiner {
        None => BARELY,
        Some(word) if UNBOUND.contains(&word) => BARELY,
        Some(_) if definite => DEFINITELY,
        Some(_) => 0.0,
    };
    if before.iter().any(|word| HYPOTHETICAL.contains(word)) {
        odds += WISHED;
    }
    if words[begin..].first().is_some_and(|word| is_verbal(&word.text)) {
        odds += TOLD;
    }
    if !definite && near.contains(&"like") {
        odds += COMPARED;
    }
    if is_placed(text, words, mention.span.end) {
        odds += PLACED;
    }
    odds
}

/// Whether the words after a noun place it by something known, in the same clause.
fn is_placed(text: &str, words: &[Word], end: usize) -> bool {
    let next = words.partition_point(|word| word.span.start < end);
    let clause = text[end..].find(['.', '!', '?', ';', ':', ',', '\n']);
    let clause = clause.map_or(text.len(), |length| end + length);
    let after = words[next..].iter().take_while(|word| word.span.start < clause);
    let known = |word: &Word| {
        let word = word.text.as_str();
        DEFINITE.contains(&word) || KNOWN.contains(&word)
    };
    let after: Vec<&Word> = after.take(2 * AFTER).collect();
    after.iter().take(AFTER).enumerate().any(|(at, word)| {
        let by = after[at + 1..].iter().take(AFTER - 1);
        PLACES.contains(&word.text.as_str()) && by.copied().any(known)
    })
}

/// Kinds of what a photo shows, and those among them that are no things: places, events, pictures.
static VISIBLE: LazyLock<(Vec<Sense>, Vec<Sense>)> = LazyLock::new(|| {
    let senses = |names: &[&str]| {
        let named = |name: &&str| Nouns::english().named(name).expect("a sense of the noun net");
        names.iter().map(named).collect()
    };
    (senses(&["physical_entity.1"]), senses(&["location.1", "process.6", "representation.2"]))
});

/// Whether a noun can name something that a photo shows: no feeling, time or quality.
fn is_visible(noun: &str) -> bool {
    let nouns = Nouns::english();
    let (things, others) = &*VISIBLE;
    nouns.usual(noun).iter().any(|sense| {
        let kinds = nouns.kinds(*sense);
        let has = |wanted: &[Sense]| wanted.iter().any(|kind| kinds.binary_search(kind).is_ok());
        has(things) && !has(others)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, noun: &str) -> f64 {
        let found = claims(text);
        let claim = found.iter().find(|one| one.mention.noun == noun);
        claim.unwrap_or_else(|| panic!("no {noun} in {text}")).commitment
    }

    #[test]
    fn things_are_named_once_and_feelings_never() {
        let text =
            "The dog sleeps. Its joy on Monday is the dog's idea of a photo, and a cat agrees.";
        let found: Vec<_> = claims(text).into_iter().map(|one| one.mention.noun).collect();
        assert_eq!(found, ["dog", "cat"]);
        assert!(claims("").is_empty() && claims("一只猫。").is_empty());
    }

    #[test]
    fn what_is_placed_and_known_is_taken_for_there() {
        let there = of("The round clock over the desk ticks.", "clock");
        for other in [
            "A clock ticks.",
            "Clocks tick.",
            "If you like, hang a clock there.",
            "It looks like a clock.",
            "Buy your clock early.",
        ] {
            assert!(of(other, "clock") < there, "{other}");
        }
        assert!(of("It is like a clock.", "clock") < of("It is a clock.", "clock"));
        assert!(of("You could add a clock.", "clock") < of("There is a clock.", "clock"));
    }
}
