use std::io::{self, BufRead};

/// Something that stands between the line ends and brackets of a file of JSON objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it begins, from 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: usize,
    /// Nothing but white space stands before it on its line.
    pub leads: bool,
    pub piece: Piece,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text whose braces are balanced: one object, if it is JSON.
    Object(Vec<u8>),
    /// Text that is no object: up to the end of its line, or an object that is never closed.
    Other(Vec<u8>),
    /// Either, longer than the limit; its bytes were passed over, never held.
    TooLong {
        /// Length in bytes.
        bytes: u64,
    },
}

/// Reads JSON objects however they are laid out: one per line, one behind the other, over several
/// lines, with commas between, or as the elements of one array. Holds one object of at most
/// `limit` bytes at a time, whatever the length of the lines.
///
/// What is wrong with one object ends with it: a string ends at the line's end, and an object where
/// a line that is not indented more than its own begins another.
pub(super) struct Rows<R> {
    reader: R,
    limit: usize,
    /// Of the next byte.
    line: u64,
    column: usize,
    /// The column of the line's first byte that is no white space, once it was met.
    indent: Option<usize>,
    /// The last byte was a carriage return, which ends a line with or without a line feed.
    returned: bool,
    /// The file is one array, whose brackets are no rows.
    array: Option<bool>,
}

/// A row while it is read.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    total: u64,
}

impl Held {
    fn add(&mut self, byte: u8, limit: usize) {
        self.total += 1;
        if self.bytes.len() < limit {
            self.bytes.push(byte);
        }
    }

    fn piece(self, whole: fn(Vec<u8>) -> Piece) -> Piece {
        if self.bytes.len() as u64 == self.total {
            whole(self.bytes)
        } else {
            Piece::TooLong { bytes: self.total }
        }
    }
}

impl<R: BufRead> Rows<R> {
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, line: 1, column: 1, indent: None, returned: false, array: None }
    }

    /// The next row, or `None` at the end of the file.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next_row(&mut self) -> io::Result<Option<Row>> {
        let Some(mut first) = self.skip()? else { return Ok(None) };
        let (mut line, mut column, mut leads) = (self.line, self.column, self.indent.is_none());
        let mut held = Held::default();
        if first == b'[' && self.array.is_none() {
            held.add(first, self.limit);
            self.step(first);
            let next = self.skip_white()?;
            let array = matches!(next, None | Some(b'{' | b']'));
            self.array = Some(array);
            if array {
                let Some(next) = self.skip()? else { return Ok(None) };
                (first, line, column) = (next, self.line, self.column);
                leads = self.indent.is_none();
                held = Held::default();
            }
        }
        self.array.get_or_insert(false);
        let piece = if first == b'{' { self.object(held)? } else { self.other(held)? };
        Ok(Some(Row { line, column, leads, piece }))
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    /// Passes over the next byte, which is `byte`.
    fn step(&mut self, byte: u8) {
        self.reader.consume(1);
        self.count(byte);
    }

    fn count(&mut self, byte: u8) {
        match byte {
            b'\n' if self.returned => {}
            b'\n' | b'\r' => {
                self.line += 1;
                (self.column, self.indent) = (1, None);
            }
            b' ' | b'\t' => self.column += 1,
            _ => {
                self.indent.get_or_insert(self.column);
                self.column += 1;
            }
        }
        self.returned = byte == b'\r';
    }

    /// The next byte that is no white space and no byte order mark (files that were put behind each
    /// other have some); it is left there.
    fn skip_white(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.reader.fill_buf()?;
            match *buffer {
                [] => return Ok(None),
                [byte @ (b' ' | b'\t' | b'\r' | b'\n'), ..] => self.step(byte),
                [0xef, 0xbb, 0xbf, ..] => self.reader.consume(3),
                [byte, ..] => return Ok(Some(byte)),
            }
        }
    }

    /// The same, passing over what stands between rows as well.
    fn skip(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.skip_white()? {
                Some(byte @ b',') => self.step(byte),
                Some(byte @ (b'[' | b']')) if self.array == Some(true) => self.step(byte),
                other => return Ok(other),
            }
        }
    }

    /// Reads from a brace on.
    fn object(&mut self, mut held: Held) -> io::Result<Piece> {
        let indent = self.indent.unwrap_or(self.column);
        let (mut depth, mut string, mut escaped) = (0_u64, false, false);
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(held.piece(Piece::Other));
            }
            // Copied, since counting needs the reader; a piece of the buffer at a time is enough.
            let mut chunk = [0; 512];
            let count = buffer.len().min(chunk.len());
            chunk[..count].copy_from_slice(&buffer[..count]);
            for (used, byte) in chunk[..count].iter().copied().enumerate() {
                let begins = byte == b'{' && self.indent.is_none() && self.column <= indent;
                let ends = if string { matches!(byte, b'\r' | b'\n') } else { begins && depth > 0 };
                if ends {
                    self.reader.consume(used);
                    return Ok(held.piece(Piece::Other));
                }
                held.add(byte, self.limit);
                self.count(byte);
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if string => escaped = true,
                    b'"' => string = !string,
                    b'{' if !string => depth += 1,
                    b'}' if !string => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth == 0 {
                    self.reader.consume(used + 1);
                    return Ok(held.piece(Piece::Object));
                }
            }
            self.reader.consume(count);
        }
    }

    /// Reads to the end of the line; in an array, to the next object.
    fn other(&mut self, mut held: Held) -> io::Result<Piece> {
        let array = self.array == Some(true);
        loop {
            match self.peek()? {
                None | Some(b'\r' | b'\n') => break,
                Some(b'{') if array => break,
                Some(byte) => {
                    held.add(byte, self.limit);
                    self.step(byte);
                }
            }
        }
        Ok(held.piece(Piece::Other))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// `line:column text` of each row; what is no object in angle brackets.
    fn read_with(text: &[u8], limit: usize, buffer: usize) -> Vec<String> {
        let mut rows = Rows::new(BufReader::with_capacity(buffer, text), limit);
        let mut seen = Vec::new();
        while let Some(Row { line, column, piece, .. }) = rows.next_row().expect("from memory") {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let piece = match piece {
                Piece::Object(bytes) => text(bytes),
                Piece::Other(bytes) => format!("<{}>", text(bytes)),
                Piece::TooLong { bytes } => format!("<{bytes} bytes>"),
            };
            seen.push(format!("{line}:{column} {piece}"));
        }
        seen
    }

    fn read(text: &str) -> Vec<String> {
        let seen = read_with(text.as_bytes(), 1000, 1 << 10);
        for buffer in [1, 2, 3, 5] {
            assert_eq!(read_with(text.as_bytes(), 1000, buffer), seen, "a buffer of {buffer}");
        }
        seen
    }

    #[test]
    fn objects_are_found_however_they_are_laid_out() {
        let rows = [r#"{"a": "}{"}"#, r#"{"b": {"c": [{}]}}"#, r#"{"d": "\"{"}"#];
        let texts = |seen: Vec<String>| -> Vec<String> {
            seen.iter().map(|row| row.split_once(' ').expect("a place").1.to_owned()).collect()
        };
        for between in ["\n", "\r\n", "\r", "", " ", ",\n", "\n\n", "\n , "] {
            let joined = rows.join(between);
            assert_eq!(texts(read(&joined)), rows, "between: {between:?}");
            for array in [format!("[{joined}]"), format!("[\n  {joined}\n]\n")] {
                assert_eq!(texts(read(&array)), rows, "between: {between:?}");
            }
        }
        let pretty = "{\n  \"a\": {\n    \"b\": [\n      {\n      }\n    ]\n  }\n}\n{}\n";
        assert_eq!(texts(read(pretty)), [&pretty[..pretty.len() - 4], "{}"]);
        assert_eq!(read("\r\n \r{}\n\r\n{}"), ["3:1 {}", "5:1 {}"]);
        assert_eq!(read("[]"), Vec::<String>::new());
    }

    #[test]
    fn a_bad_row_ends_with_itself() {
        let good = r#"{"a": 1}"#;
        let bad = [
            r#"{"a": "#,
            r#"{"a": "b"#,
            r#"{"a": {"b": [{"#,
            "not json",
            r#"["a", {"b": 1}]"#,
            "}",
            "]",
            "{\n  \"a\": 1,\n  \"b",
        ];
        for bad in bad {
            let seen = read(&format!("{good}\n{bad}\n{good}\n"));
            assert_eq!(seen.first().map(String::as_str), Some("1:1 {\"a\": 1}"), "{bad}");
            let last = format!("{}:1 {good}", 2 + bad.lines().count());
            assert_eq!(seen.last(), Some(&last), "{bad}");
        }
        let inside = format!("[{good}, \"x\": 1}}, {good}]");
        assert_eq!(read(&inside).last().map(|row| row.contains(good)), Some(true));
        let indented = format!("[\n {{\n  \"a\": {{\n   \"b\": 1\n  \n }},\n {good}\n]");
        assert_eq!(read(&indented).last(), Some(&format!("7:2 {good}")));
    }

    #[test]
    fn an_array_of_others_is_no_array_of_rows() {
        assert_eq!(read("[1, 2]\n{}"), ["1:1 <[1, 2]>", "2:1 {}"]);
        assert_eq!(read("[ \"a\", {}]\n"), ["1:1 <[\"a\", {}]>"]);
    }

    #[test]
    fn rows_over_the_limit_are_passed_over() {
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(100));
        for buffer in [1, 7, 1 << 10] {
            let text = format!("[{long}, {{}},\n{}\n{{}}]", "y".repeat(51));
            let seen = read_with(text.as_bytes(), 50, buffer);
            assert_eq!(seen, ["1:2 <109 bytes>", "1:113 {}", "2:1 <51 bytes>", "3:1 {}"]);
        }
    }

    proptest::proptest! {
        /// Whatever lines stand between good rows: each of the good ones is found.
        #[test]
        fn good_rows_are_found_between_any_lines(
            lines in proptest::collection::vec("[ -~é]{0,12}", 0..12),
        ) {
            let good = r#"{"good": {"row": "yes"}}"#;
            let text: String = lines.iter().map(|line| format!("{good}\n{line}\n")).collect();
            let found = read_with(text.as_bytes(), 1000, 16);
            let found = found.iter().filter(|row| row.ends_with(good)).count();
            proptest::prop_assert!(found >= lines.len(), "{text}");
        }
    }
}
