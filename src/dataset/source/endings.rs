//! What the ending of a file's name says.

use crate::image::Format;

/// Photos that other tools read and ours does not, or not in every build: named in a refusal rather
/// than passed over.
const OTHER_PHOTOS: [&str; 9] = ["heic", "heif", "avif", "jxl", "jp2", "svg", "psd", "cr2", "dng"];

/// Whether a file with this ending is a photo that is not read.
pub(super) fn is_other_photo(ending: &str) -> bool {
    !Format::is_ending(ending)
        && OTHER_PHOTOS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// What is wrong with a photo that is not read.
pub(super) fn unread() -> String {
    format!("of a format that is not read; known: {}", Format::ENDINGS.join(", "))
}

/// A name without its last extension.
pub(super) fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A photo's name without the ending that says what it is; any other name as it is.
pub(super) fn without_ending(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, ending))
            if !stem.is_empty() && (Format::is_ending(ending) || is_other_photo(ending)) =>
        {
            stem
        }
        _ => name,
    }
}
