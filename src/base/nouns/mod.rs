//! English nouns: their forms, their senses and what kinds of thing they name, after WordNet 3.0;
//! and the nouns that a text mentions.
//!
//! `english.txt.gz` holds the data; `scripts/make_nouns.py` makes it and describes its form.
//! Texts of other languages have no nouns here.

mod mentions;

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

pub use mentions::{Likeness, Mention, Word, is_verbal, mentions, parts, sentences};

const ENGLISH: &[u8] = include_bytes!("english.txt.gz");

/// A sense: what one or several words mean.
pub type Sense = u32;

/// How a word that can be a noun is mostly used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Noun,
    /// The -ing form of a verb.
    Gerund,
    /// A verb, unless an article stands before it.
    Verb,
    Adjective,
}

struct Entry {
    used: Use,
    usual: usize,
    /// The usual ones first.
    senses: Vec<Sense>,
}

/// A net of nouns.
pub struct Nouns {
    /// For each sense the more general ones, whose numbers are smaller.
    above: Vec<Vec<Sense>>,
    entries: HashMap<String, Entry>,
    irregular: HashMap<String, String>,
    /// Parts, substances and members.
    parts: HashMap<Sense, Vec<Sense>>,
}

static NOUNS: LazyLock<Nouns> = LazyLock::new(|| {
    let mut text = String::new();
    GzDecoder::new(ENGLISH).read_to_string(&mut text).expect("the built-in nouns unpack");
    Nouns::parse(&text).expect("the built-in nouns are well formed")
});

/// Endings of regular plurals, and what stands in the singular.
const PLURALS: [(&str, &str); 8] = [
    ("ches", "ch"),
    ("shes", "sh"),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
];

impl Nouns {
    /// The built-in net, unpacked at the first call.
    pub fn english() -> &'static Self {
        &NOUNS
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split("\n\n");
        let numbers = |line: &str| -> Option<Vec<Sense>> {
            line.split(' ').map(|number| number.parse().ok()).collect()
        };
        let above = parts.next()?.lines();
        let above: Option<Vec<_>> =
            above.map(|line| if line == "-" { Some(Vec::new()) } else { numbers(line) }).collect();
        let entry = |line: &str| {
            let mut fields = line.splitn(4, ' ');
            let noun = fields.next()?.to_owned();
            let used = match fields.next()? {
                "n" => Use::Noun,
                "g" => Use::Gerund,
                "v" => Use::Verb,
                "a" => Use::Adjective,
                _ => return None,
            };
            let usual = fields.next()?.parse().ok()?;
            Some((noun, Entry { used, usual, senses: numbers(fields.next()?)? }))
        };
        let entries: Option<HashMap<_, _>> = parts.next()?.lines().map(entry).collect();
        let pair = |line: &str| {
            line.split_once(' ').map(|(plural, noun)| (plural.to_owned(), noun.to_owned()))
        };
        let irregular: Option<HashMap<_, _>> = parts.next()?.lines().map(pair).collect();
        let whole = |line: &str| {
            let mut numbers = numbers(line)?.into_iter();
            Some((numbers.next()?, numbers.collect()))
        };
        let wholes: Option<HashMap<_, _>> = parts.next()?.lines().map(whole).collect();
        Some(Self { above: above?, entries: entries?, irregular: irregular?, parts: wholes? })
    }

    /// The singular of a word in lower case, words of a name joined by `_`; `None` for what is no
    /// noun.
    pub fn singular(&self, word: &str) -> Option<&str> {
        let known = |word: &str| self.entries.get_key_value(word).map(|(noun, _)| noun.as_str());
        if let Some(noun) = self.irregular.get(word).and_then(|noun| known(noun)) {
            return Some(noun);
        }
        known(word).or_else(|| {
            let bare = |(ending, instead): &(&str, &str)| {
                let stem = word.strip_suffix(ending).filter(|stem| stem.len() > 1)?;
                known(&format!("{stem}{instead}"))
            };
            PLURALS.iter().filter(|_| !word.ends_with("ss")).find_map(bare)
        })
    }

    /// The senses that captions mean by a singular.
    pub fn usual(&self, noun: &str) -> &[Sense] {
        self.entries.get(noun).map_or(&[], |entry| &entry.senses[..entry.usual])
    }

    /// All senses of a singular, rare ones included, the commonest first.
    pub fn senses(&self, noun: &str) -> &[Sense] {
        self.entries.get(noun).map_or(&[], |entry| &entry.senses)
    }

    /// The sense of a name such as `animal.1`: a singular, and the place among its senses.
    pub fn named(&self, name: &str) -> Option<Sense> {
        let (noun, place) = name.rsplit_once('.')?;
        let place = place.parse::<usize>().ok()?.checked_sub(1)?;
        self.entries.get(noun)?.senses.get(place).copied()
    }

    /// The next more general senses.
    pub fn above(&self, sense: Sense) -> &[Sense] {
        &self.above[sense as usize]
    }

    /// A sense and all that are more general, in rising order.
    pub fn kinds(&self, sense: Sense) -> Vec<Sense> {
        let mut found = vec![sense];
        let mut at = 0;
        while let Some(&next) = found.get(at) {
            for above in &self.above[next as usize] {
                if !found.contains(above) {
                    found.push(*above);
                }
            }
            at += 1;
        }
        found.sort_unstable();
        found
    }

    /// The parts, substances and members that things of a sense have as such: of a bicycle, those
    /// of wheeled vehicles, too.
    pub fn parts(&self, sense: Sense) -> Vec<Sense> {
        let kinds = self.kinds(sense).into_iter();
        kinds.filter_map(|kind| self.parts.get(&kind)).flatten().copied().collect()
    }

    pub(super) fn used(&self, noun: &str) -> Option<Use> {
        self.entries.get(noun).map(|entry| entry.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(word: &str, kind: &str) -> bool {
        let nouns = Nouns::english();
        let kind = nouns.named(kind).expect("a sense");
        let noun = nouns.singular(word).expect("a noun");
        nouns.usual(noun).iter().any(|sense| nouns.kinds(*sense).contains(&kind))
    }

    #[test]
    fn words_are_of_the_kinds_that_captions_mean() {
        for (word, kind) in [
            ("collies", "animal.1"),
            ("puppy", "dog.1"),
            ("pizza", "food.1"),
            ("cakes", "food.2"),
            ("women", "person.1"),
            ("ships", "vehicle.1"),
            ("fire_hydrants", "artifact.1"),
            ("geese", "bird.1"),
        ] {
            assert!(is(word, kind), "{word} is no {kind}");
        }
        for (word, kind) in [("boat", "animal.1"), ("teddy_bear", "animal.1"), ("man", "animal.1")]
        {
            assert!(!is(word, kind), "{word} is a {kind}");
        }
    }

    #[test]
    fn things_have_the_parts_of_their_kinds() {
        let nouns = Nouns::english();
        let has = |whole: &str, part: &str| {
            let part = nouns.usual(part)[0];
            nouns.usual(whole).iter().any(|sense| nouns.parts(*sense).contains(&part))
        };
        assert!(has("bicycle", "wheel") && has("forest", "tree") && has("house", "room"));
        assert!(!has("bicycle", "tree"));
    }

    #[test]
    fn what_is_no_noun_has_no_singular() {
        let nouns = Nouns::english();
        assert_eq!(nouns.singular("qwertz"), None);
        assert_eq!(nouns.singular("лодка"), None);
        assert_eq!(nouns.singular("s"), Some("s"));
        assert_eq!(nouns.singular(""), None);
        assert_eq!(nouns.named("animal.99"), None);
        assert_eq!(nouns.named("animal.0"), None);
    }
}
