//! The nouns that a text mentions.

use std::ops::Range;

use super::{Nouns, Use};

/// How a text speaks of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// As there.
    Thing,
    /// As a part of another thing's name: the coffee of a coffee table.
    Modifier,
    /// As a toy, a picture or a statue of it.
    Copy,
}

/// A noun in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The singular; the words of a name are joined by `_`.
    pub noun: String,
    pub likeness: Likeness,
    /// Where its words stand in the text, in bytes.
    pub span: Range<usize>,
    /// Where its phrase stands, from the determiner or the first adjective on.
    pub phrase: Range<usize>,
    /// The article, number or the like before it, in lower case.
    pub determiner: Option<String>,
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// In lower case.
    pub text: String,
    /// Where it stands, in bytes.
    pub span: Range<usize>,
}

const ARTICLES: &[&str] = &[
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "its", "their", "my", "your",
    "our", "some", "several", "many", "few", "one", "two", "three", "four", "five", "six", "seven",
    "eight", "nine", "ten", "other", "another", "each", "every", "any", "no", "both", "all",
];

/// Words that are no mention of a thing, though dictionaries have nouns that look like them.
const NO_THINGS: &[&str] = &[
    "i",
    "he",
    "she",
    "they",
    "it",
    "we",
    "you",
    "who",
    "which",
    "what",
    "there",
    "here",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "being",
    "am",
    "has",
    "have",
    "had",
    "do",
    "does",
    "did",
    "will",
    "would",
    "can",
    "could",
    "may",
    "might",
    "must",
    "shall",
    "should",
    "not",
    "of",
    "in",
    "on",
    "at",
    "by",
    "to",
    "from",
    "with",
    "without",
    "for",
    "about",
    "into",
    "onto",
    "over",
    "under",
    "near",
    "next",
    "beside",
    "behind",
    "above",
    "below",
    "between",
    "among",
    "around",
    "across",
    "along",
    "through",
    "up",
    "down",
    "out",
    "off",
    "and",
    "or",
    "but",
    "as",
    "if",
    "so",
    "than",
    "then",
    "while",
    "when",
    "where",
    "very",
    "too",
    "also",
    "just",
    "only",
    "more",
    "most",
    "much",
    "own",
    "same",
    "such",
    "them",
    "him",
    "us",
    "me",
    "self",
    "himself",
    "herself",
    "itself",
    "themselves",
    "front",
    "back",
    "top",
    "side",
    "left",
    "right",
    "middle",
    "lot",
    "lots",
    "couple",
    "bunch",
    "group",
    "number",
    "pair",
    "set",
    "kind",
    "type",
    "sort",
    "variety",
    "piece",
    "part",
    "bit",
    "way",
    "look",
    "looks",
    "like",
    "likes",
    "s",
    "t",
    "inside",
    "outside",
    "past",
    "end",
    "edge",
    "closeup",
];

const PREPOSITIONS: &[&str] =
    &["of", "in", "on", "with", "near", "by", "from", "behind", "beside", "under", "over", "like"];

const COLOURS: &[&str] = &[
    "orange", "white", "black", "red", "blue", "green", "yellow", "brown", "gray", "grey", "pink",
    "purple", "silver", "gold", "golden", "tan", "rose", "olive", "peach", "lime", "cream",
    "salmon",
];

/// Words before a noun that make it a copy of what it names.
const COPY_BEFORE: &[&str] = &[
    "toy",
    "toys",
    "stuffed",
    "plastic",
    "ceramic",
    "cartoon",
    "animated",
    "inflatable",
    "lego",
    "fake",
    "artificial",
    "plush",
    "model",
    "miniature",
    "origami",
    "carved",
    "painted",
    "toylike",
];

/// Words after a noun that do so.
const COPY_AFTER: &[&str] = &[
    "toy",
    "toys",
    "doll",
    "dolls",
    "statue",
    "statues",
    "figurine",
    "figurines",
    "sticker",
    "stickers",
    "costume",
    "costumes",
    "print",
    "pattern",
    "shaped",
    "decoration",
    "decorations",
    "sculpture",
    "sculptures",
    "logo",
    "poster",
    "posters",
    "picture",
    "pictures",
    "painting",
    "paintings",
    "drawing",
    "drawings",
    "balloon",
    "balloons",
    "magnet",
    "magnets",
];

/// Words that make what follows their "of" a copy.
const COPY_OF: &[&str] = &[
    "statue",
    "statues",
    "sculpture",
    "sculptures",
    "painting",
    "paintings",
    "drawing",
    "drawings",
    "figurine",
    "figurines",
    "poster",
    "posters",
    "mural",
    "murals",
    "sticker",
    "stickers",
    "logo",
    "model",
    "models",
    "picture",
    "pictures",
    "photo",
    "photos",
    "image",
];

/// The longest name looked up, in words.
const LONGEST: usize = 4;

/// The sentences of a text that say something.
pub fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(['.', '!', '?', '\n']).map(str::trim);
    parts.filter(|part| part.chars().any(char::is_alphanumeric))
}

/// The nouns of a text, in its order; in names ("fire hydrant") only the whole.
///
/// No grammar is read: a word is taken for a noun by how it is mostly used and by the word before
/// it.
pub fn mentions(text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    for part in parts(text) {
        let words: Vec<&str> = part.iter().map(|word| word.text.as_str()).collect();
        let spans = spans(&words);
        for (at, (begin, end, noun)) in spans.iter().enumerate() {
            let followed = spans.get(at + 1).is_some_and(|(next, ..)| next == end);
            if followed && COLOURS.contains(noun) {
                continue;
            }
            let copy = is_copy(&words, *begin)
                || words.get(*end).is_some_and(|word| COPY_AFTER.contains(word));
            let likeness = match (copy, followed) {
                (true, _) => Likeness::Copy,
                (_, true) => Likeness::Modifier,
                _ => Likeness::Thing,
            };
            let (first, determiner) = phrase(&words, *begin);
            let place = |first: usize| part[first].span.start..part[*end - 1].span.end;
            found.push(Mention {
                noun: (*noun).to_owned(),
                likeness,
                span: place(*begin),
                phrase: place(first),
                determiner,
            });
        }
    }
    found
}

/// Where the phrase of the noun at `begin` begins, and its determiner.
fn phrase(words: &[&str], begin: usize) -> (usize, Option<String>) {
    for first in (begin.saturating_sub(LONGEST)..begin).rev() {
        let word = words[first];
        if ARTICLES.contains(&word) {
            return (first, Some(word.to_owned()));
        }
        if NO_THINGS.contains(&word) || PREPOSITIONS.contains(&word) {
            return (first + 1, None);
        }
    }
    (begin.saturating_sub(LONGEST), None)
}

/// The words of a text, parted where no noun phrase goes on: at marks, and at " and " and " or ".
pub fn parts(text: &str) -> Vec<Vec<Word>> {
    let mut parts = vec![Vec::new()];
    let mut rest = text;
    while let Some(begin) = rest.find(char::is_alphanumeric) {
        let length = rest[begin..].find(|c: char| !c.is_alphanumeric());
        let (between, word) = rest.split_at(begin);
        let (word, after) = word.split_at(length.unwrap_or(word.len()));
        if between.contains(['.', '!', '?', '\n', ';', ':', ',']) {
            parts.push(Vec::new());
        }
        let start = text.len() - rest.len() + begin;
        let lower = word.to_lowercase();
        if between.ends_with(' ') && after.starts_with(' ') && (lower == "and" || lower == "or") {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(Word { text: lower, span: start..start + word.len() });
        }
        rest = after;
    }
    parts
}

/// Whether a word that begins a sentence may well be a verb that tells the reader what to do.
pub fn is_verbal(word: &str) -> bool {
    let common = [NO_THINGS, ARTICLES, PREPOSITIONS].iter().any(|list| list.contains(&word));
    let nouns = Nouns::english();
    let used = nouns.singular(word).map(|noun| nouns.used(noun));
    !common && !word.ends_with("ly") && matches!(used, None | Some(Some(Use::Verb)))
}

/// Where nouns begin and end, and their singulars.
fn spans<'a>(words: &[&'a str]) -> Vec<(usize, usize, &'a str)> {
    let nouns = Nouns::english();
    let mut spans = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let name = (2..=LONGEST.min(words.len() - at)).rev().find_map(|count| {
            let (first, last) = (words[at], words[at + count - 1]);
            let common = |word| NO_THINGS.contains(&word) || ARTICLES.contains(&word);
            let noun = nouns.singular(&words[at..at + count].join("_"))?;
            (!common(first) && !common(last)).then_some((at, at + count, noun))
        });
        let before = at.checked_sub(1).map(|before| words[before]);
        let noun = name.or_else(|| noun(words[at], before).map(|noun| (at, at + 1, noun)));
        at = noun.map_or(at + 1, |(_, end, _)| end);
        spans.extend(noun);
    }
    spans
}

/// The singular of a word that is used as a noun after the word `before`.
fn noun(word: &str, before: Option<&str>) -> Option<&'static str> {
    if NO_THINGS.contains(&word) || ARTICLES.contains(&word) {
        return None;
    }
    let nouns = Nouns::english();
    let noun = nouns.singular(word)?;
    let article = before.is_some_and(|before| ARTICLES.contains(&before));
    // Nobody shows anything to "the camera" that looks.
    let posed = noun == "camera" && article;
    let is_noun = match nouns.used(noun)? {
        Use::Noun => true,
        Use::Gerund => article || word != noun,
        Use::Verb => article || before.map_or(word != noun, is_before_noun),
        Use::Adjective => false,
    };
    (is_noun && !posed).then_some(noun)
}

/// Whether a word that is mostly a verb is a noun after this one: after a preposition or an
/// adjective ("of bear", "a stuffed bear"), not after its subject or another verb.
fn is_before_noun(word: &str) -> bool {
    PREPOSITIONS.contains(&word)
        || !NO_THINGS.contains(&word) && Nouns::english().singular(word).is_none()
}

/// Whether the noun that begins there names a copy: "a toy horse", "a statue of a horse".
fn is_copy(words: &[&str], begin: usize) -> bool {
    let before = &words[begin.saturating_sub(2)..begin];
    if before.iter().any(|word| COPY_BEFORE.contains(word)) {
        return true;
    }
    let near = &words[begin.saturating_sub(4)..begin];
    near.windows(2).any(|two| two[1] == "of" && COPY_OF.contains(&two[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, likeness: Likeness) -> Vec<String> {
        let mentions = mentions(text).into_iter();
        mentions.filter(|one| one.likeness == likeness).map(|one| one.noun).collect()
    }

    #[test]
    fn nouns_are_found_with_their_names_whole() {
        let text = "Two men are sitting on a park bench near fire hydrants, eating hot dogs.";
        assert_eq!(of(text, Likeness::Thing), ["man", "park_bench", "fire_hydrant", "hot_dog"]);
        assert!(mentions("").is_empty());
        assert!(mentions("Лодка на реке. 一只猫。").is_empty());
    }

    #[test]
    fn the_last_of_several_nouns_is_the_thing() {
        assert_eq!(of("an orange apple tree branch", Likeness::Thing), ["branch"]);
        assert_eq!(of("a coffee shop", Likeness::Modifier), Vec::<String>::new());
        assert_eq!(of("a giraffe enclosure", Likeness::Modifier), ["giraffe"]);
        assert_eq!(of("an orange", Likeness::Thing), ["orange"]);
    }

    #[test]
    fn a_mention_says_where_it_stands() {
        let text = "Ein Ärger: Two Fire Hydrants and the İce cream, please.";
        let mentions = mentions(text);
        let said: Vec<&str> = mentions.iter().map(|one| &text[one.span.clone()]).collect();
        assert!(said.contains(&"Fire Hydrants"), "{said:?}");
        assert_eq!(parts("a rock-and-roll and b, c").len(), 3);
        assert_eq!(parts("")[..], [vec![]]);
    }

    #[test]
    fn copies_are_not_what_they_show() {
        assert_eq!(
            of("a toy horse and a statue of a large lion", Likeness::Copy),
            ["horse", "lion"]
        );
        assert_eq!(of("a stuffed bear", Likeness::Copy), ["bear"]);
        assert_eq!(of("a real horse", Likeness::Copy), Vec::<String>::new());
    }
}
