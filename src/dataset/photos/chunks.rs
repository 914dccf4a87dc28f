//! Parquet's way to read files, for files wherever they lie.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::sandbox::OpenFile;

impl Length for OpenFile {
    fn len(&self) -> u64 {
        self.length().unwrap_or(0)
    }
}

impl ChunkReader for OpenFile {
    type T = BufReader<Self>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut reader = self.try_clone()?;
        reader.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut reader = self.try_clone()?;
        reader.seek(SeekFrom::Start(start))?;
        // A damaged file may tell any length: no room is made before there are bytes for it.
        let mut bytes = Vec::new();
        let read = reader.take(length as u64).read_to_end(&mut bytes)?;
        if read != length {
            return Err(ParquetError::EOF(format!("expected {length} bytes, found {read}")));
        }
        Ok(bytes.into())
    }
}

/// The error of the file behind one of the format; else that one again.
pub(crate) fn cause(error: ParquetError) -> Result<io::Error, ParquetError> {
    match error {
        ParquetError::External(error) => match error.downcast() {
            Ok(error) => Ok(*error),
            Err(error) => Err(ParquetError::External(error)),
        },
        error => Err(error),
    }
}
