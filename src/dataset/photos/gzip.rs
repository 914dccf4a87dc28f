use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use super::pool::Pool;
use crate::sandbox::OpenFile;

/// What is kept of the bytes behind a reader: photos are read by several threads, which come a
/// little out of order.
const WINDOW: usize = 32 << 20;

static POOL: Pool<Cursor> = Pool::new(4);

/// A compressed file that is unpacked up to some place.
struct Cursor {
    file: (PathBuf, String),
    unpacked: MultiGzDecoder<BufReader<OpenFile>>,
    /// Bytes unpacked so far.
    at: u64,
    /// The last of them.
    window: VecDeque<u8>,
}

impl Cursor {
    /// How far ahead `start` is; `None` where it is passed and no longer held.
    fn distance(&self, start: u64) -> Option<u64> {
        let held_from = self.at - self.window.len() as u64;
        (start >= held_from).then(|| start.saturating_sub(self.at))
    }

    fn read(&mut self, start: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = start + len as u64;
        let mut chunk = vec![0; 1 << 16];
        while self.at < end {
            let count = self.unpacked.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.window.extend(&chunk[..count]);
            self.at += count as u64;
            // The photo itself is always held whole.
            let room = WINDOW.max((self.at - start.min(self.at)) as usize);
            self.window.drain(..self.window.len().saturating_sub(room));
        }
        let from = (start - (self.at - self.window.len() as u64)) as usize;
        Ok(self.window.range(from..from + len).copied().collect())
    }
}

/// `len` bytes from `start` on of what `open` opens, as it is unpacked; `file` is its path and what
/// differs when it was changed.
///
/// Behind the place where a reader stands it goes on from there; before it, from the beginning.
pub(super) fn read(
    file: (PathBuf, String),
    open: impl FnOnce() -> io::Result<OpenFile>,
    start: u64,
    len: usize,
) -> io::Result<Vec<u8>> {
    let fits = |cursor: &Cursor| (cursor.file == file).then(|| cursor.distance(start)).flatten();
    let begin = || -> io::Result<Cursor> {
        let unpacked = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, open()?));
        Ok(Cursor { file: file.clone(), unpacked, at: 0, window: VecDeque::new() })
    };
    POOL.with(fits, begin, |cursor| cursor.read(start, len))
}
