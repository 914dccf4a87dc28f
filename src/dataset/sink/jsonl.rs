use std::path::Path;

use super::guard::Guard;
use super::staged::StagedFile;
use super::{Sample, Sink, SinkError, SinkSummary};
use crate::base::json;

/// Every field of every sample, one JSON object per line.
pub struct JsonlSink {
    file: StagedFile,
    guard: Guard,
    rows: u64,
    line: Vec<u8>,
}

impl JsonlSink {
    /// Starts writing the file that will be at `path`.
    ///
    /// # Errors
    /// The temporary file beside it cannot be made.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let file = StagedFile::create(path)?;
        Ok(Self { file, guard: Guard::default(), rows: 0, line: Vec::new() })
    }
}

impl Sink for JsonlSink {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn push(&mut self, sample: &Sample) -> Result<(), SinkError> {
        self.guard.admit(sample)?;
        self.line.clear();
        json::append(&mut self.line, sample).map_err(|error| SinkError::Encode {
            path: self.file.path().to_owned(),
            detail: error.to_string(),
        })?;
        self.line.push(b'\n');
        self.file.put(&self.line)?;
        self.rows += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SinkSummary, SinkError> {
        self.file.commit(self.rows)
    }
}
