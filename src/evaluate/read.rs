//! JSON lines, or one JSON array, whatever the file's ending.

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::EvaluationError;
use crate::base::hash;
use crate::sandbox::{ConfineError, FileAccess};

/// The largest file read: it is held in memory whole.
const MAX_BYTES: u64 = 1 << 30;

/// A row and where it stands, for messages.
pub(super) type Row<T> = (String, T);

/// The rows of a file.
#[derive(Debug)]
pub(super) struct Rows<T> {
    pub rows: Vec<Row<T>>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Reads every row of `path`, where `access` allows.
///
/// # Errors
/// The file cannot be read, holds nothing, or a row is not what is wanted: with its line or number.
pub(super) fn rows<T: DeserializeOwned>(
    path: &Path,
    access: &FileAccess,
    what: &'static str,
) -> Result<Rows<T>, EvaluationError> {
    let bytes = bytes(path, access)?;
    let sha256 = hash::sha256_hex(&bytes);
    let refuse = |place: String, message: String| EvaluationError::Read {
        path: path.to_owned(),
        place,
        message,
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        refuse(format!("byte {}", error.valid_up_to()), "this is not UTF-8 text".into())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = if text.trim_start().starts_with('[') { array(text) } else { lines(text) };
    let rows = rows.map_err(|(place, message)| refuse(place, message))?;
    if rows.is_empty() {
        return Err(EvaluationError::Empty { path: path.to_owned(), what });
    }
    Ok(Rows { rows, sha256 })
}

fn bytes(path: &Path, access: &FileAccess) -> Result<Vec<u8>, EvaluationError> {
    let file = access.open(path).map_err(|error| match error {
        ConfineError::Io(source) => EvaluationError::io(path)(source),
        other => EvaluationError::Confined(other),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(EvaluationError::io(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        let (path, place) = (path.to_owned(), format!("byte {MAX_BYTES}"));
        let message = format!("the file is longer than the {MAX_BYTES} bytes that are read");
        return Err(EvaluationError::Read { path, place, message });
    }
    Ok(bytes)
}

type Refusal = (String, String);

fn array<T: DeserializeOwned>(text: &str) -> Result<Vec<Row<T>>, Refusal> {
    let values: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|error| (format!("line {}", error.line()), error.to_string()))?;
    let row = |(index, value)| {
        let place = format!("row {}", index + 1);
        match serde_json::from_value(value) {
            Ok(row) => Ok((place, row)),
            Err(error) => Err((place, error.to_string())),
        }
    };
    values.into_iter().enumerate().map(row).collect()
}

fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<Row<T>>, Refusal> {
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(index, line)| {
        let place = format!("line {}", index + 1);
        match serde_json::from_str(line) {
            Ok(row) => Ok((place, row)),
            Err(error) => Err((place, error.to_string())),
        }
    };
    filled.map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct One {
        n: u32,
    }

    fn read(content: &[u8]) -> Result<Vec<Row<One>>, String> {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("rows.anything");
        fs_err::write(&path, content).expect("write");
        let read = rows(&path, &FileAccess::Anywhere, "rows");
        read.map(|read| read.rows).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_arrays_give_the_same_rows() {
        let lines = read(b"\xef\xbb\xbf{\"n\": 1}\r\n\n{\"n\": 2, \"more\": 0}").expect("lines");
        assert_eq!(lines, [("line 1".into(), One { n: 1 }), ("line 3".into(), One { n: 2 })]);
        let array = read(b" \n[{\"n\": 1},\n {\"n\": 2}]\n").expect("an array");
        assert_eq!(array, [("row 1".into(), One { n: 1 }), ("row 2".into(), One { n: 2 })]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (content, wanted) in [
            (&b"{\"n\": 1}\n{\"n\": }"[..], "rows.anything, line 2: expected value"),
            (b"{\"m\": 1}", "line 1: missing field `n`"),
            (b"[{\"n\": 1}, {\"n\": \"x\"}]", "row 2: invalid type: string"),
            (b"[{\"n\": 1},\n", "line 2: EOF while parsing"),
            (b"{\"n\": 1}\n\xff", "byte 9: this is not UTF-8"),
            (b"  \n", "holds no rows"),
            (b"[]", "holds no rows"),
        ] {
            let error = read(content).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
