//! What an LLM replied, read with patience: JSON as asked for, JSON among prose, half a JSON, a
//! list, or one line. Every reply that gives nothing has its code.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::IntoStaticStr;

use super::requires::check_requires;

/// Instructions taken from one reply at most: more is a loop.
const MOST: usize = 32;

/// How a reply could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Form {
    /// JSON of the shape asked for, alone or among other text.
    Json,
    /// JSON that breaks off: the strings that were complete.
    HalfJson,
    /// A numbered or bulleted list.
    List,
    /// One line of text.
    Line,
}

impl Form {
    /// The name in the store and the report.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why a reply gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// No letter at all.
    Empty,
    /// JSON without a single complete instruction in it.
    Json,
    /// Sentences instead of instructions.
    Prose,
}

impl Unread {
    /// Every code, for counts that start at zero.
    pub const ALL: [Self; 3] = [Self::Empty, Self::Json, Self::Prose];

    /// The code in the store and the report.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "reply_empty",
            Self::Json => "reply_bad_json",
            Self::Prose => "reply_prose",
        }
    }
}

impl Unread {
    /// What was wrong, as the model is told.
    pub fn told(&self) -> &'static str {
        match self {
            Self::Empty => "the reply is empty",
            Self::Json => "the JSON holds no complete instruction",
            Self::Prose => "it holds sentences in place of instructions",
        }
    }
}

/// One instruction that stands for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub instruction: String,
    /// What it requires of a photo; `None` where the reply does not say, or says what cannot be
    /// used.
    pub requires: Option<Vec<String>>,
    /// Whether the several have a task in common; `None` where the reply does not say.
    pub coherent: Option<bool>,
}

/// A reply that summarises: JSON with `instruction`, `requires` and `coherent`, lines with these
/// labels, or whatever [`read`] takes, of which the first counts.
///
/// # Errors
/// As [`read`].
pub fn read_summary(reply: &str) -> Result<(Form, Summary), Unread> {
    if let Some(found) = labelled(reply) {
        return Ok((Form::List, found));
    }
    let (form, found) = read(reply)?;
    let instruction = found.into_iter().next().ok_or(Unread::Json)?;
    let fields = json_start(reply).and_then(|start| {
        serde_json::Deserializer::from_str(&reply[start..]).into_iter::<Value>().next()?.ok()
    });
    let field = |name: &str| fields.as_ref().and_then(|fields| fields.get(name));
    let requires = field("requires").and_then(|value| match value {
        Value::String(text) => requirements(text.split(',')),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            requirements(texts?.into_iter())
        }
        _ => None,
    });
    let coherent = field("coherent").and_then(Value::as_bool);
    Ok((form, Summary { instruction, requires, coherent }))
}

/// `Instruction: ...`, `Requires: a, b` and `Coherent: no`, a line each; the first must be there
/// with one of the others.
fn labelled(reply: &str) -> Option<Summary> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?im)^[\s*_>-]*(instruction|requires|coherent)[*_]*\s*:[*_]*[ \t]*(.*)$")
            .expect("a constant the tests compile")
    });
    let lines: Vec<(String, &str)> = LINE
        .captures_iter(reply)
        .filter_map(|found| Some((found.get(1)?.as_str().to_lowercase(), found.get(2)?.as_str())))
        .collect();
    let line = |name: &str| lines.iter().find(|(label, _)| label == name).map(|(_, text)| *text);
    let requires = line("requires").and_then(|text| requirements(text.split(',')));
    let coherent = line("coherent").map(|text| !clean(text).to_lowercase().starts_with(['n', 'f']));
    let instruction = clean(line("instruction")?);
    let whole = lines.len() > 1 && instruction.chars().any(char::is_alphabetic);
    whole.then_some(Summary { instruction, requires, coherent })
}

/// The phrases without articles and marks; words for "nothing" are none.
fn requirements<'a>(phrases: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    const NONE: [&str; 7] = ["", "none", "nothing", "n/a", "any", "anything", "any image"];
    let bare = |phrase: &str| {
        let phrase =
            clean(phrase.trim_matches(['[', ']', '(', ')', '.', '\'', ' '])).to_lowercase();
        let article = ["a ", "an ", "the "].iter().find_map(|one| phrase.strip_prefix(one));
        article.unwrap_or(&phrase).to_owned()
    };
    let mut found: Vec<String> = Vec::new();
    for phrase in phrases.map(bare).filter(|phrase| !NONE.contains(&phrase.as_str())) {
        if !found.contains(&phrase) {
            found.push(phrase);
        }
    }
    check_requires(&found).ok()
}

/// The instructions of a reply, in its order, none empty.
///
/// # Errors
/// Nothing in it looks like one.
pub fn read(reply: &str) -> Result<(Form, Vec<String>), Unread> {
    let text = reply.trim().trim_start_matches('\u{feff}');
    if !text.chars().any(char::is_alphabetic) {
        return Err(Unread::Empty);
    }
    if let Some(start) = json_start(text) {
        return read_json(&text[start..]);
    }
    let listed: Vec<String> = text.lines().filter_map(list_item).collect();
    if !listed.is_empty() {
        return kept(Form::List, listed).ok_or(Unread::Prose);
    }
    match text.lines().count() {
        1 if sentences(text) <= 2 => kept(Form::Line, vec![clean(text)]).ok_or(Unread::Prose),
        _ => Err(Unread::Prose),
    }
}

/// Where JSON begins: a brace or bracket that is followed by a quote, another one or its end.
fn json_start(text: &str) -> Option<usize> {
    static START: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"[{\[]\s*["{\[}\]]"#).expect("a constant the tests compile"));
    START.find(text).map(|found| found.start())
}

fn read_json(text: &str) -> Result<(Form, Vec<String>), Unread> {
    let first = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
    match first {
        Some(Ok(value)) => {
            let mut found = Vec::new();
            collect(&value, &mut found);
            kept(Form::Json, found).ok_or(Unread::Json)
        }
        _ => kept(Form::HalfJson, complete_strings(text)).ok_or(Unread::Json),
    }
}

/// Every string that can be meant as an instruction: in lists, and under the names used for one.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(clean(text)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            let named =
                ["instructions", "instruction", "text"].iter().filter_map(|name| fields.get(*name));
            named.for_each(|value| collect(value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The complete string values of JSON that breaks off; names (`"text":`) are none.
fn complete_strings(text: &str) -> Vec<String> {
    static STRING: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#""(?:[^"\\]|\\.)*"(\s*:)?"#).expect("a constant the tests compile")
    });
    let values = STRING.captures_iter(text).filter(|found| found.get(1).is_none());
    let text =
        values.filter_map(|found| serde_json::from_str::<String>(found.get(0)?.as_str()).ok());
    text.map(|text| clean(&text)).collect()
}

fn list_item(line: &str) -> Option<String> {
    static ITEM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^\s*(?:\(?\d{1,2}[.):]|[-*•])\s+(\S.*)$")
            .expect("a constant the tests compile")
    });
    ITEM.captures(line).and_then(|found| found.get(1)).map(|item| clean(item.as_str()))
}

fn sentences(text: &str) -> usize {
    text.split(['.', '!', '?']).filter(|part| part.chars().any(char::is_alphabetic)).count()
}

/// Without the quotes, marks and numbers around it, white space as single spaces.
fn clean(text: &str) -> String {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^(?:(?:instruction|task)\s*)?(?:\d{1,2}\s*[.):]|[-*•]|instruction\s*:)\s*")
            .expect("a constant the tests compile")
    });
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let bare = text.trim_matches(['"', '“', '”', '*', '_', '`', ' ']);
    NUMBER.replace(bare, "").trim_matches(['"', '*', ' ']).to_owned()
}

/// `None` when nothing is left.
fn kept(form: Form, mut found: Vec<String>) -> Option<(Form, Vec<String>)> {
    found.retain(|text| text.chars().any(char::is_alphabetic));
    found.truncate(MOST);
    (!found.is_empty()).then_some((form, found))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instructions(reply: &str) -> (&'static str, Vec<String>) {
        let (form, found) = read(reply).unwrap_or_else(|code| panic!("{reply:?}: {code:?}"));
        (form.name(), found)
    }

    #[test]
    fn replies_in_many_forms_are_read() {
        let two = ["Write a poem.", "Plan a trip."];
        for (form, reply) in [
            ("json", r#"{"instructions": ["Write a poem.", "Plan a trip."]}"#),
            ("json", "```json\n{\"instructions\": [\"Write a poem.\", \"Plan a trip.\"]}\n```"),
            (
                "json",
                r#"Sure! [{"instruction": "Write a poem."}, {"text": "Plan a trip."}] Enjoy."#,
            ),
            ("half_json", r#"{"instructions": ["Write a poem.", "Plan a trip.", "Draw a"#),
            ("half_json", r#"{"instructions": ["Write a poem.", "Plan a trip." oops"#),
            ("list", "Here you are:\n1. Write a poem.\n2) **Plan a trip.**\n"),
            ("list", "- \"Write a poem.\"\n• Plan a trip."),
        ] {
            assert_eq!(instructions(reply), (form, two.map(str::to_owned).to_vec()), "{reply}");
        }
        assert_eq!(
            instructions("Instruction: Write a poem."),
            ("line", vec!["Write a poem.".into()])
        );
    }

    #[test]
    fn what_gives_nothing_has_its_code() {
        for (reply, code) in [
            ("", "reply_empty"),
            (" \n\u{feff}...", "reply_empty"),
            ("{\"instructions\": [\"Write a po", "reply_bad_json"),
            ("{\"instructions\": []}", "reply_bad_json"),
            ("{\"answer\": \"Write a poem.\"}", "reply_bad_json"),
            ("The cup is red. It stands on a saucer. Steam rises.", "reply_prose"),
            ("The cup is red\nand it is warm.", "reply_prose"),
        ] {
            assert_eq!(read(reply).expect_err(reply).code(), code, "{reply}");
        }
    }

    #[test]
    fn summaries_are_read_with_what_they_require() {
        let text = "Invent a voyage for the boat in the image.";
        let of = |requires: Option<&[&str]>, coherent| Summary {
            instruction: text.into(),
            requires: requires.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
            coherent,
        };
        let boat: Option<&[&str]> = Some(&["boat"]);
        for (reply, wanted) in [
            (
                format!(r#"{{"coherent": true, "instruction": "{text}", "requires": ["boat"]}}"#),
                of(boat, Some(true)),
            ),
            (
                format!("```json\n{{\"instruction\": \"{text}\", \"requires\": []}}\n```"),
                of(Some(&[]), None),
            ),
            (
                format!(r#"{{"instruction": "{text}", "requires": "A boat, several people"}}"#),
                of(Some(&["boat", "several people"]), None),
            ),
            (format!(r#"{{"instruction": "{text}", "requires": ["none"]}}"#), of(Some(&[]), None)),
            (format!(r#"{{"instruction": "{text}", "requires": [3]}}"#), of(None, None)),
            (format!(r#"{{"instruction": "{text}", "requires": ["boat"#), of(None, None)),
            (format!(r#"{{"instruction": "{text}"}}"#), of(None, None)),
            (
                format!("**Instruction:** {text}\n**Requires:** the boat\nCoherent: no"),
                of(boat, Some(false)),
            ),
            (format!("Instruction: {text}\nRequires: none"), of(Some(&[]), None)),
            (format!("Instruction: {text}"), of(None, None)),
            (text.to_owned(), of(None, None)),
        ] {
            let read = read_summary(&reply).map(|(_, summary)| summary);
            assert_eq!(read, Ok(wanted), "{reply}");
        }
        assert_eq!(read_summary("..."), Err(Unread::Empty));
        assert_eq!(read_summary(r#"{"requires": ["boat"]}"#), Err(Unread::Json));
    }

    proptest! {
        #[test]
        fn no_summary_panics(reply in r#"[\[\]{}":,\\a-z\n é*-]{0,40}(instruction|Requires: |"requires":)?[\[\]{}":,a-z]{0,20}"#) {
            if let Ok((_, summary)) = read_summary(&reply) {
                prop_assert!(summary.instruction.chars().any(char::is_alphabetic));
            }
        }

        #[test]
        fn no_reply_panics_and_no_instruction_is_empty(reply in r#"[\[\]{}":,\\a-z0-9.\n é*-]{0,80}"#) {
            if let Ok((_, found)) = read(&reply) {
                prop_assert!(found.iter().all(|text| text.chars().any(char::is_alphabetic)));
                prop_assert!(!found.is_empty() && found.len() <= MOST);
            }
        }

        #[test]
        fn whatever_is_asked_for_comes_back(texts in prop::collection::vec("[A-Z][a-z]{2,8} [a-z ,']{4,30}[a-z]\\.", 1..5)) {
            let reply = serde_json::json!({"instructions": texts}).to_string();
            let squeezed: Vec<String> = texts.iter().map(|t| t.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            prop_assert_eq!(read(&reply), Ok((Form::Json, squeezed)));
        }
    }
}
