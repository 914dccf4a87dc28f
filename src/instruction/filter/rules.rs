//! The rules of the filters: the form of an instruction, what it is about, and details of one image.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation;
use whatlang::Lang;

use super::super::wording::{self, is_function_word, is_particular, stem, words};
use super::{Finding, InstructionFilterConfig, Language, Refusal};
use crate::base::tokens;
use crate::base::words::count;
use crate::dataset::sink::find_garbage;

/// What stands where a text was to be filled in.
const LEFTOVERS: &str =
    r"\[[a-z _]{2,40}\]|<[a-z _]{2,40}>|\{[a-z _]{2,40}\}|_{3,}|https?://|@\w+|#\w+";

/// Refuses characters and marks that no instruction holds.
pub(super) fn garbage(text: &str) -> Finding {
    static MARKS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(LEFTOVERS).expect("a constant the tests compile"));
    let lost = || text.chars().find(|c| *c == char::REPLACEMENT_CHARACTER);
    if let Some(found) = find_garbage(text).or_else(lost) {
        return Err(Refusal::new("garbage", format!("holds {}", found.escape_unicode())));
    }
    if let Some((article, next)) = cut_phrase(text) {
        return Err(Refusal::new("garbled", format!("\"{article} {next}\" is no English")));
    }
    if let Some(word) = stammer(text) {
        return Err(Refusal::new("garbled", format!("\"{word}\" stands three times in a row")));
    }
    let leftover = || MARKS.find(text).map(|found| found.as_str());
    match tokens::placeholder(text).or_else(|| tokens::control(text)).or_else(leftover) {
        Some(mark) => Err(Refusal::new("garbage", format!("holds `{mark}`"))),
        None => Ok(()),
    }
}

/// A word that stands three times in a row; in scripts without spaces characters may.
fn stammer(text: &str) -> Option<String> {
    let words = words(text);
    let same = |three: &&[String]| {
        three[0] == three[1]
            && three[1] == three[2]
            && three[0].chars().all(|c| c.is_ascii_alphabetic())
    };
    words.windows(3).find(same).map(|three| three[0].clone())
}

/// A word that cannot stand before a preposition with one behind it: where small models lose the
/// thread.
fn cut_phrase(text: &str) -> Option<(String, String)> {
    const OPEN: [&str; 14] = [
        "a", "an", "the", "my", "your", "their", "its", "by", "with", "while", "such", "very",
        "to", "into",
    ];
    const BEHIND: [&str; 10] =
        ["of", "in", "about", "from", "for", "by", "with", "based", "inspired", "shown"];
    let words = words(text);
    let mut pairs = words.windows(2);
    let cut =
        pairs.find(|pair| OPEN.contains(&pair[0].as_str()) && BEHIND.contains(&pair[1].as_str()));
    cut.map(|pair| (pair[0].clone(), pair[1].clone()))
}

/// Refuses too few and too many words.
pub(super) fn length(config: &InstructionFilterConfig, text: &str) -> Finding {
    let (count, min, max) = (count(text), config.min_words, config.max_words);
    if count < min {
        return Err(Refusal::new("too_short", format!("{count} words; the fewest are {min}")));
    }
    if count > max {
        return Err(Refusal::new("too_long", format!("{count} words; the most are {max}")));
    }
    Ok(())
}

/// Refuses what only asks: every sentence ends with a question mark.
pub(super) fn question(text: &str) -> Finding {
    let ends: Vec<char> =
        text.chars().filter(|c| ['.', '!', '?', '。', '！', '？'].contains(c)).collect();
    let asks = text.trim_end_matches(['"', ')', ' ']).ends_with(['?', '？']);
    if asks && ends.iter().all(|end| ['?', '？'].contains(end)) && wording::opening(text).is_none()
    {
        return Err(Refusal::new("question_only", "asks a question and sets no task"));
    }
    Ok(())
}

/// Refuses what does not tell anybody to do something.
pub(super) fn imperative(text: &str) -> Finding {
    let worded = text.chars().next().is_some_and(char::is_alphabetic);
    if worded && wording::opening(text).is_some() {
        return Ok(());
    }
    let start: String = text.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    Err(Refusal::new(
        "not_an_instruction",
        format!("begins with \"{start}\" and tells nobody to do anything"),
    ))
}

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

/// So many particular words of the description make an instruction one about this image.
const MOST_SHARED: usize = 2;

/// Refuses an instruction that names something particular of `description`: a proper name or a
/// number it holds, two of its particular words in a row (`wooden bench`), or three of them
/// anywhere. One word, such as `cat`, still fits many images.
pub(super) fn general(text: &str, description: &str) -> Finding {
    let refuse = |what: &str, seen: &str| {
        Err(Refusal::new("names_detail", format!("{what} \"{seen}\" is this image's own")))
    };
    if let Some(name) = proper_names(description).into_iter().find(|name| text_holds(text, name)) {
        return refuse("the name", name);
    }
    let number = |word: &&String| word.len() > 1 && word.chars().all(|c| c.is_ascii_digit());
    let (asked, told) = (words(text), words(description));
    if let Some(number) = asked.iter().filter(number).find(|word| told.contains(word)) {
        return refuse("the number", number);
    }
    let pairs: HashSet<(&str, &str)> = particular_pairs(&told).collect();
    if let Some((a, b)) = particular_pairs(&asked).find(|pair| pairs.contains(pair)) {
        return refuse("the phrase", &format!("{a} {b}"));
    }
    let told: HashSet<&str> = told.iter().map(|word| stem(word)).collect();
    let mut shared: Vec<&str> = Vec::new();
    for word in asked.iter().filter(|word| is_particular(word)).map(|word| stem(word)) {
        if told.contains(word) && !shared.contains(&word) {
            shared.push(word);
        }
    }
    if shared.len() > MOST_SHARED {
        return refuse("the detail", &shared.join(", "));
    }
    Ok(())
}

fn particular_pairs(words: &[String]) -> impl Iterator<Item = (&str, &str)> {
    let both = |pair: &&[String]| pair.iter().all(|word| is_particular(word));
    words.windows(2).filter(both).map(|pair| (stem(&pair[0]), stem(&pair[1])))
}

/// Capitalised words that do not begin a sentence.
fn proper_names(description: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for sentence in description.split_inclusive(['.', '!', '?', ':', '"', '\n']) {
        let inner = sentence.unicode_words().skip(1);
        names.extend(
            inner.filter(|word| {
                word.len() > 2 && word.chars().next().is_some_and(char::is_uppercase)
            }),
        );
    }
    names
}

fn text_holds(text: &str, name: &str) -> bool {
    text.unicode_words().any(|word| word == name)
}
