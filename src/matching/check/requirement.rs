//! What a noun phrase such as "historic aircraft, boat or building" asks of a photo, in senses of
//! nouns.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::base::nouns::{Nouns, Sense};

const CLASSES: &str = include_str!("classes.toml");

/// Words that name the photo or a side of it: every photo has them.
pub(super) const ANY: &[&str] = &[
    "image",
    "photo",
    "picture",
    "photograph",
    "scene",
    "view",
    "subject",
    "detail",
    "element",
    "moment",
    "setting",
    "background",
    "foreground",
    "colour",
    "color",
    "light",
    "mood",
    "feature",
    "atmosphere",
    "composition",
    "texture",
    "material",
    "style",
    "shape",
    "line",
    "angle",
    "part",
    "kind",
    "type",
    "sort",
    "piece",
    "something",
    "anything",
    "everything",
    "shot",
    "frame",
    "weather",
    "season",
    "time",
    "day",
    "condition",
    "centre",
    "center",
    "middle",
    "sound",
    "smell",
    "surroundings",
    "surrounding",
    "emotion",
    "feeling",
];

/// Words after which a phrase tells more of its thing.
const PREPOSITIONS: &[&str] = &[
    "of", "in", "on", "with", "at", "from", "that", "which", "who", "to", "for", "by", "near",
    "under", "behind",
];

#[derive(Deserialize)]
struct Classes {
    class: Vec<Class>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    words: Vec<String>,
    is: Vec<String>,
    #[serde(default)]
    but_not: Vec<String>,
    #[serde(default)]
    general: bool,
}

/// One way to meet a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// A thing of one of these kinds will do.
    pub is: Vec<Sense>,
    /// Unless its word can be of one of these.
    pub but_not: Vec<Sense>,
    /// More general names that may mean it: "person" where a woman is required.
    pub may_be: Vec<Sense>,
    general: bool,
}

/// A requirement, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    pub phrase: String,
    /// Any of them will do; empty where the phrase names nothing that nouns tell of.
    pub ways: Vec<Way>,
}

static BY_WORD: LazyLock<HashMap<String, Way>> = LazyLock::new(|| {
    let read: Classes = toml::from_str(CLASSES).expect("the built-in classes are well formed");
    let nouns = Nouns::english();
    let senses = |names: &[String]| -> Vec<Sense> {
        let sense = |name: &String| {
            nouns.named(name).unwrap_or_else(|| panic!("{name} is a sense of the built-in nouns"))
        };
        names.iter().map(sense).collect()
    };
    let ways = read.class.into_iter().flat_map(|class| {
        let way = Way {
            is: senses(&class.is),
            but_not: senses(&class.but_not),
            may_be: Vec::new(),
            general: class.general,
        };
        class.words.into_iter().map(move |word| (word.replace(' ', "_"), way.clone()))
    });
    ways.collect()
});

/// Kinds so general that they say nothing.
static VOID: LazyLock<Vec<Sense>> = LazyLock::new(|| {
    let names = [
        "entity.1",
        "physical_entity.1",
        "object.1",
        "whole.2",
        "artifact.1",
        "organism.1",
        "living_thing.1",
        "matter.3",
        "substance.1",
        "instrumentality.3",
        "thing.12",
        "abstraction.6",
        "group.1",
        "attribute.2",
        "structure.1",
        "device.1",
        "equipment.1",
        "container.1",
        "event.1",
        "act.2",
        "activity.1",
        "location.1",
        "region.1",
        "area.1",
    ];
    names.iter().filter_map(|name| Nouns::english().named(name)).collect()
});

impl Requirement {
    /// Reads a phrase; commas, slashes, "or" and "and" part alternatives.
    pub fn read(phrase: &str) -> Self {
        let lower = phrase.to_lowercase();
        let lower = lower.replace(" and ", ",").replace(" or ", ",");
        let parts = lower.split([',', '/', ';']);
        let ways = parts.filter_map(|part| way(&words(part))).collect();
        Self { phrase: phrase.to_owned(), ways }
    }
}

/// Whether every photo has what a word names.
pub fn is_any(word: &str) -> bool {
    ANY.contains(&word) || word.strip_suffix('s').is_some_and(|word| ANY.contains(&word))
}

/// Whether a phrase as a whole is one of the classes of things.
pub(super) fn is_class(phrase: &str) -> bool {
    BY_WORD.contains_key(&phrase.replace(' ', "_"))
}

pub(super) fn words(phrase: &str) -> Vec<&str> {
    let letter = |c: char| !c.is_alphanumeric() && c != '\'';
    phrase.split(letter).filter(|word| !word.is_empty()).collect()
}

/// What the words of one alternative ask for.
fn way(words: &[&str]) -> Option<Way> {
    let cut = words.iter().position(|word| PREPOSITIONS.contains(word)).unwrap_or(words.len());
    // "body of water" is a class of its own, and no body.
    if cut < words.len()
        && let Some(class) = (0..cut).find_map(|from| BY_WORD.get(&words[from..].join("_")))
    {
        return Some(class.clone());
    }
    let (head, rest) = words.split_at(cut);
    let named = (0..head.len()).find_map(|from| named(&head[from..]).map(|way| (from, way)));
    match named {
        // "mountain scenery" is met by mountains.
        Some((from, general)) if general.general && from > 0 => {
            way(&head[..from]).or(Some(general))
        }
        Some((_, way)) => Some(way),
        // "picture of the sky"
        None => rest.get(1..).filter(|_| head.last().is_none_or(|word| is_any(word))).and_then(way),
    }
}

/// What a name asks for, if it is a class or a noun for something that can be there.
fn named(name: &[&str]) -> Option<Way> {
    let joined = name.join("_");
    let nouns = Nouns::english();
    let singular = nouns.singular(&joined);
    let class = BY_WORD.get(&joined).or_else(|| BY_WORD.get(singular?));
    if class.is_some() {
        return class.cloned();
    }
    let noun = singular.filter(|noun| !is_any(noun))?;
    let is: Vec<Sense> =
        nouns.usual(noun).iter().copied().filter(|sense| is_there(*sense)).collect();
    if is.is_empty() {
        return None;
    }
    let above = |sense: &Sense| nouns.above(*sense).to_vec();
    let parents: Vec<Sense> = is.iter().flat_map(above).collect();
    let further: Vec<Sense> = parents.iter().flat_map(above).collect();
    let may_be = parents.into_iter().chain(further).filter(|sense| !VOID.contains(sense)).collect();
    Some(Way { is, may_be, ..Way::default() })
}

/// Whether the sense is of something that can be seen in a photo.
fn is_there(sense: Sense) -> bool {
    static SEEN: LazyLock<Vec<Sense>> = LazyLock::new(|| {
        let names = ["physical_entity.1", "group.1", "event.1"];
        names.iter().filter_map(|name| Nouns::english().named(name)).collect()
    });
    Nouns::english().kinds(sense).iter().any(|kind| SEEN.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_read_by_their_heads() {
        let is = |phrase: &str| {
            Requirement::read(phrase).ways.into_iter().map(|way| way.is).collect::<Vec<_>>()
        };
        assert_eq!(is("the old boat"), is("boat"));
        assert_eq!(is("historic aircraft, boat or building").len(), 3);
        assert_eq!(is("mountain scenery"), is("mountains"));
        assert_eq!(is("boat on a lake"), is("boat"));
        assert_eq!(is("view of the sky"), is("sky"));
        assert_ne!(is("boat"), is("dog"));
        for nothing in ["", "mood", "scene", "qwertz", "лодка", "???"] {
            assert!(is(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn every_class_has_its_senses() {
        assert!(BY_WORD.len() > 100);
        assert!(BY_WORD.values().all(|way| !way.is.is_empty()));
        assert!(VOID.len() > 10);
    }
}
