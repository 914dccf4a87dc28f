//! JSON that stays on its line, whatever reads it.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Appends `value` as one line of JSON, without a line end. Characters that some readers take for a
/// line end and that JSON leaves as they are (U+0085, U+2028, U+2029) are escaped.
///
/// # Errors
/// The value cannot be written as JSON.
pub fn append<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(line, OneLine))
}

struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, end) in fragment.match_indices(['\u{85}', '\u{2028}', '\u{2029}']) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            let code = end.chars().next().map_or(0, u32::from);
            write!(writer, "\\u{code:04x}")?;
            written = at + end.len();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_of_any_kind_are_escaped_and_read_back() {
        let text = "a\u{2028}b\u{2029}\u{85}c\rd\ne\u{b}\u{c}\u{1c}é漢";
        let mut line = Vec::new();
        append(&mut line, &[text, "\u{2028}"]).expect("JSON");
        let line = String::from_utf8(line).expect("UTF-8");
        let ends = |one: char| matches!(one, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        assert!(!line.contains(ends), "{line:?}");
        assert!(line.contains("\\u2028b\\u2029\\u0085c"), "{line}");
        let read: Vec<String> = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read, [text, "\u{2028}"]);
    }

    #[test]
    fn other_values_are_written_as_serde_json_writes_them() {
        let value = serde_json::json!({"a": [1, 2.5, null, true], "ü": "\"\\/\u{7}", "n": {}});
        let mut line = Vec::new();
        append(&mut line, &value).expect("JSON");
        assert_eq!(line, serde_json::to_vec(&value).expect("JSON"));
    }
}
