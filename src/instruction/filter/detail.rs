//! The filter for instructions that only fit the one image they were written for.

use std::collections::HashSet;

use unicode_segmentation::UnicodeSegmentation;

use super::super::wording::{is_particular, stem, words};
use super::{Finding, Refusal};

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
