use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::super::SinkError;
use super::report::{LlavaReport, RowProblem};
use super::row::{DecodeCheck, RowChecker};

/// Rows that are held at a time, so that their images can be decoded side by side.
const WINDOW: usize = 256;

/// Checks a LLaVA file row by row: a JSON array of objects; ids there and unique; `image` the path
/// of a file that exists and, where `decode` is given, decodes; `<image>` and a line feed opening
/// the first human turn and nowhere else; turns that alternate human and gpt and end with gpt; no
/// empty value, no control character.
///
/// `image_root` is the folder that relative image paths start from. Holds [`WINDOW`] rows at a time
/// and about 50 bytes for each id. `decode` gets the images of these rows together, each once.
///
/// # Errors
/// The file cannot be read. What is wrong with its content is in the report.
pub fn check(
    path: &Path,
    image_root: Option<&Path>,
    decode: Option<&DecodeCheck<'_>>,
) -> Result<LlavaReport, SinkError> {
    let unreadable = |source| SinkError::Read { path: path.to_owned(), source };
    let file = fs_err::File::open(path).map_err(unreadable)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    // A folder opens, and only fails here.
    reader.fill_buf().map_err(unreadable)?;
    let mut rows =
        Rows { checker: RowChecker::new(image_root, decode), report: LlavaReport::default() };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let outcome = json.deserialize_seq(&mut rows).and_then(|()| json.end());
    let mut report = rows.report;
    match outcome {
        Ok(()) => Ok(report),
        Err(error) if error.classify() == Category::Io => Err(unreadable(error.into())),
        Err(error) => {
            report.add(RowProblem {
                row: report.rows + 1,
                id: String::new(),
                code: "invalid_json".to_owned(),
                message: error.to_string(),
            });
            Ok(report)
        }
    }
}

struct Rows<'a> {
    checker: RowChecker<'a>,
    report: LlavaReport,
}

impl<'de> Visitor<'de> for &mut Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        let mut window = Vec::with_capacity(WINDOW);
        loop {
            let end = match seq.next_element::<Value>() {
                Ok(Some(row)) => {
                    window.push(row);
                    None
                }
                Ok(None) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            };
            if end.is_some() || window.len() == WINDOW {
                self.checker.check(&window, &mut self.report);
                window.clear();
            }
            if let Some(end) = end {
                return end;
            }
        }
    }
}
