//! ROUGE-L (Lin 2004) against many texts at once, as Self-Instruct filters with it.

use std::collections::HashMap;

/// ROUGE-L F of two word sequences, in [0, 1]: the longest common subsequence over the mean length.
pub fn rouge_l<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    2.0 * common(a, b) as f64 / (a.len() + b.len()) as f64
}

/// Length of the longest common subsequence.
fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (place, y) in b.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if x == y { diagonal + 1 } else { above.max(row[place]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Texts that new ones are compared with.
#[derive(Debug, Default)]
pub struct RougeIndex {
    numbers: HashMap<String, u32>,
    texts: Vec<Vec<u32>>,
    /// For each word, the texts that hold it, once for each occurrence.
    holders: Vec<Vec<u32>>,
}

impl RougeIndex {
    /// Adds a text and returns its place, counted from 0.
    pub fn add(&mut self, words: &[String]) -> usize {
        let place = self.texts.len();
        let mut text = Vec::with_capacity(words.len());
        for word in words {
            let next = self.numbers.len() as u32;
            let number = *self.numbers.entry(word.clone()).or_insert(next);
            if number as usize == self.holders.len() {
                self.holders.push(Vec::new());
            }
            self.holders[number as usize].push(place as u32);
            text.push(number);
        }
        self.texts.push(text);
        place
    }

    /// The text nearest to `words` with an F of at least `least` (above 0), the earliest among
    /// equals. Texts that share too few words to reach it are passed over.
    pub fn nearest(&self, words: &[String], least: f64) -> Option<(usize, f64)> {
        // A word never seen gets a number that no text holds.
        let number = |word| self.numbers.get(word).copied().unwrap_or(u32::MAX);
        let text: Vec<u32> = words.iter().map(number).collect();
        let mut best: Option<(usize, f64)> = None;
        for (place, shared) in self.shared(&text).into_iter().enumerate() {
            let other = &self.texts[place];
            let most = 2.0 * f64::from(shared) / (text.len() + other.len()).max(1) as f64;
            let bar = best.map_or(least, |(_, score)| score);
            if most < bar {
                continue;
            }
            let score = rouge_l(&text, other);
            if score >= least && best.is_none_or(|(_, best)| score > best) {
                best = Some((place, score));
            }
        }
        best
    }

    /// For each text an upper bound of the words it has in common with `text`.
    fn shared(&self, text: &[u32]) -> Vec<u32> {
        let mut distinct = text.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut counts = vec![0u32; self.texts.len()];
        for word in distinct {
            let times = text.iter().filter(|other| **other == word).count() as u32;
            for holder in self.holders.get(word as usize).into_iter().flatten() {
                counts[*holder as usize] += times;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_hand_worked_example() {
        // Common: write, a, about, the, image (5); lengths 6 and 7: 2 · 5 / 13.
        let (a, b) =
            (split("write a poem about the image"), split("write a short story about the image"));
        assert!((rouge_l(&a, &b) - 10.0 / 13.0).abs() < 1e-12);
        assert_eq!(rouge_l(&a, &[]), 0.0);
    }

    proptest! {
        #[test]
        fn the_index_finds_what_comparing_with_each_finds(
            texts in prop::collection::vec(prop::collection::vec("[a-d]", 0..7), 0..12),
            asked in prop::collection::vec("[a-e]", 0..7),
            least in 0.1..1.0f64,
        ) {
            let mut index = RougeIndex::default();
            texts.iter().for_each(|text| { index.add(text); });
            let mut expected: Option<(usize, f64)> = None;
            for (place, text) in texts.iter().enumerate() {
                let score = rouge_l(&asked, text);
                if score >= least && expected.is_none_or(|(_, best)| score > best) {
                    expected = Some((place, score));
                }
            }
            prop_assert_eq!(index.nearest(&asked, least), expected);
        }

        #[test]
        fn rouge_is_symmetric_and_bounded(
            a in prop::collection::vec("[a-d]", 1..9), b in prop::collection::vec("[a-d]", 1..9),
        ) {
            let score = rouge_l(&a, &b);
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert_eq!(score, rouge_l(&b, &a));
            prop_assert_eq!(rouge_l(&a, &a), 1.0);
        }
    }
}
