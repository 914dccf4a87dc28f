use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::data_type::ByteArray;
use tar::Header;

use super::tar::{BLOCK, GZIP, sound_size};
use super::{ImageRef, Place, chunks, gzip, rows, stamp};
use crate::base::failure::io_at;
use crate::image::{ImageError, ImageLimits};
use crate::sandbox::{FileAccess, FileFacts, OpenFile};

/// Reads a photo that lies in a file with others, of which `facts` are known.
pub(super) fn read(
    access: &FileAccess,
    photo: &ImageRef,
    facts: FileFacts,
    limits: &ImageLimits,
) -> Result<Vec<u8>, ImageError> {
    let refused = |error: io::Error| {
        let changed = error.kind() == io::ErrorKind::UnexpectedEof;
        let error = if changed { io::Error::new(error.kind(), CHANGED) } else { error };
        ImageError::Io(io_at(photo, error))
    };
    let file = Container { access, photo, facts };
    match photo.place() {
        Some(Place::Tar { start, len }) => {
            limits.check_file(len)?;
            file.tar(start, len).map_err(refused)
        }
        Some(Place::Bytes { start, len }) => {
            limits.check_file(len)?;
            file.bytes(&mut access.open(photo.container())?, start, len).map_err(refused)
        }
        Some(Place::Row { row, column }) => {
            let bytes = file.row(row, column as usize).map_err(refused)?;
            limits.check_file(bytes.len() as u64)?;
            Ok(bytes.data().to_vec())
        }
        None => {
            let reason = "photos inside files of this kind are not read".to_owned();
            Err(refused(io::Error::new(io::ErrorKind::InvalidInput, reason)))
        }
    }
}

/// Whether the bytes are a member of that length with its header before it.
fn is_member(bytes: &[u8], len: u64) -> bool {
    sound_size(Header::from_byte_slice(&bytes[..BLOCK as usize])) == Some(len)
}

fn data(mut member: Vec<u8>) -> Vec<u8> {
    member.split_off(BLOCK as usize)
}

/// Whether a file's name says that it is compressed by gzip.
fn is_packed(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ["gz", "tgz"].iter().any(|packed| ending.eq_ignore_ascii_case(packed))
}

const CHANGED: &str = "the file was changed since it was listed; run again";

struct Container<'a> {
    access: &'a FileAccess,
    photo: &'a ImageRef,
    facts: FileFacts,
}

impl Container<'_> {
    fn open(&self) -> io::Result<OpenFile> {
        Ok(self.access.open(self.photo.container())?)
    }

    /// What a reader that is kept is known by. Whether the file may be read was asked before.
    fn key(&self) -> io::Result<(std::path::PathBuf, String)> {
        let real = self.access.real_path(self.photo.container())?;
        Ok((real, stamp(&self.facts)))
    }

    fn tar(&self, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let from = start.checked_sub(BLOCK).ok_or(io::ErrorKind::UnexpectedEof)?;
        // The member's header tells whether the way was right, so that of a plain tar that is remote
        // nothing is read beside the photo. The name only says which way is tried first.
        let (packed, whole) = (is_packed(self.photo.container()), BLOCK + len);
        for unpack in [packed, !packed] {
            let read = match unpack {
                true => self.unpacked(from, whole),
                false => self.open().and_then(|mut file| self.bytes(&mut file, from, whole)),
            };
            match read {
                Ok(bytes) if is_member(&bytes, len) => return Ok(data(bytes)),
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => {}
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Bytes of the file as gzip unpacks it.
    fn unpacked(&self, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut magic = [0; GZIP.len()];
        self.open()?.read_exact(&mut magic)?;
        if magic != GZIP {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = usize::try_from(len).map_err(io::Error::other)?;
        gzip::read(self.key()?, || self.open(), start, count)
    }

    fn bytes(&self, file: &mut OpenFile, start: u64, len: u64) -> io::Result<Vec<u8>> {
        if start.checked_add(len).is_none_or(|end| end > self.facts.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn row(&self, row: u64, column: usize) -> io::Result<ByteArray> {
        let key = self.key()?;
        // The reader of this format panics at some files that were damaged.
        let read = catch_unwind(AssertUnwindSafe(|| rows::read(key, || self.open(), row, column)));
        let damaged = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let value = read.map_err(|_| damaged("the file is damaged".into()))?.map_err(|error| {
            chunks::cause(error).unwrap_or_else(|error| damaged(error.to_string()))
        })?;
        value.ok_or_else(|| damaged("the row holds no photo".into()))
    }
}
