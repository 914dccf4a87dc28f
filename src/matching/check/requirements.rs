//! What an instruction presupposes, found in its words.

use std::sync::LazyLock;

use regex::Regex;

use super::Asked;

/// Noun phrases for what must be in a photo.
pub struct Requirements;

/// Words that name the photo or any part of it, so that every photo has them.
const ANY: [&str; 24] = [
    "image",
    "photo",
    "picture",
    "photograph",
    "scene",
    "place",
    "view",
    "subject",
    "object",
    "thing",
    "item",
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
    "composition",
    "texture",
    "material",
];

/// "the boat in the image", "the animal shown", "the dish pictured here".
static BOUND: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)\b(?:the|this|that|these|those)\s+((?:[\p{L}'-]+,?\s+){0,5}?[\p{L}'-]+)\s+(?:(?:that is |that are )?(?:shown|pictured|depicted|visible|seen|captured)\b|(?:in|on|of|from)\s+(?:the|this)\s+(?:image|photo|picture|photograph)\b)";
    Regex::new(pattern).expect("a pattern")
});

impl Requirements {
    /// The noun phrases that the instruction binds to the photo; none where it suits any photo.
    pub fn of_text(instruction: &str) -> Vec<String> {
        let mut found = Vec::new();
        for bound in BOUND.captures_iter(instruction) {
            let phrase = bound[1].to_lowercase();
            let head = phrase.rsplit(' ').next().unwrap_or_default();
            let head = head.strip_suffix('s').unwrap_or(head);
            if !ANY.contains(&head) && !found.contains(&phrase) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_to_the_photo_is_required() {
        let required = Requirements::of_text("Tell a story about the boat in the image.");
        assert_eq!(required, ["boat"]);
        assert!(Requirements::of_text("Write a haiku about the scene in the image.").is_empty());
    }
}
