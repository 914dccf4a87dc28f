//! What an instruction presupposes, found in its words.

use std::sync::LazyLock;

use regex::Regex;

use super::Asked;
use super::requirement::{Requirement, is_any, is_class, words};

/// Noun phrases for what must be in a photo.
pub struct Requirements;

/// What binds the words before it to the photo.
static BOUND: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?ix)
        \b(?: (?:that|which)\s+(?:is|are)\s+ )?
        (?: shown | pictured | depicted | portrayed | photographed | visible | seen | captured | featured | displayed )\b
        | \b(?: in | on | of | from | inside | within | at )\s+ (?: the | this | that | your | an? )\s+
          (?: \p{L}+\s+ ){0,2}? (?: image | photo | picture | photograph | snapshot | shot | frame | scene )s?\b";
    Regex::new(pattern).expect("a pattern")
});

/// "this dish", "these animals": bound by pointing.
static POINTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:this|these)\s+((?:[\p{L}'-]+\s+){0,2}[\p{L}'-]+)").expect("a pattern")
});

/// Words that begin the noun phrase.
const BEGINS: &[&str] = &["the", "this", "these", "each", "its", "their"];

/// Words that no noun phrase goes across.
const BREAKS: &[&str] = &[
    "a", "an", "any", "some", "those", "about", "for", "to", "with", "by", "from", "at", "as",
    "around", "through", "that", "which", "who", "whom", "is", "are", "was", "were", "be", "has",
    "have", "in", "on", "inside", "into", "how", "what", "where", "when", "why", "if", "while",
    "like", "than", "between", "write", "describe", "explain", "you",
];

/// Longest noun phrase looked at, in words.
const LONGEST: usize = 9;

impl Requirements {
    /// The noun phrases that the instruction binds to the photo, in lower case: "the boat in the
    /// image", "the dish shown", "this animal". None where it suits any photo, where what is bound
    /// cannot be seen ("the mood of the image"), and for instructions in other languages than
    /// English.
    pub fn of_text(instruction: &str) -> Vec<String> {
        let bound = BOUND.find_iter(instruction).map(|bound| &instruction[..bound.start()]);
        let bound = bound.filter_map(last_phrase);
        let pointed = POINTED.captures_iter(instruction).filter_map(|found| first_noun(&found[1]));
        let mut found: Vec<String> = Vec::new();
        for phrase in bound.chain(pointed) {
            let plain = !phrase.split(' ').next_back().is_none_or(is_any) || is_class(&phrase);
            let asks = !Requirement::read(&phrase).ways.is_empty();
            if plain && asks && !found.contains(&phrase) {
                found.push(phrase);
            }
        }
        found
    }

    /// What the library says that is required, or what the words say.
    pub(super) fn of(asked: &Asked<'_>) -> Vec<String> {
        asked.requires.map_or_else(|| Self::of_text(asked.text), <[String]>::to_vec)
    }
}

/// The noun phrase at the end of a text, without its article; it must begin with an article or a
/// pointing word, as what is bound to a photo does.
fn last_phrase(text: &str) -> Option<String> {
    // A clause ends with a sentence; commas may part alternatives.
    let clause = text.rsplit(['.', '!', '?', ':', ';', '(']).next()?.to_lowercase();
    let clause = clause.trim_end();
    let pieces: Vec<&str> = clause.split_whitespace().collect();
    let mut begin = None;
    for at in (pieces.len().saturating_sub(LONGEST)..pieces.len()).rev() {
        let word = pieces[at].trim_matches(|c: char| !c.is_alphanumeric());
        if BEGINS.contains(&word) {
            begin = Some(at);
            break;
        }
        if BREAKS.contains(&word) {
            break;
        }
    }
    let phrase = pieces[begin?..].join(" ");
    let phrase = phrase.split_once(' ')?.1;
    let phrase = phrase.trim_matches(|c: char| !c.is_alphanumeric());
    (!phrase.is_empty()).then(|| phrase.to_owned())
}

/// The noun that a pointing word is followed by: the longest beginning that names something.
fn first_noun(phrase: &str) -> Option<String> {
    let lower = phrase.to_lowercase();
    let words = words(&lower);
    let cut = words.iter().position(|word| BREAKS.contains(word)).unwrap_or(words.len());
    let named = (1..=cut).map(|count| words[..count].join(" "));
    let mut named = named.filter(|name| !Requirement::read(name).ways.is_empty());
    let first = named.next()?;
    Some(named.next().unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_to_the_photo_is_required() {
        for (text, required) in [
            ("Tell a story about the boat in the image and the people who sail it.", "boat"),
            ("Write a menu blurb for the food or drink in the image.", "food or drink"),
            (
                "Explain how the mountains, dunes or rocks in the image formed.",
                "mountains, dunes or rocks",
            ),
            ("Write a care plan for the animal shown.", "animal"),
            ("Write a recipe for this dish.", "dish"),
            ("Give the wild animal pictured here a voice.", "wild animal"),
            ("Plan a hike through the mountain scenery in this photo.", "mountain scenery"),
            ("Advise the person in the picture on their posture.", "person"),
            ("Tell what the view of the stars in the image teaches.", "stars"),
            ("Write the inner monologue of the animal in the image.", "animal"),
            ("Tell a short history of the kind of object shown in the image.", "kind of object"),
            ("Narrate the street scene in the image.", "street scene"),
        ] {
            assert_eq!(Requirements::of_text(text), [required], "{text}");
        }
    }

    #[test]
    fn what_suits_any_photo_requires_nothing() {
        for text in [
            "Write a haiku about the scene in the image.",
            "Summarise the image in one sentence.",
            "Analyse how light and colour set the mood of the image.",
            "Write a riddle whose answer is something visible in the image.",
            "Describe the main subject of the photo.",
            "Write an exercise that uses three things visible in the image.",
            "Work out the likely season and weather in the image.",
            "Schreibe ein Gedicht über das Bild.",
            "为这张图片写一首诗。",
            "",
        ] {
            assert!(
                Requirements::of_text(text).is_empty(),
                "{text}: {:?}",
                Requirements::of_text(text)
            );
        }
    }
}
