//! Reads the judge's verdict: strict about what is a choice, easy about how it is wrapped.
//!
//! Every place of a reply that states a choice counts. If all name one letter, that is the
//! verdict; if none does, or two differ, there is none, with the reason. Nothing is guessed.

use std::sync::LazyLock;

use regex::Regex;

use super::rule::Letter;

/// Part of every reply's key: replies judged by an older parser are read again.
pub const PARSER_VERSION: &str = "1";

/// Why a reply has no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoVerdict {
    /// Nothing was said.
    Empty,
    /// No place of the reply states a choice.
    NoChoice,
    /// Different choices are stated, or one is stated and denied.
    Ambiguous,
}

impl NoVerdict {
    /// A stable, snake_case reason.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty_reply",
            Self::NoChoice => "no_choice",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// The choice as the whole reply or at the start of a line: `B`, `(B)`, `B.`, `B: ...`, `B because`.
const OPENING: &str =
    r"(?m)^[\s>#-]*[(\[{]*([ABCabc])(?:[)\]}]+|[.:;,!]|\s+-|\s*$|\s+(?:because|since)\b)";

/// A labelled choice: `Answer: B`, `Verdict is B`, `Option B` at a line's end, `I choose B`, `[[B]]`.
const LABELLED: &str = r"(?i)\b(?:(?:final |my )?(?:answer|verdict|choice|evaluation|selection|decision|option|better (?:answer|option|one))\s*(?:is\s*:?|[:=])\s*(?:option\s+|answer\s+|letter\s+)?[(\[]*|(?:i|would|i'd)\s+(?:choose|select|pick|prefer)\s+(?:option\s+|answer\s+|letter\s+)?[(\[]*)([abc])(?:\b|[)\]])|\[\[([abc])\]\]";

/// A sentence that states one: `Option B is the best`, `Answer A is significantly better`.
const STATED: &str = r"\b(?:(?i:option|answer|response|assistant)\s+([ABCabc])|([AB]))\s+(?i:is|was)\s+(?i:the\s+|my\s+|a\s+)?(?i:(?:significantly|clearly|much|slightly|far|definitely|overall|more)\s+)*(?i:better|best|superior|preferred|preferable|stronger|correct|right|choice|chosen|winner)\b";

/// The words of option C.
const NEITHER: &str = r"(?i)\bneither\s+(?:of\s+(?:them|the\s+(?:two\s+)?(?:answers|responses|options))\s+|answer\s+|response\s+|one\s+)?(?:is|was)\s+(?:(?:significantly|clearly|much)\s+)?better\b";

/// A bare option or answer as the whole reply: `Option B`, `Answer B.`
const NAMED: &str = r"(?i)^(?:option|answer|letter|choice)\s+([abc])[.!]?$";

/// The letter as the last sentence: `The second is richer. B`
const CLOSING: &str = r"[.!?:]\s+[(\[]*([ABC])[)\]]*[.!]?\s*$";

/// Words before a statement that take it back.
const DENIAL: &str = r"(?i)(?:\bnot\b|n't\b|\bno\b|\bnever\b|\bif\b|\bwhether\b|\bunless\b|\bhardly\b|\bwrong\b|\bfalse\b)";

/// Reasoning that some models print before the reply.
const THOUGHT: &str = r"(?s)^\s*<think>.*?</think>";

struct Patterns {
    choices: [Regex; 4],
    stated: Regex,
    neither: Regex,
    denial: Regex,
    thought: Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let compile = |pattern: &str| {
        Regex::new(pattern).expect("the pattern is a constant that the tests compile")
    };
    Patterns {
        choices: [compile(OPENING), compile(LABELLED), compile(NAMED), compile(CLOSING)],
        stated: compile(STATED),
        neither: compile(NEITHER),
        denial: compile(DENIAL),
        thought: compile(THOUGHT),
    }
});

/// The one choice that a reply states.
///
/// # Errors
/// [`NoVerdict`] where there is none or more than one.
pub fn parse(reply: &str) -> Result<Letter, NoVerdict> {
    let reply = PATTERNS.thought.replace(reply, "");
    let text: String = reply.chars().filter(|c| !matches!(c, '*' | '_' | '`' | '"')).collect();
    let text = text.trim();
    if text.is_empty() {
        return Err(NoVerdict::Empty);
    }
    // A thought that does not end holds talk about both answers, not the verdict.
    if text.starts_with("<think>") {
        return Err(NoVerdict::NoChoice);
    }
    let mut found: Vec<Option<Letter>> = choices(text).collect();
    found.extend(statements(text));
    one_of(&found)
}

fn one_of(found: &[Option<Letter>]) -> Result<Letter, NoVerdict> {
    match found {
        [] => Err(NoVerdict::NoChoice),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            first.ok_or(NoVerdict::Ambiguous)
        }
        _ => Err(NoVerdict::Ambiguous),
    }
}

fn choices(text: &str) -> impl Iterator<Item = Option<Letter>> {
    let matches = |pattern: &'static Regex| pattern.captures_iter(text);
    PATTERNS.choices.iter().flat_map(matches).map(|groups| letter(&groups))
}

/// Statements in sentences; `None` stands for one that is denied.
fn statements(text: &str) -> Vec<Option<Letter>> {
    let mut found = Vec::new();
    for sentence in text.split(['.', '!', '?', '\n']) {
        let denied = |start: usize| PATTERNS.denial.is_match(&sentence[..start]);
        for groups in PATTERNS.stated.captures_iter(sentence) {
            let start = groups.get(0).map_or(0, |whole| whole.start());
            found.push(letter(&groups).filter(|_| !denied(start)));
        }
        for neither in PATTERNS.neither.find_iter(sentence) {
            found.push(Some(Letter::C).filter(|_| !denied(neither.start())));
        }
    }
    found
}

fn letter(groups: &regex::Captures<'_>) -> Option<Letter> {
    groups.iter().skip(1).flatten().next().and_then(|group| Letter::of(group.as_str()))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
