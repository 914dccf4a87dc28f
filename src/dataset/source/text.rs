use std::collections::HashSet;

use super::refusal::Refusal;
use crate::dataset::sink::find_garbage;

/// The texts that a source has for one photo, as they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    /// A list is joined as sentences, even a list of one.
    list: bool,
    found: Vec<String>,
}

/// What a record says of its photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Captions {
    /// All of it as one text.
    pub description: String,
    /// The captions apart, where there are several.
    pub apart: Vec<String>,
}

impl Texts {
    pub fn one(text: String) -> Self {
        Self { list: false, found: vec![text] }
    }

    pub fn several(found: Vec<String>) -> Self {
        Self { list: true, found }
    }

    /// Whether no letter is in them.
    pub fn is_empty(&self) -> bool {
        self.found.iter().all(|text| bare(text).is_empty())
    }

    /// The texts of several rows about the same photo, each of them once.
    pub fn together(rows: Vec<Self>) -> Self {
        let mut list = rows.len() > 1;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for row in rows {
            list |= row.list;
            found.extend(row.found.into_iter().filter(|text| seen.insert(text.clone())));
        }
        Self { list, found }
    }

    /// All of it as a record says it.
    ///
    /// # Errors
    /// It is empty, or holds a character that no text should.
    pub fn captions(self) -> Result<Captions, Refusal> {
        if let (false, [one]) = (self.list, self.found.as_slice()) {
            return Ok(Captions { description: description(one)?, apart: Vec::new() });
        }
        Ok(Captions {
            description: description(&join_captions(self.found.iter().map(String::as_str)))?,
            apart: apart(self.found.iter().map(String::as_str)),
        })
    }
}

impl IntoIterator for Texts {
    type Item = String;
    type IntoIter = std::vec::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

/// Each caption with its white space collapsed, empty ones left out; none where there is only one.
pub(super) fn apart<'a>(captions: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let collapsed = captions
        .into_iter()
        .map(|caption| bare(caption).split_whitespace().collect::<Vec<_>>().join(" "));
    let apart: Vec<_> = collapsed.filter(|caption| !caption.is_empty()).collect();
    if apart.len() > 1 { apart } else { Vec::new() }
}

/// A text without byte order mark and outer white space.
fn bare(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// A description ready for use: byte order mark and outer white space removed, line ends as `\n`.
///
/// Refuses what is empty or holds characters that no text file should (NUL and the like).
pub(super) fn description(raw: &str) -> Result<String, Refusal> {
    let text = bare(raw);
    if text.is_empty() {
        return Err(Refusal::new("empty_description", "the description is empty"));
    }
    if let Some(garbage) = find_garbage(text) {
        let reason = format!("the description holds the character {}", garbage.escape_unicode());
        return Err(Refusal::new("invalid_description", reason));
    }
    Ok(if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.into()
    })
}

/// Several captions of one photo as one description: each with its white space collapsed and
/// ended with a full stop (unless it ends a sentence already), joined with a space. Empty captions
/// are left out.
pub(super) fn join_captions<'a>(captions: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for caption in captions {
        let start = joined.len();
        for word in caption.split_whitespace() {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(word);
        }
        if joined.len() > start && !ends_sentence(&joined) {
            joined.push('.');
        }
    }
    joined
}

fn ends_sentence(text: &str) -> bool {
    let bare = text.trim_end_matches(['"', '\'', ')', '”', '’']);
    bare.ends_with(['.', '!', '?', '…', '。', '！', '？'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_become_sentences() {
        let joined =
            join_captions(["  a dog\n runs ", "", "Two dogs!", "He said \"hi.\"", "end. "]);
        assert_eq!(joined, "a dog runs. Two dogs! He said \"hi.\" end.");
    }

    #[test]
    fn captions_stay_apart_beside_the_joined_text() {
        let captions = |texts: Texts| texts.captions().expect("full");
        let several = vec![" a  dog".into(), " ".into(), "Two dogs!".into()];
        let read = captions(Texts::several(several));
        assert_eq!(read.description, "a dog. Two dogs!");
        assert_eq!(read.apart, ["a dog", "Two dogs!"]);
        let one = captions(Texts::several(vec!["a dog".into(), String::new()]));
        assert_eq!((&*one.description, one.apart.len()), ("a dog.", 0));
        let rows = ["a  dog", "a cat", "a cat"].map(|text| Texts::one(text.into()));
        assert_eq!(captions(Texts::together(rows[..1].into())).description, "a  dog");
        assert_eq!(captions(Texts::together(rows.into())).description, "a dog. a cat.");
        assert!(Texts::several(vec!["\u{feff} ".into()]).is_empty());
    }

    #[test]
    fn descriptions_are_trimmed_and_checked() {
        assert_eq!(description("\u{feff} A cat\r\non a mat. \n"), Ok("A cat\non a mat.".into()));
        assert_eq!(description(" \u{feff}\t").map_err(|r| r.code), Err("empty_description"));
        assert_eq!(description(" \n").map_err(|r| r.code), Err("empty_description"));
        assert_eq!(description("a\0b").map_err(|r| r.code), Err("invalid_description"));
    }
}
