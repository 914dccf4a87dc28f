use std::io::{self, BufRead};

/// One line of a file read with a limit.
pub(super) enum Line {
    /// The line's bytes without its end (`\n` or `\r\n`).
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
}

impl<R: BufRead> BoundedLines<R> {
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit }
    }

    /// The next line, or `None` at the end of the file.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut held = Vec::new();
        let mut total: u64 = 0;
        let mut ended = false;
        while !ended {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let piece = &chunk[..end.unwrap_or(chunk.len())];
            total += piece.len() as u64;
            // One byte more than the limit is kept, so that a `\r` at the limit is still seen.
            let room = (self.limit + 1).saturating_sub(held.len());
            held.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            ended = end.is_some();
            self.reader.consume(used);
        }
        if total == 0 && !ended {
            return Ok(None);
        }
        Ok(Some(self.judge(held, total)))
    }

    fn judge(&self, mut held: Vec<u8>, total: u64) -> Line {
        let whole = held.len() as u64 == total;
        if whole && held.last() == Some(&b'\r') {
            held.pop();
        }
        if whole && held.len() <= self.limit {
            Line::Whole(held)
        } else {
            Line::TooLong { bytes: total }
        }
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
            let seen = read(b"abcd\r\n\nabcde\n\r\nxyz", 4, buffer);
            let expected =
                [Ok(b"abcd".to_vec()), Ok(vec![]), Err(5), Ok(vec![]), Ok(b"xyz".to_vec())];
            assert_eq!(seen, expected, "buffer of {buffer}");
        }
    }

    #[test]
    fn an_empty_file_has_no_line() {
        assert!(read(b"", 4, 8).is_empty());
    }
}
