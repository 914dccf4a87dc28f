//! One question to a language model for all candidates of a photo: which of them apply.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asked, CheckKind, Finding};
use crate::base::check::{Checks, Settings};
use crate::base::hash;
use crate::llm::template::render;
use crate::llm::{ChatRequest, ImageAttachment, Message, SamplingSettings, See, captions};

const SYSTEM: &str = include_str!("../../../prompts/check.system.txt");
const USER: &str = include_str!("../../../prompts/check.user.txt");
const USER_IMAGE: &str = include_str!("../../../prompts/check.image.user.txt");
const USER_BOTH: &str = include_str!("../../../prompts/check.both.user.txt");

/// The most candidates of one photo that are asked about.
pub const MOST_ASKED: usize = 32;

/// Tokens of a reply, and as many more for each candidate.
const TOKENS: (u32, u32) = (64, 24);

/// How the language model is asked which instructions apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckConfig {
    /// What it gets to know of a photo.
    pub see: See,
    /// Askings per photo until a reply can be read, 1 to 10.
    pub attempts: u32,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self { see: See::Description, attempts: 2 }
    }
}

impl Settings for CheckConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("attempts", self.attempts, 1, 10);
    }
}

/// Why a reply tells nothing of some instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Neither JSON nor lines with numbers.
    #[error("the reply has no verdicts")]
    NoVerdicts,
    /// Instructions without a verdict or with two that differ, by their numbers from 1.
    #[error("the reply has no clear verdict for the instructions {0:?}")]
    Missing(Vec<usize>),
}

/// How the reply about `count` instructions is sampled: the first `attempt` takes the likeliest words;
/// later ones sample, since the same reply again would not help.
pub fn sampling(count: usize, attempt: u32) -> SamplingSettings {
    let usual = SamplingSettings::default();
    let count = u32::try_from(count.min(MOST_ASKED)).unwrap_or(u32::MAX);
    let max_tokens = TOKENS.0 + TOKENS.1 * count;
    let temperature = if attempt <= 1 { 0.0 } else { usual.temperature };
    SamplingSettings { max_tokens, temperature, ..usual }
}

/// Key over the texts of the question.
pub fn prompt_hash(see: See) -> String {
    hash::key(&["check prompts", SYSTEM, user(see)])
}

/// The texts of the question by their files' names.
pub fn texts(see: See) -> [(&'static str, &'static str); 2] {
    let name = match see {
        See::Description => "check.user.txt",
        See::Image => "check.image.user.txt",
        See::Both => "check.both.user.txt",
    };
    [("check.system.txt", SYSTEM), (name, user(see))]
}

fn user(see: See) -> &'static str {
    match see {
        See::Description => USER,
        See::Image => USER_IMAGE,
        See::Both => USER_BOTH,
    }
}

/// The question which instructions apply to a photo that people describe so, that is shown, or both,
/// its answer bound to a JSON schema.
pub fn question(
    see: See,
    descriptions: &[String],
    instructions: &[Asked<'_>],
    photo: Option<ImageAttachment>,
    settings: SamplingSettings,
    seed: u64,
) -> ChatRequest {
    // Nobody says anything of a photo that is shown without descriptions.
    let see = if descriptions.is_empty() && see.shows_photo() { See::Image } else { see };
    let said = captions::of(descriptions, "");
    let asked = instructions.iter().zip(1..);
    let asked = asked.map(|(one, number)| format!("{number}. {}", one.text.trim()));
    let asked = asked.collect::<Vec<_>>().join("\n");
    let user = render(user(see).trim(), &[("descriptions", &said), ("instructions", &asked)]);
    let user = Message { images: photo.into_iter().collect(), ..Message::user(user) };
    let messages = vec![Message::system(SYSTEM.trim()), user];
    ChatRequest::new(messages, settings, seed).with_json_schema(schema(instructions.len()))
}

/// A verdict under each number. A small model that must write the numbers of a list itself writes
/// the same one again and again.
fn schema(count: usize) -> Value {
    let numbers = (1..=count).map(|number| number.to_string());
    let verdicts = numbers.clone().map(|number| (number, json!({"type": "boolean"})));
    json!({
        "type": "object",
        "properties": Value::Object(verdicts.collect()),
        "required": numbers.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

/// The verdicts of a reply on `count` instructions, in their order. Takes the schema's form, a
/// list or an object of yes and no, the list of the numbers that apply (`{"applies": [1, 4]}`),
/// and lines such as `3: no`, also inside other text.
///
/// # Errors
/// An instruction has no verdict, or two that differ.
pub fn read(reply: &str, count: usize) -> Result<Vec<bool>, Unread> {
    let found = json(reply).and_then(|value| of_value(&value, count));
    let found = found.unwrap_or_else(|| of_lines(reply));
    if found.keys().all(|number| !(1..=count).contains(number)) {
        return Err(Unread::NoVerdicts);
    }
    let verdict = |number: usize| found.get(&number).copied().flatten();
    let missing: Vec<usize> = (1..=count).filter(|&number| verdict(number).is_none()).collect();
    if !missing.is_empty() {
        return Err(Unread::Missing(missing));
    }
    Ok((1..=count).filter_map(verdict).collect())
}

/// A verdict as the finding of one instruction.
pub fn finding(asked: &Asked<'_>, applies: bool) -> Finding {
    let missing = match (applies, asked.requires) {
        (true, _) => Vec::new(),
        (false, Some(requires)) if !requires.is_empty() => requires.to_vec(),
        (false, _) => vec![asked.text.to_owned()],
    };
    Finding { kind: CheckKind::Llm, score: Some(if applies { 1.0 } else { 0.0 }), missing }
}

/// By number; `None` where two verdicts differ.
type Verdicts = BTreeMap<usize, Option<bool>>;

fn add(verdicts: &mut Verdicts, number: usize, applies: bool) {
    let known = verdicts.entry(number).or_insert(Some(applies));
    if *known != Some(applies) {
        *known = None;
    }
}

/// The first JSON list or object in a text. Numbers in brackets inside prose are no list.
fn json(text: &str) -> Option<Value> {
    let starts = text.match_indices(['{', '[']);
    starts.take(20).find_map(|(start, _)| {
        let values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        values.into_iter().next()?.ok().filter(|value| match value {
            Value::Object(fields) => !fields.is_empty(),
            Value::Array(items) => {
                let alone = text[..start].trim().is_empty() && !items.is_empty();
                alone || items.iter().any(|one| !one.is_number())
            }
            _ => false,
        })
    })
}

fn of_value(value: &Value, count: usize) -> Option<Verdicts> {
    let mut verdicts = Verdicts::new();
    match value {
        Value::Array(items) => {
            let numbers: Option<Vec<usize>> = items.iter().map(number).collect();
            let words: Option<Vec<bool>> = items.iter().map(yes).collect();
            match (numbers, words) {
                (_, Some(words)) if words.len() == count => {
                    words.iter().zip(1..).for_each(|(&yes, at)| add(&mut verdicts, at, yes));
                }
                (Some(numbers), _) => {
                    (1..=count).for_each(|at| add(&mut verdicts, at, numbers.contains(&at)));
                }
                _ => {
                    for (item, place) in items.iter().zip(1..) {
                        let fields = item.as_object()?;
                        let named = ["number", "id", "index", "instruction"];
                        let at = named.iter().find_map(|name| number(fields.get(*name)?));
                        let named = ["applies", "applicable", "verdict", "answer", "fits"];
                        let said = named.iter().find_map(|name| yes(fields.get(*name)?));
                        if let Some(said) = said {
                            add(&mut verdicts, at.unwrap_or(place), said);
                        }
                    }
                }
            }
        }
        Value::Object(fields) => {
            let numbered: Option<Vec<(usize, bool)>> = fields
                .iter()
                .map(|(name, value)| Some((name.trim().parse().ok()?, yes(value)?)))
                .collect();
            match numbered {
                Some(numbered) => {
                    numbered.into_iter().for_each(|(at, said)| add(&mut verdicts, at, said));
                }
                None => {
                    let named = ["verdicts", "applies", "applicable", "results", "instructions"];
                    let mut inner = named.iter().filter_map(|name| fields.get(*name));
                    return inner.find_map(|value| match value {
                        // "None of them applies" is an empty list of numbers.
                        Value::Array(items) if items.is_empty() => {
                            Some((1..=count).map(|at| (at, Some(false))).collect())
                        }
                        Value::Array(_) | Value::Object(_) => of_value(value, count),
                        _ => None,
                    });
                }
            }
        }
        _ => return None,
    }
    Some(verdicts)
}

fn number(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.trim().trim_matches(['#', '.', ')']).parse().ok(),
        _ => None,
    }
}

fn yes(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(said) => Some(*said),
        Value::String(text) => word(text),
        _ => None,
    }
}

fn word(text: &str) -> Option<bool> {
    let word = text.trim().trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    match word.as_str() {
        "yes" | "true" | "applies" | "applicable" | "fits" | "y" => Some(true),
        "no" | "false" | "not" | "not applicable" | "does not apply" | "n" => Some(false),
        _ => None,
    }
}

fn of_lines(text: &str) -> Verdicts {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?im)^[\s*#>-]*(?:instruction\s+)?(\d{1,4})\s*[.):=-]+\W*(yes|no|true|false|applies|applicable|does not apply|not applicable)\b";
        Regex::new(pattern).expect("a pattern")
    });
    let mut verdicts = Verdicts::new();
    for found in LINE.captures_iter(text) {
        if let (Ok(number), Some(said)) = (found[1].parse(), word(&found[2])) {
            add(&mut verdicts, number, said);
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_in_the_forms_that_models_write() {
        let (three, list) = (Ok(vec![true, false, true]), r#"{"number": 2, "applies": false}"#);
        for reply in [
            &format!(
                r#"{{"verdicts": [{{"number": 1, "applies": true}}, {list}, {{"number": 3, "applies": true}}]}}"#
            ) as &str,
            "```json\n{\"verdicts\": [true, false, true]}\n```",
            r#"Here you are: {"1": "yes", "2": "no", "3": "Yes."}"#,
            r#"{"applies": [1, 3]}"#,
            "[1, 3]",
            r#"Looking at [2] first: {"1": true, "2": false, "3": true}"#,
            r#"["yes", "no", "yes"]"#,
            "1. yes\n2. no, there is no boat\n3: **Yes**",
            "Instruction 1: applies\nInstruction 2: does not apply\nInstruction 3: applies",
        ] {
            assert_eq!(read(reply, 3), three, "{reply}");
        }
        assert_eq!(read(r#"{"applies": []}"#, 2), Ok(vec![false, false]));
    }

    #[test]
    fn what_is_not_said_is_not_guessed() {
        for reply in ["", "I like this photo.", "5", "[", "{\"verdicts\": 5}", "{}"] {
            assert_eq!(read(reply, 2), Err(Unread::NoVerdicts), "{reply}");
        }
        assert_eq!(read("1: yes", 2), Err(Unread::Missing(vec![2])));
        assert_eq!(read("1: yes\n1: no\n2: no", 2), Err(Unread::Missing(vec![1])));
        let cut = r#"{"verdicts": [{"number": 1, "applies": true}, {"num"#;
        assert!(read(cut, 2).is_err());
    }

    #[test]
    fn the_question_holds_all_that_is_asked() {
        let descriptions = ["A dog.".to_owned(), "A {collie}.".to_owned()];
        let asked = [Asked { text: "Write a poem.", requires: None }; 2];
        let ask = |see| question(see, &descriptions, &asked, None, sampling(2, 1), 1);
        let request = ask(See::Description);
        let seen = &ask(See::Image).messages[1].text;
        assert!(!seen.contains("collie") && seen.contains("1. Write a poem."), "{seen}");
        assert!(ask(See::Both).messages[1].text.contains("- A {collie}."));
        let text = &request.messages[1].text;
        for part in ["- A dog.\n- A {collie}.", "1. Write a poem.\n2. Write a poem."] {
            assert!(text.contains(part), "{text}");
        }
        assert!(request.json_schema.is_some());
    }
}
