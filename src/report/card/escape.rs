//! Words from elsewhere inside Markdown and YAML.

/// As text in a paragraph or a cell of a table: one line, no markup, no links, no HTML.
pub(super) fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A table's cell ends here even behind a backslash in some readers.
            '|' => out.push_str("&#124;"),
            // Bare addresses become links.
            ':' => out.push_str("&#58;"),
            '@' => out.push_str("&#64;"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => out.push(' '),
            c if "\\`*_{}[]()#+!~$".contains(c) => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// As code in a line or a cell.
pub(super) fn code(words: &str) -> String {
    let plain: String = words
        .chars()
        .map(|c| if c.is_control() || matches!(c, '`' | '|') { ' ' } else { c })
        .collect();
    format!("`{}`", plain.trim())
}

/// As a string of JSON, which is one of YAML, too.
pub(super) fn json(words: &str) -> String {
    let mut out = Vec::new();
    // A string is written whatever it holds.
    crate::base::json::append(&mut out, words).expect("a string");
    String::from_utf8(out).expect("JSON is UTF-8")
}
