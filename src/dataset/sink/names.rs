//! Names of files that are made from what a record says.

use crate::base::hash::sha256_hex;
use crate::image::Format;

/// The longest id that is a name as it is, in bytes.
const LONGEST: usize = 100;
/// Digits of the hash behind an id that is no name as it is.
const DIGITS: usize = 16;

/// An id as the stem of a file's name: unchanged where it is made of letters, digits, `-`, `_` and
/// inner dots; else what is left of it, with a part of its hash, so that different ids have
/// different names.
pub(super) fn safe(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let looks_hashed = id.rsplit_once('-').is_some_and(|(_, end)| {
        end.len() == DIGITS && end.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    let is_name = !id.is_empty() && id.len() <= LONGEST && id.chars().all(plain);
    if is_name && !id.starts_with('.') && !id.ends_with('.') && !looks_hashed {
        return id.to_owned();
    }
    hashed(id)
}

/// What is left of an id as the stem of a file's name, with a part of its hash. No two ids have the
/// same, on disks where case does not count, either.
pub(super) fn hashed(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let kept: String = id.chars().map(|c| if plain(c) { c } else { '_' }).take(60).collect();
    format!("{}-{}", kept.trim_matches('.'), &sha256_hex(id.as_bytes())[..DIGITS])
}

/// The usual ending of a photo's name.
pub(super) fn ending(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "jpg",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names_differ_without_regard_to_case() {
        let names = ["IMG_1", "img_1", "Img_1"].map(|id| hashed(id).to_ascii_lowercase());
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
        assert_eq!(safe(&hashed("IMG_1")).len(), hashed("IMG_1").len() + 1 + DIGITS);
    }

    #[test]
    fn ids_become_names_that_lead_nowhere_and_differ() {
        assert_eq!(safe("000000039769"), "000000039769");
        assert_eq!(safe("a.b-c_D"), "a.b-c_D");
        let awkward = ["../../etc/passwd", "a/b", "a\\b", "", ".", "..", "a b", "ü", "nul\0", "x."];
        let long = "x".repeat(101);
        let hashed = safe("a/b");
        let names: Vec<String> =
            awkward.iter().copied().chain([&*long, &*hashed]).map(safe).collect();
        for name in &names {
            assert!(!name.starts_with('.') && name.len() < 100, "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{name}");
        }
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
    }
}
