//! Filters that look at an instruction's form.

use std::sync::LazyLock;

use regex::Regex;

use super::super::grammar;
use super::super::wording::words;
use super::{Finding, InstructionFilterConfig, Refusal};
use crate::dataset::sink::{IMAGE_TOKEN, find_garbage};

/// What stands where a text was to be filled in, and the marks of chat templates.
const LEFTOVERS: &str = r"<\|[^|<>\s]{1,40}\||\[/?INST\]|</?s>|\[[a-z _]{2,40}\]|<[a-z _]{2,40}>|\{[a-z _]{2,40}\}|_{3,}|https?://|@\w+|#\w+";

/// Refuses characters and marks that no instruction holds.
pub(super) fn garbage(text: &str) -> Finding {
    static MARKS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(LEFTOVERS).expect("a constant the tests compile"));
    let lost = || text.chars().find(|c| *c == char::REPLACEMENT_CHARACTER);
    if let Some(found) = find_garbage(text).or_else(lost) {
        return Err(Refusal::new("garbage", format!("holds {}", found.escape_unicode())));
    }
    if let Some((article, next)) = cut_phrase(text) {
        return Err(Refusal::new("garbled", format!("\"{article} {next}\" is no English")));
    }
    let mark = MARKS.find(text).map(|found| found.as_str());
    match mark.or(text.contains(IMAGE_TOKEN).then_some(IMAGE_TOKEN)) {
        Some(mark) => Err(Refusal::new("garbage", format!("holds `{mark}`"))),
        None => Ok(()),
    }
}

/// A word that cannot stand before a preposition with one behind it: where small models lose the
/// thread.
fn cut_phrase(text: &str) -> Option<(String, String)> {
    const OPEN: [&str; 14] = [
        "a", "an", "the", "my", "your", "their", "its", "by", "with", "while", "such", "very",
        "to", "into",
    ];
    const BEHIND: [&str; 10] =
        ["of", "in", "about", "from", "for", "by", "with", "based", "inspired", "shown"];
    let words = words(text);
    let mut pairs = words.windows(2);
    let cut =
        pairs.find(|pair| OPEN.contains(&pair[0].as_str()) && BEHIND.contains(&pair[1].as_str()));
    cut.map(|pair| (pair[0].clone(), pair[1].clone()))
}

/// Refuses too few and too many words.
pub(super) fn length(config: &InstructionFilterConfig, text: &str) -> Finding {
    let (count, min, max) = (words(text).len(), config.min_words, config.max_words);
    if count < min {
        return Err(Refusal::new("too_short", format!("{count} words; the fewest are {min}")));
    }
    if count > max {
        return Err(Refusal::new("too_long", format!("{count} words; the most are {max}")));
    }
    Ok(())
}

/// Refuses what only asks: every sentence ends with a question mark.
pub(super) fn question(text: &str) -> Finding {
    let ends: Vec<char> = text.chars().filter(|c| ['.', '!', '?'].contains(c)).collect();
    let asks = text.trim_end_matches(['"', ')', ' ']).ends_with('?');
    if asks && ends.iter().all(|end| *end == '?') && grammar::opening(text).is_none() {
        return Err(Refusal::new("question_only", "asks a question and sets no task"));
    }
    Ok(())
}

/// Refuses what does not tell anybody to do something.
pub(super) fn imperative(text: &str) -> Finding {
    let worded = text.chars().next().is_some_and(char::is_alphabetic);
    if worded && grammar::opening(text).is_some() {
        return Ok(());
    }
    let start: String = text.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    Err(Refusal::new(
        "not_an_instruction",
        format!("begins with \"{start}\", not with a known verb"),
    ))
}
