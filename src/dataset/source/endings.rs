//! What the ending of a file's name says.

use crate::image::Format;

/// Photos that other tools read and ours does not: named in a refusal rather than passed over, as are
/// those that not every build reads.
const OTHER_PHOTOS: [&str; 7] = ["heic", "heif", "jp2", "svg", "psd", "cr2", "dng"];

/// Whether a file with this ending is a photo that is not read.
pub(super) fn is_other_photo(ending: &str) -> bool {
    !Format::is_ending(ending)
        && OTHER_PHOTOS
            .iter()
            .chain(&Format::BY_FEATURE)
            .any(|known| known.eq_ignore_ascii_case(ending))
}

/// What is wrong with a photo whose ending is one of those.
pub(super) fn unread(ending: &str) -> String {
    let known = Format::ENDINGS.join(", ");
    let ending = ending.to_ascii_lowercase();
    match Format::BY_FEATURE.contains(&ending.as_str()) {
        true => format!(
            "of a format that this build does not read, which needs the cargo feature {ending}; \
             known: {known}"
        ),
        false => format!("of a format that is not read; known: {known}"),
    }
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
