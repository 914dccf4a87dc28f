//! Words of instructions, for comparing them.

use unicode_segmentation::UnicodeSegmentation;

/// Words that carry no content, in English.
const FUNCTION_WORDS: &str = "a about above after again all also although am an and any are around as \
    at be because been before being below between both but by can could did do does doing down \
    during each either else ever every few for from further had has have having he her here hers \
    him his how i if in inside into is it its just like many may me might more most much must my \
    near no nor not now of off on once one only onto or other others our out outside over own per \
    please she should so some still such than that the their them then there these they this those \
    three through to too toward towards two under until up upon us very was we were what when \
    where whether which while who whom whose why will with within without would yet you your";

/// Words that suit any image and so name none.
const GENERAL_WORDS: &str = "image photo photograph picture scene view object item thing subject \
    person people animal place setting location moment detail element background foreground \
    colour color light shape mood atmosphere style story poem main central visible shown seen \
    short new write describe explain create imagine plan suggest food dish drink meal plant \
    flower vehicle building landscape structure activity action event landmark material \
    surface texture composition character idea something someone";

/// The words of a text in lower case, by Unicode's rules.
pub fn words(text: &str) -> Vec<String> {
    text.unicode_words().map(|word| word.replace('’', "'").to_lowercase()).collect()
}

/// The words joined by single spaces: equal for texts that differ in case, spacing and
/// punctuation only.
pub fn normal_form(text: &str) -> String {
    words(text).join(" ")
}

/// Whether `word` (lower case) carries no content.
pub fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.split_whitespace().any(|known| known == word)
}

/// A word without its plural ending, roughly: `boxes` and `box` must meet, no more.
pub fn stem(word: &str) -> &str {
    let word = word.strip_suffix("'s").unwrap_or(word);
    match word.strip_suffix("es") {
        Some(stem) if stem.ends_with(['x', 's', 'h']) && stem.len() > 2 => stem,
        _ => word
            .strip_suffix('s')
            .filter(|stem| stem.len() > 2 && !stem.ends_with('s'))
            .unwrap_or(word),
    }
}

/// Whether a word tells something about one image: neither a function word nor one that suits any.
pub fn is_particular(word: &str) -> bool {
    let general =
        || GENERAL_WORDS.split_whitespace().any(|known| known == word || known == stem(word));
    word.chars().any(char::is_alphabetic) && !is_function_word(word) && !general()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spacing_and_punctuation_do_not_matter() {
        assert_eq!(normal_form("  Write a Poem,\n please!"), normal_form("write a poem please."));
        assert_ne!(normal_form("Write a poem."), normal_form("Write a play."));
    }

    #[test]
    fn plurals_meet_their_singulars() {
        for (plural, singular) in [("boxes", "box"), ("dogs", "dog"), ("dishes", "dish")] {
            assert_eq!(stem(plural), stem(singular));
        }
        assert_eq!(stem("glass"), "glass");
        assert_eq!(stem("gas"), "gas");
    }

    #[test]
    fn general_words_are_not_particular() {
        let particular = |text: &str| -> Vec<String> {
            words(text).into_iter().filter(|word| is_particular(word)).collect()
        };
        assert_eq!(particular("Write about the images of a raccoon"), ["raccoon"]);
    }
}
