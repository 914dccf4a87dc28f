//! NumPy's `.npy` format, version 1.0, written row by row.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::SinkError;
use crate::base::durable::Staged;

/// Length of the header, fixed so that the row count can be filled in at the end.
const HEADER: usize = 128;

/// Writes a float32 [N, D] array whose N is known only at the end. The file appears under its
/// name when [`NpyWriter::finish`] succeeds.
pub struct NpyWriter {
    file: Staged,
    path: PathBuf,
    dim: usize,
    rows: u64,
}

impl NpyWriter {
    /// Begins `path` with rows of width `dim`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, dim: usize) -> Result<Self, SinkError> {
        let failed = |source| SinkError::Io { path: path.to_owned(), source };
        let mut file = Staged::create(path).map_err(failed)?;
        file.write_all(&[0; HEADER]).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), dim, rows: 0 })
    }

    /// Adds one row of width `dim`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, row: &[f32]) -> Result<(), SinkError> {
        debug_assert_eq!(row.len(), self.dim, "rows have one width");
        let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.rows += 1;
        let written = self.file.write_all(&bytes);
        written.map_err(|source| SinkError::Io { path: self.path.clone(), source })
    }

    /// Fills in the header and gives the file its name. Returns the number of rows.
    ///
    /// # Errors
    /// The file cannot be written or renamed.
    pub fn finish(self) -> Result<u64, SinkError> {
        let Self { mut file, path, dim, rows } = self;
        let finished = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header(rows, dim)))
            .and_then(|()| file.commit());
        finished.map_err(|source| SinkError::Io { path, source })?;
        Ok(rows)
    }
}

fn header(rows: u64, dim: usize) -> Vec<u8> {
    let dictionary =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((HEADER - 10) as u16).to_le_bytes());
    header.extend(dictionary.bytes());
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_numpys_header_and_rows() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("a.npy");
        let mut writer = NpyWriter::create(&path, 2).expect("create");
        writer.push(&[1.0, -2.0]).expect("row");
        writer.push(&[0.5, 0.25]).expect("row");
        assert!(!path.exists(), "no file before it is whole");
        assert_eq!(writer.finish().expect("finish"), 2);
        let bytes = fs_err::read(&path).expect("read");
        assert_eq!(bytes.len(), HEADER + 16);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let text = String::from_utf8_lossy(&bytes[10..HEADER]);
        assert!(text.contains("'shape': (2, 2)") && text.ends_with('\n'), "{text}");
        assert_eq!(bytes[HEADER..HEADER + 4], 1.0f32.to_le_bytes());
    }
}
