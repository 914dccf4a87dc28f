//! The language of a text.

use std::sync::LazyLock;

use whatlang::{Detector, Lang};

/// Languages that are told apart: those most spoken and written, so that a short text is not taken
/// for a rare one that shares its script.
const LANGUAGES: &[Lang] = &[
    Lang::Ara, Lang::Ben, Lang::Bul, Lang::Ces, Lang::Cmn, Lang::Dan, Lang::Deu, Lang::Ell,
    Lang::Eng, Lang::Fin, Lang::Fra, Lang::Heb, Lang::Hin, Lang::Hun, Lang::Ind, Lang::Ita,
    Lang::Jpn, Lang::Kor, Lang::Nld, Lang::Pes, Lang::Pol, Lang::Por, Lang::Ron, Lang::Rus,
    Lang::Spa, Lang::Swe, Lang::Tam, Lang::Tel, Lang::Tha, Lang::Tur, Lang::Ukr, Lang::Urd,
    Lang::Vie,
];

static DETECTOR: LazyLock<Detector> =
    LazyLock::new(|| Detector::with_allowlist(LANGUAGES.to_vec()));

/// Letters below which a text in a script of many languages is too short to tell.
const TELLING: usize = 12;

/// The likeliest language of a text as its ISO 639-3 code (`eng`, `cmn`); `None` of a text without
/// letters, or too short to tell.
pub(super) fn detect(text: &str) -> Option<&'static str> {
    let found = DETECTOR.detect(text)?;
    let letters = text.chars().filter(|one| one.is_alphabetic()).take(TELLING).count();
    let alone = found.script().langs().iter().filter(|one| LANGUAGES.contains(one)).count() == 1;
    (letters == TELLING || alone).then(|| found.lang().code())
}
