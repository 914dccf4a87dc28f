//! Words of instructions, for comparing them, and the little grammar that instructions need: does
//! one begin with a verb, and with what object. Lists and rules of thumb, not a parser: counts made
//! with them are close, not exact.

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

/// Verbs in the imperative, as instructions begin with.
const VERBS: &str = "adapt add advise analyse analyze announce answer argue arrange articulate ask \
    assess assign assume author brainstorm break brief build calculate capture caption categorise \
    categorize characterise characterize choose classify come comment compare compile complete compose \
    conceive conduct consider construct contemplate contrast convert convince count craft create \
    critique debate deduce define defend deliver depict derive describe design detail determine \
    develop devise diagnose discuss draft dramatise draw edit elaborate emphasise envision estimate \
    evaluate examine expand explain explore express extend extract fashion figure fill find finish \
    formulate furnish generate give guess guide help highlight hypothesise hypothesize identify \
    illustrate imagine improve improvise infer inspire interpret introduce invent investigate \
    justify label lay list locate look make map mark match mention mimic model name narrate note \
    observe offer organise organize outline paint paraphrase pen persuade pick picture pitch plan \
    play point portray pose predict prepare present produce prompt pronounce propose provide put \
    quote rank rate read recommend recreate recount reflect relate rephrase report rewrite review \
    revise say script select sell set share show simulate sing sketch speculate spell spot state \
    study suggest summarise summarize take teach tell think title trace transform translate turn \
    use validate visualise visualize voice weave work write";

/// What may stand before the verb without changing what is asked.
const POLITE: [&str; 6] = ["please", "now", "then", "first", "next", "kindly"];

/// What ends the verb's object.
const OBJECT_ENDS: &str = "about after as at before by during for from in inspired into of on \
    starting that to using where which while who with without based written and or set shown titled";

fn is_verb(word: &str) -> bool {
    VERBS.split_whitespace().any(|known| known == word)
}

/// The verb an instruction begins with, at its start or at the start of a later clause (`Using the
/// colours in the image, write a poem.`), and the words after it. `None` where it does not ask for
/// anything.
pub fn opening(text: &str) -> Option<(String, Vec<String>)> {
    let clauses = text.split([',', ':', ';', '.', '?', '!']).take(3);
    clauses.map(words).find_map(|clause| {
        let start = clause.iter().position(|word| !POLITE.contains(&word.as_str()))?;
        let verb = clause.get(start).filter(|word| is_verb(word))?.clone();
        Some((verb, clause[start + 1..].to_vec()))
    })
}

/// The root verb and its object, as Self-Instruct counts them (arXiv 2212.10560, figure 3). The
/// object is the last content word before the first preposition.
pub fn verb_and_object(text: &str) -> Option<(String, Option<String>)> {
    let (verb, rest) = opening(text)?;
    let ends = |word: &&String| OBJECT_ENDS.split_whitespace().any(|end| end == word.as_str());
    let phrase = rest.iter().take_while(|word| !ends(word));
    let object = phrase.filter(|word| !is_function_word(word)).last().cloned();
    Some((verb, object))
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

    #[test]
    fn verbs_and_objects_are_found() {
        for (text, verb, object) in [
            ("Write a short story about the image.", "write", Some("story")),
            ("Please design a poster for an event.", "design", Some("poster")),
            ("Using the colours in the image, compose a haiku.", "compose", Some("haiku")),
            ("Explain how the machine moves.", "explain", Some("moves")),
            ("Imagine that you live there.", "imagine", None),
        ] {
            let expected = (verb.to_owned(), object.map(str::to_owned));
            assert_eq!(verb_and_object(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn statements_have_no_opening_verb() {
        for text in
            ["The cup is red.", "A story, a poem", "I would like tea", "", "Schreibe etwas."]
        {
            assert_eq!(opening(text), None, "{text}");
        }
    }

    #[test]
    fn every_verb_is_listed_once() {
        let verbs: Vec<&str> = VERBS.split_whitespace().collect();
        let distinct: std::collections::HashSet<_> = verbs.iter().collect();
        assert_eq!(distinct.len(), verbs.len());
    }
}
