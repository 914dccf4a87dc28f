use std::io::{self, Read};

/// The words that Python's `json` writes for numbers that JSON lacks, longest first.
const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// JSON with `null` in place of `NaN`, `Infinity` and `-Infinity`, where they stand outside texts.
///
/// A text ends at the line's end even where it is not closed, so that one broken line changes no
/// other.
pub(super) struct Bare<R> {
    inner: R,
    string: bool,
    escaped: bool,
    /// Bytes that were read and may begin a word.
    begun: Vec<u8>,
    ready: Vec<u8>,
    taken: usize,
}

impl<R: Read> Bare<R> {
    pub fn new(inner: R) -> Self {
        let (begun, ready) = (Vec::new(), Vec::new());
        Self { inner, string: false, escaped: false, begun, ready, taken: 0 }
    }

    fn refill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 1 << 13];
        let count = self.inner.read(&mut chunk)?;
        self.ready.clear();
        self.taken = 0;
        for byte in &chunk[..count] {
            self.feed(*byte);
        }
        if count == 0 {
            self.ready.append(&mut self.begun);
        }
        Ok(count > 0)
    }

    fn feed(&mut self, byte: u8) {
        if !self.string && (!self.begun.is_empty() || WORDS.iter().any(|word| word[0] == byte)) {
            self.begun.push(byte);
            if WORDS.contains(&self.begun.as_slice()) {
                self.begun.clear();
                self.ready.extend_from_slice(b"null");
                return;
            }
            if WORDS.iter().any(|word| word.starts_with(&self.begun)) {
                return;
            }
            self.begun.pop();
            self.ready.append(&mut self.begun);
            // The byte that ended one word may begin another.
            if WORDS.iter().any(|word| word[0] == byte) {
                self.begun.push(byte);
                return;
            }
        }
        self.ready.push(byte);
        match byte {
            b'\n' | b'\r' => (self.string, self.escaped) = (false, false),
            _ if self.escaped => self.escaped = false,
            b'\\' if self.string => self.escaped = true,
            b'"' => self.string = !self.string,
            _ => {}
        }
    }
}

impl Bare<&[u8]> {
    /// By how many bytes the text grows before `column` of a line.
    pub fn grown(line: &str, column: usize) -> usize {
        let mut bare = Bare::new(line.as_bytes());
        let mut grown = 0;
        for (at, byte) in line.bytes().enumerate() {
            let before = bare.ready.len();
            bare.feed(byte);
            // Only the shortest word is shorter than what replaces it.
            let replaced = bare.ready.len() == before + 4 && bare.begun.is_empty();
            if replaced && line[..=at].ends_with("NaN") && bare.ready.len() <= column {
                grown += 1;
            }
        }
        grown
    }
}

impl<R: Read> Read for Bare<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            if !self.refill()? && self.ready.is_empty() {
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

    /// Hands out one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(into.len()).min(1);
            self.0.read(&mut into[..count])
        }
    }

    #[test]
    fn only_bare_words_are_replaced() {
        let cases = [
            (r#"{"a": NaN, "b": [Infinity,-Infinity]}"#, r#"{"a": null, "b": [null,null]}"#),
            (r#"{"a": "NaN \" NaN", "b": -1}"#, r#"{"a": "NaN \" NaN", "b": -1}"#),
            ("{\"a\": \"open\nNaN", "{\"a\": \"open\nnull"),
            ("--Infinity NNaN Na -", "-null Nnull Na -"),
            ("", ""),
        ];
        for (text, expected) in cases {
            let mut bare = String::new();
            Bare::new(text.as_bytes()).read_to_string(&mut bare).expect("from memory");
            assert_eq!(bare, expected);
            bare.clear();
            Bare::new(Slow(text.as_bytes())).read_to_string(&mut bare).expect("from memory");
            assert_eq!(bare, expected, "slowly");
        }
    }
}
