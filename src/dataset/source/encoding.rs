use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::SourceError;
use super::refusal::Refusal;
use crate::sandbox::FileAccess;

/// Opens a text file as [`as_utf8`] reads it.
pub(super) fn open(path: &Path, access: &FileAccess) -> Result<Box<dyn BufRead>, SourceError> {
    as_utf8(access.open(path)?).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            SourceError::NotText { path: path.to_owned(), detail: error.to_string() }
        }
        _ => error.into(),
    })
}

/// The bytes of a text file as UTF-8, its byte order mark taken away. UTF-16 is told by its mark,
/// or by the zero byte beside each of the first two characters, which no other text holds.
///
/// # Errors
/// Reading failed, or the file is no text of these (kind `InvalidData`).
fn as_utf8<'a>(mut file: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut head = Vec::with_capacity(4);
    file.by_ref().take(4).read_to_end(&mut head)?;
    let other = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    let (skipped, order) = match *head.as_slice() {
        [0xff, 0xfe, 0, 0] | [0, 0, 0xfe, 0xff] => return other("UTF-32; save it as UTF-8"),
        [0x1f, 0x8b, ..] => return other("compressed by gzip; unpack it"),
        [0x28, 0xb5, 0x2f, 0xfd] => return other("compressed by zstd; unpack it"),
        [b'P', b'K', 3, 4] => {
            return other("a zip archive or a spreadsheet; unpack it, or save it as CSV");
        }
        [b'P', b'A', b'R', b'1'] => return other("a Parquet file; give it the ending .parquet"),
        [0xef, 0xbb, 0xbf, ..] => (3, None),
        [0xff, 0xfe, ..] => (2, Some(Order::Little)),
        [0xfe, 0xff, ..] => (2, Some(Order::Big)),
        [1..=255, 0, 1..=255, 0] => (0, Some(Order::Little)),
        [0, 1..=255, 0, 1..=255] => (0, Some(Order::Big)),
        _ => (0, None),
    };
    let mut start = Cursor::new(head);
    start.set_position(skipped);
    let bytes = start.chain(file);
    Ok(match order {
        None => Box::new(BufReader::with_capacity(1 << 16, bytes)),
        Some(order) => Box::new(BufReader::with_capacity(1 << 16, Utf16::new(bytes, order))),
    })
}

/// The text of a whole file.
///
/// # Errors
/// `invalid_utf8`, with the line and the byte in it.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, Refusal> {
    // A text is what it seems to be, whatever letters it begins with.
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => {
            return Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text));
        }
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    let mut utf8 = Vec::with_capacity(bytes.len());
    let read = as_utf8(Cursor::new(bytes)).and_then(|mut text| text.read_to_end(&mut utf8));
    read.map_err(|error| Refusal::new("invalid_utf8", error.to_string()))?;
    String::from_utf8(utf8).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let line = bytes[..valid].split(|byte| *byte == b'\n').count();
        let at =
            valid - bytes[..valid].iter().rposition(|byte| *byte == b'\n').map_or(0, |n| n + 1);
        let place = if line > 1 { format!("line {line} is ") } else { String::new() };
        Refusal::new("invalid_utf8", format!("{place}{}", not_utf8(at + 1, bytes[valid])))
    })
}

/// Says that a line is not UTF-8 from byte `at` (from 1) on, and what that byte may have been.
pub(super) fn not_utf8(at: usize, byte: u8) -> String {
    let start = format!("not UTF-8 from byte {at} on (0x{byte:02X}");
    match byte {
        // Latin-1 and Windows-1252 agree on these, and they are the letters of most of Europe.
        0xa0.. => format!("{start}, {} in Latin-1); save the file as UTF-8", char::from(byte)),
        _ => format!("{start}); save the file as UTF-8"),
    }
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// UTF-16 turned into UTF-8. Half a pair becomes the three bytes that no UTF-8 holds, so that
/// whoever checks the text names its line.
struct Utf16<R> {
    inner: R,
    order: Order,
    /// A first half whose second was not read yet.
    high: Option<u16>,
    /// The first byte of a unit.
    odd: Option<u8>,
    ready: Vec<u8>,
    taken: usize,
}

impl<R: Read> Utf16<R> {
    fn new(inner: R, order: Order) -> Self {
        Self { inner, order, high: None, odd: None, ready: Vec::new(), taken: 0 }
    }

    fn refill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 1 << 13];
        let count = self.inner.read(&mut chunk)?;
        self.ready.clear();
        self.taken = 0;
        for byte in &chunk[..count] {
            match self.odd.take() {
                None => self.odd = Some(*byte),
                Some(first) => self.unit(match self.order {
                    Order::Little => u16::from_le_bytes([first, *byte]),
                    Order::Big => u16::from_be_bytes([first, *byte]),
                }),
            }
        }
        if count == 0 {
            if let Some(high) = self.high.take() {
                self.lone(high);
            }
            if self.odd.take().is_some() {
                self.ready.push(0xff);
            }
        }
        Ok(())
    }

    fn unit(&mut self, unit: u16) {
        let pair = self.high.take();
        let units = pair.into_iter().chain([unit]);
        for decoded in char::decode_utf16(units) {
            match decoded {
                Ok(char) => {
                    self.ready.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Err(half) => match half.unpaired_surrogate() {
                    high @ 0xd800..0xdc00 if high == unit => self.high = Some(high),
                    lone => self.lone(lone),
                },
            }
        }
    }

    fn lone(&mut self, half: u16) {
        let low = |bits: u16| 0x80 | (bits & 0x3f) as u8;
        self.ready.extend([0xe0 | (half >> 12) as u8, low(half >> 6), low(half)]);
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            self.refill()?;
            if self.ready.is_empty() && self.high.is_none() && self.odd.is_none() {
                return Ok(0);
            }
        }
        let count = (&self.ready[self.taken..]).read(into)?;
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn a_mark_or_the_zero_bytes_tell_the_encoding() {
        let words = "Käse 🙂\r\n日本";
        for big in [false, true] {
            let marked = utf16(&format!("\u{feff}{words}"), big);
            assert_eq!(text(marked), Ok(words.into()), "big: {big}");
            assert_eq!(text(utf16("{} 日本", big)), Ok("{} 日本".into()), "big: {big}");
        }
        assert_eq!(text(format!("\u{feff}{words}").into_bytes()), Ok(words.into()));
        assert_eq!(text(Vec::new()), Ok(String::new()));
        assert_eq!(text(b"PAR1 is no text".to_vec()), Ok("PAR1 is no text".into()));
        let long = "ab🙂".repeat(9_000);
        assert_eq!(text(utf16(&format!("\u{feff}{long}"), false)), Ok(long));
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        let reason = |bytes: &[u8]| text(bytes.to_vec()).expect_err("no text").reason;
        let latin = reason(b"ab\ncaf\xe9\n");
        let said =
            "line 2 is not UTF-8 from byte 4 on (0xE9, é in Latin-1); save the file as UTF-8";
        assert_eq!(latin, said);
        assert!(reason(b"\x80").starts_with("not UTF-8 from byte 1 on (0x80)"));
        assert!(reason(b"\xff\xfe\0\0a\0\0\0").contains("UTF-32"));
        // A first half alone, a second half alone, half a unit.
        for bytes in
            [&b"\xff\xfe\x3d\xd8a\0"[..], b"\xff\xfe\x00\xdc", b"\xff\xfe\x3d\xd8", b"\xff\xfea"]
        {
            assert!(reason(bytes).contains("not UTF-8 from byte 1"), "{bytes:?}");
        }
    }
}
