use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::guard::fingerprint;
use super::super::text::{IMAGE_TOKEN, find_garbage};
use super::report::{LlavaReport, RowProblem};
use crate::base::tokens;
use crate::llm::reasoning;

/// Decodes an image file, or says why it cannot.
pub type DecodeCheck<'a> = dyn Fn(&Path) -> Result<(), String> + 'a;

/// A problem's code and message.
type Problem = (&'static str, String);

pub(super) struct RowChecker<'a> {
    image_root: Option<&'a Path>,
    decode: Option<&'a DecodeCheck<'a>>,
    /// The first row of each id, by fingerprint.
    ids: HashMap<u128, u64>,
    /// The last image looked at: rows of one image follow each other.
    last_image: Option<(PathBuf, Result<(), Problem>)>,
}

impl<'a> RowChecker<'a> {
    pub fn new(image_root: Option<&'a Path>, decode: Option<&'a DecodeCheck<'a>>) -> Self {
        Self { image_root, decode, ids: HashMap::new(), last_image: None }
    }

    /// Checks row number `row` (from 1) and adds every problem to the report.
    pub fn check(&mut self, row: u64, value: &Value, report: &mut LlavaReport) {
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        let checks = [self.id(row, id), self.image(value), conversations(value)];
        for (code, message) in checks.into_iter().filter_map(Result::err) {
            report.add(RowProblem { row, id: id.to_owned(), code: code.to_owned(), message });
        }
    }

    fn id(&mut self, row: u64, id: &str) -> Result<(), Problem> {
        if id.trim().is_empty() {
            return Err(("missing_id", "`id` is not a string, or empty".into()));
        }
        let first = *self.ids.entry(fingerprint(id)).or_insert(row);
        if first == row {
            Ok(())
        } else {
            Err(("duplicate_id", format!("row {first} has this id")))
        }
    }

    fn image(&mut self, value: &Value) -> Result<(), Problem> {
        let image = value.get("image").and_then(Value::as_str).unwrap_or_default();
        if image.trim().is_empty() {
            return Err(("missing_image", "`image` is not a path, or empty".into()));
        }
        let path = self.image_root.map_or_else(|| image.into(), |root| root.join(image));
        match &self.last_image {
            Some((last, outcome)) if *last == path => outcome.clone(),
            _ => {
                let outcome = self.image_file(&path);
                self.last_image = Some((path, outcome.clone()));
                outcome
            }
        }
    }

    fn image_file(&self, path: &Path) -> Result<(), Problem> {
        if !path.is_file() {
            return Err(("image_not_found", format!("no file {}", path.display())));
        }
        self.decode.map_or(Ok(()), |decode| {
            decode(path).map_err(|e| ("image_undecodable", format!("{}: {e}", path.display())))
        })
    }
}

fn conversations(row: &Value) -> Result<(), Problem> {
    let turns = row.get("conversations").and_then(Value::as_array);
    let turns = turns.map(Vec::as_slice).unwrap_or_default();
    if turns.is_empty() {
        return Err(("missing_conversations", "`conversations` is not a list, or empty".into()));
    }
    for (index, turn) in turns.iter().enumerate() {
        check_turn(index, turn)?;
    }
    if !turns.len().is_multiple_of(2) {
        return Err(("turn_order", "the last turn is not gpt's".into()));
    }
    Ok(())
}

fn check_turn(index: usize, turn: &Value) -> Result<(), Problem> {
    let number = index + 1;
    let expected = if index.is_multiple_of(2) { "human" } else { "gpt" };
    if turn.get("from").and_then(Value::as_str) != Some(expected) {
        return Err(("turn_order", format!("turn {number} is not from {expected}")));
    }
    let value = turn.get("value").and_then(Value::as_str).unwrap_or_default();
    let text = if index == 0 { opened(value)? } else { value };
    if text.trim().is_empty() {
        return Err(("empty_value", format!("turn {number} is empty")));
    }
    if text.contains(IMAGE_TOKEN) {
        let message = format!("turn {number} holds `<image>` beyond the one that opens the row");
        return Err(("image_token", message));
    }
    if let Some(token) = tokens::placeholder(text) {
        let message = format!("turn {number} holds {token:?}, which trainers take for a medium");
        return Err(("placeholder_token", message));
    }
    if expected == "gpt" && reasoning::contains(text) {
        return Err(("reasoning", format!("turn {number} holds a model's reasoning or its marks")));
    }
    match find_garbage(text) {
        Some(found) => {
            let message = format!("turn {number} holds {}", found.escape_unicode());
            Err(("control_character", message))
        }
        None => Ok(()),
    }
}

/// The first human turn behind its opening `<image>` and line feed.
fn opened(value: &str) -> Result<&str, Problem> {
    let rest = value.strip_prefix(IMAGE_TOKEN).and_then(|rest| rest.strip_prefix('\n'));
    rest.ok_or_else(|| {
        ("image_token", "turn 1 does not open with `<image>` and a line feed".into())
    })
}
