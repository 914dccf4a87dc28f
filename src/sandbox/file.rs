use std::io::{self, Read, Seek, SeekFrom};

use super::remote::RemoteFile;

/// A file that was opened for reading, wherever it lies.
#[derive(Debug)]
pub enum OpenFile {
    /// On this machine.
    Local(fs_err::File),
    /// At a remote address.
    Remote(RemoteFile),
}

impl OpenFile {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn length(&self) -> io::Result<u64> {
        match self {
            Self::Local(file) => Ok(file.metadata()?.len()),
            Self::Remote(file) => Ok(file.length()),
        }
    }

    /// Another reader of the same file. Where it stands is sure only after a seek.
    ///
    /// # Errors
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Local(file) => Ok(Self::Local(file.try_clone()?)),
            Self::Remote(file) => Ok(Self::Remote(file.clone())),
        }
    }
}

impl Read for OpenFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(into),
            Self::Remote(file) => file.read(into),
        }
    }
}

impl Seek for OpenFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Local(file) => file.seek(to),
            Self::Remote(file) => file.seek(to),
        }
    }
}
