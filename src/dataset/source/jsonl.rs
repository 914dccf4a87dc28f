//! Rows of JSON.

use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

use super::encoding::{self, not_utf8};
use super::fields::{FieldNames, Fields};
use super::manifest::{File, Layout, MAX_LINE_BYTES, ManifestSource, Place, Take};
use super::refusal::Refusal;
use super::rows::{Piece, Row, Rows};
use super::{Opened, Reader, SourceError, SourceKind};
use crate::sandbox::FileAccess;

/// How much of a `.json` is looked at to tell what it is.
const SNIFFED: u64 = 1 << 16;

pub(super) static LAYOUT: Layout = Layout {
    kind: "jsonl",
    name: "JSONL manifest",
    expected: r#"JSON objects: {"id": "a1", "image": "a.jpg", "caption": "..."}, one per line or in one array"#,
    endings: &["jsonl", "ndjson", "json"],
    rows: read,
};

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Jsonl,
    name: "jsonl",
    what: "a .jsonl manifest",
    opened: Opened::File,
    endings: &["jsonl", "ndjson"],
    open: |path, options| ManifestSource::open(path, options, &LAYOUT),
};

fn read(file: &File<'_>, names: &FieldNames, take: &mut Take<'_>) -> Result<(), SourceError> {
    let text = encoding::open(file.path, file.access)?;
    let mut rows = Rows::new(text, MAX_LINE_BYTES);
    while let Some(row) = rows.next_row()? {
        let column = if row.leads { None } else { NonZeroU32::new(row.column as u32) };
        let place = Place::at(row.line, column);
        if take(place, fields(file, &row, names)).is_break() {
            break;
        }
    }
    Ok(())
}

/// What a row says. A refusal names line and column where they are not those of the row's start.
fn fields<'n>(file: &File<'_>, row: &Row, names: &'n FieldNames) -> Result<Fields<'n>, Refusal> {
    let bytes = match &row.piece {
        // What is not closed ends where it was written last, not at the row behind it.
        Piece::Object(bytes) | Piece::Other(bytes) => bytes.trim_ascii_end(),
        Piece::TooLong { bytes } => {
            let reason = format!("{bytes} bytes; the limit is {MAX_LINE_BYTES}");
            return Err(Refusal::new("line_too_long", reason));
        }
    };
    // Line and column in the file of a place in the row.
    let place = |line: usize, column: usize| {
        let before = if line == 1 { row.column - 1 } else { 0 };
        (row.line + line as u64 - 1, before + column)
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let last = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (line, column) = place(line, valid.len() - last + 1);
        let reason = not_utf8(column, bytes[valid.len()]);
        Refusal::new("invalid_utf8", reason).at(&format!("{}:{line}", file.name))
    })?;
    Fields::parse(text, names).map_err(|fault| {
        let (line, column) = place(fault.line, fault.column);
        let reason = format!("not valid JSON: {}", fault.detail);
        Refusal::new("invalid_json", reason).at(&format!("{}:{line}:{column}", file.name))
    })
}

/// Whether a `.json` holds rows, in an array or one behind the other, rather than one document.
pub(super) fn holds_rows(
    path: &Path,
    access: &FileAccess,
    names: &FieldNames,
) -> Result<bool, SourceError> {
    let mut head = Vec::new();
    encoding::open(path, access)?.take(SNIFFED).read_to_end(&mut head)?;
    match head.trim_ascii_start().first() {
        Some(b'[') => Ok(true),
        Some(b'{') => {
            let keys = outer_keys(&head);
            let is = |wanted: &str| keys.iter().any(|key| key == wanted);
            let caption = keys.iter().any(|key| names.is_caption(key));
            Ok(!is("annotations") && caption)
        }
        _ => Ok(false),
    }
}

/// The names of the fields of the first object in the start of a file.
fn outer_keys(head: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut depth, mut text, mut escaped) = (0_u32, None, false);
    let mut last = None;
    for (at, byte) in head.iter().enumerate() {
        match (text, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(start), b'"') => {
                last = Some(String::from_utf8_lossy(&head[start..at]).into_owned());
                text = None;
            }
            (Some(_), _) => {}
            (None, b'"') => text = Some(at + 1),
            (None, b':') if depth == 1 => keys.extend(last.take()),
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') if depth <= 1 => break,
            (None, b'}' | b']') => depth -= 1,
            (None, _) => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests;
