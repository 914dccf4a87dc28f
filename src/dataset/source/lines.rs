use std::io::{self, BufRead};

use memchr::memchr2;

/// One line of a file read with a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line's bytes without its end (`\n`, `\r\n` or `\r`).
    Whole(Vec<u8>),
    /// The line is longer than the limit; its bytes were passed over, never held.
    TooLong {
        /// Length in bytes, the line end not counted.
        bytes: u64,
    },
}

/// Reads lines of at most `limit` bytes each; holds one line at a time.
pub(super) struct BoundedLines<R> {
    reader: R,
    limit: usize,
    /// The line before ended with a carriage return, to which a line feed may belong.
    returned: bool,
}

impl<R: BufRead> BoundedLines<R> {
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, returned: false }
    }

    /// The next line, or `None` at the end of the file.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut held = Vec::new();
        let mut total: u64 = 0;
        let mut ended = false;
        if std::mem::take(&mut self.returned) && self.reader.fill_buf()?.first() == Some(&b'\n') {
            self.reader.consume(1);
        }
        while !ended {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let end = memchr2(b'\n', b'\r', chunk);
            let piece = &chunk[..end.unwrap_or(chunk.len())];
            total += piece.len() as u64;
            let room = self.limit.saturating_sub(held.len());
            held.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            ended = end.is_some();
            self.returned = end.is_some_and(|at| chunk[at] == b'\r');
            self.reader.consume(used);
        }
        if total == 0 && !ended {
            return Ok(None);
        }
        let whole = held.len() as u64 == total;
        Ok(Some(if whole { Line::Whole(held) } else { Line::TooLong { bytes: total } }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(text: &[u8], limit: usize, buffer: usize) -> Vec<Result<Vec<u8>, u64>> {
        let mut lines = BoundedLines::new(BufReader::with_capacity(buffer, text), limit);
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().expect("reading from memory") {
            seen.push(match line {
                Line::Whole(bytes) => Ok(bytes),
                Line::TooLong { bytes } => Err(bytes),
            });
        }
        seen
    }

    #[test]
    fn lines_keep_their_limit_whatever_the_buffer() {
        for buffer in [1, 2, 3, 64] {
            for end in ["\n", "\r\n", "\r"] {
                let text = format!("abcd\r\n{end}abcde{end}{end}xyz");
                let seen = read(text.as_bytes(), 4, buffer);
                let expected =
                    [Ok(b"abcd".to_vec()), Ok(vec![]), Err(5), Ok(vec![]), Ok(b"xyz".to_vec())];
                assert_eq!(seen, expected, "buffer of {buffer}, lines end with {end:?}");
            }
        }
    }

    #[test]
    fn an_empty_file_has_no_line() {
        assert!(read(b"", 4, 8).is_empty());
    }
}
