//! Shards of WebDataset: tars in which a photo and its JSON follow each other under one key.

use std::path::Path;

use super::staged::StagedFile;
use super::{Record, SinkError, chat, rows::Rows};

/// Tars are made of blocks of so many bytes.
const BLOCK: usize = 512;

/// A tar (ustar) of `KEY.jpg` and `KEY.json`.
///
/// Every photo's member ends in `.jpg`, whatever its format: loaders want the same members under
/// every key, and decoders go by the bytes. Nothing of a record gets into a member's name.
pub(super) struct TarRows {
    file: StagedFile,
    /// What keys begin with: the shard's name.
    stem: String,
    rows: u64,
}

impl TarRows {
    pub fn create(path: &Path, stem: &str) -> Result<Self, SinkError> {
        Ok(Self { file: StagedFile::create(path)?, stem: stem.to_owned(), rows: 0 })
    }

    fn member(&mut self, ending: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let name = format!("{}-{:06}.{ending}", self.stem, self.rows);
        let header = header(&name, bytes.len() as u64);
        let header = header.ok_or_else(|| {
            let detail = format!("{} bytes are too many for a member of a tar", bytes.len());
            SinkError::encoding(self.file.path(), detail)
        })?;
        self.file.put(&header)?;
        self.file.put(bytes)?;
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.file.put(&[0; BLOCK][..rest])
    }
}

impl Rows for TarRows {
    fn push(&mut self, record: &Record<'_>, _: &str) -> Result<(), SinkError> {
        let mut line = Vec::new();
        chat::beside_photo(&mut line, record)
            .map_err(|error| SinkError::encoding(self.file.path(), error))?;
        self.member("jpg", &record.bytes())?;
        self.member("json", &line)?;
        self.rows += 1;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn finish(mut self: Box<Self>) -> Result<StagedFile, SinkError> {
        // Two empty blocks end a tar.
        self.file.put(&[0; 2 * BLOCK])?;
        Ok(self.file)
    }
}

/// The header of a plain file that anyone may read, with no time and no owner, so that equal
/// members give equal bytes. None where the size or the name does not fit (8 GiB, 100 bytes).
fn header(name: &str, size: u64) -> Option<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    if name.len() > 100 || size >= 1 << 33 {
        return None;
    }
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The checksum is taken with spaces in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}
