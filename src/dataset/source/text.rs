use super::refusal::Refusal;
use crate::dataset::sink::find_garbage;

/// A description ready for use: byte order mark and outer white space removed, line ends as `\n`.
///
/// Refuses what is empty or holds characters that no text file should (NUL and the like).
pub(super) fn description(raw: &str) -> Result<String, Refusal> {
    let text = raw.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
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
    fn descriptions_are_trimmed_and_checked() {
        assert_eq!(description("\u{feff} A cat\r\non a mat. \n"), Ok("A cat\non a mat.".into()));
        assert_eq!(description(" \u{feff}\t").map_err(|r| r.code), Err("empty_description"));
        assert_eq!(description(" \n").map_err(|r| r.code), Err("empty_description"));
        assert_eq!(description("a\0b").map_err(|r| r.code), Err("invalid_description"));
    }
}
