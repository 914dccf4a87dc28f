//! LLaVA's conversation JSON: writing it, and checking any such file row by row.

mod check;
mod report;
mod row;

use std::path::Path;

use serde::Serialize;

use super::guard::Guard;
use super::staged::StagedFile;
use super::text::IMAGE_TOKEN;
use super::{Sample, Sink, SinkError, SinkSummary};
use crate::base::json;

pub use check::check;
pub use report::{LISTED_PROBLEMS, LlavaReport, RowProblem};
pub use row::DecodeCheck;

/// A JSON array of conversations of two turns, one row a line, exactly as LLaVA's trainers read it:
/// `<image>` and a line feed open the human turn and stand nowhere else.
pub struct LlavaSink {
    file: StagedFile,
    guard: Guard,
    rows: u64,
    line: Vec<u8>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    image: &'a str,
    conversations: [Turn<'a>; 2],
}

#[derive(Serialize)]
struct Turn<'a> {
    from: &'static str,
    value: &'a str,
}

impl LlavaSink {
    /// Starts writing the file that will be at `path`.
    ///
    /// # Errors
    /// The temporary file beside it cannot be made.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let file = StagedFile::create(path)?;
        Ok(Self { file, guard: Guard::default(), rows: 0, line: Vec::new() })
    }
}

impl Sink for LlavaSink {
    fn name(&self) -> &'static str {
        "llava"
    }

    fn push(&mut self, sample: &Sample) -> Result<(), SinkError> {
        self.guard.admit(sample)?;
        let question = format!("{IMAGE_TOKEN}\n{}", sample.instruction);
        let human = Turn { from: "human", value: &question };
        let gpt = Turn { from: "gpt", value: &sample.answer };
        let row = Row { id: &sample.id, image: &sample.image, conversations: [human, gpt] };
        self.line.clear();
        self.line.extend_from_slice(if self.rows == 0 { b"[\n" } else { b",\n" });
        json::append(&mut self.line, &row).map_err(|error| SinkError::Encode {
            path: self.file.path().to_owned(),
            detail: error.to_string(),
        })?;
        self.file.put(&self.line)?;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<SinkSummary, SinkError> {
        self.file.put(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })?;
        self.file.commit(self.rows)
    }
}

#[cfg(test)]
mod tests;
