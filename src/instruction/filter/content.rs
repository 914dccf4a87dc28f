//! Filters that look at what an instruction asks for.

use std::sync::LazyLock;

use regex::Regex;
use whatlang::Lang;

use super::super::wording::{is_function_word, words};
use super::{Finding, Language, Refusal};

/// Function words of other languages that are no English words.
const FOREIGN: &str = "der das und ein eine einen ist nicht mit für von dem den auf le les des une \
    du et est dans pour avec sur qui que el los las una por para con del como il lo gli della \
    che di een het van voor naar niet og ikke til med det som att och inte är på mi tu al y su \
    este esta yo se en de la un";

/// What an image is called in an instruction.
const REFERENCES: &str = r"(?i)\b(?:images?|photos?|photographs?|pictures?|scene|snapshot|visual|visible|shown|depicted|pictured)\b";

/// Harm, adult content, and judgements on people that an image must not be asked for.
const UNSAFE: [&str; 5] = [
    r"\b(?:kill|murder|torture|rape|suicide|self-harm|behead|massacre|terroris\w*|genocide)\b",
    r"\b(?:porn\w*|nude|naked|sexual\w*|erotic\w*|fetish)\b",
    r"\b(?:bomb|explosives?|weapons?|poison|cocaine|heroin|meth)\b.{0,40}\b(?:make|build|buy|cook|use|prepare)\b|\b(?:make|build|buy|cook|prepare)\b.{0,40}\b(?:bomb|explosives?|weapons?|poison|cocaine|heroin|meth)\b",
    r"\b(?:identify|recogni[sz]e|name|guess|determine|reveal|find out)\b.{0,30}\b(?:the person|this person|the people|who|ethnicity|race|religion|sexual orientation|home address)\b",
    r"\b(?:racist|nazi|slurs?|hateful)\b",
];

/// Fewest words, and largest share of English function words among them, for which the language is
/// told from the letters: good English instructions go down to 15 %.
const FEW_WORDS: usize = 6;
const FEW_FUNCTION_WORDS: f64 = 0.28;

/// Refuses other languages than the one wanted.
pub(super) fn language(wanted: Language, text: &str) -> Finding {
    if wanted == Language::Any {
        return Ok(());
    }
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let strange = text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).count();
    let refuse = |reason: String| Err(Refusal::new("wrong_language", reason));
    if 5 * strange > letters {
        return refuse(format!("{strange} of {letters} letters are not English ones"));
    }
    let words = words(text);
    let english = words.iter().filter(|word| is_function_word(word)).count();
    let foreign = |word: &&String| FOREIGN.split_whitespace().any(|other| other == word.as_str());
    let foreign = words.iter().filter(foreign).count();
    // One foreign word is a dish or a street; two among few English ones are a sentence.
    if (foreign > 1 && 2 * foreign > english) || (english == 0 && words.len() >= 6) {
        return refuse(format!("{english} English function words, {foreign} of other languages"));
    }
    let few =
        words.len() >= FEW_WORDS && (english as f64) < FEW_FUNCTION_WORDS * words.len() as f64;
    match whatlang::detect_lang(text).filter(|found| few && *found != Lang::Eng) {
        Some(found) => refuse(format!(
            "{english} English function words among {}, and reads like {}",
            words.len(),
            found.eng_name()
        )),
        None => Ok(()),
    }
}

/// Refuses what could be asked without an image.
pub(super) fn reference(text: &str) -> Finding {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(REFERENCES).expect("a constant the tests compile"));
    if PATTERN.is_match(text) {
        return Ok(());
    }
    Err(Refusal::new("no_image_reference", "does not speak of an image"))
}

/// Refuses requests that should not be in a training set.
pub(super) fn harmless(text: &str) -> Finding {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&format!("(?i){}", UNSAFE.join("|"))).expect("a constant the tests compile")
    });
    match PATTERN.find(text) {
        Some(found) => Err(Refusal::new("unsafe", format!("asks for \"{}\"", found.as_str()))),
        None => Ok(()),
    }
}
