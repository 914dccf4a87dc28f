//! What an instruction requires of a photo, and its tags, as its author may write them.

use crate::base::tokens;

/// The most phrases of one instruction.
pub const MAX_REQUIRED: usize = 8;

/// Longest phrase in bytes.
pub const MAX_PHRASE_BYTES: usize = 80;

/// Phrases that name no thing. Who means "any photo" gives an empty list.
const NAME_NOTHING: &[&str] = &[
    "any",
    "any image",
    "any photo",
    "any picture",
    "any scene",
    "anything",
    "image",
    "it",
    "n/a",
    "na",
    "none",
    "not applicable",
    "nothing",
    "null",
    "photo",
    "picture",
    "scene",
    "something",
    "that",
    "this",
    "unknown",
];

/// Why a list of requirements cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequires {
    #[error("requires holds {seen} phrases, the limit is {MAX_REQUIRED}")]
    TooMany { seen: usize },
    #[error("requires[{at}] is {seen} bytes long, the limit is {MAX_PHRASE_BYTES}")]
    TooLong { at: usize, seen: usize },
    #[error("requires[{at}] must not contain control characters: {phrase:?}")]
    Control { at: usize, phrase: String },
    #[error(
        "requires[{at}] must not contain {token}: trainers and models read it as more than a word"
    )]
    Token { at: usize, token: String },
    #[error(
        "requires[{at}] names nothing that a photo can show: {phrase:?}; an instruction that fits any photo has the empty list"
    )]
    NamesNothing { at: usize, phrase: String },
    #[error("requires[{at}] is there already: {phrase:?}")]
    Twice { at: usize, phrase: String },
}

impl BadRequires {
    /// The stable, snake_case reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "instruction_requires_too_many",
            Self::TooLong { .. } => "instruction_requires_too_long",
            Self::Control { .. } => "instruction_requires_control_character",
            Self::Token { .. } => "instruction_requires_token",
            Self::NamesNothing { .. } => "instruction_requires_names_nothing",
            Self::Twice { .. } => "instruction_requires_twice",
        }
    }
}

/// The phrases without white space around them, if they can be what an instruction requires: up to
/// [`MAX_REQUIRED`], each of up to [`MAX_PHRASE_BYTES`] bytes, each the name of something.
///
/// # Errors
/// The first phrase that cannot be used, by its place from 0.
pub fn check_requires(phrases: &[String]) -> Result<Vec<String>, BadRequires> {
    if phrases.len() > MAX_REQUIRED {
        return Err(BadRequires::TooMany { seen: phrases.len() });
    }
    let mut sound: Vec<String> = Vec::with_capacity(phrases.len());
    for (at, phrase) in phrases.iter().enumerate() {
        let phrase = check_phrase(at, phrase.trim())?;
        if sound.iter().any(|known| known.to_lowercase() == phrase.to_lowercase()) {
            return Err(BadRequires::Twice { at, phrase: phrase.to_owned() });
        }
        sound.push(phrase.to_owned());
    }
    Ok(sound)
}

fn check_phrase(at: usize, phrase: &str) -> Result<&str, BadRequires> {
    let owned = || phrase.to_owned();
    if phrase.len() > MAX_PHRASE_BYTES {
        return Err(BadRequires::TooLong { at, seen: phrase.len() });
    }
    if phrase.chars().any(char::is_control) {
        return Err(BadRequires::Control { at, phrase: owned() });
    }
    if let Some(token) = tokens::placeholder(phrase).or_else(|| tokens::control(phrase)) {
        return Err(BadRequires::Token { at, token: token.to_owned() });
    }
    let lower = phrase.to_lowercase();
    let bare = lower.trim_matches(|sign: char| !sign.is_alphanumeric());
    let named = bare.chars().any(char::is_alphabetic);
    let thing = ["a ", "an ", "the "].iter().find_map(|article| bare.strip_prefix(article));
    if !named || NAME_NOTHING.contains(&thing.unwrap_or(bare)) || matches!(bare, "a" | "the") {
        return Err(BadRequires::NamesNothing { at, phrase: owned() });
    }
    Ok(phrase)
}

/// The most tags of one instruction.
pub const MAX_TAGS: usize = 16;

/// Longest tag in bytes.
pub const MAX_TAG_BYTES: usize = 64;

/// Why a list of tags cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTags {
    #[error("there are {seen} tags, the limit is {MAX_TAGS}")]
    TooMany { seen: usize },
    #[error("tags[{at}] is not 1 to {MAX_TAG_BYTES} bytes without control characters")]
    NoTag { at: usize },
}

impl BadTags {
    /// The stable, snake_case reason.
    pub fn code(&self) -> &'static str {
        "bad_instruction_tags"
    }
}

/// The tags without white space around them, sorted and each once.
///
/// # Errors
/// There are more than [`MAX_TAGS`], or one is empty, longer than [`MAX_TAG_BYTES`] or holds a
/// control character.
pub fn check_tags(tags: &[String]) -> Result<Vec<String>, BadTags> {
    if tags.len() > MAX_TAGS {
        return Err(BadTags::TooMany { seen: tags.len() });
    }
    let tag = |(at, tag): (usize, &String)| {
        let tag = tag.trim();
        let fits = (1..=MAX_TAG_BYTES).contains(&tag.len()) && !tag.chars().any(char::is_control);
        if fits { Ok(tag.to_owned()) } else { Err(BadTags::NoTag { at }) }
    };
    let mut sound = tags.iter().enumerate().map(tag).collect::<Result<Vec<_>, _>>()?;
    sound.sort_unstable();
    sound.dedup();
    Ok(sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(phrases: &[&str]) -> Result<Vec<String>, &'static str> {
        let owned: Vec<String> = phrases.iter().map(|&one| one.to_owned()).collect();
        check_requires(&owned).map_err(|error| error.code())
    }

    #[test]
    fn phrases_are_trimmed_and_kept_in_their_order() {
        assert_eq!(
            check(&[" food or drink ", "boat"]),
            Ok(vec!["food or drink".into(), "boat".into()])
        );
        assert_eq!(check(&[]), Ok(vec![]));
        assert_eq!(check(&["船", "собака"]).map(|sound| sound.len()), Ok(2));
        assert_eq!(check(&["x".repeat(MAX_PHRASE_BYTES).as_str()]).map(|sound| sound.len()), Ok(1));
    }

    #[test]
    fn tags_are_sorted_and_each_is_kept_once() {
        let check =
            |tags: &[&str]| check_tags(&tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>());
        assert_eq!(check(&["b", " a ", "b"]), Ok(vec!["a".into(), "b".into()]));
        for bad in ["", " ", "a\nb", &"x".repeat(MAX_TAG_BYTES + 1)] {
            assert_eq!(check(&["a", bad]), Err(BadTags::NoTag { at: 1 }), "{bad:?}");
        }
        assert_eq!(check(&["a"; MAX_TAGS + 1]), Err(BadTags::TooMany { seen: MAX_TAGS + 1 }));
    }

    #[test]
    fn what_names_nothing_or_is_no_phrase_is_refused_by_its_place() {
        for phrase in ["", " ", "?", "12", "the", "Anything.", "a photo", "\"none\"", "N/A"] {
            assert_eq!(check(&["boat", phrase]), Err("instruction_requires_names_nothing"));
        }
        let nine: Vec<String> = (0..=MAX_REQUIRED).map(|n| format!("thing {n}")).collect();
        let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
        assert_eq!(check(&nine), Err("instruction_requires_too_many"));
        assert_eq!(check(&[&"x".repeat(81)]), Err("instruction_requires_too_long"));
        assert_eq!(check(&["a\nboat"]), Err("instruction_requires_control_character"));
        assert_eq!(check(&["an <image> boat"]), Err("instruction_requires_token"));
        assert_eq!(check(&["<|im_start|> boat"]), Err("instruction_requires_token"));
        assert_eq!(check(&["Boat", "boat "]), Err("instruction_requires_twice"));
        let error = check_requires(&["boat".into(), "it".into()]).expect_err("names nothing");
        assert!(error.to_string().starts_with("requires[1] names nothing"), "{error}");
    }
}
