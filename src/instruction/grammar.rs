//! The little grammar that instructions need: does one begin with a verb, and with what object.
//! A list of verbs and a rule of thumb, not a parser: counts made with it are close, not exact.

use super::wording::{is_function_word, words};

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
