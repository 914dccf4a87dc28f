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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letters(letter: Letter, replies: &[&str]) {
        for reply in replies {
            assert_eq!(parse(reply), Ok(letter), "{reply:?}");
        }
    }

    fn refused(why: NoVerdict, replies: &[&str]) {
        for reply in replies {
            assert_eq!(parse(reply), Err(why), "{reply:?}");
        }
    }

    #[test]
    fn a_letter_is_read_in_its_usual_wrappings() {
        letters(
            Letter::B,
            &[
                "B",
                "b",
                " B\n",
                "B.",
                "**B**",
                "**B.**",
                "(B)",
                "[B]",
                "[[B]]",
                "`B`",
                "\"B\"",
                "- B",
                "# B",
                "B)",
                "Answer: B",
                "Answer: **B**",
                "**Answer:** B",
                "Final answer: (B)",
                "The answer is B.",
                "My choice is B",
                "Verdict: [[B]]",
                "Option B",
                "Answer B.",
                "Option B is the better one.",
                "Option B is significantly better.",
                "Option B is the correct choice",
                "Answer B is significantly better.",
                "Assistant B is clearly better than assistant A.",
                "B. Answer B is significantly better.",
                "B: Answer B is significantly better because Answer A is not about the image.",
                "B because it is about the photo",
                "The second is richer in detail. B",
                "Thus: (B).",
                "I choose B.",
                "I would select option B",
                "Both answers are fine, but the second is richer.\n\nVerdict: B",
                "Answer A is short. Answer B is much better.",
                "<think>A is good. Option A is better? No.</think>\nB",
            ],
        );
        letters(
            Letter::A,
            &["A", "A.", "A is better.", "Answer A is better", "A - it is complete"],
        );
        letters(
            Letter::C,
            &[
                "C",
                "C. Neither is significantly better.",
                "C.Neither is significantly better.",
                "Neither is significantly better.",
                "Neither answer is better.",
                "Neither of the two answers is significantly better.",
            ],
        );
    }

    #[test]
    fn prose_states_no_choice() {
        refused(
            NoVerdict::NoChoice,
            &[
                "A man in a white suit walks down the runway.",
                "Both answers describe the photo well.",
                "As an AI I cannot judge images.",
                "Answer A mentions the suit and answer B the crowd.",
                "Option B is worse.",
                "Option B is shorter than option A",
                "D",
                "AB",
                "1",
                "Cat",
                "A and B are both fine",
                "Best answer? Hard to say",
                "<think>A is better, or so it seems",
            ],
        );
        refused(NoVerdict::Empty, &["", " \n", "****", "<think>x</think>"]);
    }

    #[test]
    fn two_choices_are_ambiguous() {
        refused(
            NoVerdict::Ambiguous,
            &[
                "A. Answer A is significantly better.\nB. Answer B is significantly better.\nC. Neither is significantly better.",
                "A\nB",
                "Answer: A\nAnswer: B",
                "A. Answer B is significantly better.",
                "Answer A is better. Answer B is better.",
                "I choose A. Final answer: C",
                "Neither is better. B",
                "[[A]] or [[B]]",
            ],
        );
    }

    #[test]
    fn a_denied_statement_is_no_verdict() {
        refused(
            NoVerdict::Ambiguous,
            &[
                "I do not think Answer A is better.",
                "It isn't clear that answer B is better",
                "If answer A is better, so be it",
                "It is wrong that neither is better",
            ],
        );
        refused(
            NoVerdict::NoChoice,
            &["Answer A is not better", "Option B is not significantly better."],
        );
    }

    proptest! {
        #[test]
        fn any_reply_is_read_without_panic(reply in ".{0,300}") {
            let _ = parse(&reply);
        }

        #[test]
        fn no_reply_without_a_choice_letter_names_a_or_b(reply in "[d-zD-Z0-9 .,:\n]{0,80}") {
            prop_assert!(!matches!(parse(&reply), Ok(Letter::A | Letter::B)), "{reply:?}");
        }
    }
}
