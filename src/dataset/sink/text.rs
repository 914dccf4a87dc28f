/// The word that trainers replace with the image's features. It may stand only where a sink puts it.
pub const IMAGE_TOKEN: &str = "<image>";

/// The first character that no text of a dataset should hold: a control character other than tab,
/// line feed and carriage return.
pub fn find_garbage(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}
