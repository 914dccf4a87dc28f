use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::text::{IMAGE_TOKEN, find_garbage};
use super::report::{LlavaReport, RowProblem};
use crate::base::hash::fingerprint;
use crate::base::tokens;
use crate::llm::reasoning;

/// Decodes image files, or says of each why it cannot: one result for each, in order.
pub type DecodeCheck<'a> = dyn Fn(&[PathBuf]) -> Vec<Result<(), String>> + 'a;

/// A problem's code and message.
type Problem = (&'static str, String);

pub(super) struct RowChecker<'a> {
    image_root: Option<&'a Path>,
    decode: Option<&'a DecodeCheck<'a>>,
    /// The first row of each id, by fingerprint.
    ids: HashMap<u128, u64>,
    /// What was found of the images of the rows that were checked last: rows of one image follow
    /// each other.
    images: HashMap<PathBuf, Result<(), Problem>>,
}

impl<'a> RowChecker<'a> {
    pub fn new(image_root: Option<&'a Path>, decode: Option<&'a DecodeCheck<'a>>) -> Self {
        Self { image_root, decode, ids: HashMap::new(), images: HashMap::new() }
    }

    /// Checks the next rows and adds every problem to the report.
    pub fn check(&mut self, rows: &[Value], report: &mut LlavaReport) {
        self.look(rows);
        for value in rows {
            report.rows += 1;
            let (row, id) = (report.rows, value["id"].as_str().unwrap_or_default());
            let checks = [self.id(row, id), self.image(value), conversations(value)];
            for (code, message) in checks.into_iter().filter_map(Result::err) {
                report.add(RowProblem { row, id: id.to_owned(), code: code.to_owned(), message });
            }
        }
    }

    fn id(&mut self, row: u64, id: &str) -> Result<(), Problem> {
        if id.trim().is_empty() {
            return Err(("missing_id", "`id` is not a string, or empty".into()));
        }
        let first = *self.ids.entry(fingerprint(id.as_bytes())).or_insert(row);
        if first == row {
            Ok(())
        } else {
            Err(("duplicate_id", format!("row {first} has this id")))
        }
    }

    fn image(&self, row: &Value) -> Result<(), Problem> {
        let Some(path) = self.path(row) else {
            return Err(("missing_image", "`image` is not a path, or empty".into()));
        };
        self.images.get(&path).cloned().unwrap_or_else(|| is_there(&path))
    }

    fn path(&self, row: &Value) -> Option<PathBuf> {
        let image = row["image"].as_str().filter(|image| !image.trim().is_empty())?;
        Some(self.image_root.map_or_else(|| image.into(), |root| root.join(image)))
    }

    /// Looks at the images of these rows, and forgets those of earlier ones.
    fn look(&mut self, rows: &[Value]) {
        let (mut found, mut undecoded) = (HashMap::new(), Vec::new());
        let paths: Vec<PathBuf> = rows.iter().filter_map(|row| self.path(row)).collect();
        for path in paths {
            if found.contains_key(&path) {
                continue;
            }
            let outcome = self.images.remove(&path).unwrap_or_else(|| {
                let there = is_there(&path);
                if there.is_ok() {
                    undecoded.push(path.clone());
                }
                there
            });
            found.insert(path, outcome);
        }
        if let Some(decode) = self.decode.filter(|_| !undecoded.is_empty()) {
            let outcomes = decode(&undecoded);
            for (path, outcome) in undecoded.into_iter().zip(outcomes) {
                let outcome =
                    outcome.map_err(|e| ("image_undecodable", format!("{}: {e}", path.display())));
                found.insert(path, outcome);
            }
        }
        self.images = found;
    }
}

fn is_there(path: &Path) -> Result<(), Problem> {
    match path.is_file() {
        true => Ok(()),
        false => Err(("image_not_found", format!("no file {}", path.display()))),
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
